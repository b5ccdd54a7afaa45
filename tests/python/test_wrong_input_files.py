"""Each way a file can be wrong gets its own one-line refusal."""

from __future__ import annotations

import gzip
import os
import struct

import nibabel as nib
import numpy as np
import pytest

from moediff_rt.errors import InputError
from moediff_rt.io import load_scan, scan_from_image


def good() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 900, (16, 18, 20)).astype(np.int16)


def save(path, data, affine=None) -> str:
    nib.save(nib.Nifti1Image(data, np.diag([2, 2, 2, 1]) if affine is None else affine), path)
    return str(path)


def patched(path, offset, layout, *values) -> str:
    raw = bytearray(path.read_bytes())
    struct.pack_into(layout, raw, offset, *values)
    path.write_bytes(raw)
    return str(path)


def with_voxel(value) -> np.ndarray:
    data = good().astype(np.float32)
    data[3, 4, 5] = value
    return data


def missing(folder):
    return folder / "none.nii.gz"


def a_folder(folder):
    return folder


def empty(folder):
    (folder / "in.nii.gz").touch()
    return folder / "in.nii.gz"


def truncated_gz(folder):
    save(folder / "in.nii.gz", good())
    raw = (folder / "in.nii.gz").read_bytes()
    (folder / "in.nii.gz").write_bytes(raw[: len(raw) // 2])
    return folder / "in.nii.gz"


def gz_without_its_end(folder):
    save(folder / "in.nii.gz", good())
    raw = (folder / "in.nii.gz").read_bytes()
    (folder / "in.nii.gz").write_bytes(raw[:-6])
    return folder / "in.nii.gz"


def gz_of_other_content(folder):
    save(folder / "in.nii.gz", good())
    raw = bytearray((folder / "in.nii.gz").read_bytes())
    raw[-8] ^= 1  # the check sum's first byte
    (folder / "in.nii.gz").write_bytes(raw)
    return folder / "in.nii.gz"


def gz_broken_inside(folder):
    save(folder / "in.nii.gz", good())
    raw = bytearray((folder / "in.nii.gz").read_bytes())
    raw[-2000:-1000] = b"\xff" * 1000
    (folder / "in.nii.gz").write_bytes(raw)
    return folder / "in.nii.gz"


def words_after_gz(folder):
    save(folder / "in.nii.gz", good())
    with open(folder / "in.nii.gz", "ab") as stream:
        stream.write(b"and more")
    return folder / "in.nii.gz"


def truncated_nii(folder):
    save(folder / "in.nii", good())
    raw = (folder / "in.nii").read_bytes()
    (folder / "in.nii").write_bytes(raw[:-100])
    return folder / "in.nii"


def only_a_header(folder):
    save(folder / "in.nii", good())
    (folder / "in.nii").write_bytes((folder / "in.nii").read_bytes()[:348])
    return folder / "in.nii"


def text_named_nii(folder):
    (folder / "in.nii").write_text("this is not a scan\n" * 100)
    return folder / "in.nii"


def text_in_gz(folder):
    (folder / "in.nii.gz").write_bytes(gzip.compress(b"this is not a scan\n" * 100))
    return folder / "in.nii.gz"


def unpacked_named_gz(folder):
    save(folder / "in.nii", good())
    (folder / "in.nii").rename(folder / "in.nii.gz")
    return folder / "in.nii.gz"


def dicom(folder):
    (folder / "in.dcm").write_bytes(bytes(128) + b"DICM")
    return folder / "in.dcm"


def giant(folder):
    save(folder / "in.nii.gz", good())
    raw = bytearray(gzip.decompress((folder / "in.nii.gz").read_bytes()))
    struct.pack_into("<3h", raw, 42, 32000, 32000, 32000)
    (folder / "in.nii.gz").write_bytes(gzip.compress(bytes(raw)))
    return folder / "in.nii.gz"


def four_d(folder):
    return save(folder / "bold.nii.gz", np.stack([good()] * 5, axis=-1))


def two_d(folder):
    return save(folder / "in.nii", good()[..., 0])


def rgb(folder):
    colours = np.zeros((16, 16, 16), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    return save(folder / "in.nii", colours)


def complex_values(folder):
    return save(folder / "in.nii", good().astype(np.complex64))


def nan(folder):
    return save(folder / "in.nii", with_voxel(np.nan))


def infinity(folder):
    return save(folder / "in.nii", with_voxel(np.inf))


def zeros(folder):
    return save(folder / "in.nii", np.zeros((16, 16, 16), np.int16))


def constant(folder):
    return save(folder / "in.nii", np.full((16, 16, 16), 7, np.int16))


def negative(folder):
    return save(folder / "in.nii", -1 - good())


def too_small(folder):
    return save(folder / "in.nii", good()[:, :, :4])


def zero_voxel(folder):
    save(folder / "in.nii", good())
    return patched(folder / "in.nii", 84, "<f", 0.0)


def nan_voxel(folder):
    save(folder / "in.nii", good())
    return patched(folder / "in.nii", 84, "<f", float("nan"))


def huge_voxel(folder):
    return save(folder / "in.nii", good(), np.diag([200.0, 2, 2, 1]))


def tiny_voxel(folder):
    return save(folder / "in.nii", good(), np.diag([0.002, 0.002, 0.002, 1]))


def nan_affine(folder):
    save(folder / "in.nii", good())
    return patched(folder / "in.nii", 280, "<f", float("nan"))


def flat_affine(folder):
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 1] = affine[:3, 0]
    image = nib.Nifti1Image(good(), np.diag([2, 2, 2, 1]))
    image.header.set_sform(affine, code=1)
    nib.save(nib.Nifti1Image(good(), None, image.header), folder / "in.nii")
    return folder / "in.nii"


def off_qform_alone(folder):
    image = nib.Nifti1Image(good(), np.diag([2, 2, 2, 1]))
    image.set_qform(image.affine, code=1)
    image.set_sform(None, code=0)
    nib.save(image, folder / "in.nii")
    return patched(folder / "in.nii", 256, "<3f", *[np.sqrt((1 + 1e-5) / 3)] * 3)


def a_pipe(folder):
    os.mkfifo(folder / "in.nii")
    return folder / "in.nii"


def beyond_float32(folder):
    return save(folder / "in.nii", np.where(good() > 890, 1e300, 1.0))


def packed_named_nii(folder):
    save(folder / "in.nii.gz", good())
    (folder / "in.nii.gz").rename(folder / "in.nii")
    return folder / "in.nii"


def voxels_in_the_header(folder):
    save(folder / "in.nii", good())
    return patched(folder / "in.nii", 108, "<f", 0.0)


def nan_offset(folder):
    save(folder / "in.nii", good())
    return patched(folder / "in.nii", 108, "<f", float("nan"))


def huge_pixdim_beside_a_good_sform(folder):
    save(folder / "in.nii", good())
    return patched(folder / "in.nii", 80, "<f", 1e30)


def unknown_type(folder):
    save(folder / "in.nii", good())
    return patched(folder / "in.nii", 70, "<h", 999)


def nan_intercept(folder):
    save(folder / "in.nii", good())
    return patched(folder / "in.nii", 112, "<2f", 1.0, float("nan"))


def name_too_long(folder):
    return folder / ("x" * 300 + ".nii")


CASES = {
    packed_named_nii: "rename",
    voxels_in_the_header: "vox_offset says byte 0",
    nan_offset: "vox_offset says byte nan",
    huge_pixdim_beside_a_good_sform: r"1e\+30",
    unknown_type: "header.*999",
    nan_intercept: "header.*nan",
    name_too_long: "too long",
    off_qform_alone: "unit quaternion.*1.00001",
    a_pipe: "pipe",
    beyond_float32: "float32",
    missing: "found nothing",
    a_folder: "is a folder",
    empty: "is empty",
    truncated_gz: "truncated",
    gz_without_its_end: "truncated",
    gz_of_other_content: "damaged",
    gz_broken_inside: "damaged",
    words_after_gz: "damaged",
    truncated_nii: "truncated",
    only_a_header: "truncated",
    text_named_nii: "not one|NIfTI",
    text_in_gz: "not one|NIfTI",
    unpacked_named_gz: "gzip",
    dicom: "dcm2niix",
    giant: "truncated",
    four_d: r"3-D.*\(16, 18, 20, 5\)",
    two_d: r"3-D.*\(16, 18\)",
    rgb: "RGB",
    complex_values: "complex",
    nan: "1 NaN or infinite",
    infinity: "1 NaN or infinite",
    zeros: "all voxels are zero",
    constant: "all voxels are 7",
    negative: "above zero",
    too_small: "at least 8",
    zero_voxel: "above zero",
    nan_voxel: "voxel sizes",
    huge_voxel: "200",
    tiny_voxel: "0.002",
    nan_affine: "finite|NaN",
    flat_affine: "singular",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_a_wrong_file_is_refused_in_one_line(tmp_path, make):
    path = make(tmp_path)
    with pytest.raises(InputError, match=CASES[make]) as caught:
        load_scan(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("expected ")
    assert ";" in message or "?" in message, "a remedy is named"


def test_something_that_is_no_nifti_image_is_refused():
    with pytest.raises(InputError, match=r"Session\.enhance"):
        scan_from_image(np.zeros((8, 8, 8)))
    with pytest.raises(InputError, match="MGHImage"):
        scan_from_image(nib.MGHImage(np.ones((8, 8, 8), np.float32), np.eye(4)))


def test_an_image_in_memory_with_a_bad_qform_alone_is_refused():
    image = nib.Nifti1Image(good(), np.diag([2, 2, 2, 1]))
    image.set_sform(None, code=0)
    image.header["qform_code"] = 1
    image.header["quatern_b"] = 1.01
    with pytest.raises(InputError, match="unit quaternion"):
        scan_from_image(image)


@pytest.mark.parametrize("where", ["check_file", "_sha256"])
def test_a_scan_one_may_not_read_is_not_called_damaged(tmp_path, monkeypatch, where):
    def refuse(_path):
        raise PermissionError(13, "Permission denied")

    path = save(tmp_path / "in.nii", good())
    monkeypatch.setattr(f"moediff_rt.io.{where}", refuse)
    with pytest.raises(InputError, match="no permission") as caught:
        load_scan(path)
    assert "damaged" not in str(caught.value)
