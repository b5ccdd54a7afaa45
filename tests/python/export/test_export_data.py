"""Training data: slabs are what they claim, shards keep them, crops are windows of them."""

import nibabel as nib
import numpy as np
import pytest
from moediff_export.cli import main
from moediff_export.data import pairs, scanner
from moediff_export.data.anatomy import draw_points, extract_brain, from_nodes, node_positions
from moediff_export.data.painting import T1_LEVELS, paint, t1_levels
from moediff_export.data.pairs import (
    SLAB,
    Mixture,
    draw_anatomy,
    low_field_matrix,
    make_pair,
    simulate_pairs,
)
from moediff_export.data.regions import region_masks
from moediff_export.data.sources import make_source, scan_source
from moediff_export.data.structures import draw_lesions, draw_vessels
from moediff_export.data.tissue import cluster_levels, tissue_maps
from nibabel.nifti1 import Nifti1Image
from scipy import ndimage

from moediff_rt.gradients import GradientCoil, read_coil


def test_truncation_keeps_what_the_low_field_matrix_encodes():
    rng = np.random.default_rng(0)
    low = rng.random((6, 8, 10)).astype(np.float32)
    high = scanner.truncate_kspace(low, low.shape)
    np.testing.assert_allclose(high, low, atol=1e-6)
    smooth = ndimage.gaussian_filter(rng.random((24, 32, 40)), 4).astype(np.float32)
    half = scanner.truncate_kspace(smooth, (12, 16, 20))
    averaged = smooth.reshape(12, 2, 16, 2, 20, 2).mean((1, 3, 5))
    np.testing.assert_allclose(half, averaged, atol=5e-3)


def test_noise_is_rician():
    rng = np.random.default_rng(0)
    flat = np.full((40, 40, 40), 10.0, np.float32)
    assert scanner.rician_noise(rng, flat, 0.5).std() == pytest.approx(0.5, rel=0.02)
    nothing = scanner.rician_noise(rng, 0 * flat, 0.5)
    assert nothing.mean() == pytest.approx(0.5 * np.sqrt(np.pi / 2), rel=0.02)


def test_slice_profile_has_its_width_and_keeps_the_sum():
    line = np.zeros((61, 3, 3), np.float32)
    line[30] = 1
    seen = scanner.slice_profile(line, 6.0, axis=0)[:, 1, 1]
    assert seen.sum() == pytest.approx(1, abs=1e-3)
    assert seen[33] == pytest.approx(seen[30] / 2, rel=0.02)


def test_distortion_is_what_the_correction_undoes():
    coil = scanner.random_coil(np.random.default_rng(1), 0.1)
    assert coil.degree == 5
    seen = np.random.default_rng(0).uniform(-110, 110, (200, 3))
    shift, log_jacobian = scanner.distortion(coil, seen)
    true = seen + shift
    # A point is shown where the coil puts it, and dimmed by what the correction multiplies by.
    np.testing.assert_allclose(true + coil.displacement(true), seen, atol=1e-3)
    np.testing.assert_allclose(np.exp(log_jacobian), coil.jacobian(true), rtol=1e-5)
    assert np.abs(shift).max() > 0.5


def test_a_linear_coil_leaves_the_anatomy_alone():
    coil = GradientCoil(250.0, {})
    at = node_positions((4, 8, 8), 1.0)
    shift, log_jacobian = scanner.distortion(coil, at)
    assert not shift.any() and not log_jacobian.any()


def test_clustering_finds_the_tissues_and_maps_share_out_every_voxel():
    rng = np.random.default_rng(0)
    levels = np.array([0.3, 0.7, 1.0], np.float32)
    truth = rng.integers(0, 3, 30000)
    volume = (levels[truth] + 0.02 * rng.standard_normal(30000)).astype(np.float32)
    found = cluster_levels(volume, 3)
    np.testing.assert_allclose(found, levels, atol=0.01)
    maps = tissue_maps(volume, found, 0.05)
    np.testing.assert_allclose(maps.sum(0), 1, atol=1e-5)
    assert (maps[1:].argmax(0) == truth).mean() > 0.999
    assert tissue_maps(np.zeros(5, np.float32), found, 0.05)[0] == pytest.approx(1, abs=1e-4)


