"""Compressed voxels are read, and refused where they would not be what the header says."""

from __future__ import annotations

import struct

import dicom_series as made
import numpy as np
import pytest

from moediff_rt import InputError, dicom
from moediff_rt.dicom import decoding
from moediff_rt.dicom.decoding import Decoder
from moediff_rt.dicom.voxels import decodable

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed: pip install '.[dicom]'")
RLE = "RLELossless"
SYNTAXES = [RLE, "JPEGLosslessSV1", "JPEGLSLossless", "JPEG2000Lossless"]


def packed(tmp_path, syntax):
    """A folder of the series, its voxels encoded."""
    uid = getattr(pydicom.uid, syntax)
    if not decodable(uid):
        pytest.skip(f"no decoder for {uid.name} here: pip install python-gdcm")
    if syntax == RLE:
        return made.save(tmp_path / "in", made.compressed(made.classic(), uid))
    return _packed_by_gdcm(tmp_path, uid)


def _packed_by_gdcm(tmp_path, uid):
    gdcm = pytest.importorskip("gdcm", reason="python-gdcm is not installed")
    syntaxes = {
        "1.2.840.10008.1.2.4.70": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
        "1.2.840.10008.1.2.4.80": gdcm.TransferSyntax.JPEGLSLossless,
        "1.2.840.10008.1.2.4.90": gdcm.TransferSyntax.JPEG2000Lossless,
    }
    folder = made.save(tmp_path / "in", made.classic())
    for path in folder.iterdir():
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), None
        reader.SetFileName(str(path))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(syntaxes[uid]))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
    return folder


def change_frames(path, change):
    """Put `change(frame)`, one frame or several, in the place of a file's frame."""
    image = pydicom.dcmread(path)
    (frame,) = pydicom.encaps.generate_frames(image.PixelData, number_of_frames=1)
    changed = change(frame)
    frames = changed if isinstance(changed, list) else [changed]
    image.PixelData = pydicom.encaps.encapsulate(frames)
    image.save_as(path)


def in_jp2(codestream):
    """The same as a JP2 file, which some archives take for a codestream."""
    columns, rows = struct.unpack_from(">2I", codestream, 8)
    head = struct.pack(">I4sIIHBBBB", 22, b"ihdr", rows, columns, 1, 15, 7, 0, 0)
    head += struct.pack(">I4sBBBI", 15, b"colr", 1, 0, 0, 17)
    return (
        b"\0\0\0\x0cjP  \r\n\x87\n"
        + struct.pack(">I4s4sI4s", 20, b"ftyp", b"jp2 ", 0, b"jp2 ")
        + struct.pack(">I4s", 8 + len(head), b"jp2h")
        + head
        + struct.pack(">I4s", 8 + len(codestream), b"jp2c")
        + codestream
    )


def claims(columns, rows, components=1):
    """A change of what a frame says of its size."""

    def change(frame):
        frame = bytearray(frame)
        if frame.startswith(b"\xff\xd8"):
            at = max(frame.find(b"\xff\xc3\x00\x0b"), frame.find(b"\xff\xf7\x00\x0b"))
            struct.pack_into(">HHB", frame, at + 5, rows, columns, components)
        else:
            at = frame.index(b"\xff\x4f\xff\x51")
            struct.pack_into(">II", frame, at + 8, columns, rows)
            struct.pack_into(">H", frame, at + 40, components)
        return bytes(frame)

    return change


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_compressed_voxels_are_read(tmp_path, syntax):
    scan = dicom.load_series(packed(tmp_path, syntax)).scan
    np.testing.assert_array_equal(scan.data, made.volume()[0])


def test_compressed_frames_of_one_file_are_read(tmp_path):
    images = made.compressed([made.enhanced()], pydicom.uid.RLELossless)
    scan = dicom.load_series(made.save(tmp_path / "in", images)).scan
    np.testing.assert_array_equal(scan.data, 0.5 * made.volume()[0] - 10)


@pytest.mark.parametrize(
    ("syntax", "change"),
    [
        ("JPEG2000Lossless", in_jp2),
        ("JPEGLosslessSV1", lambda frame: frame[:2] + b"\xff\xfe\x00\x04it\xff\xff" + frame[2:]),
        ("JPEGLSLossless", lambda frame: [frame, claims(8000, 8000)(frame)]),
        (RLE, lambda frame: [frame, frame]),
    ],
    ids=["in a JP2 file", "after a comment and padding", "before another frame", "there twice"],
)
def test_what_stands_around_a_frame_does_no_harm(tmp_path, syntax, change):
    folder = packed(tmp_path, syntax)
    for path in folder.iterdir():
        change_frames(path, change)
    np.testing.assert_array_equal(dicom.load_series(folder).scan.data, made.volume()[0])


