"""What surrounds the model, on a smooth random volume: the core against SciPy's own way.

Interpolation to half the voxel edge against `scipy.ndimage.zoom`, and data consistency against
`scipy.fft.dctn`, both in float32. The former has one thread always.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import fft, ndimage

from moediff_rt import _core

VOXELS = 64


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((VOXELS,) * 3)
    return 1 + ndimage.gaussian_filter(noise, 2).astype(np.float32)


@pytest.fixture(scope="module")
def result() -> np.ndarray:
    # Above zero at the scan's resolution, so that magnitudes are what they are made from.
    return 1 + np.random.default_rng(1).random((2 * VOXELS,) * 3, dtype=np.float32)


def scipy_interpolate(volume: np.ndarray, threads: int) -> np.ndarray:
    return ndimage.zoom(volume, 2, order=3, mode="reflect", grid_mode=True)


def core_interpolate(volume: np.ndarray, threads: int) -> np.ndarray:
    n = 2 * VOXELS
    return _core.interpolate(volume, (n, n, n), threads=threads)


def scipy_consistency(result: np.ndarray, scan: np.ndarray, threads: int) -> np.ndarray:
    low = (slice(0, VOXELS),) * 3
    scale = np.float32(8**-0.5)
    kept = scale * fft.dctn(result, norm="ortho", workers=threads)[low]
    gap = scan - fft.idctn(kept, norm="ortho", workers=threads)
    power, noise = gap * gap, np.float32((_core.KAPPA * 0.1) ** 2)
    power *= np.clip(power / np.float32(0.3**2), 1, 4) ** 3  # beyond 3 standard deviations
    for axis in range(3):
        power = ndimage.correlate1d(power, [1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16], axis)
    gap *= 1 - noise / np.maximum(power, noise)
    spread = np.zeros_like(result)
    spread[low] = fft.dctn(gap, norm="ortho", workers=threads) / scale
    return result + fft.idctn(spread, norm="ortho", workers=threads)


def core_consistency(result: np.ndarray, scan: np.ndarray, threads: int) -> np.ndarray:
    changed = result.copy()
    _core.enforce_consistency(changed, scan, 0.1, threads=threads)
    return changed


@pytest.mark.parametrize(
    ("way", "threads"), [(scipy_interpolate, 1), (core_interpolate, 1), (core_interpolate, 2)]
)
@pytest.mark.benchmark(group="interpolate")
def test_interpolate(benchmark, volume, threads: int, way: Callable[..., np.ndarray], rounds):
    found = benchmark.pedantic(way, args=(volume, threads), rounds=rounds, warmup_rounds=1)
    np.testing.assert_allclose(found, core_interpolate(volume, 1), atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("way", [scipy_consistency, core_consistency])
@pytest.mark.benchmark(group="consistency")
def test_consistency(
    benchmark, result, volume, threads: int, way: Callable[..., np.ndarray], rounds
):
    found = benchmark.pedantic(way, args=(result, volume, threads), rounds=rounds, warmup_rounds=1)
    np.testing.assert_allclose(found, core_consistency(result, volume, 1), atol=2e-5)
