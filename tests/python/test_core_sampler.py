"""Timesteps and step coefficients of the C++ core."""

import itertools

import contract_loop
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moediff_rt import _core
from moediff_rt.errors import InputError

ALPHAS = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)).tolist()


@given(start=st.integers(1, 5000), data=st.data())
def test_timesteps_start_at_the_start_and_fall(start, data):
    steps = data.draw(st.integers(1, start))
    taus = _core.timesteps(steps, start)
    assert taus[0] == start
    assert len(taus) == steps
    assert all(a > b for a, b in itertools.pairwise(taus))
    assert taus[-1] >= 1


def test_timesteps_round_half_up():
    assert _core.timesteps(4, 2 * 5) == [10, 8, 5, 3]


@pytest.mark.parametrize("method", ["ddim", "dpmpp_2m"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_step_coefficients_match_the_definitions_in_float64(method, steps, eta):
    found = _core.step_coefficients(method, ALPHAS, steps, 400, eta)
    expected = contract_loop.coefficients(method, ALPHAS, steps, 400, eta)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", ["ddim", "dpmpp_2m"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_perfect_prediction_is_a_fixed_point(method, steps):
    clean, noise = 0.7, -1.3
    taus = _core.timesteps(steps, 400)
    z = np.sqrt(ALPHAS[400]) * clean + np.sqrt(1 - ALPHAS[400]) * noise
    for k, (c_z, c_0, c_1, _) in enumerate(_core.step_coefficients(method, ALPHAS, steps, 400, 0)):
        z = c_z * z + (c_0 + c_1) * clean
        ab = ALPHAS[taus[k + 1]] if k + 1 < steps else 1.0
        assert z == pytest.approx(np.sqrt(ab) * clean + np.sqrt(1 - ab) * noise, abs=1e-12)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("ddim", ALPHAS, 0, 400, 0.0), "expected 1 to 400"),
        (("ddim", ALPHAS, 401, 400, 0.0), "ask for fewer steps"),
        (("ddim", ALPHAS, 2, 1000, 0.0), "below 1000"),
        (("euler", ALPHAS, 2, 400, 0.0), "found euler"),
        (("ddim", ALPHAS, 2, 400, -0.1), "eta"),
        (("ddim", ALPHAS, 2, 400, float("nan")), "eta"),
    ],
)
def test_impossible_samplers_are_refused(args, words):
    with pytest.raises(InputError, match=words):
        _core.step_coefficients(*args)
