"""Data consistency: what it promises, and that it leaves what the scan cannot see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moediff_rt.postprocess import enforce_consistency
from moediff_rt.resample import apply_along_axes, band_matrix


def volume(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def brought_back(result: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return apply_along_axes(
        result, [band_matrix(m, n) for m, n in zip(result.shape, shape, strict=True)]
    )


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.integers(5, 20)] * 3), st.tuples(*[st.floats(1.0, 3.0)] * 3), st.floats(0.0, 1.0)
)
def test_the_result_shows_the_scan_up_to_its_noise(shape, factors, sigma):
    measured = volume(shape, 0)
    result = volume(tuple(round(n * f) for n, f in zip(shape, factors, strict=True)), 1)
    enforce_consistency(result, measured, sigma)
    assert np.abs(measured - brought_back(result, shape)).max() <= sigma + 2e-5


def test_without_noise_the_scan_is_met_exactly():
    measured, result = volume((10, 11, 12), 0), volume((20, 22, 24), 1)
    enforce_consistency(result, measured, 0.0)
    np.testing.assert_allclose(brought_back(result, (10, 11, 12)), measured, atol=2e-5)


def test_a_consistent_result_is_left_as_it_is():
    result = volume((20, 22, 24), 1)
    measured = brought_back(result, (10, 11, 12)) + np.float32(0.05)
    before = result.copy()
    assert enforce_consistency(result, measured, 0.1) == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(result, before, atol=1e-5)


def test_what_the_scan_cannot_see_is_left_as_it_is():
    result, measured = volume((20, 20, 20), 1), volume((10, 10, 10), 0)
    project = band_matrix(10, 20) @ band_matrix(20, 10)
    before = result - apply_along_axes(result, (project,) * 3)
    enforce_consistency(result, measured, 0.2)
    after = result - apply_along_axes(result, (project,) * 3)
    np.testing.assert_allclose(after, before, atol=2e-5)


def test_a_coarser_axis_is_compared_at_the_outputs_resolution():
    measured, result = volume((16, 12, 12), 0), volume((8, 24, 24), 1)
    enforce_consistency(result, measured, 0.0)
    wanted = apply_along_axes(measured, (band_matrix(16, 8), None, None))
    found = apply_along_axes(result, (None, band_matrix(24, 12), band_matrix(24, 12)))
    np.testing.assert_allclose(found, wanted, atol=2e-5)