def test_the_junction_is_on_the_boundary_and_the_others_beside_it():
    x = np.arange(40)
    white = np.broadcast_to((x < 20).astype(np.float32), (20, 20, 40))
    grey = np.broadcast_to(((x >= 20) & (x < 32)).astype(np.float32), (20, 20, 40))
    deep, cortex, junction = region_masks(grey, white, 1.0)[:, 10, 10]
    assert junction[19:21].min() > 0.7 and junction[[10, 28]].max() < 0.01
    assert deep[10] > 0.99 and cortex[26] > 0.99 and deep[20:].max() == cortex[:20].max() == 0
    assert (deep + cortex + junction).max() <= 1 + 1e-6


def test_paint_has_the_levels_and_the_partial_volume_of_its_maps():
    maps = np.zeros((3, 12, 24, 24), np.float32)
    maps[0, :, :8], maps[1, :, 8:16], maps[2, :, 17:] = 1, 1, 1
    maps[1:, :, 16] = 0.5
    image = paint(np.random.default_rng(0), maps, T1_LEVELS, 1.0)
    for at, level in ((4, T1_LEVELS[0]), (12, T1_LEVELS[1]), (20, T1_LEVELS[2])):
        assert image[:, at].mean() == pytest.approx(level, rel=0.06)
    middle = (T1_LEVELS[1] + T1_LEVELS[2]) / 2
    assert image[:, 16].mean() == pytest.approx(middle, rel=0.06)
    levels = t1_levels(np.random.default_rng(1))
    assert (np.diff(levels) >= 0).all()


def test_lesions_lie_in_white_matter_and_vessels_are_thin():
    rng = np.random.default_rng(0)
    white = np.zeros((30, 60, 60), np.float32)
    white[:, 20:40, 20:40] = 1
    lesions = draw_lesions(rng, white, 1.0, 6)
    assert 0 < lesions.mean() < 0.2 and lesions.max() <= 1
    assert lesions[:, :10].max() == 0
    vessels = draw_vessels(rng, (20, 40, 40), 1.0)
    assert vessels.shape == (40, 80, 80) and 0 < (vessels > 0.5).mean() < 0.05


def test_fields_on_nodes_are_read_where_they_lie():
    shape = (8, 16, 24)
    at = node_positions(shape, 1.5)
    field = from_nodes(np.moveaxis(at, -1, 0).astype(np.float32), shape)
    z = (np.arange(8) + 0.5 - 4) * 1.5
    inner = slice(2, -2)
    np.testing.assert_allclose(field[0, inner, 8, 12], z[inner], atol=1e-4)


def test_a_shift_moves_the_anatomy_by_as_many_millimetres(phantom):
    shape, spacing = (8, 32, 32), 1.0
    nodes = node_positions(shape, spacing).shape[:3]
    still = np.zeros((3, *nodes), np.float32)
    moved = still.copy()
    moved[2] = 2.0  # mm along x
    one, two = (
        draw_points(np.random.default_rng(4), phantom, shape, spacing, shift)[0].numpy()
        for shift in (still, moved)
    )
    half = (np.array(phantom.data.shape)[::-1] - 1) / 2  # grid_sample's units, in voxels
    distance = np.linalg.norm((two - one) * half, axis=-1) * phantom.spacing
    assert np.ptp(distance) < 1e-3 and 0.85 * 2 <= distance.mean() <= 1.15 * 2


def test_scans_are_of_every_kind_that_the_simulator_promises():
    rng = np.random.default_rng(7)
    halves = thick = in_plane = stacks = 0
    for _ in range(1000):
        matrix, stack = low_field_matrix(rng, SLAB)
        ratios = np.array(SLAB) / matrix
        assert (ratios >= 1).all() and (ratios <= 3.1).all()
        halves += (ratios == 2).all()
        if ratios[0] > 1.2 * ratios[1]:
            thick += 1
            in_plane += ratios[1] == 1
        if stack:
            stacks += 1
            assert ratios[0] >= 1.45  # a profile belongs to thick slices
    assert 430 < halves < 570
    assert 200 < thick < 340 and 100 < in_plane < 200
    assert 150 < stacks < 250


