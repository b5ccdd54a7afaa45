"""Scans come back as the kind of file they were: class, byte order, type, codes, header."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension

from moediff_rt import Acquisition
from moediff_rt.atomic import write_whole
from moediff_rt.io import image_writer, load_scan, scan_from_image, to_gate_image, to_image

SHAPE = (20, 24, 18)


def head(levels: float = 1000.0) -> np.ndarray:
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return (levels * np.clip(1.2 - sum(axis**2 for axis in grid), 0, 1)).astype(np.float32)


def save_scan(path: Path, data, affine, like) -> None:
    image = to_image(data, affine, like)
    write_whole({path: image_writer(image, compress=path.suffix == ".gz")})


def ras_affine() -> np.ndarray:
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = (-19, -23, -26)
    return affine


AFFINES = {
    "ras": ras_affine(),
    "left-handed": np.diag([-1.0, 1, 1, 1]) @ ras_affine(),
    "sagittal": ras_affine()[:, [2, 0, 1, 3]],
    "oblique": nib.affines.from_matvec(
        nib.eulerangles.euler2mat(0.2, -0.1, 0.3) @ np.diag([2.0, 2.0, 3.0]), (3, 4, 5)
    ),
}


@pytest.mark.parametrize(
    ("sidecar", "said"),
    [
        ('{"MRAcquisitionType": "2D"}', Acquisition("2D")),
        ('{"EchoTime": 0.003, "MRAcquisitionType": "3D"}', Acquisition("3D")),
        (
            '{"MRAcquisitionType": "2D", "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM"]}',
            Acquisition("2D"),
        ),
        ('{"MRAcquisitionType": "2D", "SliceThickness": 1.6}', Acquisition("2D", 1.6)),
        ('{"MRAcquisitionType": "2D", "SliceThickness": 3}', Acquisition("2D", 3)),
        ('{"MRAcquisitionType": "3D", "SliceThickness": 2}', Acquisition("3D")),
        ('{"MRAcquisitionType": "2D", "SliceThickness": 0}', Acquisition("2D")),
        ('{"MRAcquisitionType": "2D", "SliceThickness": 12.1}', Acquisition("2D")),
        ('{"MRAcquisitionType": "2D", "SliceThickness": 0.003}', Acquisition("2D")),
        ('{"MRAcquisitionType": "2D", "SliceThickness": 1' + "0" * 400 + "}", Acquisition("2D")),
        ('{"MRAcquisitionType": "2D", "SliceThickness": NaN}', Acquisition("2D")),
        ('{"MRAcquisitionType": "2D", "SliceThickness": true}', Acquisition("2D")),
        ('{"MRAcquisitionType": "2D", "SliceThickness": "2"}', Acquisition("2D")),
        ('{"MRAcquisitionType": "3D", "ImageType": ["DERIVED", "SECONDARY", "MPR"]}', None),
        ('{"MRAcquisitionType": "3D", "ImageType": ["ORIGINAL", "PRIMARY", "Mpr"]}', None),
        ('{"MRAcquisitionType": "3D", "ImageType": 7}', Acquisition("3D")),
        ('{"MRAcquisitionType": "4D"}', None),
        ('{"MRAcquisitionType": ["2D"]}', None),
        ('{"EchoTime": 0.003}', None),
        ('["2D"]', None),
        ("{", None),
        ("[" * 100000, None),
        ("\x00", None),
        ('{"MRAcquisitionType": "2D"}' + " " * (1 << 20), None),
        (None, None),
    ],
    ids=range(25),
)
def test_the_json_beside_a_scan_says_how_it_was_acquired(tmp_path, sidecar, said):
    path = tmp_path / "sub-01_T1w.nii.gz"
    nib.save(nib.Nifti1Image(head(), ras_affine()), path)
    if sidecar is not None:
        (tmp_path / "sub-01_T1w.json").write_text(sidecar)
    assert load_scan(path).acquisition == scan_from_image(nib.load(path)).acquisition == said
    assert scan_from_image(nib.Nifti1Image(head(), ras_affine())).acquisition is None


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_class_byte_order_and_type_survive(tmp_path, suffix, dtype, image_class, order):
    data = head(250).astype(dtype)
    header = image_class.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    nib.save(image_class(data, ras_affine(), header), tmp_path / f"in{suffix}")
    scan = load_scan(tmp_path / f"in{suffix}")
    assert scan.data.dtype == np.float32
    np.testing.assert_allclose(scan.data, data, rtol=1e-6)
    save_scan(tmp_path / f"out{suffix}", scan.data, scan.affine, scan)
    out = nib.load(tmp_path / f"out{suffix}")
    assert type(out) is image_class
    assert out.header.endianness == order
    assert out.get_data_dtype() == np.dtype(dtype).newbyteorder(order)
    np.testing.assert_array_equal(np.asarray(out.dataobj), data)


@pytest.mark.parametrize("axes", AFFINES)
@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 2), (1, 4), (3, 3)])
def test_geometry_codes_and_header_survive(tmp_path, axes, codes):
    image = nib.Nifti1Image(head().astype(np.int16), AFFINES[axes])
    image.set_qform(AFFINES[axes], code=codes[0])
    image.set_sform(AFFINES[axes], code=codes[1])
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_dim_info(freq=0, phase=1, slice=2)
    image.header["descrip"] = b"a scanner's words"
    image.header["cal_max"] = 900
    image.header.extensions.append(Nifti1Extension("comment", b"keep me"))
    nib.save(image, tmp_path / "in.nii.gz")
    before = nib.load(tmp_path / "in.nii.gz")
    scan = load_scan(tmp_path / "in.nii.gz")
    np.testing.assert_allclose(scan.affine, before.affine, atol=1e-6)

    grid = scan.grid.resized([2 * n for n in SHAPE])
    doubled = np.kron(scan.data, np.ones((2, 2, 2), dtype=np.float32))
    save_scan(tmp_path / "out.nii.gz", doubled, grid.affine, scan)
    out = nib.load(tmp_path / "out.nii.gz")
    assert (int(out.header["qform_code"]), int(out.header["sform_code"])) == codes
    assert nib.aff2axcodes(out.affine) == nib.aff2axcodes(before.affine)
    corner = [[-0.5, -0.5, -0.5], [n - 0.5 for n in SHAPE]]
    far = [[-0.5, -0.5, -0.5], [2 * n - 0.5 for n in SHAPE]]
    for get in ("get_best_affine", "get_qform", "get_sform"):
        if (get == "get_qform" and not codes[0]) or (get == "get_sform" and not codes[1]):
            continue
        np.testing.assert_allclose(
            nib.affines.apply_affine(getattr(out.header, get)(), far),
            nib.affines.apply_affine(getattr(before.header, get)(), corner),
            atol=1e-4,
        )
    np.testing.assert_allclose(out.header.get_zooms(), np.array(before.header.get_zooms()) / 2)
    assert out.header.get_xyzt_units() == ("mm", "sec")
    assert out.header.get_dim_info() == (0, 1, 2)
    assert out.header["descrip"] == before.header["descrip"]
    assert float(out.header["cal_max"]) == 900
    assert [e.get_content() for e in out.header.extensions] == [
        e.get_content() for e in before.header.extensions
    ]


@pytest.mark.parametrize(("unit", "millimetres"), [("micron", 1e-3), ("meter", 1e3), ("mm", 1.0)])
def test_units_other_than_millimetres_are_read_and_written_back(tmp_path, unit, millimetres):
    affine = ras_affine()
    affine[:3] /= millimetres
    image = nib.Nifti1Image(head(), affine)
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "in.nii")
    scan = load_scan(tmp_path / "in.nii")
    np.testing.assert_allclose(scan.affine, ras_affine(), rtol=1e-5)
    save_scan(tmp_path / "out.nii", scan.data, scan.affine, scan)
    out = nib.load(tmp_path / "out.nii")
    assert out.header.get_xyzt_units()[0] == unit
    np.testing.assert_allclose(out.affine, affine, rtol=1e-5)


def test_scaled_integers_keep_their_values_and_their_type(tmp_path):
    image = nib.Nifti1Image(head(1.0), ras_affine())
    image.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "in.nii")
    scan = load_scan(tmp_path / "in.nii")
    assert scan.scaled
    sharper = scan.data * np.float32(1.25) - np.float32(0.1)
    save_scan(tmp_path / "out.nii", sharper, scan.affine, scan)
    out = nib.load(tmp_path / "out.nii")
    assert out.get_data_dtype() == np.int16
    assert out.dataobj.slope != 1
    np.testing.assert_allclose(out.get_fdata(), sharper, atol=1e-4)


def test_unscaled_wide_integers_are_rounded_and_clipped_without_a_slope(tmp_path):
    nib.save(nib.Nifti1Image(head(250).astype(np.uint8), ras_affine()), tmp_path / "in.nii")
    scan = load_scan(tmp_path / "in.nii")
    save_scan(tmp_path / "out.nii", 1.3 * scan.data - 20, scan.affine, scan)
    out = nib.load(tmp_path / "out.nii")
    assert (out.dataobj.slope, out.dataobj.inter) == (1, 0)
    expected = np.clip(np.rint(1.3 * scan.data.astype(float) - 20), 0, 255)
    np.testing.assert_allclose(np.asarray(out.dataobj), expected, atol=1)


def test_unscaled_narrow_integers_get_a_slope(tmp_path):
    nib.save(nib.Nifti1Image(head(12).astype(np.int16), ras_affine()), tmp_path / "in.nii")
    scan = load_scan(tmp_path / "in.nii")
    save_scan(tmp_path / "out.nii", scan.data + np.float32(0.25), scan.affine, scan)
    out = nib.load(tmp_path / "out.nii")
    assert out.get_data_dtype() == np.int16
    np.testing.assert_allclose(out.get_fdata(), scan.data + 0.25, atol=1e-3)


def test_a_trailing_axis_of_one_is_dropped(tmp_path):
    nib.save(nib.Nifti1Image(head()[..., None], ras_affine()), tmp_path / "in.nii")
    scan = load_scan(tmp_path / "in.nii")
    assert scan.data.shape == SHAPE
    save_scan(tmp_path / "out.nii", scan.data, scan.affine, scan)
    assert nib.load(tmp_path / "out.nii").shape == SHAPE


def test_an_image_in_memory_comes_back_as_its_class():
    image = nib.Nifti2Image(head(), ras_affine())
    scan = scan_from_image(image)
    out = to_image(scan.data, scan.affine, scan)
    assert type(out) is nib.Nifti2Image
    np.testing.assert_array_equal(out.get_fdata(), head())


def test_equal_results_are_equal_files(tmp_path):
    nib.save(nib.Nifti1Image(head(), ras_affine()), tmp_path / "in.nii")
    scan = load_scan(tmp_path / "in.nii")
    for name in ("a.nii.gz", "b.nii.gz"):
        save_scan(tmp_path / name, scan.data, scan.affine, scan)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_gates_are_weights_times_255_in_memory_and_weights_in_the_file(tmp_path):
    nib.save(nib.Nifti1Image(head(), ras_affine()), tmp_path / "in.nii")
    scan = load_scan(tmp_path / "in.nii")
    gates = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    image = to_gate_image(gates, scan.affine, scan)
    np.testing.assert_array_equal(np.asarray(image.dataobj), gates)
    write_whole({tmp_path / "gates.nii.gz": image_writer(image, compress=True)})
    out = nib.load(tmp_path / "gates.nii.gz")
    assert out.get_data_dtype() == np.uint8
    np.testing.assert_allclose(out.get_fdata(), gates / 255, atol=1e-6)


def off_quaternion(image: nib.Nifti1Image, excess: float = 1e-5) -> nib.Nifti1Image:
    """Make b² + c² + d² a little above 1, as converters' rounding does."""
    length = np.sqrt((1 + excess) / 3)
    for axis in "bcd":
        image.header[f"quatern_{axis}"] = length
    image.header["qform_code"] = 1
    return image


@pytest.mark.parametrize("excess", [1e-5, np.nan])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_qform_that_is_no_rotation_gives_way_to_the_sform(tmp_path, suffix, excess):
    image = nib.Nifti1Image(head(), None)
    image.header.set_sform(ras_affine(), code=2)
    image.header.set_zooms((2, 2, 3))
    (tmp_path / f"in{suffix}").write_bytes(b"")
    nib.save(off_quaternion(image, excess), tmp_path / f"in{suffix}")
    scan = load_scan(tmp_path / f"in{suffix}")
    save_scan(tmp_path / "out.nii", scan.data, scan.affine, scan)
    out = nib.load(tmp_path / "out.nii")
    np.testing.assert_allclose(out.affine, ras_affine(), atol=1e-4)
    assert (int(out.header["qform_code"]), int(out.header["sform_code"])) == (0, 2)
    np.testing.assert_allclose(out.header.get_qform(), ras_affine(), atol=1e-4)


def test_an_image_in_memory_may_have_its_affine_in_the_header_alone():
    image = nib.Nifti1Image(head(), None)
    image.header.set_sform(ras_affine(), code=2)
    np.testing.assert_allclose(scan_from_image(image).affine, ras_affine())
