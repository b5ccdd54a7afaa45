"""Interpolation, foreground, intensity scale, noise: the core against NumPy and SciPy."""

from __future__ import annotations

import gc

import numpy as np
import oracle.foreground
import oracle.noise
import oracle.resample
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from moediff_rt import InputError, _core
from moediff_rt.foreground import find_foreground
from moediff_rt.noise import noise_sigma
from moediff_rt.preprocess import prepare
from moediff_rt.resample import interpolate, resample_kspace

# How far float32 may be from the float64 oracle, of the largest voxel: each of three axes rounds
# some ten times, and what ringing adds doubles it at most.
ROUNDING = 40 * float(np.finfo(np.float32).eps)

sizes = st.integers(1, 40)
shapes = st.tuples(sizes, sizes, sizes)
edges = st.floats(0.8, 3.0)


def normal(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def ball(shape: tuple[int, int, int], radius: float = 0.7) -> np.ndarray:
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    return (sum(axis**2 for axis in grid) < radius**2).astype(np.float32)


def rician(volume: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((2, *volume.shape))
    return np.hypot(volume + sigma * noise[0], sigma * noise[1]).astype(np.float32)


def head(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """A ball with texture, a speck in the air and a hole in the ball, under noise."""
    texture = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 3)
    volume = ball(shape) * (1 + texture).astype(np.float32)
    middle = tuple(slice(n // 2 - 2, n // 2 + 3) for n in shape)
    volume[middle] = 0
    volume[:2, :2, :2] = 1
    return rician(volume, 0.03, seed)


@given(st.integers(12, 40), st.integers(1, 90))
def test_the_oracles_spline_equals_scipy_on_the_same_box(n_in, n_out):
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
    found = oracle.resample.cubic_spline_matrix(n_in, n_out) @ signal
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_interpolated_volume_equals_scipy_zoom():
    volume = normal((10, 13, 12), 1)
    expected = ndimage.zoom(
        volume.astype(np.float64), (2, 2, 1.5), order=3, mode="reflect", grid_mode=True
    )
    np.testing.assert_allclose(interpolate(volume, (20, 26, 18)), expected, atol=2e-5)


@settings(max_examples=60, deadline=None)
@given(shapes, shapes)
def test_interpolation_equals_the_float64_oracle(shape, output_shape):
    volume = normal(shape)
    found = interpolate(volume, output_shape)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    expected = oracle.resample.interpolate(volume, output_shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * np.abs(volume).max())


@settings(max_examples=60, deadline=None)
@given(shapes, shapes)
def test_kspace_resampling_equals_the_float64_oracle(shape, output_shape):
    volume = normal(shape)
    found = resample_kspace(volume, output_shape)
    expected = oracle.resample.resample_kspace(volume, output_shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * np.abs(volume).max())


@pytest.mark.parametrize("n", [97, 121, 128, 218, 240, 251, 256])
def test_a_long_axis_of_any_factors_equals_the_float64_oracle(n):
    volume = normal((n, 3, 5))
    for shape in ((2 * n, 3, 5), (n // 2, 3, 5)):
        found = resample_kspace(volume, shape)
        expected = oracle.resample.resample_kspace(volume, shape)
        np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * np.abs(volume).max())


@given(st.integers(2, 40), st.integers(2, 40))
def test_kspace_keeps_constants_and_comes_back_where_nothing_is_cut(n, m):
    low, high = sorted((n, m))
    flat = resample_kspace(np.full((n, 1, 1), 3, np.float32), (m, 1, 1))
    np.testing.assert_allclose(flat, 3, rtol=1e-5)
    volume = normal((1, low, low))
    there = resample_kspace(volume, (1, high, high))
    np.testing.assert_allclose(resample_kspace(there, volume.shape), volume, atol=2e-5)


@pytest.mark.parametrize("resample", [interpolate, resample_kspace])
def test_resampling_has_the_same_bits_for_any_number_of_threads(resample):
    volume = normal((37, 41, 50))
    for shape in ((74, 82, 100), (20, 82, 33), (37, 21, 100), (60, 41, 50)):
        one = resample(volume, shape, threads=1)
        for threads in (2, 5):
            np.testing.assert_array_equal(resample(volume, shape, threads=threads), one)


@pytest.mark.parametrize("resample", [_core.interpolate, _core.resample_kspace])
@pytest.mark.parametrize(
    ("volume", "shape", "words"),
    [
        (np.zeros((4, 4, 4)), (4, 4, 4), "float32"),
        (np.zeros((4, 4), np.float32), (4, 4, 4), "any, any, any"),
        (np.zeros((4, 4, 8), np.float32)[..., ::2], (4, 4, 4), "not C-contiguous"),
        (np.zeros((4, 0, 4), np.float32), (4, 4, 4), r"shape \(4, 0, 4\)"),
        (np.zeros((4, 4, 4), np.float32), (4, 0, 4), r"shape \(4, 0, 4\)"),
        (np.zeros((4, 4, 4), np.float32), (4, 4, -1), r"4, -1\)"),
        (np.zeros((4, 4, 4), np.float32), (4, 4, 8193), "at most 8192 .* 8193 x 4 x 4"),
    ],
)
def test_what_cannot_be_resampled_is_refused(resample, volume, shape, words):
    with pytest.raises(InputError, match=words):
        resample(volume, shape)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (3.0, 1.0, 1.0)])
def test_foreground_is_the_head_with_and_without_noise(spacing, noise):
    truth = ball((48, 56, 60))
    found = find_foreground(rician(truth, noise), spacing)
    inside = found.voxels()
    assert inside[truth > 0].mean() > 0.99
    far = ndimage.distance_transform_edt(truth == 0, sampling=spacing) > 16
    assert not found.reach_voxels()[far].any()


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(5, 40)] * 3), st.tuples(edges, edges, edges), st.integers(0, 99))
def test_foreground_equals_the_oracle(shape, spacing, seed):
    volume = head(shape, seed)
    found = find_foreground(volume, spacing)
    expected = oracle.foreground.find_foreground(volume, spacing)
    assert (found.block, found.shape) == (expected.block, expected.shape)
    np.testing.assert_array_equal(found.inside, expected.inside)
    np.testing.assert_array_equal(found.reach, expected.reach)
    np.testing.assert_array_equal(found.voxels(), expected.voxels())
    np.testing.assert_array_equal(found.reach_voxels(), expected.reach_voxels())
    output_shape = tuple(2 * n - 1 for n in shape)
    np.testing.assert_array_equal(found.boxes(output_shape), expected.boxes(output_shape))


