"""Data consistency, as its formula says it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .resample import resample_kspace


def enforce_consistency(
    volume: npt.ArrayLike, measured: npt.ArrayLike, sigma: float, kappa: float = 1.0
) -> tuple[npt.NDArray[np.float64], float]:
    """The consistent volume, and the largest correction at the scan's resolution."""
    result = np.asarray(volume, dtype=np.float64)
    scan = np.asarray(measured, dtype=np.float64)
    common = tuple(min(m, n) for m, n in zip(result.shape, scan.shape, strict=True))
    limit = kappa * sigma * math.sqrt(math.prod(common) / scan.size)
    seen, wanted = resample_kspace(result, common), resample_kspace(scan, common)
    residual = np.where((seen < 0) & (wanted > 0), -wanted, wanted) - seen
    residual -= np.clip(residual, -limit, limit)
    return result + resample_kspace(residual, result.shape), float(np.abs(residual).max())
