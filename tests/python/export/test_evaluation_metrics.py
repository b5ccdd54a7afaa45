"""The metrics give known values, and the interpolations do what they are named for."""

import math

import numpy as np
import pytest
from moediff_export.evaluation import baselines, metrics
from moediff_export.evaluation.consistency import scan_residual
from moediff_export.evaluation.haarpsi import haarpsi
from scipy import ndimage

from moediff_rt.resample import resample_kspace

ALL = "all"


def smooth_volume(shape=(48, 52, 20), sigma=2.0, seed=0):
    volume = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), sigma)
    return ((volume - volume.min()) / np.ptp(volume)).astype(np.float32)


def with_noise(volume, sigma, seed=1):
    noise = np.random.default_rng(seed).normal(0, sigma, volume.shape)
    return (volume + noise).astype(np.float32)


def haarpsi_of(image, truth):
    return haarpsi(image, truth, 1.0, {ALL: np.ones(truth.shape, bool)})[ALL]


def test_psnr_of_a_constant_error_is_its_closed_form():
    truth = smooth_volume()
    weights = np.full(truth.shape, 0.7, np.float32)
    assert metrics.psnr(truth + 0.01, truth, weights, peak=1.0) == pytest.approx(40, abs=1e-3)
    assert metrics.psnr(truth, truth, weights, peak=1.0) == math.inf


def test_psnr_weighs_each_voxel():
    truth = np.zeros((4, 4, 4), np.float32)
    image = truth.copy()
    image[0] = 0.1
    weights = np.ones_like(truth)
    weights[0] = 0.5  # 16 voxels of weight 1/2 and error 0.01 among 48 of weight 1 and none
    expected = -10 * math.log10(0.01 * 8 / 56)
    assert metrics.psnr(image, truth, weights, peak=1.0) == pytest.approx(expected, abs=1e-4)


def test_the_peak_comes_from_the_mask_alone():
    truth = smooth_volume()
    mask = truth < 0.5
    assert metrics.peak_intensity(truth, mask) <= 0.5


def test_equal_images_are_perfect_and_noise_makes_every_metric_worse():
    truth = smooth_volume((176, 180, 12))
    masks = {"head": np.ones(truth.shape, bool), "half": truth}
    scores = [
        metrics.score(image, truth, masks, 1.0)
        for image in (truth, with_noise(truth, 0.02), with_noise(truth, 0.1))
    ]
    for mask in masks:
        perfect, slight, strong = (s[mask] for s in scores)
        assert perfect["ssim"] == pytest.approx(1)
        assert perfect["haarpsi"] == pytest.approx(1, abs=1e-4)
        assert perfect["hfen"] == 0
        for name, sense in (("psnr", 1), ("ssim", 1), ("haarpsi", 1), ("hfen", -1)):
            values = [sense * s[name] for s in (perfect, slight, strong)]
            assert values[0] > values[1] > values[2], name
    multiscale = [s["head"]["ms_ssim"] for s in scores]
    assert multiscale[0] == pytest.approx(1) and multiscale[0] > multiscale[1] > multiscale[2]


def test_ssim_is_its_formula():
    """Wang et al. 2004, equation 13, with a Gaussian window cut at 3.5 of its deviations."""
    truth = smooth_volume()
    image = with_noise(0.9 * truth + 0.05, 0.03)

    def mean(values):
        return ndimage.gaussian_filter(values.astype(np.float64), 1.5, truncate=3.5)

    mu_x, mu_y = mean(image), mean(truth)
    var_x, var_y = mean(image**2.0) - mu_x**2, mean(truth**2.0) - mu_y**2
    both = mean(image.astype(np.float64) * truth) - mu_x * mu_y
    c1, c2 = 0.01**2, 0.03**2
    expected = (2 * mu_x * mu_y + c1) * (2 * both + c2)
    expected /= (mu_x**2 + mu_y**2 + c1) * (var_x + var_y + c2)
    inside = (slice(6, -6),) * 3
    found = metrics.ssim_map(image, truth, 1.0)
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-4)


def test_ms_ssim_of_two_greys_is_their_luminance_at_the_coarsest_scale():
    truth = np.full((180, 184, 3), 0.8, np.float32)
    luminance = (2 * 0.8 * 0.5 + 0.01**2) / (0.8**2 + 0.5**2 + 0.01**2)
    found = metrics.ms_ssim(truth - np.float32(0.3), truth, np.ones(truth.shape, bool), 1.0)
    # float32 variances of greys are not quite 0. The next scale's weight is 0.01 away.
    assert found == pytest.approx(luminance**0.1333, abs=5e-4)