def test_specks_are_dropped_and_holes_filled():
    volume = ball((60, 60, 60))
    volume[28:33, 28:33, 28:33] = 0
    volume[:2, :2, :2] = 1
    found = find_foreground(volume, (1.0, 1.0, 1.0)).voxels()
    assert found[30, 30, 30]
    assert not found[0, 0, 0]


def test_without_background_everything_is_foreground():
    volume = 100 + 5 * normal((20, 30, 25), 3)
    found = find_foreground(volume, (1.0, 1.0, 1.0))
    assert found.inside.all()
    np.testing.assert_array_equal(
        found.boxes((40, 60, 50)), np.tile([0, 60, 0, 50], (40, 1)).astype(np.int32)
    )


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(10, 40)] * 3), st.floats(0.4, 2.5), edges)
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


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (1.0, np.nan, 1.0), (1.0, 1.0, -2.0)])
def test_foreground_refuses_a_spacing_that_is_none(spacing):
    with pytest.raises(InputError, match="above zero"):
        find_foreground(ball((10, 10, 10)), spacing)


def test_prepared_volume_has_the_bundles_intensity_and_axis_order():
    data = 700 * ball((30, 36, 24))
    ready = prepare(data, (2.0, 2.0, 2.0), (60, 72, 48), percentile=99.5, value=1.0)
    assert ready.volume.shape == (48, 72, 60)
    assert ready.volume.flags.c_contiguous and ready.volume.dtype == np.float32
    assert ready.scale == pytest.approx(700)
    np.testing.assert_allclose(ready.measured * ready.scale, data.T, rtol=1e-5)
    assert ready.boxes.shape == (48, 4)


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.integers(8, 30)] * 3), st.floats(1.0, 99.9), st.integers(0, 99))
def test_the_scale_is_numpys_percentile_of_the_foreground(shape, percentile, seed):
    data = np.float32(300) * head(shape, seed)
    ready = prepare(data, (1.0, 1.5, 2.0), shape, percentile=percentile, value=0.7)
    scan = np.ascontiguousarray(data.T)
    inside = oracle.foreground.find_foreground(scan, (2.0, 1.5, 1.0)).voxels()
    # numpy takes the percentile of float32 values in float32, where ranks are rounded.
    expected = np.percentile(scan[inside].astype(np.float64), percentile) / 0.7
    assert ready.scale == pytest.approx(expected, rel=1e-12)
    np.testing.assert_array_equal(ready.measured, scan * np.float32(1 / ready.scale))
    np.testing.assert_array_equal(
        ready.volume, interpolate(ready.measured, ready.volume.shape), "the same shape here"
    )


def test_prepared_arrays_outlive_what_they_came_from():
    ready = prepare(ball((20, 20, 20)), (2.0,) * 3, (40,) * 3, percentile=99.5, value=1.0)
    volume, kept = ready.volume, ready.volume.copy()
    del ready
    gc.collect()
    np.testing.assert_array_equal(volume, kept)


def test_a_scan_whose_tissue_is_not_above_zero_is_refused():
    dark = -100 - 5 * ball((20, 20, 20))
    dark[0, 0, 0] = 1
    with pytest.raises(InputError, match="bright tissue"):
        prepare(dark, (2.0, 2.0, 2.0), (40, 40, 40), percentile=99.5, value=1.0)


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


