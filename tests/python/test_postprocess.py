"""Data consistency: what it promises, and that it leaves what the scan cannot see."""

from __future__ import annotations

import numpy as np
import oracle.consistency
import oracle.resample
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from moediff_rt import Acquisition, InputError, _core
from moediff_rt.postprocess import SliceProfile, enforce_consistency, find_slice_profile
from moediff_rt.resample import resample_kspace


def volume(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def most_left(sigma: float) -> float:
    """The largest residual of a single voxel, of the window's middle weight, that stays."""
    return (_core.KAPPA**2 * (16 / 6) ** 3 * 3**6) ** 0.125 * sigma


def low_frequencies(result: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The part of a result that a scan of `shape` sees."""
    return resample_kspace(resample_kspace(result, shape), result.shape)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_is_known_of_an_acquisition_says_its_slice_profile(axis):
    scan = volume((12, 12, 12), 0)
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 3.0
    known = Acquisition("2D", slice_thickness=1.5)
    assert find_slice_profile(scan, spacing, 0.1, known) == (axis, 0.5)
    assert find_slice_profile(scan, spacing, 0.1, Acquisition("3D")) == SliceProfile()
    with pytest.raises(InputError, match="slices"):
        find_slice_profile(scan, spacing, 0.1, Acquisition("2D", slice_thickness=30))


def test_slices_that_may_lie_along_any_axis_are_what_the_scan_shows():
    scan = volume((12, 12, 12), 0)
    plain = find_slice_profile(scan, (1, 1, 1), 0.1)
    assert find_slice_profile(scan, (1, 1, 1), 0.1, Acquisition("2D")) == plain


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.integers(5, 20)] * 3), st.tuples(*[st.floats(1.0, 3.0)] * 3), st.floats(0.0, 1.0)
)
def test_the_result_shows_the_scan_up_to_its_noise(shape, factors, sigma):
    measured = volume(shape, 0)
    result = volume(tuple(round(n * f) for n, f in zip(shape, factors, strict=True)), 1)
    enforce_consistency(result, measured, sigma)
    seen = resample_kspace(result, shape)
    seen = np.where(measured > 0, np.abs(seen), seen)  # what is above zero is a magnitude
    assert np.abs(measured - seen).max() <= most_left(sigma) + 2e-5


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.integers(1, 24)] * 3),
    st.tuples(*[st.integers(1, 40)] * 3),
    st.floats(0.0, 1.0),
    st.floats(0.1, 2.0),
    st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.7, 1.0])),
)
def test_consistency_equals_the_float64_oracle(shape, output_shape, sigma, kappa, profile):
    """Finer, coarser and equal axes, down to one voxel."""
    measured, result = volume(shape, 0), volume(output_shape, 1)
    common = tuple(min(n, m) for n, m in zip(shape, output_shape, strict=True))
    # Where the result shows nothing, or just so much that it may ring, it may round either way.
    seen = oracle.consistency.acquired(result, shape, profile)
    wanted = oracle.resample.resample_kspace(measured, common)
    rings = oracle.consistency.most_ringing(seen, sigma * sigma * seen.size / measured.size)
    for value in (seen, wanted, wanted - rings):
        assume(np.abs(value).min() > 1e-5)
    expected, largest = oracle.consistency.enforce_consistency(
        result, measured, sigma, kappa, profile
    )
    found = enforce_consistency(
        result, measured, sigma, kappa=kappa, profile=SliceProfile(*profile)
    )
    # Twice as many float32 roundings as resampling has, of volumes that are added.
    largest_voxel = max(np.abs(measured).max(), np.abs(expected).max())
    atol = 80 * float(np.finfo(np.float32).eps * largest_voxel)
    assert found == pytest.approx(largest, abs=atol)
    np.testing.assert_allclose(result, expected, rtol=0, atol=atol)


def test_without_noise_the_scan_is_met_exactly():
    measured, result = volume((10, 11, 12), 0), volume((20, 22, 24), 1)
    shown = resample_kspace(result, (10, 11, 12))
    measured = np.abs(measured)
    enforce_consistency(result, measured, 0.0)
    # A magnitude: where the result is below zero, it stays there, but for what is too bright.
    wanted = np.where((shown < 0) & (measured <= -2 * shown), -measured, measured)
    np.testing.assert_allclose(resample_kspace(result, (10, 11, 12)), wanted, atol=2e-5)


@pytest.mark.parametrize("column", range(22, 30))
@pytest.mark.parametrize("sigma", [0.0, 1.0])
def test_what_the_model_lost_comes_back_bright_wherever_the_result_rings(column, sigma):
    """Beside a bright edge the result rings above and below zero by turns."""
    truth = np.zeros((32, 32, 40), np.float32)
    truth[:, :, 8:18] = 100
    lost = truth.copy()
    lost[14:18, 14:18, column : column + 4] = 60
    measured = np.abs(resample_kspace(lost, (16, 16, 20)))
    enforce_consistency(truth, measured, sigma)
    assert truth[14:18, 14:18, column : column + 4].mean() > 45


def test_a_scan_below_zero_is_no_magnitude():
    measured, result = -np.abs(volume((10, 11, 12), 0)), volume((20, 22, 24), 1)
    enforce_consistency(result, measured, 0.0)
    np.testing.assert_allclose(resample_kspace(result, (10, 11, 12)), measured, atol=2e-5)


def test_what_a_profile_damped_is_no_difference():
    result, profile = np.abs(volume((40, 26, 28), 1)) + 5, SliceProfile(0, 1.0)
    measured = oracle.consistency.acquired(result, (20, 26, 28), profile).astype(np.float32)
    before = result.copy()
    enforce_consistency(result, measured, 0.0, profile=profile)
    np.testing.assert_allclose(result, before, atol=2e-5)
    enforce_consistency(result, measured, 0.0)
    assert np.abs(result - before).max() > 0.1


def folded_anatomy(shape: tuple[int, ...]) -> np.ndarray:
    """White noise smoothed alike along each axis, in a ball."""
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    folds = ndimage.gaussian_filter(volume(shape, 4), 0.7)
    ball = 1 / (1 + np.exp(20 * (np.sqrt(sum(axis**2 for axis in grid)) - 0.8)))
    return (100 * ball * (3 + folds / folds.std())).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("factor", [1.5, 2, 3])
@pytest.mark.parametrize("width", [0.0, 1.0])
def test_a_scan_of_thick_slices_tells_whether_it_has_a_profile(axis, factor, width):
    anatomy = np.maximum(folded_anatomy((120, 108, 132)), 0)
    shape = [*anatomy.shape]
    shape[axis] = round(shape[axis] / factor)
    seen = oracle.consistency.acquired(anatomy, shape, (axis, width))
    noise = np.random.default_rng(0).standard_normal((2, *shape))
    scan = np.hypot(seen + 3 * noise[0], 3 * noise[1]).astype(np.float32)
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = anatomy.shape[axis] / shape[axis]
    at, squared = oracle.slice_profile.fall_off(scan.astype(np.float64), spacing, 3.0)
    assert at == axis and squared == pytest.approx(width, abs=0.3)
    assert find_slice_profile(scan, spacing, 3.0) == (axis, width)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((60, 60, 60), (1, 1, 1)), ((60, 60, 60), (1.1, 1, 1)), ((4, 60, 60), (3, 1, 1))],
)
def test_without_thick_slices_or_with_few_there_is_no_profile(shape, spacing):
    scan = np.abs(folded_anatomy(shape))
    scan = ndimage.gaussian_filter1d(scan, 1, axis=0)
    assert find_slice_profile(scan, spacing, 1.0) == (0, 0)


def test_of_edges_that_are_alike_the_first_is_the_coarsest():
    scan = np.abs(folded_anatomy((30, 90, 30)))
    assert find_slice_profile(scan, (3.0, 1.0, 3.0), 1.0).axis == 0
    assert find_slice_profile(scan, (2.99, 1.0, 3.0), 1.0).axis == 0
    assert find_slice_profile(scan, (1.0, 1.0, 3.0), 1.0).axis == 2


@pytest.mark.parametrize(
    ("spacing", "sigma"), [((0, 1, 1), 1.0), ((1, 1, np.nan), 1.0), ((1, 1, 1), -1.0)]
)
def test_a_profile_of_no_scan_is_refused(spacing, sigma):
    with pytest.raises(InputError, match="edges above 0"):
        find_slice_profile(np.zeros((9, 9, 9), np.float32), spacing, sigma)


@pytest.mark.parametrize("profile", [(3, 1.0), (-1, 1.0), (0, -1.0), (0, np.inf), (0, np.nan)])
def test_a_profile_that_none_has_is_refused(profile):
    with pytest.raises(InputError, match="profile along axis"):
        enforce_consistency(
            volume((8, 8, 8), 0), volume((4, 4, 4), 0), 0.1, profile=SliceProfile(*profile)
        )


def test_a_profile_is_the_same_for_any_number_of_threads():
    scan = np.abs(folded_anatomy((40, 90, 80)))
    found = {
        _core.find_slice_profile(scan, (2.0, 1.0, 1.0), 1.0, threads=threads)
        for threads in (1, 2, 5)
    }
    assert len(found) == 1


@pytest.mark.parametrize(("share", "most"), [(0.5, 0.01), (1.0, 0.38)])
def test_of_noise_less_is_put_back_than_what_is_beyond_one_deviation(share, most):
    """A residual of white noise, in shares of the deviation that the scan is said to have."""
    result, noise = volume((48, 44, 52), 1) + 9, share * 0.2 * volume((24, 22, 26), 2)
    measured = resample_kspace(result, noise.shape) + noise
    before = result.copy()
    enforce_consistency(result, measured, 0.2)
    put_back = np.sqrt(np.mean(resample_kspace(result - before, noise.shape) ** 2))
    beyond = np.sqrt(np.mean((noise - np.clip(noise, -0.2, 0.2)) ** 2))
    assert put_back < most * 0.2 and put_back < beyond


@pytest.mark.parametrize(("deviations", "least", "most"), [(2, 0, 0), (4, 0.6, 0.9), (6, 0.99, 1)])
def test_one_voxel_of_the_scan_is_put_back_if_noise_hardly_is_so_large(deviations, least, most):
    """What shows of a small lesion may be no more than that."""
    result = np.full((24, 20, 22), 9, np.float32)
    measured = np.full((12, 10, 11), 9, np.float32)
    measured[6, 5, 4] -= deviations * 0.2
    enforce_consistency(result, measured, 0.2)
    put_back = (9 - resample_kspace(result, measured.shape)[6, 5, 4]) / (deviations * 0.2)
    assert least - 1e-4 <= put_back <= most + 1e-4


def test_what_is_far_above_noise_is_put_back_whole_where_it_is_missing():
    rng = np.random.default_rng(0)
    truth = 5 + ndimage.gaussian_filter(rng.standard_normal((48, 44, 52)), 4).astype(np.float32)
    place = np.zeros_like(truth)
    place[20:28, 18:26, 22:30] = 2
    scanned = resample_kspace(truth + ndimage.gaussian_filter(place, 2), (24, 22, 26))
    measured = scanned + 0.1 * volume(scanned.shape, 3)
    result = truth.copy()
    enforce_consistency(result, measured, 0.1)
    missing = resample_kspace(result, scanned.shape) - scanned
    inside = resample_kspace(ndimage.gaussian_filter(place, 2), scanned.shape) > 1
    # Of 1 and more that was missing; the mean of the noise there has a deviation of 0.018.
    assert inside.sum() > 20 and np.abs(missing[inside].mean()) < 0.06
    elsewhere = resample_kspace(ndimage.gaussian_filter(place, 6), scanned.shape) < 1e-3
    assert elsewhere.sum() > 1000 and np.sqrt(np.mean(missing[elsewhere] ** 2)) < 0.04


def test_a_consistent_result_is_left_as_it_is():
    result = volume((20, 22, 24), 1)
    measured = np.abs(resample_kspace(result, (10, 11, 12))) + np.float32(0.05)
    before = result.copy()
    assert enforce_consistency(result, measured, 0.1) == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(result, before, atol=1e-5)


def test_what_the_scan_cannot_see_is_left_as_it_is():
    result, measured = volume((20, 20, 20), 1), volume((10, 10, 10), 0)
    before = result - low_frequencies(result, measured.shape)
    enforce_consistency(result, measured, 0.2)
    after = result - low_frequencies(result, measured.shape)
    np.testing.assert_allclose(after, before, atol=2e-5)


def test_a_coarser_axis_is_compared_at_the_outputs_resolution():
    measured, result = volume((16, 12, 12), 0), volume((8, 24, 24), 1)
    shown, wanted = (resample_kspace(v, (8, 12, 12)) for v in (result, measured))
    enforce_consistency(result, measured, 0.0)
    folded = (shown < 0) & (wanted > 0) & (wanted <= -2 * shown)
    wanted = np.where(folded, -wanted, wanted)
    np.testing.assert_allclose(resample_kspace(result, (8, 12, 12)), wanted, atol=2e-5)


@pytest.mark.parametrize("profile", [(0, 0.0), (0, 1.0), (1, 1.0), (2, 1.0)])
def test_consistency_has_the_same_bits_for_any_number_of_threads(profile):
    axis, width = profile
    measured, before = volume((23, 30, 26), 0), volume((46, 30, 61), 1)
    results = [before.copy() for _ in range(3)]
    largest = {
        _core.enforce_consistency(
            result, measured, 0.1, profile_axis=axis, profile_width=width, threads=threads
        )
        for result, threads in zip(results, (1, 2, 5), strict=True)
    }
    assert len(largest) == 1
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize(
    ("result", "sigma", "words"),
    [
        (np.zeros((8, 8, 8)), 0.1, "float32"),
        (np.zeros((8, 8, 16), np.float32)[..., ::2], 0.1, "not C-contiguous"),
        (np.broadcast_to(np.float32(0), (8, 8, 8)), 0.1, "C-contiguous"),
        (np.zeros((8, 8, 8), np.float32), -0.1, "sigma"),
        (np.zeros((8, 8, 8), np.float32), np.nan, "sigma"),
    ],
)
def test_what_cannot_be_made_consistent_is_refused(result, sigma, words):
    with pytest.raises(InputError, match=words):
        enforce_consistency(result, volume((4, 4, 4), 0), sigma)


def test_a_result_that_may_not_be_changed_is_refused():
    result = volume((8, 8, 8), 0)
    result.flags.writeable = False
    with pytest.raises(InputError, match="read-only"):
        enforce_consistency(result, volume((4, 4, 4), 0), 0.1)
