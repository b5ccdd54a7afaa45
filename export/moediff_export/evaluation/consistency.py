"""Whether a result still shows the scan that it was made from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moediff_rt.resample import resample_kspace

Volume = NDArray[np.float32]


def scan_residual(volume: Volume, scan: Volume, sigma: float) -> dict[str, float]:
    """How far the result, seen as the scan was acquired, is from the scan.

    Seen: cut in k-space to the scan's matrix, and its magnitude taken, which a scan is.

    Parameters
    ----------
    volume : ndarray, float32, (nx, ny, nz)
        The result x.
    scan : ndarray, float32, (mx, my, mz)
        The scan y over the same box, no finer.
    sigma : float
        The scan's noise standard deviation, in its unit.

    Returns
    -------
    dict
        ``rms`` and ``largest`` of `|y - |A x|| / sigma` over all voxels.
    """
    residual = np.abs(scan - np.abs(resample_kspace(volume, scan.shape))) / sigma
    return {
        "rms": float(np.sqrt(np.mean(residual**2, dtype=np.float64))),
        "largest": float(residual.max()),
    }
