"""From a scan's voxels to what the model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .foreground import Foreground, find_foreground
from .resample import apply_along_axes, band_matrix, cubic_spline_matrix


@dataclass(frozen=True)
class Prepared:
    """A scan ready for the model. All arrays are (z, y, x), C order.

    Attributes
    ----------
    measured : (nz, ny, nx) float32 array
        The scan on its own grid, in the model's intensity unit.
    volume : (mz, my, mx) float32 array
        `measured` interpolated on the output grid.
    boxes : (mz, 4) int32 array
        Foreground box of each output slice, [y0, y1, x0, x1).
    foreground : Foreground
    scale : float
        Scan intensity that the model's unit stands for: `scan = scale * measured`.
    """

    measured: npt.NDArray[np.float32]
    volume: npt.NDArray[np.float32]
    boxes: npt.NDArray[np.int32]
    foreground: Foreground
    scale: float


def prepare(
    data: npt.NDArray[np.float32],
    spacing: Sequence[float],
    output_shape: Sequence[int],
    *,
    percentile: float,
    value: float,
) -> Prepared:
    """Scale a scan's intensities and interpolate it on the output grid.

    Parameters
    ----------
    data : (nx, ny, nz) array
        Scan in RAS+ order, any intensity unit.
    spacing : (x, y, z) voxel edges, mm
    output_shape : (mx, my, mz)
    percentile, value : float
        The bundle's intensity rule: this percentile of the foreground becomes `value`.

    Returns
    -------
    Prepared

    Raises
    ------
    InputError
        The foreground's percentile is not above zero.
    """
    measured = np.ascontiguousarray(data.T, dtype=np.float32)
    foreground = find_foreground(measured, spacing[::-1])
    level = float(np.percentile(measured[foreground.voxels()], percentile))
    if not level > 0:
        raise InputError(
            f"expected bright tissue in the scan, its {percentile:g}th percentile is {level:g}; "
            "a wrong scl_slope or an inverted image? Check it in a viewer"
        )
    scale = level / value
    measured = measured * np.float32(1 / scale)
    shape = output_shape[::-1]
    return Prepared(
        measured, interpolate(measured, shape), foreground.boxes(shape), foreground, scale
    )


def interpolate(
    volume: npt.NDArray[np.float32], output_shape: Sequence[int]
) -> npt.NDArray[np.float32]:
    """Resample on a grid over the same box.

    Cubic B-spline towards finer voxels, k-space cut towards coarser ones.

    Parameters
    ----------
    volume : (n0, n1, n2) float32 array
    output_shape : (m0, m1, m2)

    Returns
    -------
    (m0, m1, m2) float32 array, C order
    """
    matrices = [
        None if m == n else cubic_spline_matrix(n, m) if m > n else band_matrix(n, m)
        for n, m in zip(volume.shape, output_shape, strict=True)
    ]
    return np.ascontiguousarray(apply_along_axes(volume, matrices))
