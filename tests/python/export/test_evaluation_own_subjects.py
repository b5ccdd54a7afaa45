"""Scans of one's own are subjects like those held out, or are refused in one line."""

import json

import nibabel as nib
import numpy as np
import oracle.consistency
import pytest
from moediff_export.cli import main
from moediff_export.data.held_out import FULL_SCALE, load_subject, scan_shape
from moediff_export.data.own_subjects import read_pair, read_truth
from moediff_export.evaluation import compare, run
from moediff_export.evaluation.conditions import CONDITIONS
from moediff_export.evaluation.consistency import scan_residual
from moediff_export.evaluation.methods import read_scan
from real_pairs import AFFINE, half_affine, halved, head, write_pair
from real_pairs import save as save_volume
from scipy import ndimage

from moediff_rt import Acquisition, Session
from moediff_rt._core import load_bundle
from moediff_rt.errors import MoediffError
from moediff_rt.grid import voxel_sizes
from moediff_rt.spacing import choose_output_shape

SHAPE = (64, 72, 40)


def phantom(shape=SHAPE):
    """A head and its brain mask: folded white matter in grey matter, in air, in a bright skull."""
    rng = np.random.default_rng(0)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = np.sqrt(x**2 + y**2 + (0.8 * z) ** 2)
    folds = ndimage.gaussian_filter(rng.standard_normal(shape), 3)
    white = 1 / (1 + np.exp(-8 * folds / folds.std()))
    brain = radius < 0.75
    skull = (radius > 0.82) & (radius < 0.9)
    head = brain * (300 + 250 * white) + 900 * skull + rng.random(shape) + 1
    return head.astype(np.float32), brain


def save(path, volume, edges=(1, 1, 1)):
    affine = np.diag([*edges, 1.0]).astype(float)
    affine[:3, 3] = -30, -40, 10
    nib.save(nib.Nifti1Image(volume, affine), path)
    return path


def save_head(folder, edges=(1, 1, 1), shape=SHAPE):
    head, brain = phantom(shape)
    save(folder / "sub-01_desc-brain_mask.nii.gz", brain.astype(np.uint8), edges)
    return save(folder / "sub-01_T1w.nii.gz", head, edges)


def test_a_head_with_its_mask_is_a_subject(tmp_path):
    subject = read_truth(save_head(tmp_path))
    head, brain = phantom()
    assert subject.name == "sub-01_T1w" and subject.truth.shape == SHAPE
    assert np.array_equal(subject.brain, brain)
    assert np.percentile(subject.truth[brain], 99.5) == pytest.approx(FULL_SCALE, rel=1e-3)
    np.testing.assert_allclose(subject.truth / subject.truth.max(), head / head.max(), atol=1e-5)
    white, cortex, junction = subject.regions
    assert subject.regions.sum(0).max() <= 1 + 1e-5 and not subject.regions[:, ~brain].any()
    means = [np.average(head, weights=region) for region in (white, junction, cortex)]
    assert means == sorted(means, reverse=True) and len(set(means)) == 3


def test_an_extracted_brain_needs_no_mask(tmp_path):
    head, brain = phantom()
    subject = read_truth(save(tmp_path / "brain.nii.gz", head * brain))
    assert subject.name == "brain" and np.array_equal(subject.brain, brain)


def test_edges_that_differ_become_alike_over_the_same_box(tmp_path):
    edges = (0.9, 0.9375, 0.9375)
    subject = read_truth(save_head(tmp_path, edges))
    spacing = np.array(subject.grid.spacing)
    assert np.ptp(spacing) < 0.01 and spacing.max() == pytest.approx(0.9375, abs=0.01)
    np.testing.assert_allclose(spacing * subject.truth.shape, np.array(edges) * SHAPE)
    _, brain = phantom()
    assert subject.brain.mean() == pytest.approx(brain.mean(), rel=0.01)


def test_edges_at_the_largest_ratio_are_taken_as_the_file_rounds_them(tmp_path):
    edges = (1, 1, 1.2)
    path = save_head(tmp_path, edges)
    assert nib.load(path).affine[2, 2] > 1.2  # a float32
    subject = read_truth(path)
    assert subject.grid.spacing == pytest.approx((1.2, 1.2, 1.2), rel=0.01)
    np.testing.assert_allclose(
        np.multiply(subject.grid.spacing, subject.truth.shape), np.array(edges) * SHAPE, rtol=1e-6
    )


