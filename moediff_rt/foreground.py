"""Where the head is: a coarse mask, its share of the input's voxels, a box per output slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ._core import Foreground


def find_foreground(volume: npt.NDArray[np.float32], spacing: Sequence[float]) -> Foreground:
    """Find the head, or the whole volume where there is no background around it.

    Parameters
    ----------
    volume : (nz, ny, nx) float array
        Any intensity unit; background darker than tissue.
    spacing : (z, y, x) voxel edges, mm

    Returns
    -------
    Foreground
        `voxels()`, a mask on the volume's grid; `reach_voxels()`, that grown by a margin;
        `boxes(output_shape)`, what the latter covers of each slice of another grid over the same
        box.

    Raises
    ------
    InputError
        No three axes, or no spacing above zero.
    """
    from . import _core

    z, y, x = (float(edge) for edge in spacing)
    return _core.find_foreground(np.ascontiguousarray(volume, dtype=np.float32), (z, y, x))
