"""Real pairs: found in BIDS-like folders, registered, on one scale, cut into slabs."""

import nibabel as nib
import numpy as np
import pytest
from moediff_export.data.bids import SLAB_SLICES, find_pairs, load_real_pair
from real_pairs import AFFINE, SHAPE, half_affine, halved, head, save, write_pair
from scipy import ndimage

from moediff_rt.bias import correct_bias
from moediff_rt.io import load_scan
from moediff_rt.preprocess import prepare
from moediff_rt.resample import interpolate


def join(pairs, field, slices=SHAPE[2]):
    """The volume that slabs were cut from, none of them larger than it may be."""
    slabs = [getattr(pair, field).astype(np.float32) for pair in pairs]
    assert all(slab.shape[-3] <= SLAB_SLICES for slab in slabs)
    whole = np.concatenate(slabs, axis=-3)
    assert whole.shape[-3] == slices
    return whole


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


@pytest.mark.parametrize(
    "names",
    [
        ("anat/sub-3T_3T_T1w.nii.gz", "anat/sub-3T_7T_T1w.nii.gz"),
        ("anat/sub-3T_acq-3T_T1w.nii.gz", "anat/sub-3T_acq-7T_T1w.nii.gz"),
        ("anat/sub-3T_acq-3T_run-1_T1w.nii", "anat/sub-3T_acq-7T_run-1_T1w.nii"),
        ("ses-1/anat/sub-3T_ses-1_3T_T1w.nii.gz", "ses-1/anat/sub-3T_ses-1_7T_T1w.nii.gz"),
    ],
)
def test_a_scan_and_its_partner_are_found(tmp_path, names):
    expected = [tmp_path / "sub-3T" / name for name in names]
    others = ("anat/sub-3T_T1w.nii.gz", "anat/sub-3T_3T_T2w.nii.gz", "anat/sub-3T_3T_T1w.json")
    for path in [*expected, *(tmp_path / "sub-3T" / name for name in others)]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert find_pairs(tmp_path) == [tuple(expected)]


def test_pairs_come_in_the_order_of_their_names(tmp_path):
    written = [write_pair(tmp_path, subject=f"sub-{i}") for i in (3, 1, 2)]
    assert find_pairs(tmp_path) == sorted(written)


