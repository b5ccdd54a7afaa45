"""DICOM files with damaged bytes: refused in one plain line, wherever the damage is."""

from __future__ import annotations

import contextlib
import unicodedata

import dicom_series as made
import pydicom.fileset
import pytest

from moediff_rt import dicom
from moediff_rt.errors import InputError

pytest.importorskip("pydicom", reason="pydicom is not installed: pip install '.[dicom]'")


def is_one_plain_line(text):
    return not any(unicodedata.category(character) == "Cc" for character in text)


def test_a_file_cut_short_is_refused_wherever_it_is_cut(tmp_path, rng):
    folder = made.save(tmp_path / "in", made.classic())
    whole = (folder / "0004.dcm").read_bytes()
    for length in [150, 400, len(whole) - 1, *rng.integers(132, len(whole), 20)]:
        (folder / "0004.dcm").write_bytes(whole[:length])
        with pytest.raises(InputError):
            dicom.load_series(folder)


@pytest.mark.parametrize(
    ("named", "lengths"),
    [
        ("{}.dcm", [0, 1, 127, 128, 131, 132, 140, 160, 176, 191]),
        ("{}.IMA", [0, 131]),
        ("IM{}", [0, 40, 131, 150]),
    ],
)
def test_a_last_slice_of_which_little_is_left_is_not_left_out(tmp_path, named, lengths):
    folder = made.save(tmp_path / "in", made.classic())
    for path in folder.iterdir():
        path.rename(folder / named.format(path.stem))
    path = folder / named.format("0026")
    whole = path.read_bytes()
    for left in [bytes(len(whole)), *(whole[:length] for length in lengths)]:
        path.write_bytes(left)
        with pytest.raises(InputError, match=rf"{path.name}.*(cut short|truncated)") as refusal:
            dicom.load_series(folder)
        assert is_one_plain_line(str(refusal.value))


@pytest.mark.parametrize("length", [8, 40, 131, 160])
def test_a_last_slice_without_a_preamble_is_not_left_out(tmp_path, length):
    images = made.implicit(made.every(made.classic(), InstanceCreatorUID="2.25." + "9" * 59))
    folder = made.save(tmp_path / "in", images)
    for path in folder.iterdir():
        raw = path.read_bytes()
        path.write_bytes(raw[144 + int.from_bytes(raw[140:144], "little") :])
    path = folder / "0026.dcm"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"0026\.dcm.*(cut short|truncated)"):
        dicom.load_series(folder)


def test_what_lies_beside_a_series_is_no_slice_that_was_cut_short(tmp_path):
    folder = made.save(tmp_path / "in", made.classic())
    for path in folder.iterdir():
        path.rename(folder / f"IM{path.stem}")
    beside = {
        "README": b"a scan",
        ".DS_Store": bytes(8),
        "._IM0001.dcm": b"\x00\x05\x16\x07",
        "DONE": b"",
        "IM0001.done": b"",
        "checksums.md5": b"0" * 131,
        "raw.img": bytes(500),
        "t1.ima": bytes(500),  # BrainVISA's voxels
        "flag": b"\x00",
    }
    for name, content in beside.items():
        (folder / name).write_bytes(content)
    directory = pydicom.fileset.FileSet()
    directory.add(folder / "IM0001")
    directory.write(tmp_path / "disc")
    (tmp_path / "disc" / "DICOMDIR").rename(folder / "DICOMDIR")
    assert len(dicom.load_series(folder).instances) == 26


@pytest.mark.parametrize("ends", ["SOPClassUID", "SeriesDescription", "SeriesInstanceUID", "Rows"])
@pytest.mark.parametrize("into", [0, 14])
def test_a_file_cut_short_in_its_header_is_named(tmp_path, ends, into):
    folder = made.save(tmp_path / "in", made.classic())
    # The last slice: a series without it has no gap.
    path = folder / "0026.dcm"
    element = made.pydicom.dcmread(path).get_item(ends)
    start = element.value_tell - 8
    path.write_bytes(path.read_bytes()[: start + min(into, 8 + element.length - 1)])
    with pytest.raises(
        InputError, match=r"0026\.dcm.*cut short|0026\.dcm cannot be read"
    ) as refusal:
        dicom.load_series(folder)
    assert is_one_plain_line(str(refusal.value))


