"""Programs that we did not write read the derived series: dciodvfy, dcmtk, dcm2niix."""

from __future__ import annotations

import shutil
import subprocess

import dicom_series as made
import nibabel as nib
import numpy as np
import pytest

from moediff_rt import cli

pytest.importorskip("pydicom", reason="pydicom is not installed: pip install '.[dicom]'")


def with_gaps():
    """Slices of 2.5 mm, 4 mm apart."""
    images = made.classic("coronal", name="t1 se", thicker=2)
    for image in images:
        image.MRAcquisitionType, image.SliceThickness = "2D", "2.5"
    return images


SERIES = {
    "axial": lambda: made.classic(),
    "sagittal oblique": lambda: made.classic("sagittal", tilt=0.23),
    "coronal thick": lambda: made.classic("coronal", tilt=-0.1, thicker=2),
    "coronal with gaps": with_gaps,
    "enhanced": lambda: made.enhanced("sagittal", tilt=0.15),
}


def need(program, package):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: apt-get install {package}")


@pytest.fixture(scope="module", params=SERIES)
def folders(request, tiny_bundle, tmp_path_factory):
    """A series and its derived series."""
    folder = tmp_path_factory.mktemp("peers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOEDIFF_RT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        source = made.save(folder / "in", SERIES[request.param](), shuffled=True)
        options = ["--bundle", str(tiny_bundle), "--threads", "1", "-q"]
        assert cli.main(["infer", str(source), "-o", str(folder / "out"), *options]) == 0
    return source, folder / "out"


def test_dciodvfy_finds_no_error(folders):
    need("dciodvfy", "dicom3tools")
    for path in list(folders[1].iterdir())[::9]:
        said = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace")
        lines = said.stderr.splitlines()
        assert "MRImage" in lines, "it saw what it is"
        assert not [line for line in lines if line.startswith("Error")], said.stderr


def test_dcentvfy_finds_the_series_and_its_source_consistent(folders):
    need("dcentvfy", "dicom3tools")
    if len(list(folders[0].iterdir())) == 1:
        pytest.skip("it cannot compare classic images with an enhanced one")
    paths = [str(path) for folder in folders for path in folder.iterdir()]
    said = subprocess.run(["dcentvfy", *paths], capture_output=True, text=True, errors="replace")
    assert not [line for line in said.stderr.splitlines() if "Error" in line], said.stderr[:2000]


def test_dcmdump_reads_every_image(folders):
    need("dcmdump", "dcmtk")
    said = subprocess.run(
        ["dcmdump", "--search", "DerivationDescription", *map(str, folders[1].iterdir())],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.count("MoEDiff-SR") == len(list(folders[1].iterdir()))
    assert not said.stderr


def converted(folder, out):
    need("dcm2niix", "dcm2niix")
    out.mkdir()
    said = subprocess.run(
        ["dcm2niix", "-z", "n", "-b", "y", "-f", "scan", "-o", out, folder],
        capture_output=True,
        text=True,
    )
    (path,) = out.glob("*.nii")
    assert said.returncode == 0, said.stdout
    return path


def test_dcm2niix_gives_what_the_nifti_route_gives(folders, tiny_bundle, tmp_path, monkeypatch):
    """Convert then enhance, or enhance then convert: the same voxels at the same place.

    The sidecar says how thick slices were acquired, as DICOM does, and how thick they are.
    """
    monkeypatch.setenv("MOEDIFF_RT_CACHE", str(tmp_path / "cache"))
    source, result = folders
    scan = converted(source, tmp_path / "before")
    options = ["--bundle", str(tiny_bundle), "--threads", "1", "-q"]
    nifti = tmp_path / "nifti.nii"
    assert cli.main(["infer", str(scan), "-o", str(nifti), *options]) == 0
    one, other = nib.load(nifti), nib.load(converted(result, tmp_path / "after"))
    assert one.shape == other.shape
    np.testing.assert_allclose(one.affine, other.affine, atol=1e-3)
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    corners = corners * [*(n - 1 for n in one.shape), 1]
    np.testing.assert_allclose(one.affine @ corners.T, other.affine @ corners.T, atol=1e-3)
    values = one.get_fdata()
    assert np.ptp(values) > 500
    # A series without negative values gets none; dcm2niix may widen the range of signed ones.
    floor = min(other.get_fdata().min(), 0.0)
    np.testing.assert_allclose(other.get_fdata(), np.clip(values, floor, None), atol=1.01)