def test_a_truth_has_the_grid_of_results_where_an_axis_would_end_in_half_a_voxel(
    tiny_bundle, tmp_path
):
    edges, shape = (0.9375, 0.9375, 1.125), (60, 159, 40)  # 159 x 0.9375 / 1.125 = 132.5
    grid = read_truth(save_head(tmp_path, edges, shape)).grid
    assert grid.spacing == pytest.approx((1.125,) * 3, rel=0.03)
    bundle = load_bundle(str(tiny_bundle))
    for condition in CONDITIONS:
        scan = grid.resized(scan_shape(grid.shape, condition.factors))
        found = choose_output_shape(scan.shape, scan.spacing, grid.spacing[2], bundle)
        assert found == grid.shape, condition.name


def test_axes_in_the_file_do_not_matter(tmp_path):
    plain = read_truth(save_head(tmp_path))
    for path in tmp_path.iterdir():
        image = nib.load(path).as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
        nib.save(image, path)
    turned = read_truth(tmp_path / "sub-01_T1w.nii.gz")
    np.testing.assert_allclose(turned.truth, plain.truth, rtol=1e-5)
    np.testing.assert_allclose(turned.affine, plain.affine, atol=1e-5)
    assert np.array_equal(turned.brain, plain.brain)


@pytest.mark.parametrize(
    ("fault", "match"),
    [
        ("no mask", "sub-01_desc-brain_mask.nii.gz.* beside it, found no mask and 100%"),
        ("empty mask", "all voxels are zero in .*sub-01_desc-brain_mask"),
        ("mask below a half", "expected a brain .* found 0 voxels"),
        ("mask over air", "expected a brain .* none bright"),
        ("mask of another grid", "mask on the grid"),
        ("thick slices", "isotropic"),
        ("no file", "found nothing at"),
    ],
)
def test_what_is_no_truth_is_refused_in_one_line(tmp_path, fault, match):
    path = save_head(tmp_path, (1, 1, 3) if fault == "thick slices" else (1, 1, 1))
    mask = tmp_path / "sub-01_desc-brain_mask.nii.gz"
    if fault == "no mask":
        mask.unlink()
    elif fault == "empty mask":
        save(mask, np.zeros(SHAPE, np.uint8))
    elif fault == "mask below a half":
        save(mask, np.float32(0.3) * phantom()[1])
    elif fault == "mask over air":
        save(path, np.where(phantom()[1], 0, phantom()[0]))
    elif fault == "mask of another grid":
        save(mask, phantom()[1][1:].astype(np.uint8))
    elif fault == "no file":
        path.unlink()
    with pytest.raises((ValueError, MoediffError, FileNotFoundError), match=match) as caught:
        read_truth(path)
    assert "\n" not in str(caught.value)


def test_a_part_is_cut_around_the_slice_that_is_shown():
    subject = load_subject("mni152")
    part = subject.middle(24)
    assert np.array_equal(part.truth, subject.truth[..., 92:116])
    assert part.shown == (subject.shown[0], 12) and part.slab(14, 20).shown[1] == 0


def test_a_truth_is_evaluated_like_a_held_out_subject(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "SLICES", 16)  # as thin as it can be
    path = save_head(tmp_path)
    results = run.evaluate(
        tiny_bundle, tmp_path / "report", (), CONDITIONS[:1], quick=True, truths=[path], threads=1
    )
    for table in ("scores", "consistency", "gates", "steps"):
        assert {row["subject"] for row in results[table]} == {"sub-01_T1w"}, table
    assert not results["lesions"]
    settings = json.loads((tmp_path / "report/report.json").read_text())["provenance"]["settings"]
    assert settings["subjects"] == [] and len(settings["truths"][str(path)]) == 64


def test_a_truth_named_like_a_held_out_subject_is_refused(tiny_bundle, tmp_path):
    head, brain = phantom()
    path = save(tmp_path / "sharp.nii.gz", head * brain)
    with pytest.raises(ValueError, match="another sharp in"):
        run.evaluate(tiny_bundle, tmp_path / "report", (), truths=[path])
    with pytest.raises(ValueError, match=r"found none.* name one"):
        run.evaluate(tiny_bundle, tmp_path / "report", ())


