"""Small structures that no template has: lesions in white matter, and vessels."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .anatomy import OVERSAMPLING
from .scanner import smooth_field

Volume = NDArray[np.float32]

LESION_RADIUS_MM = (0.8, 5.0)  # small ones are many: uniform in its inverse
VESSEL_RADIUS_MM = (0.2, 0.6)
VESSEL_KNOT_MM = (8.0, 20.0)  # how far apart vessels run


def draw_lesions(rng: Generator, white: Volume, spacing: float, count: int) -> Volume:
    """Ellipsoids centred in white matter, of random half-axes.

    Parameters
    ----------
    rng : numpy Generator
    white : ndarray, float32, (nz, ny, nx)
        White matter's share of each target voxel.
    spacing : float
        Target voxel edge, mm.
    count : int

    Returns
    -------
    ndarray, float32, (nz, ny, nx)
        Their share of each voxel, with soft rims of about a voxel.
    """
    share = np.zeros_like(white)
    inside = np.argwhere(white > 0.9)
    for centre in rng.permutation(inside)[:count] if len(inside) else ():
        least, most = LESION_RADIUS_MM
        radius = rng.uniform(0.7, 1.3, 3) / rng.uniform(1 / most, 1 / least) / spacing
        start = np.maximum(np.floor(centre - radius - 2), 0).astype(int)
        stop = np.minimum(np.ceil(centre + radius + 3), white.shape).astype(int)
        window = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        offsets = np.meshgrid(
            *(np.arange(a, b) - c for a, b, c in zip(start, stop, centre, strict=True)),
            indexing="ij",
            sparse=True,
        )
        scaled = np.sqrt(sum((o / r) ** 2 for o, r in zip(offsets, radius, strict=True)))
        rim = np.clip((1 - scaled) * radius.mean() + 0.5, 0, 1)
        share[window] = np.maximum(share[window], rim.astype(np.float32))
    return share


def draw_vessels(rng: Generator, shape: tuple[int, int, int], spacing: float) -> Volume:
    """Thin winding tubes: where two smooth random fields are both near zero.

    Parameters
    ----------
    rng : numpy Generator
    shape : (nz, ny, nx)
        Size of the slab, in target voxels.
    spacing : float
        Target voxel edge, mm.

    Returns
    -------
    ndarray, float32, (2 nz, 2 ny, 2 nx)
        Their share of each fine voxel.
    """
    step = spacing / OVERSAMPLING
    fine = tuple(OVERSAMPLING * n for n in shape)
    knot = rng.uniform(*VESSEL_KNOT_MM)
    one, two = (smooth_field(rng, fine, knot / step) for _ in range(2))
    distance = np.sqrt(one * one + two * two) * np.float32(knot / 1.5)  # mm, about
    radius = rng.uniform(*VESSEL_RADIUS_MM)
    return np.clip((radius - distance) / step + 0.5, 0, 1).astype(np.float32)
