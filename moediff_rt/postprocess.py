"""Data consistency: the result, brought back to the scan's resolution, must show the scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .acquisition import Acquisition


class SliceProfile(NamedTuple):
    """How a scan was acquired along one of its axes.

    Attributes
    ----------
    axis : int
        Of (z, y, x).
    width : float
        Full width at half maximum of the Gaussian that each slice is the integral over, in slice
        distances; 0 where k-space was cut alone.
    """

    axis: int = 0
    width: float = 0.0


def find_slice_profile(
    measured: npt.NDArray[np.float32],
    spacing: Sequence[float],
    sigma: float,
    acquisition: Acquisition | None = None,
) -> SliceProfile:
    """How the slices of a scan were acquired; where that is not known, how they look.

    Two-dimensional acquisitions excite slices, whose profile damps what lies between them. Of a
    profile, the power along the coarsest axis falls off towards the Nyquist frequency against that
    of the same anatomy along the other two axes.

    Parameters
    ----------
    measured : (nz, ny, nx) float32 array
    spacing : (z, y, x) voxel edges, mm
    sigma : float
        Noise standard deviation of `measured`.
    acquisition : Acquisition, optional
        Where it is known, which says more than the scan shows, unless it is a 2-D one whose slices
        may lie along several axes.

    Returns
    -------
    SliceProfile
        Along the coarsest axis; as wide as the acquisition says, else of width 1, or 0 where slices
        are not thick, too few to tell, or show no profile clearly.

    Raises
    ------
    InputError
        The acquisition's slices are far thinner or thicker than they lie apart; or, where the scan
        has to show it, an edge is not above zero or sigma is below it.
    """
    from . import _core

    z, y, x = (float(edge) for edge in spacing)
    known = acquisition.profile((x, y, z)) if acquisition else 0.0
    if known:
        axis = max(range(3), key=(z, y, x).__getitem__)
        return SliceProfile(axis, known) if known > 0 else SliceProfile()
    scan = np.ascontiguousarray(measured, dtype=np.float32)
    return SliceProfile(*_core.find_slice_profile(scan, (z, y, x), sigma))


def enforce_consistency(
    volume: npt.NDArray[np.float32],
    measured: npt.NDArray[np.float32],
    sigma: float,
    *,
    kappa: float | None = None,
    profile: SliceProfile | None = None,
) -> float:
    """Back-project what of the scan the result has lost, in place.

    With A how the scan was acquired (k-space cut to its resolution, and the slice profile), A+ zero
    filling, and r = s y - A x, s the sign of A x (a scan is a magnitude, which folds up the ringing
    below zero), the volume becomes `x + A+ (g r)`, where `g = max(0, 1 - (kappa sigma)^2 / v)` is
    Wiener's gain, and v the mean of r^2 around each voxel, weighed by (1 4 6 4 1) / 16 along each
    axis; where r is more than 3 sigma, r^2 counts (r / 3 sigma)^6 times, 4^3 times at most. Without
    a profile `||A x| - y| <= 3.17 sigma` in every voxel after it (of the default kappa). Where y
    itself is below zero, s is 1. On an axis where the output is coarser than the scan, both are
    compared at the output's resolution.

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
    profile : SliceProfile, optional
        Of the scan; none by default.

    Returns
    -------
    float
        Largest correction made at the scan's resolution, in the volume's unit.

    Raises
    ------
    InputError
        `volume` is no C-contiguous float32 array that may be changed, sigma is below zero, or the
        profile is none that `find_slice_profile` gives or wider than 4.
    """
    from . import _core

    scan = np.ascontiguousarray(measured, dtype=np.float32)
    kappa = _core.KAPPA if kappa is None else kappa
    axis, width = profile or SliceProfile()
    return _core.enforce_consistency(
        volume, scan, sigma, kappa=kappa, profile_axis=axis, profile_width=width
    )