def test_a_scan_that_cannot_be_enhanced_shows_before_the_long_part(tiny_bundle, tmp_path):
    thick = head().reshape(24, 2, 26, 2, 11, 4).mean(axis=(1, 3, 5))  # 2 x 2 x 4 mm
    affine = half_affine() @ np.diag([1, 1, 2, 1.0])
    affine[2, 3] = AFFINE[2, 3] + 1.5
    pair = write_masked_pair(tmp_path, low=300 * thick, low_affine=affine)
    lines = []
    with pytest.raises(MoediffError, match="2 x 2 x 4 mm"):
        run.evaluate(
            tiny_bundle, tmp_path / "report", ("mni152",), pairs=[pair], progress=lines.append
        )
    assert not lines


@pytest.mark.parametrize("fault", ["too few slices for one of the scans", "another grid"])
def test_a_truth_that_cannot_be_compared_shows_before_the_long_part(
    tiny_bundle, tmp_path, monkeypatch, fault
):
    path, words = save_head(tmp_path, shape=(64, 72, 20)), "64 x 72 x 7"
    if fault == "another grid":
        path = save_head(tmp_path)
        monkeypatch.setattr(run, "choose_output_shape", lambda *_: (64, 72, 41))
        words = r"results on the grid \(64, 72, 40\) of sub-01_T1w"
    lines = []
    chosen = CONDITIONS[0], CONDITIONS[4]
    with pytest.raises((ValueError, MoediffError), match=words):
        run.evaluate(
            tiny_bundle, tmp_path / "report", (), chosen, truths=[path], progress=lines.append
        )
    assert not lines


def test_two_truths_of_one_name_are_refused(tiny_bundle, tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    for folder in paths:
        folder.mkdir()
        save_head(folder)
    with pytest.raises(ValueError, match="different names"):
        run.evaluate(
            tiny_bundle, tmp_path / "report", (), truths=[p / "sub-01_T1w.nii.gz" for p in paths]
        )


def write_masked_pair(root, **options):
    """A real pair, and its 7T scan's brain mask."""
    low, target = write_pair(root, **options)
    mask = target.with_name(target.name.replace("T1w", "desc-brain_mask"))
    save_volume(mask, head() > 0.3, AFFINE)
    return low, target


def test_a_pair_is_a_subject_over_its_scans_box_on_one_scale(tmp_path):
    low_path, target_path = write_masked_pair(tmp_path)
    low_path.with_name("sub-01_3T_T1w.json").write_text('{"MRAcquisitionType": "3D"}')
    subject, scan, acquisition = read_pair(low_path, target_path)
    low = nib.load(low_path)
    assert acquisition == Acquisition("3D") and subject.name == "sub-01_3T_T1w"
    assert np.array_equal(scan.dataobj, low.dataobj)
    assert subject.truth.shape == head().shape and np.allclose(subject.affine, AFFINE)
    # 1900 in the 7T file, 300 in the 3T file.
    np.testing.assert_allclose(subject.truth[subject.brain], 300 * head()[subject.brain], rtol=0.02)
    assert np.array_equal(subject.brain, head() > 0.3)


def test_a_scan_a_little_off_its_partner_has_the_truth_over_its_own_box(tmp_path):
    shift = np.array([0.8, -0.6, 0.4])
    moved = ndimage.shift(head(), -shift, order=3, mode="nearest")
    affine = half_affine()
    affine[:3, 3] += shift
    paths = write_masked_pair(tmp_path, low=300 * halved(moved), low_affine=affine)
    subject, *_ = read_pair(*paths)
    np.testing.assert_allclose(subject.affine[:3, 3], AFFINE[:3, 3] + shift)
    inner = (slice(6, -6),) * 3
    error, without = (
        np.abs(subject.truth - 300 * truth)[inner].mean() for truth in (moved, head())
    )
    assert error < 0.25 * without


def test_a_pair_without_a_brain_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"sub-01_7T_desc-brain_mask\.nii\.gz beside it"):
        read_pair(*write_pair(tmp_path))


