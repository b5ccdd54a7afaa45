"""The samplers against what is known in closed form."""

import numpy as np
import pytest
from moediff_export.diffusion import (
    Sampling,
    cosine_alphas_cumprod,
    step_coefficients,
    timesteps,
)

AB = cosine_alphas_cumprod(1000)


def walk(sampling, z, predict):
    """Run the sampler on scalars with a given prediction of the clean value."""
    start = 999 if sampling.start == "noise" else sampling.start_timestep
    previous = 0.0
    rows = step_coefficients(sampling, AB)
    for t, (c_z, c_0, c_1, _) in zip(timesteps(sampling.steps, start), rows, strict=True):
        z0 = predict(z, t)
        z, previous = c_z * z + c_0 * z0 + c_1 * previous, z0
    return z


def test_schedule_falls_from_signal_to_noise():
    assert np.all(np.diff(AB) < 0) and AB[0] > 0.999 and AB[-1] < 1e-3


@pytest.mark.parametrize("method", ["ddim", "dpmpp_2m"])
@pytest.mark.parametrize("steps", [1, 2, 5, 50])
def test_a_perfect_prediction_is_returned_exactly(method, steps):
    sampling = Sampling(method, steps, "low_field", 400)
    assert walk(sampling, 0.3, lambda z, t: 1.7) == pytest.approx(1.7, abs=1e-12)


def gaussian_error(method, steps, deviation=0.6):
    """Distance from the exact probability-flow solution for Gaussian data N(0, deviation^2).

    There z keeps its quantile: z_s = z_t sqrt(var_s / var_t), with var = ab dev^2 + 1 - ab, and the
    best prediction is z sqrt(ab) dev^2 / var. The walk stops where a further clean step would.
    """
    sampling = Sampling(method, steps, "low_field", 800)
    rows = step_coefficients(sampling, AB)
    grid = timesteps(steps, 800)
    z = z_start = 1.0
    previous = 0.0
    variance = {t: AB[t] * deviation**2 + 1 - AB[t] for t in grid}
    for t, (c_z, c_0, c_1, _) in list(zip(grid, rows, strict=True))[: steps * 3 // 4]:
        z0 = z * np.sqrt(AB[t]) * deviation**2 / variance[t]
        z, previous = c_z * z + c_0 * z0 + c_1 * previous, z0
    end = grid[steps * 3 // 4]
    return abs(z - z_start * np.sqrt(variance[end] / variance[800]))


def test_ddim_converges_at_first_order():
    assert 1.8 < gaussian_error("ddim", 40) / gaussian_error("ddim", 80) < 2.3


def test_dpm_solver_converges_at_second_order():
    assert 3.3 < gaussian_error("dpmpp_2m", 40) / gaussian_error("dpmpp_2m", 80) < 4.7


def test_ddim_with_noise_keeps_the_variance_of_the_schedule():
    """With unit-variance data and eta = 1 every step must land on the schedule's own variance."""
    sampling = Sampling("ddim", 10, "low_field", 900, eta=1.0)
    grid = [*timesteps(10, 900)]
    signal = [AB[t] for t in grid] + [1.0]
    for k, (c_z, c_0, _, c_n) in enumerate(step_coefficients(sampling, AB)):
        # z_t = sqrt(ab_t) x + sqrt(1 - ab_t) e, exact prediction x
        x_part = c_z * np.sqrt(signal[k]) + c_0
        noise_part = c_z**2 * (1 - signal[k]) + c_n**2
        assert x_part == pytest.approx(np.sqrt(signal[k + 1]))
        assert noise_part == pytest.approx(1 - signal[k + 1], abs=1e-12)


def test_timesteps_fall_and_stay_above_clean():
    assert timesteps(4, 400) == [400, 300, 200, 100]
    assert timesteps(3, 10) == [10, 7, 3]


def test_unknown_sampler_is_refused():
    with pytest.raises(ValueError, match="expected one of"):
        step_coefficients(Sampling("euler", 2, "noise", 0), AB)


def test_a_flat_piece_of_the_schedule_falls_back_to_first_order():
    flat = AB.copy()
    flat[200:401] = flat[400]
    rows = step_coefficients(Sampling("dpmpp_2m", 4, "low_field", 400), flat)
    assert np.isfinite(rows).all() and rows[2, 2] == 0.0