@pytest.mark.parametrize(
    ("was", "becomes", "words"),
    [
        (
            b"1.2.840.10008.5.1.4.1.1.4",
            b"1.2.840.1\n008.5.1.4.1.1.4",
            "cannot be read (ValueError)",
        ),
        (b"IS\x02\x007 ", b"IS\x02\x00\\7", None),
        (b"t1 mprage ", b"t1\nmpr\x00ge ", None),
    ],
    ids=["a line break in a UID", "two series numbers", "control characters in a description"],
)
def test_no_message_has_what_only_a_damaged_header_holds(tmp_path, was, becomes, words):
    folder = made.save(tmp_path / "in", made.classic())
    whole = (folder / "0004.dcm").read_bytes()
    assert was in whole
    (folder / "0004.dcm").write_bytes(whole.replace(was, becomes))
    made.save(tmp_path / "in" / "other", made.enhanced())
    with pytest.raises(InputError) as refusal:
        dicom.load_series(folder)
    assert is_one_plain_line(str(refusal.value))
    assert words is None or words in str(refusal.value)


def test_messages_show_no_control_characters_of_a_character_set_that_is_not_named(tmp_path):
    made.save(tmp_path / "in", made.classic(name="t1 \u00c4".encode().decode("latin-1")))
    made.save(tmp_path / "in" / "other", made.enhanced())
    with pytest.raises(InputError, match=r"#7 't1 \u00c3\?' \(26 images") as refusal:
        dicom.load_series(tmp_path / "in")
    assert is_one_plain_line(str(refusal.value))


@pytest.mark.parametrize(
    ("named", "was", "becomes", "keyword"),
    [
        ("ISO_IR 100", b"LO\4\0P-1 ", b"LO\4\0P\t1 ", "PatientID"),
        ("ISO_IR 100", b"LO\4\0P-1 ", b"LO\x0c\0\x1b$B;3ED\x1b(B1 ", "PatientID"),
        ("ISO_IR 192", b"LO\4\0P-1 ", b"LO\4\0P-\xfc1", "PatientID"),
        ("ISO_IR 192", b"LO\4\0P-1 ", b"LO\6\0P\\P-\xfc1", "PatientID"),
        ("ISO_IR 100", b"LO\4\0P-1 ", b"FD\4\0P-1 ", "PatientID"),
        ("ISO_IR 192", b"PN\6\0Doe^Al", b"PN\6\0D\xfce^Al", "PatientName"),
        ("ISO_IR 100", b"PN\6\0Doe^Al", b"PN\x0c\0\x1b$B;3ED\x1b(B^A", "PatientName"),
        ("ISO_IR 100", b"PN\6\0Doe^Al", b"FD\6\0Doe^Al", "PatientName"),
    ],
    ids=[
        "a tab",
        "escapes",
        "no UTF-8",
        "one of two no UTF-8",
        "no text",
        "a name, no UTF-8",
        "a name with escapes",
        "a name that is no text",
    ],
)
def test_a_patient_who_cannot_be_read_is_refused(tmp_path, named, was, becomes, keyword):
    images = made.every(made.classic(), SpecificCharacterSet=named, PatientName="Doe^Al")
    folder = made.save(tmp_path / "in", images)
    for path in folder.iterdir():
        whole = path.read_bytes()
        assert whole.count(was) == 1
        path.write_bytes(whole.replace(was, becomes))
    with pytest.raises(InputError, match=rf"expected {keyword} in 0001\.dcm as text of") as refusal:
        dicom.load_series(folder)
    assert is_one_plain_line(str(refusal.value))


@pytest.mark.parametrize("kind", [b"UI", b"US", b"FD", b"AT", b"SQ"])
def test_a_damaged_file_meta_gives_no_traceback(tmp_path, kind):
    folder = made.save(tmp_path / "in", made.classic())
    whole = (folder / "0004.dcm").read_bytes()
    was = b"UI\x1a\x001.2.840.10008.5.1.4.1.1.4"
    becomes = kind + was[2:].replace(b"1.2.840", b"1.2\\840")
    assert was in whole
    (folder / "0004.dcm").write_bytes(whole.replace(was, becomes, 1))
    with contextlib.suppress(InputError):
        assert len(dicom.load_series(folder).instances) == 26


def test_a_file_of_noise_never_gives_a_traceback(tmp_path, rng):
    folder = made.save(tmp_path / "in", made.classic())
    whole = bytearray((folder / "0004.dcm").read_bytes())
    header = whole.index(b"\xe0\x7f\x10\x00")
    for _ in range(60):
        broken = bytearray(whole)
        for at in rng.integers(132, header, 8):
            broken[at] = rng.integers(256)
        (folder / "0004.dcm").write_bytes(broken)
        try:
            dicom.load_series(folder)
        except InputError as error:
            assert is_one_plain_line(str(error)) and len(str(error)) < 1000
