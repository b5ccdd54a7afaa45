"""Data consistency: what it promises, and that it leaves what the scan cannot see."""

from __future__ import annotations

import numpy as np
import oracle.consistency
import oracle.resample
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from moediff_rt import InputError, _core
from moediff_rt.postprocess import enforce_consistency
from moediff_rt.resample import resample_kspace


def volume(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def low_frequencies(result: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The part of a result that a scan of `shape` sees."""
    return resample_kspace(resample_kspace(result, shape), result.shape)


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
    assert np.abs(measured - seen).max() <= _core.KAPPA * sigma + 2e-5


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.integers(1, 24)] * 3),
    st.tuples(*[st.integers(1, 40)] * 3),
    st.floats(0.0, 1.0),
    st.floats(0.1, 2.0),
)
def test_consistency_equals_the_float64_oracle(shape, output_shape, sigma, kappa):
    """Finer, coarser and equal axes, down to one voxel."""
    measured, result = volume(shape, 0), volume(output_shape, 1)
    common = tuple(min(n, m) for n, m in zip(shape, output_shape, strict=True))
    # Where the result shows nothing, its sign may round either way.
    assume(np.abs(oracle.resample.resample_kspace(result, common)).min() > 1e-5)
    assume(np.abs(oracle.resample.resample_kspace(measured, common)).min() > 1e-5)
    expected, largest = oracle.consistency.enforce_consistency(result, measured, sigma, kappa)
    found = enforce_consistency(result, measured, sigma, kappa=kappa)
    # Twice as many float32 roundings as resampling has, of volumes that are added.
    largest_voxel = max(np.abs(measured).max(), np.abs(expected).max())
    atol = 80 * float(np.finfo(np.float32).eps * largest_voxel)
    assert found == pytest.approx(largest, abs=atol)
    np.testing.assert_allclose(result, expected, rtol=0, atol=atol)


def test_without_noise_the_scan_is_met_exactly():
    measured, result = volume((10, 11, 12), 0), volume((20, 22, 24), 1)
    below = resample_kspace(result, (10, 11, 12)) < 0
    measured = np.abs(measured)
    enforce_consistency(result, measured, 0.0)
    # A magnitude: where the result is below zero, it stays there.
    wanted = np.where(below, -measured, measured)
    np.testing.assert_allclose(resample_kspace(result, (10, 11, 12)), wanted, atol=2e-5)


def test_a_scan_below_zero_is_no_magnitude():
    measured, result = -np.abs(volume((10, 11, 12), 0)), volume((20, 22, 24), 1)
    enforce_consistency(result, measured, 0.0)
    np.testing.assert_allclose(resample_kspace(result, (10, 11, 12)), measured, atol=2e-5)


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
    below = resample_kspace(result, (8, 12, 12)) < 0
    enforce_consistency(result, measured, 0.0)
    wanted = resample_kspace(measured, (8, 12, 12))
    wanted = np.where(below, -np.abs(wanted), wanted)
    np.testing.assert_allclose(resample_kspace(result, (8, 12, 12)), wanted, atol=2e-5)


def test_consistency_has_the_same_bits_for_any_number_of_threads():
    measured, before = volume((23, 30, 26), 0), volume((46, 30, 61), 1)
    results = [before.copy() for _ in range(3)]
    largest = {
        _core.enforce_consistency(result, measured, 0.1, threads=threads)
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
