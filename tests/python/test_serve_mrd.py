"""The MRD server, spoken to over a socket with the public `ismrmrd` package's structures."""

from __future__ import annotations

import logging
import struct
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("ismrmrd", reason="needs the extra mrd")
pytest.importorskip("prometheus_client", reason="needs the extra mrd")

import ismrmrd
from mrd_peer import (
    AXIAL,
    CLOSE,
    HEADER,
    Peer,
    exchange,
    head,
    identical,
    image_of,
    opening,
    served,
    slices_of,
    text_message,
)

from moediff_rt import Acquisition, Session, cli
from moediff_rt.serve.mrd.connection import asks_for_originals
from moediff_rt.serve.mrd.contrast import read_protocol

SHAPE = (12, 14, 10)


def expected(mrd_server, volume, spacing=(2.0, 2.0, 2.0), flips=(True, True, False), **settings):
    """What the library makes of an axial LPS volume: its axes are flipped to RAS and back."""
    axes = [axis for axis, flip in enumerate(flips) if flip]
    with Session(mrd_server.session.bundle.path, threads=1) as session:
        result = session.enhance(np.flip(volume, axes), spacing, **settings)
    return np.flip(result, axes)


def stacked(images) -> np.ndarray:
    """Slices or a 3-D image as (x, y, z)."""
    return np.concatenate([image.data[0] for image in images]).T


def test_slices_come_back_as_what_the_library_makes_of_them(mrd_server):
    volume = head(SHAPE)
    images, texts = exchange(mrd_server.port, slices_of(volume))
    assert len(images) == 20
    np.testing.assert_array_equal(
        stacked(images), np.clip(np.rint(expected(mrd_server, volume)), 0, 65535)
    )
    assert len(texts) == 1 and texts[0].startswith("DBG moediff-rt: series 1 is enhanced")


