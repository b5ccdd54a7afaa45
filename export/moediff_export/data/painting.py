"""Images painted from tissue maps: contrasts and textures at random, edges as the maps have them.

Synthetic training images from labels after SynthSeg and SynthSR (Billot et al. 2023, Iglesias et
al. 2023), but from soft maps that were integrated over the voxel, so that every border has the
partial volume of an acquisition.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .scanner import smooth_field

Volume = NDArray[np.float32]

# T1-weighted intensities of cerebrospinal fluid, grey and white matter, relative to white matter.
T1_LEVELS = (0.28, 0.70, 1.0)
TEXTURE_MM = (0.8, 6.0)  # size of a texture's grain
TEXTURE_STRENGTH = (0.0, 0.06)  # standard deviation, relative to the tissue's intensity


def t1_levels(rng: Generator) -> NDArray[np.float32]:
    """T1-like intensities of the three tissues in ascending order, white matter near 1."""
    levels = np.array(T1_LEVELS) + rng.uniform(-0.1, 0.1, len(T1_LEVELS))
    return np.sort(np.maximum(levels, 0.05)).astype(np.float32)


def any_levels(rng: Generator) -> NDArray[np.float32]:
    """Intensities of the three tissues in any order: another contrast."""
    return rng.uniform(0.1, 1.1, len(T1_LEVELS)).astype(np.float32)


def paint(rng: Generator, maps: Volume, levels: Sequence[float], spacing: float) -> Volume:
    """Paint each tissue at its level, with a texture of its own.

    Parameters
    ----------
    rng : numpy Generator
    maps : ndarray, float32, (tissues, nz, ny, nx)
        Share of each voxel; what they leave is air, 0.
    levels : sequence of float, one a tissue
    spacing : float
        Voxel edge, mm.

    Returns
    -------
    ndarray, float32, (nz, ny, nx), not below 0
    """
    shape = maps.shape[1:]
    image = np.zeros(shape, np.float32)
    for share, level in zip(maps, levels, strict=True):
        grain = np.exp(rng.uniform(*np.log(TEXTURE_MM))) / spacing
        texture = smooth_field(rng, shape, max(grain, 1.0)) * rng.uniform(*TEXTURE_STRENGTH)
        image += share * np.float32(level) * (1 + texture)
    return np.maximum(image, 0)
