"""Gradient nonlinearity and bias field: known ones are put on an image, and must come off."""

import hashlib
import json
import sys
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from moediff_rt import bias, cli
from moediff_rt.bias import correct_bias
from moediff_rt.errors import InputError
from moediff_rt.gradients import GradientCoil, correct_gradients, read_coil, warp
from moediff_rt.io import scan_from_image

COEFFICIENTS = """\
# comment
 0.25 m = R0, lnorm = 4
 NO. TYPE             SPECTRUM               AXIS
  1  A( 1, 0)       1.00000000              z
  2  A( 3, 0)      -0.09210000              z
  3  A( 3, 1)      -0.08500000              x
  4  B( 3, 1)      -0.08700000              y
  5  A( 5, 1)       1.2e-02                 x
"""


@pytest.fixture
def coil(tmp_path):
    (tmp_path / "coil.grad").write_text(COEFFICIENTS)
    return read_coil(tmp_path / "coil.grad")


def head(points):
    """A smooth head-sized thing, anywhere in the world, mm."""
    inside = 1 / (1 + np.exp((np.linalg.norm(points / [75, 95, 85], axis=-1) - 1) * 8))
    return 800 * inside * (1 + 0.2 * np.cos(points / 20).prod(-1))


def world(shape, affine):
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def make_scan(values, affine, code=1):
    image = nib.Nifti1Image(np.asarray(values, np.float32), affine)
    image.set_sform(affine, code)
    image.set_qform(affine, code)
    return scan_from_image(image)


AFFINES = {
    "axial": (
        (44, 48, 40),
        np.array([[4.5, 0, 0, -97], [0, 4.5, 0, -105], [0, 0, 4.5, -70], [0, 0, 0, 1.0]]),
    ),
    "sagittal, left-handed": (
        (40, 48, 44),
        np.array([[0, 0, -4.5, 97], [4.5, 0, 0, -105], [0, -4.5, 0, 105], [0, 0, 0, 1.0]]),
    ),
    "oblique": (
        (44, 48, 40),
        np.array(
            [[4.4, 0.6, 0.3, -110], [-0.6, 4.4, 0.9, -100], [-0.1, -0.9, 4.4, -60], [0, 0, 0, 1.0]]
        ),
    ),
}


def test_third_degree_terms_are_the_textbook_polynomials(coil):
    x, y, z = p = np.random.default_rng(0).uniform(-120, 120, (3, 50))
    got = GradientCoil(250.0, {k: v for k, v in coil.terms.items() if k[2] == 3}).displacement(p.T)
    ours = {"x": -x, "y": y, "z": -z}  # scanner axes
    r2 = x * x + y * y + z * z
    zonal = -0.0921 * 250 * (5 * ours["z"] ** 3 - 3 * ours["z"] * r2) / (2 * 250**3)
    factor = np.sqrt(7 * 2 / (2 * 24)) * 1.5 * (5 * z * z - r2) / 250**3 * 250
    np.testing.assert_allclose(got[:, 2], -zonal, rtol=1e-9)
    np.testing.assert_allclose(got[:, 0], 0.085 * factor * ours["x"], rtol=1e-9)
    np.testing.assert_allclose(got[:, 1], -0.087 * factor * ours["y"], rtol=1e-9)


@pytest.mark.parametrize("name", AFFINES)
def test_a_distorted_head_is_put_right(coil, name):
    shape, affine = AFFINES[name]
    shown = world(shape, affine)
    true = shown.copy()
    for _ in range(8):  # where the coil shows `true` is `shown`
        true = shown - coil.displacement(true)
    moved = np.linalg.norm(true - shown, axis=-1)
    assert moved.max() > 3
    scan = make_scan(head(true) / coil.jacobian(true), affine)
    corrected, log_jacobian = correct_gradients(scan, coil)
    truth = head(shown)
    inner = np.s_[6:-6, 6:-6, 6:-6]  # what the field of view cuts off cannot come back
    before = np.abs(scan.data - truth)[inner].max()
    after = np.abs(corrected.data - truth)[inner].max()
    assert after < 0.05 * before, (before, after)
    np.testing.assert_allclose(log_jacobian, np.log(coil.jacobian(shown)), atol=2e-5)
    np.testing.assert_array_equal(corrected.affine, scan.affine)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("voxels", [0.02, -0.02, 0.49, -0.49])