def enhanced_and_left(bundle, *paths):
    """A pair's scan enhanced, and a measure of what a volume leaves out of that scan."""
    subject, scan, _ = read_pair(*paths)
    scanned = compare.acquired(scan)
    low = read_scan(scan)
    with Session(bundle, threads=1) as session:
        edges = voxel_sizes(scan.affine)
        result = session.enhance(low, edges, output_spacing=float(subject.grid.spacing[2]))
    return result, lambda volume: scan_residual(scanned.see(volume), low, scanned.sigma)["rms"]


def test_real_pairs_are_evaluated_as_they_are(tiny_bundle, tmp_path, capsys):
    paths = write_masked_pair(tmp_path / "study")
    report = tmp_path / "report"
    words = ["evaluate", str(tiny_bundle), "-o", str(report), "--threads", "1"]
    assert main([*words, "--real", str(tmp_path / "study")]) == 0
    results = json.loads((report / "report.json").read_text())
    place = {"subject": "sub-01_3T_T1w", "condition": "as acquired"}
    for table in ("scores", "consistency", "gates"):
        assert all(place.items() <= row.items() for row in results[table]) and results[table]
    assert results["lesions"] == results["steps"] == []
    cubic = next(row for row in results["scores"] if row["method"] == "cubic B-spline")
    assert cubic["masks"]["brain"]["psnr"] > 30  # of one head, in place, on one scale
    ours = next(r for r in results["consistency"] if r["method"] == "moediff-rt")
    result, left = enhanced_and_left(tiny_bundle, *paths)
    assert left(result) <= 1.001
    # An image is a magnitude: what this untrained model rings below zero it lacks.
    assert ours["rms"] == pytest.approx(left(np.maximum(result, 0)), rel=0.02)
    assert len(results["provenance"]["settings"]["pairs"]) == 2
    text = (report / "report.html").read_text()
    assert "Sampler steps" not in text and "Lesions" not in text
    assert main([*words, "--real", str(tmp_path / "study"), "--quick", "--overwrite"]) == 2
    assert "found both" in capsys.readouterr().err
    assert main([*words, "--n4", "--overwrite"]) == 2
    assert "--n4 with --real alone" in capsys.readouterr().err


def test_a_real_scan_of_thick_slices_is_seen_with_their_profile():
    rng = np.random.default_rng(0)
    shape = (120, 108, 44)
    anatomy = ndimage.gaussian_filter(rng.standard_normal((120, 108, 132)), 0.7) + 3
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in anatomy.shape), indexing="ij")
    anatomy *= 100 * (np.sqrt(sum(axis**2 for axis in grid)) < 0.8)
    anatomy = np.maximum(anatomy, 0).astype(np.float32)
    # The oracle's axes are the core's, (z, y, x).
    seen = oracle.consistency.acquired(anatomy.T, shape[::-1], (0, 1.0)).T
    noise = 3 * rng.standard_normal((2, *shape))
    scan = np.hypot(seen + noise[0], noise[1]).astype(np.float32)
    image = nib.Nifti1Image(scan, np.diag([1.0, 1.0, 3.0, 1.0]))
    scanned = compare.acquired(image)
    assert scanned.plane == "coronal" and scanned.sigma == pytest.approx(3, rel=0.3)
    np.testing.assert_allclose(scanned.see(anatomy), seen, atol=0.02 * seen.max())
    plain = oracle.consistency.acquired(anatomy.T, shape[::-1], (0, 0.0)).T
    assert np.abs(plain - seen).max() > 0.1 * seen.max()
    # Said to be otherwise, they are seen so.
    encoded = compare.acquired(image, Acquisition("3D"))
    assert encoded.acquisition == Acquisition("3D")
    np.testing.assert_allclose(encoded.see(anatomy), plain, atol=0.02 * seen.max())
    gapped = compare.acquired(image, Acquisition("2D", slice_thickness=1.5))
    thin = oracle.consistency.acquired(anatomy.T, shape[::-1], (0, 0.5)).T
    np.testing.assert_allclose(gapped.see(anatomy), thin, atol=0.02 * seen.max())


def test_the_command_refuses_a_truth_that_is_not_there(tmp_path, capsys):
    assert main(["evaluate", "-o", str(tmp_path / "report"), "--truth", "none.nii.gz"]) == 2
    assert "none.nii.gz" in capsys.readouterr().err
