"""Data consistency, as its formula says it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.fft import dct
from scipy.ndimage import correlate1d

from .resample import Matrix, apply_along_axes, resample_kspace
from .slice_profile import gains

WINDOW = np.array([1, 4, 6, 4, 1]) / 16
RARE, MOST_ABOVE = 3, 4  # residuals that count for more, in standard deviations; how far above
DEEPER = 2  # how much deeper than the volume the truth may ring below zero
SMALLEST = 1e-300  # keeps 0 / 0 away where there is neither noise nor residual


def enforce_consistency(
    volume: npt.ArrayLike,
    measured: npt.ArrayLike,
    sigma: float,
    kappa: float = 0.85,
    profile: tuple[int, float] = (0, 0.0),
) -> tuple[npt.NDArray[np.float64], float]:
    """The consistent volume, and the largest correction at the scan's resolution."""
    result = np.asarray(volume, dtype=np.float64)
    scan = np.asarray(measured, dtype=np.float64)
    common = tuple(min(m, n) for m, n in zip(result.shape, scan.shape, strict=True))
    variance = sigma**2 * math.prod(common) / scan.size
    noise = kappa**2 * variance
    seen = acquired(result, scan.shape, profile)
    wanted = resample_kspace(scan, common)
    folded = (seen < 0) & (wanted > 0) & (wanted <= most_ringing(seen, variance))
    residual = np.where(folded, -wanted, wanted) - seen
    power = residual**2
    above = power / max(RARE**2 * variance, SMALLEST)
    power *= np.clip(above, 1, MOST_ABOVE) ** 3
    for axis in range(3):
        power = correlate1d(power, WINDOW, axis, mode="reflect")
    residual *= 1 - noise / np.maximum(power, max(noise, SMALLEST))
    return result + resample_kspace(residual, result.shape), float(np.abs(residual).max())


def most_ringing(seen: npt.NDArray[np.float64], variance: float) -> npt.NDArray[np.float64]:
    """The largest magnitude of ringing, with noise, where a volume rings as in `seen`."""
    return RARE * math.sqrt(variance) - DEEPER * seen


def acquired(
    volume: npt.ArrayLike, shape: Sequence[int], profile: tuple[int, float]
) -> npt.NDArray[np.float64]:
    """A volume as a scan of a shape shows it, or at its own resolution where that is coarser."""
    common = [min(n, m) for n, m in zip(np.shape(volume), shape, strict=True)]
    axis, width = profile
    transform = dct(np.eye(common[axis]), norm="ortho", axis=0)
    along: list[Matrix | None] = [None, None, None]
    along[axis] = transform.T @ (gains(shape[axis], common[axis], width)[:, None] * transform)
    return apply_along_axes(resample_kspace(volume, common), along)