def test_the_inner_brain_is_deeper_than_three_voxels():
    brain = np.zeros((20, 20, 12), bool)
    brain[4:16, 4:16] = True  # through both faces of the volume
    expected = np.zeros_like(brain)
    expected[7:13, 7:13] = True
    np.testing.assert_array_equal(metrics.inner_brain(brain), expected)


def test_hfen_of_a_scaled_image_is_the_change_of_scale():
    truth = smooth_volume()
    everywhere = np.ones(truth.shape, bool)
    assert metrics.hfen(1.25 * truth, truth, everywhere) == pytest.approx(0.25, rel=1e-4)
    assert metrics.hfen(truth + 0.1, truth, everywhere) < 0.005


def test_haarpsi_equals_the_published_implementation():
    # piq 0.8.0, haarpsi(scales=3, subsample=True, c=30, alpha=4.2), on the same images.
    rng = np.random.default_rng(0)
    truth = ndimage.gaussian_filter(rng.random((64, 80)), 2)
    truth = ((truth - truth.min()) / np.ptp(truth)).astype(np.float32)
    noisy = np.clip(truth + rng.normal(0, 0.05, truth.shape), 0, 1).astype(np.float32)
    blurred = ndimage.gaussian_filter(truth, 1.5)
    assert haarpsi_of(noisy[..., None], truth[..., None]) == pytest.approx(0.860815, abs=1e-5)
    assert haarpsi_of(blurred[..., None], truth[..., None]) == pytest.approx(0.780242, abs=1e-5)


def test_haarpsi_looks_where_the_mask_is():
    truth = smooth_volume()
    image = truth.copy()
    image[:24] = with_noise(truth, 0.1)[:24]
    left, right = np.zeros(truth.shape, bool), np.zeros(truth.shape, bool)
    left[:16], right[32:] = True, True
    values = haarpsi(image, truth, 1.0, {"left": left, "right": right})
    assert values["right"] == pytest.approx(1, abs=1e-4)
    assert values["left"] < 0.95


INTERPOLATIONS = {
    "trilinear": baselines.trilinear,
    "cubic": baselines.cubic_spline,
    "zero-filling": baselines.zero_filling,
    "non-local means": lambda low, shape: baselines.non_local_means(low, (2.0, 2.0, 2.0), shape),
}


@pytest.mark.parametrize("shape", [(40, 44, 36), (33, 35, 27), (20, 22, 54)])
@pytest.mark.parametrize("name", INTERPOLATIONS)
def test_interpolation_keeps_a_ramp_in_place(name, shape):
    # A grid over the same box: the ramp's values follow from the voxels' centres.
    low = np.broadcast_to((np.arange(18) + 0.5) / 18, (20, 22, 18)).astype(np.float32)
    result = INTERPOLATIONS[name](low, shape)
    assert result.shape == shape and result.dtype == np.float32
    truth = np.broadcast_to((np.arange(shape[2]) + 0.5) / shape[2], shape)
    inner = (slice(8, -8), slice(8, -8), slice(shape[2] // 4, -(shape[2] // 4)))
    assert np.abs(result - truth)[inner].max() < 0.02


def test_non_local_means_takes_noise_off_and_keeps_edges():
    truth = (smooth_volume((48, 48, 48), 4.0) > 0.5).astype(np.float32) + 0.5
    low = with_noise(ndimage.zoom(truth, 0.5, order=1, grid_mode=True, mode="reflect"), 0.03)
    filtered = baselines.non_local_means(low, (2.0, 2.0, 2.0), truth.shape)
    spline = baselines.cubic_spline(low, truth.shape)
    everywhere = np.ones(truth.shape, bool)
    flat = ndimage.maximum_filter(truth, 9) == ndimage.minimum_filter(truth, 9)
    assert (filtered - truth)[flat].std() < 0.5 * (spline - truth)[flat].std()
    assert metrics.psnr(filtered, truth, everywhere, 1.5) > metrics.psnr(
        spline, truth, everywhere, 1.5
    )


def test_a_zero_filled_scan_shows_the_scan():
    low = smooth_volume((16, 18, 12))
    filled = baselines.zero_filling(low, (32, 36, 12))
    seen = resample_kspace(filled, low.shape)
    assert scan_residual(seen, low, sigma=0.01)["largest"] < 1e-3
    shifted = scan_residual(seen + np.float32(0.02), low, sigma=0.01)
    assert shifted["rms"] == pytest.approx(2, rel=1e-3)
