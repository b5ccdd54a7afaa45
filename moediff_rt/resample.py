"""Resampling over the same box, one axis after the other.

Both grids cover the same box, so output voxel `j` sits at input index
`(j + 0.5) * n_in / n_out - 0.5`, and beyond its faces the volume is mirrored (half-sample
symmetric: d c b a | a b c d | d c b a).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Volume = npt.NDArray[np.float32]


def interpolate(volume: Volume, output_shape: Sequence[int], *, threads: int = 0) -> Volume:
    """Resample on a grid over the same box.

    Towards finer voxels with the cubic B-spline that goes through every sample (Unser 1999,
    Splines: a perfect fit for signal and image processing), as
    `scipy.ndimage.zoom(order=3, mode="reflect", grid_mode=True)` does; towards coarser ones by
    cutting k-space.

    Parameters
    ----------
    volume : (n0, n1, n2) float32 array
    output_shape : (m0, m1, m2)
    threads : int
        0: every core. The result does not depend on it.

    Returns
    -------
    (m0, m1, m2) float32 array, C order
    """
    from . import _core

    n0, n1, n2 = output_shape
    values = np.ascontiguousarray(volume, dtype=np.float32)
    return _core.interpolate(values, (n0, n1, n2), threads=threads)


def resample_kspace(volume: Volume, output_shape: Sequence[int], *, threads: int = 0) -> Volume:
    """Resample in k-space; parameters and return are those of `interpolate`.

    Towards fewer voxels it cuts k-space at the new Nyquist frequency; towards more it fills with
    zeros. In the mirrored world k-space is the DCT-II. There and back again is the identity where
    nothing is cut, and a constant stays what it is.
    """
    from . import _core

    n0, n1, n2 = output_shape
    values = np.ascontiguousarray(volume, dtype=np.float32)
    return _core.resample_kspace(values, (n0, n1, n2), threads=threads)