def test_scan_and_target_of_a_pair_are_registered(phantom):
    pair = make_pair(np.random.default_rng(1), [phantom])
    target, low = (v.astype(np.float32) for v in (pair.target, pair.low))
    assert target.shape[1:] == SLAB[1:]
    shifts = {
        (dy, dx): np.mean((np.roll(low, (dy, dx), (1, 2)) - target)[:, 4:-4, 4:-4] ** 2)
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    }
    assert min(shifts, key=shifts.get) == (0, 0)


@pytest.mark.parametrize("painted", [True, False])
def test_drawn_anatomy_is_an_image_with_regions(phantom, painted):
    drawn = draw_anatomy(np.random.default_rng(5), phantom, Mixture(painted=float(painted)))
    assert drawn.image.shape == drawn.jacobian.shape == SLAB and drawn.regions.shape == (3, *SLAB)
    assert drawn.image.min() >= 0 and drawn.regions.sum(0).max() <= 1 + 1e-5


def test_a_coil_that_is_given_bends_every_slab(phantom, tmp_path):
    straight = GradientCoil(250.0, {})
    pairs = [make_pair(np.random.default_rng(5), [phantom], Mixture(coil=straight))]
    assert not pairs[0].jacobian.any()
    lines = "0.25 m = R0\n 1 A(3,0) 0.1 z\n 2 A(3,1) 0.1 x\n"
    (tmp_path / "coil.grad").write_text(lines)
    coil = read_coil(tmp_path / "coil.grad")
    pairs += [make_pair(np.random.default_rng(5), [phantom], Mixture(coil=coil)) for _ in range(2)]
    assert pairs[1].jacobian.any() and np.any(pairs[1].target != pairs[0].target)
    np.testing.assert_array_equal(pairs[1].target, pairs[2].target)


@pytest.mark.parametrize("text", ["", "no coil"])
def test_coefficients_that_are_none_are_refused_before_slabs_are_made(tmp_path, capsys, text):
    (tmp_path / "coil.grad").write_text(text)
    given = ["--gradients", str(tmp_path / "coil.grad")]
    assert main(["data", "-o", str(tmp_path / "shards"), "--pairs", "1", *given]) == 2
    assert "coil.grad" in capsys.readouterr().err and not (tmp_path / "shards").exists()


def test_an_extracted_brain_is_whole_voxels_near_the_border():
    z, y, x = np.ogrid[:24, :48, :48]
    depth = 17 - np.sqrt((z - 11.5) ** 2 + (y - 23.5) ** 2 + (x - 23.5) ** 2)  # voxels inside
    inside = np.clip(depth + 0.5, 0, 1).astype(np.float32)
    masks = [extract_brain(np.random.default_rng(seed), inside) for seed in range(20)]
    assert all(set(np.unique(mask)) == {0, 1} for mask in masks)
    assert all(mask[depth > 4].all() and not mask[depth < -2].any() for mask in masks)
    kept = [mask.sum() / inside.sum() for mask in masks]
    assert min(kept) < 0.95 < max(kept)


def test_some_slabs_show_the_extracted_brain_alone(phantom):
    whole, extracted = (
        draw_anatomy(np.random.default_rng(5), phantom, Mixture(painted=1, extracted=share))
        for share in (0, 1)
    )
    cut = extracted.image != whole.image
    assert (
        cut.any() and (extracted.image[cut] == 0).all() and (extracted.regions[:, cut] == 0).all()
    )


def test_an_extracted_brain_is_cut_after_the_blur_or_before_it(phantom, monkeypatch):
    monkeypatch.setattr(pairs, "BLURRED_SHARE", 1.0)
    monkeypatch.setattr(pairs, "BLUR_VOXELS", (1.0, 1.0))
    images = []
    for soft in (0.0, 1.0):
        monkeypatch.setattr(pairs, "SOFT_SHARE", soft)
        mixture = Mixture(painted=1, extracted=1)
        images.append(draw_anatomy(np.random.default_rng(5), phantom, mixture).image)
    hard, soft = images
    outside = hard == 0
    assert outside.any() and 0.1 * hard.max() < soft[outside].max() < hard.max()
    assert (hard[~outside] >= soft[~outside]).mean() > 0.99  # what lies outside darkens the border


