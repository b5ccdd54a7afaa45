"""What the MRD server returns as it came, and why."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ismrmrd", reason="needs the extra mrd")
pytest.importorskip("prometheus_client", reason="needs the extra mrd")

import ismrmrd
from mrd_peer import HEADER, exchange, head, identical, served, slices_of

from moediff_rt.errors import EngineError
from moediff_rt.serve.mrd.limits import Limits

SHAPE = (12, 14, 10)


def one_left_out() -> list:
    images = slices_of(head(SHAPE))
    del images[4]
    return images


def with_no_numbers() -> list:
    volume = head(SHAPE)
    return slices_of(np.where(volume > 500, np.nan, volume).astype(np.float32))


def raw_images(shape, dtype, count=1) -> list:
    """Images of ones, (channels, z, y, x), with nothing said of where they are."""
    return [ismrmrd.Image.from_array(np.ones(shape, dtype), image_type=1) for _ in range(count)]


# What must come back as it is: its images, and the header that they come with.
NOT_FOR_THE_MODEL = {
    "phase": (lambda: slices_of(head(SHAPE), image_type=ismrmrd.IMTYPE_PHASE), HEADER),
    "complex": (
        lambda: slices_of(head(SHAPE).astype("c8"), image_type=ismrmrd.IMTYPE_COMPLEX),
        HEADER,
    ),
    "real part": (
        lambda: slices_of(head(SHAPE).astype("f4"), image_type=ismrmrd.IMTYPE_REAL),
        HEADER,
    ),
    "many channels": (lambda: raw_images((4, 1, 14, 12), np.float32, count=10), HEADER),
    "T2": (lambda: slices_of(head(SHAPE), meta={"SeriesDescription": "t2_tse_tra"}), HEADER),
    "CISS, reformatted": (
        lambda: slices_of(
            head(SHAPE), meta={"SeriesDescription": "ciss_tra MPR", "ImageType": ["DERIVED", "MPR"]}
        ),
        HEADER,
    ),
    "PD with a T1 word in its ImageType alone": (
        lambda: slices_of(head(SHAPE), meta={"ProtocolName": "pd_tse", "ImageTypeValue4": "T1"}),
        HEADER,
    ),
    "T2 in the header": (
        lambda: slices_of(head(SHAPE)),
        HEADER.replace("t1_mprage_sag", "T2_FLAIR"),
    ),
    "long echo": (lambda: slices_of(head(SHAPE), meta={"EchoTime": "90"}), HEADER),
    "long echo in the header": (
        lambda: slices_of(head(SHAPE), contrast=1),
        HEADER.replace("<TE>2.3</TE>", "<TE>2.3</TE><TE>80</TE>"),
    ),
    "map": (lambda: slices_of(head(SHAPE), meta={"DataRole": ["Image", "Quantitative"]}), HEADER),
    "single slice": (lambda: slices_of(head(SHAPE))[4:5], HEADER),
    "gap": (one_left_out, HEADER),
    "thick": (lambda: slices_of(head(SHAPE), spacing=(2, 2, 12)), HEADER),
    "few slices": (lambda: slices_of(head(SHAPE)[..., :4]), HEADER),
    "empty": (lambda: slices_of(np.zeros(SHAPE, np.uint16)), HEADER),
    "not finite": (with_no_numbers, HEADER),
    "nothing in it": (lambda: raw_images((1, 1, 0, 0), np.uint16), HEADER),
}


@pytest.mark.parametrize("what", NOT_FOR_THE_MODEL)
def test_what_the_model_is_not_for_comes_back_untouched(mrd_server, what):
    passed = mrd_server.series("passed")
    make, header = NOT_FOR_THE_MODEL[what]
    sent = make()
    images, texts = exchange(mrd_server.port, sent, header=header)
    assert len(images) == len(sent)
    assert [image.to_bytes() for image in images] == [image.to_bytes() for image in sent]
    assert len(texts) == 1 and texts[0].startswith("WRN moediff-rt: series")
    assert mrd_server.series("passed") == passed + 1


@pytest.mark.parametrize(
    ("header", "meta"),
    [
        ("Dummy XML header", None),
        ("", None),
        (HEADER.replace("t1_mprage_sag", "AAHead_Scan"), None),
        (HEADER.replace("t1_mprage_sag", "T1 FLAIR"), {"EchoTime": "9.1"}),
        (HEADER, {"SeriesDescription": ["t1_space"]}),
        (HEADER, {"SeriesDescription": "mpr sag", "ImageType": ["DERIVED", "MPR"]}),
    ],
)
def test_what_is_not_said_to_be_another_contrast_is_enhanced(mrd_server, header, meta):
    images, _ = exchange(mrd_server.port, slices_of(head(SHAPE), meta=meta), header=header)
    assert len(images) == 20


def test_any_contrast_takes_what_is_said_to_be_another(tiny_bundle):
    sent = slices_of(head(SHAPE), meta={"SeriesDescription": "t2_tse"})
    phase = slices_of(head(SHAPE), series=2, image_type=ismrmrd.IMTYPE_PHASE)
    with served(tiny_bundle, any_contrast=True) as running:
        images, _ = exchange(running.port, [*sent, *phase])
    assert sorted({image.image_series_index for image in images}) == [2, 1001]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (RuntimeError("a bug"), "unexpected RuntimeError"),
        (MemoryError(), "unexpected MemoryError"),
        (EngineError("memory ran out"), "memory ran out"),
    ],
)
def test_any_failure_returns_the_originals(mrd_server, monkeypatch, fault, reason):
    failed = mrd_server.series("failed")

    def fail(*_args, **_settings):
        raise fault

    sent = slices_of(head(SHAPE))
    with monkeypatch.context() as patch:
        patch.setattr(mrd_server.session, "run", fail)
        images, texts = exchange(mrd_server.port, sent)
    assert all(map(identical, images, sent)) and len(images) == 10
    assert texts[0].startswith(f"ERR moediff-rt: series 1 is returned as it came: {reason}")
    assert mrd_server.series("failed") == failed + 1
    images, _ = exchange(mrd_server.port, sent)
    assert len(images) == 20, "the next series is enhanced again"


def test_a_result_beyond_the_limit_is_not_made(tiny_bundle):
    sent = slices_of(head(SHAPE))
    with served(tiny_bundle, limits=Limits(output_voxels=1000)) as running:
        images, texts = exchange(running.port, sent)
    assert all(map(identical, images, sent)) and len(images) == 10
    assert "coarser --spacing" in texts[0]


def test_nothing_is_held_after_the_answer(mrd_server):
    exchange(mrd_server.port, [*slices_of(head(SHAPE)), *NOT_FOR_THE_MODEL["phase"][0]()])
    assert mrd_server.hold.taken == 0
