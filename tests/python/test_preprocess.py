"""Interpolation, foreground, intensity scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from moediff_rt.foreground import find_foreground
from moediff_rt.noise import noise_sigma
from moediff_rt.preprocess import interpolate, prepare
from moediff_rt.resample import (
    add_along_axes,
    apply_along_axes,
    band_matrix,
    cubic_spline_matrix,
)


def ball(shape: tuple[int, int, int], radius: float = 0.7) -> np.ndarray:
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    return (sum(axis**2 for axis in grid) < radius**2).astype(np.float32)


def rician(volume: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((2, *volume.shape))
    return np.hypot(volume + sigma * noise[0], sigma * noise[1]).astype(np.float32)


@given(st.integers(12, 40), st.integers(1, 90))
def test_cubic_spline_equals_scipy_on_the_same_box(n_in, n_out):
    signal = np.random.default_rng(n_in * 100 + n_out).standard_normal(n_in)
    expected = ndimage.affine_transform(
        signal,
        [n_in / n_out],
        offset=0.5 * n_in / n_out - 0.5,
        output_shape=(n_out,),
        order=3,
        mode="reflect",
    )
    # scipy starts its recursive prefilter from a truncated sum: very short signals differ.
    np.testing.assert_allclose(cubic_spline_matrix(n_in, n_out) @ signal, expected, atol=1e-6)


def test_interpolated_volume_equals_scipy_zoom():
    volume = np.random.default_rng(1).standard_normal((10, 13, 12)).astype(np.float32)
    expected = ndimage.zoom(
        volume.astype(np.float64), (2, 2, 1.5), order=3, mode="reflect", grid_mode=True
    )
    np.testing.assert_allclose(interpolate(volume, (20, 26, 18)), expected, atol=2e-5)


@given(st.integers(2, 40), st.integers(2, 40))
def test_band_matrices_keep_constants_and_invert_where_nothing_is_cut(n, m):
    low, high = sorted((n, m))
    np.testing.assert_allclose(band_matrix(n, m) @ np.ones(n), np.ones(m), atol=1e-10)
    np.testing.assert_allclose(
        band_matrix(high, low) @ band_matrix(low, high), np.eye(low), atol=1e-10
    )


def test_adding_along_axes_equals_applying_and_adding():
    rng = np.random.default_rng(2)
    volume = rng.standard_normal((7, 9, 8)).astype(np.float32)
    target = rng.standard_normal((40, 9, 16)).astype(np.float32)
    matrices = (rng.standard_normal((40, 7)), None, rng.standard_normal((16, 8)))
    expected = target + apply_along_axes(volume, matrices)
    add_along_axes(target, volume, matrices)
    np.testing.assert_allclose(target, expected, atol=1e-4)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (3.0, 1.0, 1.0)])
def test_foreground_is_the_head_with_and_without_noise(spacing, noise):
    truth = ball((48, 56, 60))
    found = find_foreground(rician(truth, noise), spacing)
    inside = found.voxels()
    assert inside[truth > 0].mean() > 0.99
    far = ndimage.distance_transform_edt(truth == 0, sampling=spacing) > 16
    assert not found.reach_voxels()[far].any()


def test_without_background_everything_is_foreground():
    volume = 100 + 5 * np.random.default_rng(3).standard_normal((20, 30, 25)).astype(np.float32)
    found = find_foreground(volume, (1.0, 1.0, 1.0))
    assert found.inside.all()
    np.testing.assert_array_equal(
        found.boxes((40, 60, 50)), np.tile([0, 60, 0, 50], (40, 1)).astype(np.int32)
    )


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(10, 40)] * 3), st.floats(0.4, 2.5), st.floats(0.8, 3.0))
def test_boxes_hold_every_foreground_voxel_of_their_slice(shape, factor, edge):
    truth = ball(shape)
    output_shape = tuple(max(1, round(n * factor)) for n in shape)
    found = find_foreground(truth, (edge, edge, edge))
    boxes = found.boxes(output_shape)
    assert boxes.dtype == np.int32
    assert boxes.shape == (output_shape[0], 4)
    inside = found.voxels()
    index = [
        np.clip(((np.arange(m) + 0.5) * n / m).astype(int), 0, n - 1)
        for n, m in zip(shape, output_shape, strict=True)
    ]
    mapped = inside[np.ix_(*index)]
    for k, (y0, y1, x0, x1) in enumerate(boxes):
        assert 0 <= y0 <= y1 <= output_shape[1] and 0 <= x0 <= x1 <= output_shape[2]
        assert mapped[k].sum() == mapped[k, y0:y1, x0:x1].sum()


def test_prepared_volume_has_the_bundles_intensity_and_axis_order():
    data = 700 * ball((30, 36, 24)).transpose(0, 1, 2)
    ready = prepare(data, (2.0, 2.0, 2.0), (60, 72, 48), percentile=99.5, value=1.0)
    assert ready.volume.shape == (48, 72, 60)
    assert ready.volume.flags.c_contiguous and ready.volume.dtype == np.float32
    assert ready.scale == pytest.approx(700)
    np.testing.assert_allclose(ready.measured * ready.scale, data.T, rtol=1e-5)
    assert ready.boxes.shape == (48, 4)


@pytest.mark.parametrize("sigma", [0.01, 0.03, 0.08])
@pytest.mark.parametrize("air", ["noisy", "masked"])
def test_noise_estimate_is_within_a_fifth(sigma, air):
    truth = ball((60, 64, 56)) * (
        1 + 0.3 * ndimage.gaussian_filter(np.random.default_rng(4).standard_normal((60, 64, 56)), 6)
    )
    scan = rician(truth.astype(np.float32), sigma)
    if air == "masked":
        scan[truth == 0] = 0
    estimate = noise_sigma(scan, find_foreground(scan, (1.5, 1.5, 1.5)))
    assert estimate == pytest.approx(sigma, rel=0.2)