def test_every_new_slice_has_its_own_place_number_and_source(mrd_server):
    sent = slices_of(head(SHAPE), centre=(3, -4, 50), measurement_uid=77, repetition=3)
    images, _texts = exchange(mrd_server.port, sent)
    for k, image in enumerate(images):
        np.testing.assert_allclose(image.position, (3, -4, 50 - 10 + 0.5 + k))
        np.testing.assert_allclose(image.field_of_view, (24, 28, 1))
        assert image.matrix_size == (24, 28, 1)
        assert (image.slice, image.image_index, image.image_series_index) == (k, k + 1, 1001)
        assert (image.measurement_uid, image.repetition) == (77, 3)
        assert tuple(image.read_dir) == AXIAL[0] and tuple(image.slice_dir) == AXIAL[2]
        assert image.data.dtype == np.uint16
        assert image.meta["MoediffSourceSeriesIndex"] == "1"
        assert image.meta["MoediffSourceImageIndex"] == str(k // 2 + 1)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.uint32, np.float32, np.float64])
def test_a_volume_comes_back_as_a_volume_of_its_type(mrd_server, dtype):
    volume = head(SHAPE).astype(dtype)
    sent = image_of(volume, (1, 2, 3), (24, 28, 20))
    (image,), _texts = exchange(mrd_server.port, [sent])
    assert image.matrix_size == (24, 28, 20)
    assert image.data.dtype == dtype
    np.testing.assert_allclose(image.position, (1, 2, 3))
    np.testing.assert_allclose(image.field_of_view, (24, 28, 20))
    result = expected(mrd_server, volume)
    assert result.min() < 0
    result = np.maximum(result, 0)
    if np.dtype(dtype).kind in "iu":
        result = np.minimum(np.rint(result), np.iinfo(dtype).max)
    np.testing.assert_array_equal(stacked([image]), result.astype(dtype))


def test_a_volume_with_voxels_below_zero_keeps_those_of_its_result(mrd_server):
    volume = head(SHAPE).astype(np.float32)
    volume[0, 0, 0] = -1
    (image,), _texts = exchange(mrd_server.port, [image_of(volume, (0, 0, 0), (24, 28, 20))])
    result = expected(mrd_server, volume)
    assert result.min() < -1
    np.testing.assert_array_equal(stacked([image]), result)


def test_the_order_of_slices_does_not_matter(mrd_server, rng):
    volume = head(SHAPE)
    sent = slices_of(volume)
    straight, _ = exchange(mrd_server.port, sent)
    rng.shuffle(sent)
    shuffled, _ = exchange(mrd_server.port, sent)
    assert all(map(identical, straight, shuffled))


def test_a_stack_numbered_downwards_is_answered_downwards(mrd_server):
    volume = head(SHAPE)
    sent = slices_of(volume)
    for image in sent:
        image.image_index = 11 - image.image_index
    images, _ = exchange(mrd_server.port, sent)
    heights = [image.position[2] for image in images]
    assert heights == sorted(heights, reverse=True)
    np.testing.assert_array_equal(
        stacked(images[::-1]), np.clip(np.rint(expected(mrd_server, volume)), 0, 65535)
    )


def test_interleaved_series_and_contrasts_are_told_apart(mrd_server, rng):
    volumes = {
        (series, contrast): head(SHAPE, seed=10 * series + contrast)
        for series in (1, 2, 5)
        for contrast in (0, 1)
    }
    sent = [
        image
        for (series, contrast), volume in volumes.items()
        for image in slices_of(volume, series=series, contrast=contrast)
    ]
    rng.shuffle(sent)
    images, texts = exchange(mrd_server.port, sent)
    assert len(texts) == 6
    for (series, contrast), volume in volumes.items():
        found = [
            image
            for image in images
            if (image.image_series_index, image.contrast) == (1000 + series, contrast)
        ]
        np.testing.assert_array_equal(
            stacked(found), np.clip(np.rint(expected(mrd_server, volume)), 0, 65535)
        )
    for series in (1, 2, 5):
        numbers = [i.image_index for i in images if i.image_series_index == 1000 + series]
        assert sorted(numbers) == list(range(1, 41)), "numbers are unique in a series"


@pytest.mark.parametrize("counter", ["average", "phase", "repetition", "set"])
def test_counters_that_make_volumes_of_their_own(mrd_server, counter):
    sent = [
        image for value in (0, 1) for image in slices_of(head(SHAPE, value), **{counter: value})
    ]
    images, texts = exchange(mrd_server.port, sent)
    assert len(images) == 40 and len(texts) == 2


def test_a_volume_is_answered_before_the_connection_ends(mrd_server):
    with Peer(mrd_server.port) as peer:
        peer.send(opening(), image_of(head(SHAPE), (0, 0, 0), (24, 28, 20)))
        item = next(ismrmrd.ProtocolDeserializer(peer._stream).deserialize())
        assert item.matrix_size == (24, 28, 20)
        peer.send(CLOSE)


def test_a_result_gets_no_index_that_another_series_has(mrd_server):
    meta = {"SeriesDescription": "t2_tse"}
    sent = [*slices_of(head(SHAPE)), *slices_of(head(SHAPE), series=2)]
    other = slices_of(head(SHAPE), series=1001, meta=meta)
    images, texts = exchange(mrd_server.port, [*sent, *other])
    found = [
        (image.meta.get("MoediffSourceSeriesIndex"), image.image_series_index) for image in images
    ]
    assert Counter(found) == {(None, 1001): 10, ("1", 1002): 20, ("2", 1003): 20}
    assert [text.rstrip("\0")[-4:] for text in texts if "is enhanced" in text] == ["1002", "1003"]


def test_a_series_that_comes_after_a_result_of_its_index_is_warned_of(mrd_server, caplog):
    with caplog.at_level(logging.WARNING), Peer(mrd_server.port) as peer:
        peer.send(opening(), image_of(head(SHAPE), (0, 0, 0), (24, 28, 20)))
        item = next(ismrmrd.ProtocolDeserializer(peer._stream).deserialize())
        assert item.image_series_index == 1001
        peer.send(*slices_of(head(SHAPE), series=1001), CLOSE)
        images, _texts = peer.answer()
    assert {image.image_series_index for image in images} == {2001}
    (warning,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert warning.getMessage() == "series has the index of a result"
    assert (warning.fields["series"], warning.fields["result_of"]) == (1001, 1)


def test_originals_come_first_when_asked(tiny_bundle):
    sent = slices_of(head(SHAPE))
    with served(tiny_bundle, send_originals=True) as running:
        images, _ = exchange(running.port, sent)
    assert len(images) == 30
    assert all(map(identical, images[:10], sent))
    assert {image.image_series_index for image in images[10:]} == {1001}


@pytest.mark.parametrize("kind", [2, 5])
def test_a_host_may_ask_for_the_originals(mrd_server, kind):
    extra = [text_message(kind, '{"version": "1", "parameters": {"sendoriginal": true}}')]
    images, _ = exchange(mrd_server.port, slices_of(head(SHAPE)), extra=extra)
    assert [image.image_series_index for image in images] == [1] * 10 + [1001] * 20


@pytest.mark.parametrize(
    "text",
    [
        "",
        "moediff",
        "[]",
        "null",
        '{"parameters": []}',
        '{"parameters": {"sendOriginal": "no"}}',
        "[" * 100_000,
    ],
)
def test_other_texts_ask_for_no_originals(text):
    assert not asks_for_originals(text)


def test_attributes_say_what_was_done_and_the_old_grid_is_gone(mrd_server):
    meta = {
        "DataRole": "Image",
        "ImageProcessingHistory": ["ADC", "NORM"],
        "SeriesDescription": "t1_mprage",
        "WindowCenter": "400",
        "Keep_image_geometry": "1",
        "IceMiniHead": "PHhwcm90Pg==",
        "SOPInstanceUID": "1.2.3",
        "ROI_tumour": ["1", "0", "0", "1", "0", "1", "5", "5"],
        "Odd <name>": 'and "value" &',
    }
    images, _ = exchange(mrd_server.port, slices_of(head(SHAPE), meta=meta))
    for image in images:
        found = image.meta
        assert found["ImageProcessingHistory"][:2] == ["ADC", "NORM"]
        assert found["ImageProcessingHistory"][2].startswith("moediff-rt ")
        assert found["Keep_image_geometry"] == "0"
        assert not {"IceMiniHead", "SOPInstanceUID", "ROI_tumour"} & set(found)
        assert found["WindowCenter"] == "400" and found["SeriesDescription"] == "t1_mprage"
        assert found["Odd <name>"] == 'and "value" &'
        assert "not a medical device" in found["ImageComments"]
        assert [float(value) for value in found["ImageRowDir"]] == [1, 0, 0]
        assert found["MoediffBundle"] == "tiny" and len(found["MoediffBundleSHA256"]) == 64
        assert (found["MoediffSeed"], found["MoediffPlanes"]) == ("0", "axial")


def test_a_grid_that_stays_keeps_what_describes_it_but_not_who_the_original_is(tiny_bundle):
    meta = {"IceMiniHead": "PHhwcm90Pg==", "Keep_image_geometry": "1"}
    identity = {"DicomJson": "e30=", "SOPInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2"}
    sent = slices_of(head((16, 16, 16)), spacing=(1, 1, 1), meta=meta | identity)
    with served(tiny_bundle, spacing=1.0) as running:
        images, _ = exchange(running.port, sent)
    assert len(images) == 16
    assert images[0].meta["IceMiniHead"] == meta["IceMiniHead"]
    assert images[0].meta["Keep_image_geometry"] == "1"
    assert not set(identity) & set(images[0].meta)


def test_marks_of_the_first_and_last_image_stay_with_one(mrd_server):
    sent = slices_of(head(SHAPE))
    for image in sent:
        image.setFlag(ismrmrd.IMAGE_FIRST_IN_SLICE)
        image.setFlag(ismrmrd.IMAGE_USER1)
    sent[-1].setFlag(ismrmrd.IMAGE_LAST_IN_SET)
    images, _ = exchange(mrd_server.port, sent)
    firsts = [bool(image.is_flag_set(ismrmrd.IMAGE_FIRST_IN_SLICE)) for image in images]
    assert firsts == [True, False] * 10
    lasts = [bool(image.is_flag_set(ismrmrd.IMAGE_LAST_IN_SET)) for image in images]
    assert lasts == [False] * 19 + [True]
    assert all(image.is_flag_set(ismrmrd.IMAGE_USER1) for image in images)


@pytest.mark.parametrize(
    ("depths", "said"),
    [((1,), "2D"), ((160,), "3D"), ((1, 1), "2D"), ((1, 32), None), (("?",), None), ((), None)],
)
def test_partitions_of_k_space_say_how_it_was_acquired(depths, said):
    size = "<matrixSize><x>256</x><y>256</y><z>{}</z></matrixSize>"
    spaces = [
        f"<encoding><encodedSpace>{size.format(depth)}</encodedSpace>"
        f"<reconSpace>{size.format(9)}</reconSpace></encoding>"
        for depth in depths
    ]
    head = '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
    assert read_protocol(f"{head}{''.join(spaces)}</ismrmrdHeader>").acquisition == said


@pytest.mark.parametrize(
    ("depth", "thickness", "said"),
    [
        (1, 3, Acquisition("2D")),
        (1, 0, Acquisition("2D")),
        (1, 2.25, Acquisition("2D", 2.25)),
        (160, 2.25, Acquisition("3D")),
    ],
)
def test_slices_are_taken_for_what_the_headers_say(mrd_server, depth, thickness, said):
    space = f"<encoding><encodedSpace><matrixSize><z>{depth}</z></matrixSize></encodedSpace>"
    header = HEADER.replace("</ismrmrdHeader>", f"{space}</encoding></ismrmrdHeader>")
    volume = head(SHAPE).astype(np.float32)
    sent = slices_of(volume, spacing=(2, 2, 3))
    for image in sent:
        image.field_of_view = (*image.field_of_view[:2], thickness)
    images, _ = exchange(mrd_server.port, sent, header=header)
    ways = {Acquisition("2D"), Acquisition("2D", 2.25), Acquisition("3D")}
    made = {way: expected(mrd_server, volume, (2, 2, 3), acquisition=way) for way in ways}
    shown = stacked(images)
    assert {way for way in ways if np.array_equal(shown, np.maximum(made[way], 0))} == {said}


def test_attributes_and_headers_that_are_no_xml_harm_nothing(mrd_server):
    images = slices_of(head(SHAPE))
    broken = []
    for image in images:
        data = image.to_bytes()
        head_, voxels = data[:198], data[206:]
        broken.append(struct.pack("<H", 1022) + head_ + struct.pack("<Q", 5) + b"<oops" + voxels)
    with Peer(mrd_server.port) as peer:
        peer.send(opening(header="<also"), *broken, CLOSE)
        answer = peer._stream.read()
    kind, length = struct.unpack("<HI", answer[:6])
    assert kind == 5 and answer[6 : 6 + length].startswith(b"WRN moediff-rt: series 1 passes")
    assert answer[6 + length :] == b"".join([*broken, CLOSE])


def test_raw_data_is_answered_with_one_text_and_waveforms_with_none(mrd_server):
    acquisition = ismrmrd.Acquisition.from_array(np.ones((4, 64), np.complex64))
    waveform = ismrmrd.Waveform.from_array(np.ones((2, 30), np.uint32))
    raw = struct.pack("<H", 1008) + acquisition.to_bytes()
    wave = struct.pack("<H", 1026) + waveform.to_bytes()
    extra = [raw, wave, raw, wave]
    images, texts = exchange(mrd_server.port, slices_of(head(SHAPE)), extra=extra)
    assert len(images) == 20
    assert len(texts) == 2
    assert "ERR moediff-rt: expected reconstructed images (1022), got raw" in texts[0]


def test_a_conversation_without_images_is_closed(mrd_server):
    assert exchange(mrd_server.port, []) == ([], [])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--hold", "inf"], "from 0.01 to 1e+09 for --hold, got inf"),
        (["--hold", "1e300"], "1e+09 for --hold"),
        (["--idle-timeout", "inf"], "1e+09 for --idle-timeout"),
        (["--stop-after", "inf"], "1e+09 for --stop-after"),
        (["--max-connections", "0"], "--max-connections"),
        (["--port", "70000"], "--port: expected a port from 0 to 65535, got '70000'"),
        (["--port", "-1"], "--port: expected a port from 0 to 65535, got '-1'"),
        (["--metrics-port", "65536"], "--metrics-port: expected a port from 0 to 65535"),
    ],
)
def test_wrong_options_are_refused_in_one_line_and_nothing_is_loaded(
    tiny_bundle, capsys, options, words
):
    try:
        code = cli.main(["serve", "mrd", "--bundle", str(tiny_bundle), *options])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


@pytest.mark.parametrize("host", ["256.0.0.1", "a" * 300])
def test_an_address_that_is_none_is_refused_in_one_line(tiny_bundle, capsys, host):
    options = ["--bundle", str(tiny_bundle), "--log-level", "error", "--host", host, "--port", "0"]
    assert cli.main(["serve", "mrd", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--host" in line
