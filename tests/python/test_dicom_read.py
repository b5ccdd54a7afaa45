"""DICOM series become the volume and affine that they were made from."""

from __future__ import annotations

import builtins

import dicom_series as made
import nibabel as nib
import numpy as np
import pytest

from moediff_rt import Acquisition, InputError, dicom

pytest.importorskip("pydicom", reason="pydicom is not installed: pip install '.[dicom]'")
SHAPES = [
    {"plane": "axial"},
    {"plane": "sagittal", "tilt": 0.21},
    {"plane": "coronal", "tilt": -0.1, "thicker": 2},
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape["plane"])
@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_a_series_is_read_as_the_volume_it_was_made_from(tmp_path, kind, shape):
    series = made.classic(**shape) if kind == "classic" else made.enhanced(**shape)
    scan = dicom.load_series(made.save(tmp_path / "in", series, shuffled=True)).scan
    data, affine = made.volume(**shape)
    expected = data if kind == "classic" else 0.5 * data - 10
    np.testing.assert_array_equal(scan.data, expected.astype(np.float32))
    np.testing.assert_allclose(scan.affine, affine, atol=1e-6)
    np.testing.assert_allclose(scan.header.get_best_affine(), affine, atol=1e-4)


@pytest.mark.parametrize(
    ("tag", "image_type", "said"),
    [
        ("2D", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], Acquisition("2D", 2)),
        ("3D", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], Acquisition("3D")),
        ("3D", ["DERIVED", "PRIMARY", "MPR", "NONE"], None),
        ("", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], None),
        (None, ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], None),
    ],
)
def test_a_series_says_how_it_was_acquired(tmp_path, tag, image_type, said):
    image = made.enhanced()
    image.MRAcquisitionType, image.ImageType = tag, image_type
    if tag is None:
        del image.MRAcquisitionType
    scan = dicom.load_series(made.save(tmp_path / "in", image)).scan
    assert scan.acquisition == said


@pytest.mark.parametrize(
    ("thickness", "known"),
    [
        (["1.5"] * 3, 1.5),
        (["1.5", "1.50", "1.500001"], 1.5),
        (["1.5", "1.5", "2"], None),
        (["1.5", "", "1.5"], None),
        (["0.002"] * 3, None),
        ([""] * 3, None),
        (["0"] * 3, None),
        (["40"] * 3, None),
        ([["1", "2"]] * 3, None),
    ],
    ids=[
        "gaps",
        "rounded",
        "one-differs",
        "one-is-silent",
        "metres",
        "empty",
        "zero",
        "far-too-thick",
        "two-values",
    ],
)
def test_slices_say_how_thick_they_are(tmp_path, thickness, known):
    images = made.classic()
    for number, image in enumerate(images):
        image.MRAcquisitionType, image.SliceThickness = "2D", thickness[number % 3]
    scan = dicom.load_series(made.save(tmp_path / "in", images)).scan
    assert scan.acquisition == Acquisition("2D", known)


def test_slices_along_a_finer_edge_are_none_with_a_profile_along_the_coarsest(tmp_path):
    images = made.classic()
    for image in images:
        image.MRAcquisitionType, image.PixelSpacing = "2D", ["3", "2"]
    assert dicom.load_series(made.save(tmp_path / "in", images)).scan.acquisition is None


def test_slices_from_the_far_end_are_read_from_the_near_one(tmp_path):
    """The volume's third axis follows the slices' normal, whichever way they were numbered."""
    images = made.classic("sagittal")
    forward = dicom.load_series(made.save(tmp_path / "a", images)).scan
    for number, image in enumerate(reversed(images)):
        image.InstanceNumber = str(number + 1)
    backward = dicom.load_series(made.save(tmp_path / "b", images)).scan
    np.testing.assert_array_equal(forward.data, backward.data)
    np.testing.assert_array_equal(forward.affine, backward.affine)
    assert np.linalg.det(forward.affine[:3, :3]) > 0


def test_each_slice_is_rescaled_by_its_own_slope(tmp_path):
    images = made.classic()
    for k, image in enumerate(images):
        image.RescaleSlope, image.RescaleIntercept = str(1 + k), str(-k)
    scan = dicom.load_series(made.save(tmp_path / "in", images)).scan
    k = np.arange(len(images))
    np.testing.assert_allclose(scan.data, made.volume()[0] * (1 + k) - k, rtol=1e-6)


@pytest.mark.parametrize("above", ["overlay", "sign", "zeros"])
def test_signed_voxels_keep_their_sign_whatever_lies_above_them(tmp_path, above):
    images = made.every(made.classic(), PixelRepresentation=1)
    values = made.volume()[0].astype(np.int32) - 300
    for k, image in enumerate(images):
        stored = values[..., k].T & (0xFFFF if above == "sign" else 0x0FFF)  # 12 bits
        if above == "overlay":
            stored |= 0xA000
            image.add_new(0x60020102, "US", 13)  # OverlayBitPosition
        image.PixelData = np.ascontiguousarray(stored.astype("<u2")).tobytes()
    scan = dicom.load_series(made.save(tmp_path / "in", images)).scan
    np.testing.assert_array_equal(scan.data, values)


def test_padding_is_no_signal(tmp_path):
    images = made.classic()
    for image in images:
        image.RescaleSlope, image.RescaleIntercept = "1", "50"
        image.PixelPaddingValue, image.PixelPaddingRangeLimit = 0, 800
    scan = dicom.load_series(made.save(tmp_path / "in", images)).scan
    data = made.volume()[0]
    assert (data <= 800).any() and (data > 800).any()
    np.testing.assert_array_equal(scan.data, np.where(data <= 800, 0, data + 50))


