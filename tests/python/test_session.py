"""The library's door: arrays and scans through a tiny bundle on the real core."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import oracle.consistency
import pytest

import moediff_rt
from moediff_rt import Acquisition, BackendError, BundleError, Cancelled, InputError
from moediff_rt.dicom import load_series
from moediff_rt.foreground import find_foreground
from moediff_rt.io import scan_from_image
from moediff_rt.noise import noise_sigma

SHAPE = (28, 30, 20)


def head(shape: tuple[int, int, int] = SHAPE, level: float = 800.0) -> np.ndarray:
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    tissue = (sum(axis**2 for axis in grid) < 0.5) * (1 + 0.2 * np.sin(9 * grid[0]))
    noise = np.random.default_rng(0).standard_normal((2, *shape))
    return np.hypot(level * tissue + 8 * noise[0], 8 * noise[1]).astype(np.float32)


@pytest.fixture(scope="module")
def session(tiny_bundle, tmp_path_factory):
    engines = tmp_path_factory.mktemp("engines")
    with moediff_rt.Session(tiny_bundle, threads=1, precision="fp32", engines_dir=engines) as it:
        yield it


def test_enhance_doubles_the_grid_by_default(session):
    result = session.enhance(head(), 2.0)
    assert result.shape == (56, 60, 40)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()


def test_the_same_seed_gives_the_same_volume_and_another_seed_another(session):
    first = session.enhance(head(), 2.0, seed=3, data_consistency=False)
    np.testing.assert_array_equal(
        session.enhance(head(), 2.0, seed=3, data_consistency=False), first
    )
    assert np.any(session.enhance(head(), 2.0, seed=4, data_consistency=False) != first)


def test_the_result_scales_with_the_scan(session):
    single = session.enhance(head(), 2.0)
    tenfold = session.enhance(10 * head(), 2.0)
    np.testing.assert_allclose(tenfold, 10 * single, atol=2e-3 * np.abs(tenfold).max())


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.0, 1.0, 3.0)])
def test_the_result_brought_back_is_the_scan_up_to_its_noise(session, spacing):
    data = head()
    run = session.run(data, spacing)
    profile = (int(np.argmax(spacing[::-1])), run.slice_profile)
    seen = oracle.consistency.acquired(run.data.T, data.T.shape, profile)
    left = np.abs(seen) - data.T  # a scan is a magnitude
    sigma = noise_sigma(data.T.copy(), find_foreground(data.T.copy(), spacing[::-1]))
    assert np.sqrt(np.mean(left**2)) <= sigma
    if not run.slice_profile:
        assert np.abs(left).max() <= 3.17 * sigma + 1e-5 * data.max()  # csrc/core/consistency.h


def test_how_a_scan_was_acquired_says_what_its_thick_slices_are(session):
    # Too small for the spectrum to tell.
    runs = {said: session.run(head(), (1, 1, 3), acquisition=said) for said in (None, "2D", "3D")}
    assert {said: (run.acquisition, run.slice_profile) for said, run in runs.items()} == {
        None: (None, 0),
        "2D": (Acquisition("2D"), 1),
        "3D": (Acquisition("3D"), 0),
    }
    np.testing.assert_array_equal(runs["3D"].data, runs[None].data)
    assert np.any(runs["2D"].data != runs["3D"].data)
    for alike in (2.0, (1.3, 1.3, 1.0)):  # along which axis the slices lie is not known
        run = session.run(head(), alike, acquisition="2D")
        assert (run.acquisition, run.slice_profile) == (Acquisition("2D"), 0)


@pytest.mark.parametrize(("thickness", "width"), [(2, 0.8), (2.5, 1), (5, 2), (10, 4)])
def test_slices_have_gaps_or_overlap_where_their_thickness_says_so(session, thickness, width):
    acquisition = Acquisition("2D", slice_thickness=thickness)
    run = session.run(head(), (1, 1, 2.5), acquisition=acquisition)
    assert (run.acquisition, run.slice_profile) == (acquisition, width)
    contiguous = session.run(head(), (1, 1, 2.5), acquisition="2D")
    assert np.any(run.data != contiguous.data) == (width != 1)


def test_a_scan_says_how_it_was_acquired_unless_the_caller_does(session):
    image = nib.Nifti1Image(head(), np.diag([1, 1, 3, 1]))
    scan = dataclasses.replace(scan_from_image(image), acquisition=Acquisition("2D"))
    assert session.infer_scan(scan).run.slice_profile == 1
    assert session.infer_scan(scan, acquisition="3D").run.slice_profile == 0
    scan = dataclasses.replace(scan, acquisition=Acquisition("2D", 2.4))
    for given, profile in ((None, 0.8), ("2D", 0.8), (Acquisition("2D", 1.5), 0.5)):
        run = session.infer_scan(scan, acquisition=given).run
        assert run.slice_profile == pytest.approx(profile), given


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float32])
def test_an_image_without_voxels_below_zero_comes_back_without(session, dtype):
    data = np.where(head() > 300, head(), 0)  # extracted: the model rings into the air
    assert session.run(data, 2.0).data.min() < -1
    inferred = session.infer_scan(
        scan_from_image(nib.Nifti1Image(data.astype(dtype), np.diag([2, 2, 2, 1])))
    )
    assert np.asanyarray(inferred.image.dataobj).min() == inferred.run.data.min() == 0
    data[0, 0, 0] = -1
    signed = nib.Nifti1Image(data.astype(np.float32), np.diag([2, 2, 2, 1]))
    assert np.asanyarray(session.infer(signed).dataobj).min() < -1


def test_an_enhanced_volume_says_how_it_was_made(session):
    progress = []
    run = session.run(
        head(), 2.0, steps=1, seed=9, save_gates=True, progress=lambda *at: progress.append(at)
    )
    assert (run.steps, run.seed) == (1, 9)
    assert run.spacing == pytest.approx((1.0, 1.0, 1.0))
    assert run.noise_sigma == pytest.approx(8, rel=0.25)
    assert run.tiles > 0 and run.expert_calls > 0
    bundle = session.bundle
    (tile,) = run.tile_sizes
    for low, size, high in zip(bundle.smallest_tile, tile, bundle.tile[:2], strict=True):
        assert low <= size <= high
    assert progress[-1] == (run.tiles, run.tiles)
    assert {"prepare", "model", "consistency"} <= set(run.seconds)
    assert run.gates is not None and run.gates.dtype == np.uint8
    assert run.gates.shape[:3] == run.data.shape
    inside = run.gates[28, 30, 20].astype(int)
    assert inside.sum() == pytest.approx(255, abs=3)


def test_cancel_stops_the_run(session):
    with pytest.raises(Cancelled):
        session.enhance(head(), 2.0, cancel=lambda: True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"array": np.zeros((8, 8))}, "3-D"),
        ({"array": np.zeros(SHAPE)}, "all voxels are zero"),
        ({"array": np.where(head() > 1e3, np.nan, head() + np.nan)}, "NaN"),
        ({"array": head().astype(np.complex64)}, "complex"),
        ({"array": np.full(SHAPE, "7")}, "numbers"),
        ({"array": head().astype(object)}, "numbers"),
        ({"array": np.ma.masked_greater(head(), 900)}, "without masked voxels"),
        ({"array": [[[1.0], [1.0, 2.0]]]}, "numbers"),
        ({"array": head().astype(np.float64) * 1e300}, "float32"),
        ({"spacing": 0.0}, "above zero"),
        ({"spacing": "wide"}, "one or three"),
        ({"output_spacing": "fine"}, "output spacing"),
        ({"spacing": (1.0, 2.0)}, "one or three"),
        ({"spacing": 9.0}, "input voxels"),
        ({"spacing": 0.2}, "input voxels"),
        ({"output_spacing": 0.1}, "output spacing"),
        ({"output_spacing": 4.0}, "output spacing"),
        ({"output_spacing": float("nan")}, "output spacing"),
        ({"steps": 0}, "steps"),
        ({"steps": 10**6}, "steps"),
        ({"steps": 41}, "from 1 to 40 steps"),
        ({"steps": 2.0}, "whole number"),
        ({"seed": 1.5}, "whole number"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"acquisition": "4D"}, "expected 2D or 3D for acquisition"),
        ({"acquisition": 2}, "expected 2D or 3D for acquisition"),
        (
            {"acquisition": Acquisition("2D", 12.1), "spacing": (1, 1, 3)},
            "4 times as thick as they lie apart",
        ),
        (
            {"acquisition": Acquisition("2D", np.float32(0.5)), "spacing": (1, 1, 3)},
            r"expected slices 0.2 to 4 .*\(3.0 mm\), got 0.5 mm",
        ),
    ],
)
def test_wrong_settings_are_refused(session, change, words):
    request = {"array": head(), "spacing": 2.0} | change
    with pytest.raises(InputError, match=words) as caught:
        session.enhance(**request)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("limit", [-1, float("nan"), 2.0**63, 10**30, "8 GB"])
def test_a_memory_limit_that_is_none_is_refused(tiny_bundle, limit):
    with pytest.raises(InputError, match="expected a memory limit from 0"):
        moediff_rt.Session(tiny_bundle, max_memory=limit)


def test_a_masked_array_without_masked_voxels_is_an_array(session):
    np.testing.assert_array_equal(
        session.enhance(np.ma.masked_greater(head(), 1e9), 2.0), session.enhance(head(), 2.0)
    )


def test_a_fork_of_a_process_with_engines_is_refused_instead_of_hanging(tiny_bundle, tmp_path):
    code = (
        "import os, sys, moediff_rt\n"
        "from moediff_rt.errors import EngineError\n"
        "def build():\n"
        "    moediff_rt.Session(sys.argv[1], engines_dir=sys.argv[2], threads=1).build()\n"
        "build()\n"
        "if child := os.fork():\n"
        "    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "try:\n"
        "    build()\n"
        "except EngineError as error:\n"
        "    os._exit(7 if 'spawn' in str(error) else 8)\n"
        "os._exit(9)\n"
    )
    command = [sys.executable, "-c", code, str(tiny_bundle), str(tmp_path)]
    assert subprocess.run(command, timeout=120, cwd=tmp_path).returncode == 7


def test_steps_are_bound_by_where_the_sampler_starts(tiny_bundle, tmp_path):
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    manifest = json.loads((tmp_path / "bundle" / "bundle.json").read_text())
    manifest["sampler"] |= {"start": "noise", "start_timestep": 99}
    (tmp_path / "bundle" / "bundle.json").write_text(json.dumps(manifest))
    session = moediff_rt.Session(tmp_path / "bundle", threads=1, engines_dir=tmp_path / "engines")
    with pytest.raises(InputError, match="from 1 to 99 steps"):
        session.enhance(head(), 2.0, steps=100)
    assert not (tmp_path / "engines").exists(), "refused before engines were built"
    assert session.run(head((10, 10, 10)), 2.0, steps=np.int64(99)).steps == 99


def test_a_missing_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError):
        moediff_rt.Session(tmp_path / "nothing")


@pytest.mark.parametrize("option", ["bundle", "engines_dir"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        (b"caf\xe9", "UTF-8, got .*caf.udce9"),
        (b"", "empty path"),
        (b"a\0b", r"a NUL, '.*a\\x00b'"),
    ],
)
def test_a_path_that_the_core_cannot_take_is_refused(tiny_bundle, tmp_path, option, name, words):
    path = os.fsdecode(os.path.join(os.fsencode(tmp_path), name) if name else name)
    with pytest.raises(InputError, match=words):
        moediff_rt.Session(**{"bundle": tiny_bundle, option: path})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("load", ["scan", "series"])
@pytest.mark.parametrize(
    ("path", "words"), [("", "empty path"), ("a\0b.nii", r"a NUL, 'a\\x00b\.nii'")]
)
def test_a_path_that_no_scan_can_have_is_refused(session, load, path, words):
    if load == "series":
        pytest.importorskip("pydicom", reason="needs the extra dicom")
    read = session.infer if load == "scan" else load_series
    with pytest.raises(InputError, match=words):
        read(path)


@pytest.mark.parametrize("option", ["backend", "device", "precision"])
@pytest.mark.parametrize("name", [0, None, b"auto", "\udcff", "auto\0"])
def test_a_name_that_is_no_text_is_refused(tiny_bundle, option, name):
    with pytest.raises(InputError, match=f"expected the name of a {option}, got "):
        moediff_rt.Session(tiny_bundle, **{option: name})


def test_an_unknown_backend_is_refused(tiny_bundle, tmp_path):
    session = moediff_rt.Session(tiny_bundle, backend="abacus", engines_dir=tmp_path)
    with pytest.raises(BackendError, match="abacus"):
        session.enhance(head(), 2.0)


def affine_of(axes: str) -> np.ndarray:
    if axes == "oblique":
        turn = nib.eulerangles.euler2mat(0.2, -0.1, 0.3)
        return nib.affines.from_matvec(turn @ np.diag([2.0, 2.0, 2.0]), (3, 4, 5))
    ornt = nib.orientations.axcodes2ornt(tuple(axes))
    start = np.diag([2.0, 2.0, 2.0, 1.0])
    return start @ nib.orientations.inv_ornt_aff(ornt, SHAPE)


@pytest.mark.parametrize("axes", ["RAS", "LAS", "PSR", "AIL", "oblique"])
@pytest.mark.parametrize("dtype", ["int16", "uint8", "float32"])
def test_infer_gives_back_the_axes_type_and_corners_of_the_scan(session, axes, dtype):
    affine = affine_of(axes)
    data = (head() / 4).astype(dtype)
    image = nib.Nifti1Image(data, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=2)
    out = session.infer(image)
    assert type(out) is nib.Nifti1Image
    assert out.shape == tuple(2 * n for n in SHAPE)
    assert out.get_data_dtype() == np.dtype(dtype)
    assert nib.aff2axcodes(out.affine) == nib.aff2axcodes(affine)
    assert (int(out.header["qform_code"]), int(out.header["sform_code"])) == (1, 2)
    corners = nib.affines.apply_affine(affine, [[-0.5] * 3, [n - 0.5 for n in SHAPE]])
    for found in (out.affine, out.get_qform(), out.get_sform()):
        np.testing.assert_allclose(
            nib.affines.apply_affine(found, [[-0.5] * 3, [2 * n - 0.5 for n in SHAPE]]),
            corners,
            atol=1e-3,
        )
    # What is in the voxels has not been turned or flipped: the head is where it was.
    coarse = np.asarray(out.dataobj, dtype=float).reshape(28, 2, 30, 2, 20, 2).mean((1, 3, 5))
    assert np.corrcoef(coarse.ravel(), data.ravel())[0, 1] > 0.9


def test_the_axes_of_the_file_do_not_change_the_result(session):
    straight = nib.Nifti1Image(head(), affine_of("RAS"))
    ornt = nib.orientations.axcodes2ornt(("P", "S", "R"))
    turned = straight.as_reoriented(ornt)
    out = session.infer(turned)
    expected = session.infer(straight).as_reoriented(ornt)
    np.testing.assert_array_equal(np.asarray(out.dataobj), np.asarray(expected.dataobj))
    np.testing.assert_allclose(out.affine, expected.affine, atol=1e-4)


def test_gates_lie_on_the_output_grid_in_the_scans_axes(session):
    scan = scan_from_image(nib.Nifti1Image(head(), affine_of("PSR")))
    result = session.infer_scan(scan, save_gates=True)
    assert result.gates is not None
    assert result.gates.shape[:3] == result.image.shape
    np.testing.assert_allclose(result.gates.affine, result.image.affine)


def test_a_memory_limit_is_kept_or_refused_before_the_run(tiny_bundle, tmp_path):
    scan = head()
    whole = moediff_rt.Session(tiny_bundle, engines_dir=tmp_path).enhance(scan, 2.0)
    with pytest.raises(InputError, match=r"expected a memory limit of [0-9]+ bytes") as refused:
        moediff_rt.Session(tiny_bundle, engines_dir=tmp_path, max_memory=1000).enhance(scan, 2.0)
    least = int(re.search("limit of ([0-9]+) bytes", str(refused.value))[1])
    assert least > whole.nbytes
    kept = moediff_rt.Session(tiny_bundle, engines_dir=tmp_path, max_memory=least)
    np.testing.assert_array_equal(kept.enhance(scan, 2.0), whole)
    # Gates and the samples' spread are results, too.
    for more in ({"save_gates": True}, {"samples": 2}):
        with pytest.raises(InputError, match="expected a memory limit"):
            kept.run(scan, 2.0, **more)