@pytest.mark.parametrize(
    ("syntax", "change", "found"),
    [
        ("JPEGLosslessSV1", claims(8000, 9000), "8000 x 9000 x 1"),
        ("JPEGLSLossless", claims(8000, 9000), "8000 x 9000 x 1"),
        ("JPEG2000Lossless", claims(8000, 9000), "8000 x 9000 x 1"),
        ("JPEG2000Lossless", claims(28, 30, 16384), "28 x 30 x 16384"),
        (
            "JPEG2000Lossless",
            lambda frame: claims(8000, 9000)(in_jp2(frame)),
            "8000 x 9000 x 1",
        ),
        ("JPEG2000Lossless", lambda frame: b"GIF89a" + frame, "none that say their size"),
        ("JPEG2000Lossless", lambda frame: in_jp2(frame)[:12] + bytes(90), "none that say"),
        ("JPEGLosslessSV1", lambda frame: b"\xff\xd8\xff\xd0" + frame[2:], "none that say"),
        (RLE, lambda frame: frame + b"\x81\x00" * 1000, "more than twice as much"),
    ],
)
def test_frames_that_would_be_larger_than_the_header_says_are_not_decoded(
    tmp_path, monkeypatch, syntax, change, found
):
    folder = packed(tmp_path, syntax)
    change_frames(folder / "0004.dcm", change)
    decoded = []
    for name, real in (("decode", decoding.decode), ("Decoder.__call__", Decoder.__call__)):
        monkeypatch.setattr(
            f"moediff_rt.dicom.voxels.{name}",
            lambda *given, real=real: decoded.append(1) or real(*given),
        )
    words = rf"compressed voxels of 28 x 30 in 0004\.dcm, found {found}"
    with pytest.raises(InputError, match=words):
        dicom.load_series(folder)
    assert len(decoded) == 3


def test_the_extended_offset_table_does_not_choose_what_is_decoded(tmp_path):
    folder = packed(tmp_path, "JPEG2000Lossless")
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        image.ExtendedOffsetTable = struct.pack("<2Q", 0, 0)
        image.ExtendedOffsetTableLengths = struct.pack("<2Q", 40, 40)
        image.save_as(path)
    np.testing.assert_array_equal(dicom.load_series(folder).scan.data, made.volume()[0])


def test_a_decoder_that_crashes_takes_nothing_with_it(tmp_path, monkeypatch):
    folder = packed(tmp_path, "JPEGLSLossless")
    with monkeypatch.context() as crashing:
        crashing.setattr(decoding, "_PROGRAM", "import os, sys; sys.stdin.readline(); os.abort()")
        with pytest.raises(InputError, match=r"0001\.dcm, it crashed on them; the file is"):
            dicom.load_series(folder)
    np.testing.assert_array_equal(dicom.load_series(folder).scan.data, made.volume()[0])


def test_a_program_that_no_process_can_be_made_of_decodes_itself(tmp_path, monkeypatch):
    folder = packed(tmp_path, "JPEGLSLossless")
    monkeypatch.setattr("sys.executable", "")  # as where Python is embedded
    np.testing.assert_array_equal(dicom.load_series(folder).scan.data, made.volume()[0])


def test_a_decoder_is_started_again_after_a_crash_and_ends_with_its_user(tmp_path):
    path = next(packed(tmp_path, "JPEGLSLossless").iterdir())
    with Decoder() as decoder:
        first = decoder(path)
        assert first.shape == (30, 28)
        process = decoder._process
        process.kill()
        process.wait()
        with pytest.raises(InputError, match="crashed"):
            decoder(path)
        np.testing.assert_array_equal(decoder(path), first)
        (tmp_path / "empty.dcm").write_bytes(b"")
        with pytest.raises(InputError, match=r"empty\.dcm cannot be read"):
            decoder(tmp_path / "empty.dcm")
        process = decoder._process
    assert process.poll() is not None


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_frames_of_noise_never_give_a_traceback(tmp_path, rng, syntax):
    folder = packed(tmp_path, syntax)
    whole = (folder / "0004.dcm").read_bytes()
    voxels = whole.index(b"\xe0\x7f\x10\x00")
    for _ in range(8):
        broken = bytearray(whole)
        for at in rng.integers(voxels, voxels + 100, 4):
            broken[at] = rng.integers(256)
        (folder / "0004.dcm").write_bytes(broken)
        try:
            dicom.load_series(folder)
        except InputError as error:
            assert "\n" not in str(error)
