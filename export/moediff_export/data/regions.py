"""The regions of the three experts, as soft masks made from tissue maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Volume = NDArray[np.float32]

# Half-width of the band along the grey-white boundary, mm: about half a cortex (2 to 4 mm thick).
BAND_MM = 1.0


def region_masks(grey: Volume, white: Volume, spacing: float) -> Volume:
    """Where each expert is at home.

    The junction is where grey and white matter are both near: `4 G(grey) G(white)`, G a Gaussian
    of `BAND_MM`, 1 on a straight boundary. The cortex is the other grey matter (that of the deep
    nuclei too), deep white matter (the centrum semiovale among it) the other white matter.

    Parameters
    ----------
    grey, white : ndarray, float32, (nz, ny, nx)
        Share of each voxel, 0 to 1.
    spacing : float
        Voxel edge, mm.

    Returns
    -------
    ndarray, float32, (3, nz, ny, nx)
        Deep white matter, cortex, junction: the order of the experts. They sum to at most 1.
    """
    sigma = BAND_MM / spacing
    near = ndimage.gaussian_filter(grey, sigma) * ndimage.gaussian_filter(white, sigma)
    brain = np.clip(grey + white, 0, 1)
    junction = np.clip(4 * near, 0, 1) * brain
    others = 1 - np.clip(4 * near, 0, 1)
    return np.stack([white * others, grey * others, junction]).astype(np.float32)
