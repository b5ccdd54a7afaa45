"""The start of a tile's sampling."""

import contract_ops
import numpy as np
import pytest

from moediff_rt import _core
from moediff_rt.errors import InputError

SHAPE = (5, 7, 37)


def test_the_start_is_the_low_field_latent_noised(rng):
    z_low = rng.standard_normal(SHAPE, dtype=np.float32)
    found = _core.start_latent(z_low, SHAPE, 0.8, 0.6, 11, (3, 4, 5))
    expected = 0.8 * z_low + 0.6 * contract_ops.normal(11, 0, (3, 4, 5), SHAPE)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def test_without_a_low_field_latent_the_start_is_the_noise():
    found = _core.start_latent(None, SHAPE, 0.0, 1.0, 11, (3, 4, 5))
    np.testing.assert_array_equal(found, _core.normal(11, 0, (3, 4, 5), SHAPE))


def test_a_latent_of_another_shape_is_refused():
    with pytest.raises(InputError, match="z_low"):
        _core.start_latent(np.zeros((5, 7, 36), np.float32), SHAPE, 1.0, 0.0, 0, (0, 0, 0))
    with pytest.raises(InputError, match="positive shape"):
        _core.start_latent(None, (5, 0, 37), 1.0, 0.0, 0, (0, 0, 0))