def zero_filled(scan, size):
    """A complex scan on more voxels along its last two axes, from the same samples of k-space."""
    before = scan.shape
    for axis in (1, 2):
        k = np.fft.fftshift(np.fft.fft(scan, axis=axis), axes=axis)
        more = size[axis - 1] - before[axis]
        pad = [(more // 2, more - more // 2) if a == axis else (0, 0) for a in range(3)]
        scan = np.fft.ifft(np.fft.ifftshift(np.pad(k, pad), axes=axis), axis=axis)
    return scan * np.prod(size) / np.prod(before[1:])


def filtered(scan, strength):
    """A complex scan under a Hann window of k-space, as scanners' filters are."""
    k = np.fft.fftn(scan)
    for axis, n in enumerate(scan.shape):
        window = 1 - strength * 0.5 * (1 - np.cos(2 * np.pi * np.fft.fftfreq(n)))
        k = k * np.expand_dims(window, [a for a in range(3) if a != axis])
    return np.fft.ifftn(k)


@pytest.mark.parametrize("how", ["zero-filled", "by a third", "filtered", "turned", "many coils"])
def test_noise_that_is_not_white_is_estimated_within_a_fifth(how):
    """By the spread of what was done to the noise, in the middle of the head."""
    shape, sigma = (60, 64, 56), 0.03
    noise = sigma * np.random.default_rng(3).standard_normal((8, 2, *shape))
    truth = ball(shape, 0.8)

    def done(image):
        if how in ("zero-filled", "many coils"):
            return np.abs(zero_filled(image, (128, 112)))
        if how == "by a third":
            return np.abs(zero_filled(image, (85, 75)))
        if how == "filtered":
            return np.abs(filtered(image, 0.5))
        turn = np.array([[1, 0, 0], [0, 0.996, -0.087], [0, 0.087, 0.996]])
        return ndimage.affine_transform(np.abs(image), turn, (0.3, 2.9, -2.3), order=3)

    coils = [truth / 8**0.5 + n[0] + 1j * n[1] for n in noise] if how == "many coils" else None
    if coils:
        scan = np.sqrt(sum(done(coil) ** 2 for coil in coils))
    else:
        scan = done(truth + noise[0, 0] + 1j * noise[0, 1])
    middle = tuple(slice(2 * n // 5, 3 * n // 5) for n in scan.shape)
    smooth = ndimage.gaussian_filter(scan, 6)
    spread = float((scan - smooth)[middle].std())
    spacing = tuple(1.5 * a / b for a, b in zip(shape, scan.shape, strict=True))
    scan = np.ascontiguousarray(scan, dtype=np.float32)
    estimate = noise_sigma(scan, find_foreground(scan, spacing))
    assert estimate == pytest.approx(spread, rel=0.2)
    expected = oracle.noise.noise_sigma(scan, oracle.foreground.find_foreground(scan, spacing))
    assert estimate == pytest.approx(expected, rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.integers(5, 40)] * 3),
    st.tuples(edges, edges, edges),
    st.sampled_from(["noisy", "masked", "full"]),
)
def test_noise_estimate_equals_the_float64_oracle(shape, spacing, air):
    """Few blocks, many, none inside; with air to look at and without."""
    scan = head(shape)
    if air == "masked":
        scan[ball(shape) == 0] = 0
    if air == "full":
        scan = 5 + scan
    found = noise_sigma(scan, find_foreground(scan, spacing))
    expected = oracle.noise.noise_sigma(scan, oracle.foreground.find_foreground(scan, spacing))
    # Fourth differences over three axes cancel: 4096 roundings of the largest voxel, over the norm.
    absolute = 4096 / 70**1.5 * float(np.finfo(np.float32).eps * scan.max())
    assert found == pytest.approx(expected, rel=1e-5, abs=absolute)


def test_noise_is_refused_a_foreground_of_another_scan_and_a_sliver():
    found = find_foreground(ball((20, 20, 20)), (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match=r"\(20, 20, 20\)"):
        noise_sigma(ball((20, 20, 21)), found)
    sliver = ball((20, 4, 20))
    with pytest.raises(InputError, match="at least 5 voxels"):
        noise_sigma(sliver, find_foreground(sliver, (1.0, 1.0, 1.0)))


def test_preparing_has_the_same_bits_for_any_number_of_threads():
    scan = head((40, 43, 50))
    ready = [
        _core.prepare(
            scan, (1.2, 1.0, 1.1), (80, 86, 61), percentile=99.5, value=1.0, threads=threads
        )
        for threads in (1, 2, 5)
    ]
    for other in ready[1:]:
        assert other.scale == ready[0].scale
        np.testing.assert_array_equal(other.volume, ready[0].volume)
        np.testing.assert_array_equal(other.boxes, ready[0].boxes)
    sigmas = {
        _core.noise_sigma(scan, ready[0].foreground, threads=threads) for threads in (1, 2, 5)
    }
    assert len(sigmas) == 1
