"""From a scan's voxels to what the model reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ._core import Prepared


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
        `measured`, the scan in the model's intensity unit; `volume`, that on the output grid;
        `boxes`, each output slice's foreground; all (z, y, x). And `foreground`, and `scale`, the
        scan's intensity that the model's unit stands for: `scan = scale * measured`.

    Raises
    ------
    InputError
        The foreground's percentile is not above zero.
    """
    from . import _core

    scan = np.ascontiguousarray(data.T, dtype=np.float32)
    x, y, z = (float(edge) for edge in spacing)
    mx, my, mz = output_shape
    return _core.prepare(scan, (z, y, x), (mz, my, mx), percentile=percentile, value=value)