def test_a_face_is_seen_to_the_edge_of_its_voxels_and_no_further(axis, voxels):
    data = np.full((28, 29, 30), 100, np.float32)
    data[14, 14, 14] = 0  # what is given beyond
    shift = np.zeros((*data.shape, 3), np.float32)
    shift[..., axis] = voxels
    faces = np.moveaxis(warp(data, shift), axis, 0)[[0, -1]]
    np.testing.assert_allclose(faces, 100, rtol=1e-4)
    shift[..., axis] = np.sign(voxels) * 0.51
    beyond = np.moveaxis(warp(data, shift), axis, 0)[-1 if voxels > 0 else 0]
    np.testing.assert_array_equal(beyond, 0)


@pytest.mark.parametrize("code", [0, 2, 4])
def test_only_scanner_coordinates_can_be_corrected(coil, code):
    shape, affine = AFFINES["axial"]
    with pytest.raises(InputError, match="scanner coordinates"):
        correct_gradients(make_scan(head(world(shape, affine)), affine, code), coil)


def test_coefficients_that_fold_the_scan_are_refused(coil):
    shape, affine = AFFINES["axial"]
    wild = GradientCoil(100.0, {k: 5 * v for k, v in coil.terms.items()})
    with pytest.raises(InputError, match="fold"):
        correct_gradients(make_scan(head(world(shape, affine)), affine), wild)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "R0"),
        ("no numbers here", "R0"),
        ("0.25 m = R0", "terms"),
        ("0 m = R0\n 1 A( 3, 0) -0.1 z", "R0"),
        ("0.25 m = R0\n 1 A( 3, 4) -0.1 z", "line 2"),
        ("0.25 m = R0\n 1 A(99, 0) -0.1 z", "line 2"),
        ("0.2.5 m = R0\n 1 A( 3, 0) -0.1 z", "line 1"),
        ("0.25 m = R0\n 1 A( 3, 0) 1..2 z", "line 2"),
        ("0.25 m = R0\n 1 A( 1, 0) 1.0 z", "terms"),
        ("0.25 m = R0\n 1 A( 3, 0) -0,1 z\n 2 A( 5, 0) -0.01 z", "line 2"),
        ("0.25 m = R0\n 1 A( 3, 0) -0.1 z\n 2 B( 5, 1) nan x", "line 3"),
    ],
)
def test_wrong_coefficient_files_are_named(tmp_path, text, said):
    path = tmp_path / "wrong.grad"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        read_coil(path)
    assert str(path) in str(caught.value)


def test_a_missing_coefficient_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.grad"):
        read_coil(tmp_path / "nothing.grad")


def test_n4_takes_a_known_bias_off():
    shape, affine = AFFINES["axial"]
    points = world(shape, affine)
    inside = np.linalg.norm(points / [75, 95, 85], axis=-1) < 1
    truth = np.where(inside, np.where(np.sin(points / 9).prod(-1) > 0, 800, 550), 5.0)
    log_bias = (0.003 * points[..., 1] - 2e-5 * points[..., 0] ** 2).astype(np.float32)
    scan = make_scan(truth * np.exp(log_bias), affine)
    corrected, found = correct_bias(scan)

    def spread(values):
        return np.std(np.log(values[inside] / truth[inside]))

    assert spread(scan.data) > 0.1
    assert spread(corrected.data) < 0.35 * spread(scan.data)
    np.testing.assert_allclose(corrected.data * np.exp(found), scan.data, rtol=1e-4, atol=1e-3)


def test_n4_finds_the_same_bias_whatever_the_number_of_threads(monkeypatch):
    process = pytest.importorskip("SimpleITK", reason="needs the extra n4").ProcessObject
    monkeypatch.setattr(bias, "ITERATIONS", 3)
    shape, affine = AFFINES["axial"]
    points = world(shape, affine)
    scan = make_scan(head(points) * np.exp(0.003 * points[..., 1]), affine)
    default = process.GetGlobalDefaultNumberOfThreads()
    found = []
    for threads in (1, 2, 3):
        process.SetGlobalDefaultNumberOfThreads(threads)
        found.append(correct_bias(scan)[1])
        assert process.GetGlobalDefaultNumberOfThreads() == threads
    process.SetGlobalDefaultNumberOfThreads(default)
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_n4_refuses_negative_voxels():
    shape, affine = AFFINES["axial"]
    with pytest.raises(InputError, match="below zero"):
        correct_bias(make_scan(head(world(shape, affine)) - 100, affine))