def test_steep_maps_paint_sharper_borders_than_their_source():
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.random((20, 40, 40)), 3).astype(np.float32)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    levels = np.array([0.3, 0.6, 0.9], np.float32)
    image = paint(rng, tissue_maps(smooth, levels, 0.02)[1:], levels, 1.0)
    steepness = [np.percentile(np.abs(np.diff(v, axis=2)), 99) for v in (image, smooth)]
    assert steepness[0] > 2 * steepness[1]


@pytest.mark.parametrize("knot", [2.0, 9.0, 60.0])
def test_a_random_field_is_as_smooth_across_few_voxels_as_along_many(knot):
    steps, squares = np.zeros(3), 0.0
    for seed in range(200):
        field = scanner.smooth_field(np.random.default_rng([seed, 5]), (5, 18, 36), knot)
        assert field.shape == (5, 18, 36) and field.dtype == np.float32
        steps += [np.abs(np.diff(field, axis=axis)).mean() for axis in range(3)]
        squares += np.square(field).mean()
    assert steps.max() < 1.6 * steps.min()  # knots may lie half as far apart along some axes
    assert 0.5 < squares / 200 < 1.0  # 1 at the knots, less between


def test_pairs_are_the_same_for_any_number_of_workers(phantom):
    one, two = (
        list(simulate_pairs([phantom], range(2), 3, Mixture(), workers)) for workers in (1, 2)
    )
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.target, b.target) and np.array_equal(a.low, b.low)
    assert not np.array_equal(one[0].target, one[1].target)


def test_a_real_scan_can_be_drawn_from(tmp_path, phantom):
    path = tmp_path / "sub-01_T1w.nii.gz"
    Nifti1Image(700 * phantom.data.T[:60, :60, :60], np.diag([0.5, 0.5, 0.5, 1])).to_filename(path)
    source = scan_source(path)
    assert source.spacing == source.finest == 0.5 and source.name == "sub-01_T1w"
    assert np.percentile(source.data[source.data > 0.05], 95) == pytest.approx(1, rel=0.05)
    thick = Nifti1Image(phantom.data.T[:20, :20, :20], np.diag([0.5, 0.5, 2.0, 1]))
    thick.to_filename(tmp_path / "thick.nii.gz")
    with pytest.raises(ValueError, match="isotropic"):
        scan_source(tmp_path / "thick.nii.gz")


def test_levels_of_a_head_include_its_fat():
    rng = np.random.default_rng(0)
    data = rng.choice([0.4, 0.7, 1.0], (30, 30, 30)).astype(np.float32)
    data[:, :5] = 2.0
    brain = np.ones_like(data)
    brain[:, :5] = 0
    source = make_source("head", data, 1.0, 1.0, 1.0, brain)
    np.testing.assert_allclose(source.levels, [0.4, 0.7, 1.0, 2.0], rtol=0.01)


@pytest.mark.parametrize(
    ("fault", "words"),
    [("NaN", "NaN or infinity"), ("nothing", "nothing above 0"), ("cut off", "damaged")],
)
def test_a_scan_to_draw_from_that_is_none_is_refused_in_one_line(tmp_path, fault, words):
    voxels = np.full((8, 8, 8), np.nan if fault == "NaN" else 0, np.float32)
    path = tmp_path / "scan.nii.gz"
    nib.save(Nifti1Image(voxels, np.eye(4)), path)
    if fault == "cut off":
        nib.save(Nifti1Image(np.random.default_rng(0).random((32, 32, 32)), np.eye(4)), path)
        path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(ValueError, match=words) as caught:
        scan_source(path)
    assert "\n" not in str(caught.value)


def test_a_source_that_is_missing_shows_before_anything_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("moediff_export.data.bids.find_pairs", lambda root: [("a", "b")])
    command = ["data", "-o", str(tmp_path / "shards"), "--real", str(tmp_path)]
    assert main([*command, "--templates", str(tmp_path)]) == 2
    assert "mricron-data" in capsys.readouterr().err and not (tmp_path / "shards").exists()
