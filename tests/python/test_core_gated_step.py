"""The fused denoising step of the C++ core."""

import contract_ops
import numpy as np
import pytest

from moediff_rt import _core
from moediff_rt.errors import InputError


def arrays(shape, experts, gate, seed=0):
    rng = np.random.default_rng(seed)
    z_t, z0_prev = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    outputs = [rng.standard_normal(shape, dtype=np.float32) for _ in range(experts)]
    gates = rng.random((experts, *gate), dtype=np.float32)
    return z_t, outputs, gates / gates.sum(0), z0_prev


@pytest.mark.parametrize("experts", [1, 2, 3, 8])
@pytest.mark.parametrize("gate", [(1, 1), (4, 4), (5, 3), (16, 16), (40, 40)])
@pytest.mark.parametrize("shape", [(8, 64, 64), (3, 5, 7), (512, 8, 8)])
def test_gated_step_matches_float64_reference(experts, gate, shape):
    z_t, outputs, gates, z0_prev = arrays(shape, experts, gate)
    c_z, c_0, c_1, c_n = 0.6, 0.7, -0.2, 0.3
    z_s, z0 = _core.gated_step(z_t, outputs, gates, z0_prev, c_z, c_0, c_1, c_n, 11, (3, 4, 5), 2)
    maps = contract_ops.bilinear(gates.astype(np.float64), *shape[1:])
    expected_z0 = sum(m * o.astype(np.float64) for m, o in zip(maps, outputs, strict=True))
    noise = contract_ops.normal(11, 2, (3, 4, 5), shape)
    expected = c_z * z_t + c_0 * expected_z0 + c_1 * z0_prev + c_n * noise
    np.testing.assert_allclose(z0, expected_z0, rtol=0, atol=5e-6)
    np.testing.assert_allclose(z_s, expected, rtol=0, atol=5e-6)


def test_the_first_step_needs_no_previous_prediction():
    z_t, outputs, gates, _ = arrays((2, 8, 8), 3, (4, 4))
    z_s, z0 = _core.gated_step(z_t, outputs, gates, None, 0.5, 0.5, 0.0, 0.0, 0, (0, 0, 0), 1)
    np.testing.assert_allclose(z_s, 0.5 * z_t + 0.5 * z0, atol=1e-6)


def test_unused_previous_prediction_may_hold_anything():
    z_t, outputs, gates, z0_prev = arrays((2, 8, 8), 3, (4, 4))
    z0_prev[:] = np.nan
    z_s, _ = _core.gated_step(z_t, outputs, gates, z0_prev, 1, 1, 0.0, 0.0, 0, (0, 0, 0), 1)
    assert np.isfinite(z_s).all()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("z_t", np.zeros((2, 8, 8)), "found float64"),
        ("z_t", np.zeros((8, 8), np.float32), r"found float32 \(8, 8\)"),
        ("z_t", np.zeros((2, 8, 16), np.float32)[:, :, ::2], "not C-contiguous"),
        ("experts", [np.zeros((2, 8, 9), np.float32)] * 3, r"experts\[0\]"),
        ("experts", [], "1 to 8 experts"),
        ("gates", np.zeros((2, 4, 4), np.float32), "gates"),
        ("gates", np.zeros((3, 0, 4), np.float32), "with elements"),
        ("z0_prev", None, "z0_prev"),
        ("z_t", [[1.0]], "found list"),
    ],
)
def test_wrong_arrays_are_refused(name, value, words):
    z_t, outputs, gates, z0_prev = arrays((2, 8, 8), 3, (4, 4))
    args = {"z_t": z_t, "experts": outputs, "gates": gates, "z0_prev": z0_prev}
    args[name] = value
    with pytest.raises(InputError, match=words):
        _core.gated_step(
            **args, c_z=1, c_0=1, c_1=1, c_n=0, seed=0, origin=(0, 0, 0), noise_index=1
        )