@pytest.fixture
def infer(tiny_bundle, tmp_path, monkeypatch):
    """`moediff-rt infer` on a head in scanner coordinates, with the coil's file at hand."""
    monkeypatch.setenv("MOEDIFF_RT_CACHE", str(tmp_path.parent / "cache"))
    (tmp_path / "coil.grad").write_text(COEFFICIENTS)
    affine = np.diag([5.0, 5, 5, 1])
    affine[:3, 3] = -67, -72, -57
    image = nib.Nifti1Image(head(world((28, 30, 24), affine)).astype(np.float32), affine)
    image.header.set_xyzt_units("mm")

    def run(*args, code=1):
        image.set_sform(affine, code)
        nib.save(image, tmp_path / "scan.nii")
        common = ("-o", str(tmp_path / "out.nii"), "--bundle", str(tiny_bundle), "--threads", "1")
        status = cli.main(["infer", str(tmp_path / "scan.nii"), *common, "--overwrite", *args])
        return status, tmp_path / "out.nii"

    return run


def test_infer_corrects_before_it_enhances_and_says_so(infer, tmp_path):
    status, out = infer()
    plain = nib.load(out).get_fdata()
    assert status == 0
    assert json.loads(out.with_suffix(".json").read_text())["Corrections"] == []
    status, out = infer("--gradients", str(tmp_path / "coil.grad"), "--n4")
    assert status == 0
    geometry, intensity = json.loads(out.with_suffix(".json").read_text())["Corrections"]
    assert geometry == {
        "Name": "gradient nonlinearity",
        "Coefficients": "coil.grad",
        "SHA256": hashlib.sha256((tmp_path / "coil.grad").read_bytes()).hexdigest(),
    }
    assert (intensity["Name"], intensity["Method"]) == ("bias field", "N4")
    assert np.abs(nib.load(out).get_fdata() - plain).max() > 50


def test_infer_says_how_to_get_n4(infer, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    assert infer("--n4")[0] == 2
    assert "pip install 'moediff-rt[n4]'" in capsys.readouterr().err


def test_infer_refuses_corrections_that_cannot_be(infer, tmp_path, capsys):
    assert infer("--gradients", str(tmp_path / "none.grad"))[0] == 2
    assert "none.grad" in capsys.readouterr().err
    status, out = infer("--gradients", str(tmp_path / "coil.grad"), code=2)
    assert status == 2
    assert not out.exists()
    assert "scanner coordinates" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "DIS2D"]}, "found DIS2D in its ImageType"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "DIS3D"]}, "found DIS3D in its ImageType"),
        ({"NonlinearGradientCorrection": True}, "found NonlinearGradientCorrection in"),
        ({"PatientPosition": "FFS"}, "expected PatientPosition HFS"),
        ({"PatientPosition": "F\nS"}, "expected PatientPosition HFS"),
    ],
)
def test_a_scan_is_not_corrected_where_its_sidecar_forbids_it(infer, tmp_path, capsys, said, words):
    (tmp_path / "scan.json").write_text(json.dumps(said))
    status, out = infer("--gradients", str(tmp_path / "coil.grad"))
    refused = capsys.readouterr().err
    assert status == 2 and not out.exists()
    assert words in refused and len(refused.splitlines()) == 1


@pytest.mark.parametrize(
    "said",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"], "PatientPosition": "HFS"},
        {"NonlinearGradientCorrection": False, "ImageType": 7, "PatientPosition": None},
        [],
    ],
)
def test_a_sidecar_that_forbids_nothing_lets_a_scan_be_corrected(coil, tmp_path, said):
    shape, affine = (12, 12, 12), np.diag([9.0, 9, 9, 1])
    scan = make_scan(head(world(shape, affine)), affine)
    (tmp_path / "scan.json").write_text(json.dumps(said))
    correct_gradients(replace(scan, source=str(tmp_path / "scan.nii.gz")), coil)
