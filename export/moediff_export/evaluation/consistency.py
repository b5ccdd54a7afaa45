"""Whether a result still shows the scan that it was made from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Volume = NDArray[np.float32]


def scan_residual(seen: Volume, scan: Volume, sigma: float) -> dict[str, float]:
    """How far the result, seen as the scan was acquired, is from the scan.

    Parameters
    ----------
    seen : ndarray, float32, (mx, my, mz)
        A x: the result as the acquisition shows it. Its magnitude is taken, which a scan is.
    scan : ndarray, float32, (mx, my, mz)
        The scan y.
    sigma : float
        The scan's noise standard deviation, in its unit.

    Returns
    -------
    dict
        ``rms`` and ``largest`` of `|y - |A x|| / sigma` over all voxels.
    """
    residual = np.abs(scan - np.abs(seen)) / sigma
    return {
        "rms": float(np.sqrt(np.mean(residual**2, dtype=np.float64))),
        "largest": float(residual.max()),
    }
