"""Counter-based noise of the C++ core."""

import contract_ops
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moediff_rt import _core
from moediff_rt.errors import InputError


@given(
    seed=st.integers(0, 2**64 - 1),
    index=st.integers(0, 100),
    origin=st.tuples(*[st.integers(0, 10000)] * 3),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 300)),
)
@settings(max_examples=50, deadline=None)
def test_normal_matches_the_float64_reference(seed, index, origin, shape):
    found = _core.normal(seed, index, origin, shape)
    assert found.dtype == np.float32
    assert found.shape == shape
    np.testing.assert_allclose(
        found, contract_ops.normal(seed, index, origin, shape), rtol=1e-6, atol=1e-6
    )


@given(dy=st.integers(0, 4), dx=st.integers(0, 4))
def test_noise_depends_on_the_place_alone(dy, dx):
    whole = _core.normal(7, 1, (10, 20, 3), (8, 12, 12))
    part = _core.normal(7, 1, (10 + dx, 20 + dy, 3), (8, 8, 8))
    np.testing.assert_array_equal(part, whole[:, dy : dy + 8, dx : dx + 8])


def test_noise_is_standard_normal():
    n = _core.normal(1, 0, (0, 0, 0), (8, 256, 256)).astype(np.float64)
    assert abs(n.mean()) < 5 / np.sqrt(n.size)
    assert n.var() == pytest.approx(1, abs=0.01)
    assert (n**4).mean() == pytest.approx(3, abs=0.05)
    channels = np.corrcoef(n.reshape(8, -1))
    assert np.abs(channels - np.eye(8)).max() < 0.02


@pytest.mark.parametrize("change", [{"seed": 1 << 40}, {"noise_index": 1}, {"origin": (0, 0, 1)}])
def test_seed_step_and_slice_each_change_the_noise(change):
    base = {"seed": 0, "noise_index": 0, "origin": (0, 0, 0), "shape": (8, 16, 16)}
    assert np.corrcoef(_core.normal(**base).ravel(), _core.normal(**{**base, **change}).ravel())[
        0, 1
    ] == pytest.approx(0, abs=0.1)


def test_an_empty_shape_is_refused():
    with pytest.raises(InputError, match="positive sizes"):
        _core.normal(0, 0, (0, 0, 0), (0, 8, 8))
