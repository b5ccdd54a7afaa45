"""Data consistency: the result, brought back to the scan's resolution, must show the scan."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def enforce_consistency(
    volume: npt.NDArray[np.float32],
    measured: npt.NDArray[np.float32],
    sigma: float,
    *,
    kappa: float | None = None,
) -> float:
    """Back-project what of the scan the result has lost, in place.

    With A the k-space cut to the scan's resolution, A+ its right inverse (zero filling), and
    r = s y - A x, s the sign of A x (a scan is a magnitude, which folds up the ringing below
    zero), the volume becomes `x + A+ (r - clip(r, -kappa sigma, kappa sigma))`, after which
    `||A x| - y| <= kappa sigma` in every voxel. Where y itself is below zero, s is 1. On an axis
    where the output is coarser than the scan, both are compared at the output's resolution.

    Parameters
    ----------
    volume : (mz, my, mx) float32 array, C order
        The result x; changed in place.
    measured : (nz, ny, nx) float32 array
        The scan y over the same box, in the same unit.
    sigma : float
        Noise standard deviation of `measured`.
    kappa : float, optional
        Default: what measured best, `moediff_rt._core.KAPPA`.

    Returns
    -------
    float
        Largest correction made at the scan's resolution, in the volume's unit.

    Raises
    ------
    InputError
        `volume` is no C-contiguous float32 array that may be changed, or sigma is below zero.
    """
    from . import _core

    scan = np.ascontiguousarray(measured, dtype=np.float32)
    kappa = _core.KAPPA if kappa is None else kappa
    return _core.enforce_consistency(volume, scan, sigma, kappa=kappa)
