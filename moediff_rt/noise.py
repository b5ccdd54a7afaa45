"""How noisy a scan is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ._core import Foreground


def noise_sigma(volume: npt.NDArray[np.float32], foreground: Foreground) -> float:
    """Noise standard deviation of a magnitude scan, inside the head.

    Two estimates. In the head: the finest diagonal detail where it is flattest, which anatomy can
    only raise. In the air: noise there is Rayleigh, its median is `sigma * sqrt(2 ln 2)`
    (Gudbjartsson and Patz 1995, The Rician distribution of noisy MRI data). The air's is taken
    if it is below the head's and not so far below that the air must have been masked. Where the
    air's detail says that noise is not white (a scan that was interpolated, filtered or
    zero-filled), the head's tells nothing, and the spread in small blocks of air is taken.

    Parameters
    ----------
    volume : (nz, ny, nx) float32 array
    foreground : Foreground
        Of the same volume.

    Returns
    -------
    float, in the volume's unit

    Raises
    ------
    InputError
        The foreground is of a volume of another shape, or there are too few voxels.
    """
    from . import _core

    return _core.noise_sigma(np.ascontiguousarray(volume, dtype=np.float32), foreground)