@pytest.mark.parametrize(
    ("signed", "kind", "value"),
    [(1, "SS", -2000), (1, "US", 63536), (0, "US", 63536), (0, "SS", -2000)],
)
def test_padding_is_found_signed_or_unsigned(tmp_path, signed, kind, value):
    images = made.every(made.classic(), BitsStored=16, HighBit=15, PixelRepresentation=signed)
    for image in images:
        del image.SmallestImagePixelValue, image.LargestImagePixelValue
        image.add_new("PixelPaddingValue", kind, value)
        image.PixelData = np.uint16(63536).tobytes() * 40 + image.PixelData[80:]
    data = dicom.load_series(made.save(tmp_path / "in", images)).scan.data
    assert data.min() == 0 and data.max() < 4096


def test_the_high_bit_of_voxels_that_fill_their_words_says_nothing(tmp_path):
    images = made.every(made.classic(), BitsStored=16, HighBit=11)
    found = dicom.load_series(made.save(tmp_path / "in", images)).scan.data
    expected = dicom.load_series(made.save(tmp_path / "whole", made.classic())).scan.data
    np.testing.assert_array_equal(found, expected)


def test_eight_bits_are_read(tmp_path):
    images = made.classic()
    for k, image in enumerate(images):
        image.BitsAllocated, image.BitsStored, image.HighBit = 8, 8, 7
        data = (made.volume()[0][..., k].T // 16).clip(0, 255).astype(np.uint8)
        image.PixelData = np.ascontiguousarray(data).tobytes()
    scan = dicom.load_series(made.save(tmp_path / "in", images)).scan
    np.testing.assert_array_equal(scan.data, (made.volume()[0] // 16).clip(0, 255))


def test_the_default_transfer_syntax_is_read(tmp_path):
    scan = dicom.load_series(made.save(tmp_path / "in", made.implicit(made.classic()))).scan
    np.testing.assert_array_equal(scan.data, made.volume()[0])


def test_files_are_found_by_content_in_every_folder(tmp_path):
    images = made.classic()
    made.save(tmp_path / "in" / "deeper", images[:9], shuffled=True)
    made.save(tmp_path / "in", images[9:])
    (tmp_path / "in" / "notes.dcm").write_text("no image" * 20)
    (tmp_path / "in" / "deeper" / "VERSION").write_bytes(b"\x08\x00 something else")
    scan = dicom.load_series(tmp_path / "in").scan
    np.testing.assert_array_equal(scan.data, made.volume()[0])


def test_files_without_a_preamble_are_found(tmp_path):
    folder = made.save(tmp_path / "in", made.implicit(made.classic()))
    for path in folder.iterdir():
        raw = path.read_bytes()
        meta_length = int.from_bytes(raw[140:144], "little")
        path.write_bytes(raw[144 + meta_length :])
    np.testing.assert_array_equal(dicom.load_series(folder).scan.data, made.volume()[0])


def test_one_enhanced_file_is_a_series(tmp_path):
    folder = made.save(tmp_path, made.enhanced())
    assert dicom.load_series(folder / "0001.dcm").scan.data.shape == made.volume()[0].shape


def test_a_series_is_picked_by_number_or_uid(tmp_path):
    one, two = made.classic(name="one"), made.enhanced(name="two")
    two.SeriesNumber = "12"
    made.save(tmp_path / "a", one)
    made.save(tmp_path / "b", two)
    listed = dicom.list_series(tmp_path)
    assert [(item.number, item.description, item.images) for item in listed] == [
        (7, "one", len(one)),
        (12, "two", len(one)),
    ]
    for wanted, found in (("12", two), (one[0].SeriesInstanceUID, one[0])):
        assert dicom.load_series(tmp_path, wanted).uid == found.SeriesInstanceUID
    with pytest.raises(InputError, match=r"found 2: #7 'one' \(26 images.*--series NUMBER"):
        dicom.load_series(tmp_path)
    with pytest.raises(InputError, match="no series so named"):
        dicom.load_series(tmp_path, "3")
    two.SeriesNumber = "7"
    made.save(tmp_path / "b", two)
    with pytest.raises(InputError, match="2 series so named"):
        dicom.load_series(tmp_path, "7")


def test_objects_that_are_no_mr_image_are_passed_over(tmp_path):
    made.save(tmp_path / "in", made.classic())
    report = made.classic(name="report")[0]
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    report.SeriesNumber = "99"
    made.save(tmp_path / "in" / "sr", report)
    assert dicom.load_series(tmp_path / "in").header.SeriesNumber == 7
    with pytest.raises(InputError, match="Basic Text SR"):
        dicom.load_series(tmp_path / "in", "99")


def test_the_nifti_header_of_a_series_is_that_of_its_volume(tmp_path):
    """Maps beside the result, and what needs scanner coordinates, go by it."""
    scan = dicom.load_series(made.save(tmp_path / "in", made.classic())).scan
    assert scan.header["sform_code"] == scan.header["qform_code"] == 1
    image = nib.Nifti1Image(scan.data, None, scan.header)
    assert image.header.get_zooms() == (2.0, 2.0, 2.0)


def test_without_pydicom_one_line_says_what_to_install(tmp_path, monkeypatch):
    folder = made.save(tmp_path / "in", made.classic())
    real = builtins.__import__

    def missing(name, *args, **options):
        if name.partition(".")[0] == "pydicom":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match=r"moediff-rt\[dicom\]"):
        dicom.load_series(folder)