@pytest.mark.parametrize("missing", ["3T", "7T"])
def test_a_missing_partner_is_refused_by_name(tmp_path, missing):
    write_pair(tmp_path, subject="sub-01")
    (tmp_path / f"sub-01/anat/sub-01_{missing}_T1w.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match=f"sub-01_{missing}_T1w.nii.gz") as caught:
        find_pairs(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_pairs_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"sub-01_3T_T1w.*found none"):
        find_pairs(tmp_path)


def test_low_is_what_infer_would_make_of_the_scan(tmp_path):
    low_path, target_path = write_pair(tmp_path)
    scan = nib.load(low_path).get_fdata(dtype=np.float32)
    expected = prepare(scan, (2, 2, 2), SHAPE, percentile=99.5, value=1.0).volume
    low = join(load_real_pair(low_path, target_path), "low")
    np.testing.assert_allclose(low, expected, atol=1e-3)


def test_slabs_cover_the_volume_and_have_the_shapes_of_a_pair(tmp_path):
    pairs = load_real_pair(*write_pair(tmp_path))
    assert len(pairs) == 2
    slab = (SHAPE[2] // 2, SHAPE[1], SHAPE[0])
    for pair in pairs:
        for name in ("target", "low", "bias", "jacobian"):
            values = getattr(pair, name)
            assert (values.dtype, values.shape) == (np.float16, slab)
        assert (pair.regions.dtype, pair.regions.shape) == (np.uint8, (3, *slab))
        assert not pair.bias.any() and not pair.jacobian.any()
        assert pair.subject == "sub-01"
    target = join(pairs, "target")
    assert correlation(target, head().T) > 0.9999


def test_a_volume_of_few_slices_is_one_slab(tmp_path):
    low, target = halved(head())[:, :, 6:16], head()[:, :, 12:32]
    (pair,) = load_real_pair(*write_pair(tmp_path, low, target))
    assert pair.target.shape == (20, SHAPE[1], SHAPE[0])


def test_low_and_target_are_registered(tmp_path):
    pairs = load_real_pair(*write_pair(tmp_path))
    low, target = join(pairs, "low"), join(pairs, "target")
    here = correlation(low, target)
    for axis in range(3):
        for step in (-1, 1):
            assert correlation(np.roll(low, step, axis), target) < here - 0.01


@pytest.mark.parametrize("gain", [0.01, 1.0, 1e4])
def test_low_and_target_share_their_scale_in_spite_of_bright_vessels(tmp_path, gain):
    vessels = np.random.default_rng(1).random(SHAPE) < 0.02
    target = gain * np.where(vessels, 3 * head(), head())
    low_path, target_path = write_pair(tmp_path, target=target)
    scan = nib.load(low_path).get_fdata(dtype=np.float32)
    scale = prepare(scan, (2, 2, 2), SHAPE, percentile=99.5, value=1.0).scale
    found = join(load_real_pair(low_path, target_path), "target")
    tissue = (head() > 0.5) & ~vessels
    assert abs(np.median(found[tissue.T] / (300 / scale * head().T)[tissue.T]) - 1) < 0.01


@pytest.mark.parametrize("flipped", ["low", "target"])
def test_axes_in_the_file_do_not_matter(tmp_path, flipped):
    plain = load_real_pair(*write_pair(tmp_path / "plain"))
    low_path, target_path = write_pair(tmp_path / "flipped")
    path = low_path if flipped == "low" else target_path
    orientation = np.array([[2, -1], [0, 1], [1, -1]])
    nib.save(nib.load(path).as_reoriented(orientation), path)
    for a, b in zip(load_real_pair(low_path, target_path), plain, strict=True):
        np.testing.assert_allclose(a.low, b.low, atol=2e-3)
        np.testing.assert_allclose(a.target, b.target, atol=2e-3)


def test_a_shift_of_less_than_half_a_voxel_is_undone(tmp_path):
    low_affine = half_affine()
    low_affine[:3, 3] += [0.8, -0.6, 0.4]
    expected = join(load_real_pair(*write_pair(tmp_path / "in_place")), "low")
    # What a scanner whose grid lies there would have measured.
    moved = ndimage.shift(head(), [-0.8, 0.6, -0.4], order=3, mode="nearest")
    paths = write_pair(tmp_path / "shifted", low=300 * halved(moved), low_affine=low_affine)
    undone = join(load_real_pair(*paths), "low")
    ignored = join(load_real_pair(*write_pair(tmp_path / "ignored", 300 * halved(moved))), "low")
    inner = (slice(4, -4),) * 3
    error, without = (np.abs(v - expected)[inner].mean() for v in (undone, ignored))
    assert error < 0.25 * without


def test_the_shifted_path_equals_the_plain_one_where_nothing_is_shifted(tmp_path, monkeypatch):
    paths = write_pair(tmp_path)
    plain = join(load_real_pair(*paths), "low")
    monkeypatch.setattr("moediff_export.data.registered.SAME_BOX", -1.0)
    np.testing.assert_allclose(join(load_real_pair(*paths), "low"), plain, atol=1e-3)


@pytest.mark.parametrize("change", ["shift", "rotation", "crop"])
def test_a_partner_elsewhere_is_refused_in_one_line(tmp_path, change):
    affine, target = AFFINE.copy(), head()
    if change == "shift":
        affine[1, 3] += 1.5
    elif change == "rotation":
        c, s = np.cos(0.1), np.sin(0.1)
        affine[:2, :2] = [[c, -s], [s, c]]
    else:
        target = target[:-4]
    paths = write_pair(tmp_path, target=target, affine=affine)
    with pytest.raises(ValueError, match=r"expected the same box .*found .*probably not reg") as e:
        load_real_pair(*paths)
    assert "\n" not in str(e.value) and all(str(path) in str(e.value) for path in paths)


@pytest.mark.parametrize("damage", ["series", "nan"])
@pytest.mark.parametrize("which", [0, 1])
def test_what_is_no_scan_is_refused_by_name(tmp_path, which, damage):
    path = write_pair(tmp_path)[which]
    image = nib.load(path)
    data = image.get_fdata(dtype=np.float32)
    data = np.stack([data, data], -1) if damage == "series" else np.where(data > 150, np.nan, data)
    save(path, data, image.affine)
    with pytest.raises(ValueError, match="3-D volume" if damage == "series" else "finite") as e:
        load_real_pair(*find_pairs(tmp_path)[0])
    assert path.name in str(e.value)


def test_a_partner_that_is_dark_where_the_head_is_is_refused(tmp_path):
    dark = np.zeros(SHAPE)
    dark[:6, :6, :6] = 100
    with pytest.raises(ValueError, match="tissue at the same place"):
        load_real_pair(*write_pair(tmp_path, target=dark))


def test_regions_are_tissue_in_the_foreground(tmp_path):
    regions = join(load_real_pair(*write_pair(tmp_path)), "regions") / 255
    assert regions.sum(axis=0).max() <= 1.01
    deep, cortex, junction = (r > 0.5 for r in regions)
    intensity = head().T
    assert min(deep.sum(), cortex.sum(), junction.sum()) > 500
    assert intensity[deep].mean() > intensity[junction].mean() > intensity[cortex].mean()
    assert not regions[:, :2, :2, :2].any()


def test_a_brain_mask_beside_the_target_bounds_the_regions(tmp_path):
    paths = write_pair(tmp_path)
    brain = np.zeros(SHAPE)
    brain[12:36, 13:39, 11:33] = 1
    save(paths[1].with_name("sub-01_7T_desc-brain_mask.nii.gz"), brain, AFFINE)
    regions = join(load_real_pair(*paths), "regions")
    assert regions.any() and not (regions * (brain.T == 0)).any()


def test_a_mask_of_another_grid_is_refused(tmp_path):
    paths = write_pair(tmp_path)
    mask = halved(head()) > 0.5
    save(paths[1].with_name("sub-01_7T_desc-brain_mask.nii.gz"), mask, half_affine())
    with pytest.raises(ValueError, match=r"mask on the grid .*sub-01_7T_T1w"):
        load_real_pair(*paths)


def test_with_n4_both_carry_the_bias_that_the_map_tells(tmp_path):
    x, y, _ = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    low = 300 * halved(head() * np.exp(0.3 * x))
    larger = np.diag([2.0, 2.0, 2.0, 1.0])  # a head of about a real one's size
    target = 1900 * head() * np.exp(0.4 * y)
    paths = write_pair(tmp_path, low, target, larger @ half_affine(), larger @ AFFINE)
    tissue = head().T > 0.5

    def disagreement(pairs):
        difference = np.log(join(pairs, "target")[tissue] / join(pairs, "low")[tissue])
        return ndimage.gaussian_filter(difference, 3).std()

    told, untold = load_real_pair(*paths, n4=True), load_real_pair(*paths)
    np.testing.assert_array_equal(join(told, "low"), join(untold, "low"))
    assert disagreement(told) < 0.5 * disagreement(untold)
    found = interpolate(correct_bias(load_scan(paths[0]))[1].T, SHAPE[::-1])
    assert found.std() > 0.05
    np.testing.assert_allclose(join(told, "bias"), found, atol=1e-3)
