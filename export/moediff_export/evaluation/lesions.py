"""The lesion study's lesions: ellipsoids of known size and contrast in white matter.

They are like those of multiple sclerosis on a T1-weighted scan: dark, 3 to 10 mm across, with the
intensity of grey matter. Among them lie small ones, below the size that is diagnosed: they tell how
much is left of what a scan shows of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from ..data.anatomy import rotation
from ..data.held_out import Subject

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]

COUNT = SMALL_COUNT = 40
SEED = 40
SEMI_AXES_MM = (1.5, 5.0)
SMALL_SEMI_AXES_MM = (0.8, 1.5)
# White matter: where its map says at least this. Lesions, and the search for them, keep this far
# from its border, mm: there partial volume alone is as dark as a lesion.
WHITE_SHARE = 0.8
BORDER_MM = 2.0
GAP_MM = 4.0  # between the surfaces of two lesions
SUPERSAMPLING = 5  # points along each edge of a voxel


@dataclass(frozen=True)
class Lesion:
    """An ellipsoid.

    Attributes
    ----------
    centre : ndarray, (3,), voxels
    semi_axes : ndarray, (3,), voxels of 1 mm
    axes : ndarray, (3, 3)
        Their directions, one a column.
    small : bool
        Of `SMALL_SEMI_AXES_MM`.
    """

    centre: NDArray[np.float64]
    semi_axes: NDArray[np.float64]
    axes: NDArray[np.float64]
    small: bool

    def share(self, shape: Sequence[int]) -> tuple[tuple[slice, slice, slice], Volume]:
        """How much of each voxel it fills: a box of a volume of ``shape``, and the shares there.

        Counted over `SUPERSAMPLING` cubed points in each voxel.
        """
        reach = self.semi_axes.max() + 1
        low = np.maximum(np.floor(self.centre - reach), 0).astype(int)
        high = np.minimum(np.ceil(self.centre + reach) + 1, shape).astype(int)
        n = SUPERSAMPLING
        points = [
            np.arange(n * a, n * b, dtype=np.float64) / n + (0.5 / n - 0.5) - c
            for a, b, c in zip(low, high, self.centre, strict=True)
        ]
        grid = np.stack(np.meshgrid(*points, indexing="ij"), axis=-1)
        inside = (((grid @ self.axes) / self.semi_axes) ** 2).sum(-1) <= 1
        sizes = [part for a, b in zip(low, high, strict=True) for part in (b - a, n)]
        x, y, z = (slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
        return (x, y, z), inside.reshape(sizes).mean(axis=(1, 3, 5), dtype=np.float32)


@dataclass(frozen=True)
class LesionSet:
    """Lesions on a subject's grid.

    Attributes
    ----------
    lesions : tuple of Lesion
    share : ndarray, float32, (nx, ny, nz)
        How much of each voxel is lesion.
    labels : ndarray, int32, (nx, ny, nz)
        Number of the lesion, from 1, where it fills at least half of the voxel; else 0.
    search : ndarray, bool, (nx, ny, nz)
        Where lesions are looked for: white matter without its border.
    white_level, lesion_level : float
        Intensities of healthy white matter and of lesions.
    """

    lesions: tuple[Lesion, ...]
    share: Volume
    labels: NDArray[np.int32]
    search: Mask
    white_level: float
    lesion_level: float

    @property
    def threshold(self) -> float:
        """Halfway between white matter and lesion: the segmentation's, for every method alike."""
        return (self.white_level + self.lesion_level) / 2

    def add_to(self, truth: Volume) -> Volume:
        """The truth with the lesions in it."""
        return truth + self.share * (np.float32(self.lesion_level) - truth)


def depth_in(mask: Mask) -> Volume:
    """Distance of each voxel to the nearest one outside the mask or the volume, voxels."""
    return ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1].astype(np.float32)


def draw_shapes(
    rng: Generator, count: int, semi_axes_mm: tuple[float, float]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Semi-axes in a range and their directions, the largest first."""
    shapes = [
        (np.sort(rng.uniform(*semi_axes_mm, 3)), rotation(rng.uniform(-np.pi, np.pi, 3)))
        for _ in range(count)
    ]
    return sorted(shapes, key=lambda shape: -shape[0].max())


def place_lesions(
    subject: Subject, count: int = COUNT, small: int = SMALL_COUNT, seed: int = SEED
) -> LesionSet:
    """Place lesions in a subject's white matter, the largest first.

    Parameters
    ----------
    subject : Subject
    count, small : int
        As many of `SEMI_AXES_MM` and of `SMALL_SEMI_AXES_MM` as fit are placed, at most these.
    seed : int

    Returns
    -------
    LesionSet
        `white_level` and `lesion_level` are the medians of pure white and of pure grey matter.
    """
    rng = np.random.default_rng(seed)
    depth = depth_in((subject.white >= WHITE_SHARE) & subject.brain)
    free = depth.copy()  # how large a ball with its border still fits around each voxel
    lesions: list[Lesion] = []
    share = np.zeros(subject.truth.shape, np.float32)
    labels = np.zeros(subject.truth.shape, np.int32)
    places = np.indices(subject.truth.shape, dtype=np.float32, sparse=True)
    kinds = ((count, SEMI_AXES_MM, False), (small, SMALL_SEMI_AXES_MM, True))
    for number, range_mm, is_small in kinds:
        for semi_axes, axes in draw_shapes(rng, number, range_mm):
            radius = float(semi_axes.max())
            candidates = np.flatnonzero(free >= radius + BORDER_MM)
            if not len(candidates):
                continue
            at = np.unravel_index(candidates[rng.integers(len(candidates))], free.shape)
            centre = np.array(at, dtype=np.float64) + rng.uniform(-0.5, 0.5, 3)
            lesion = Lesion(centre, semi_axes, axes, is_small)
            lesions.append(lesion)
            box, part = lesion.share(free.shape)
            share[box] = np.maximum(share[box], part)
            labels[box][part >= 0.5] = len(lesions)
            distance = np.sqrt(
                sum((p - np.float32(c)) ** 2 for p, c in zip(places, centre, strict=True))
            )
            np.minimum(free, distance - np.float32(radius + GAP_MM - BORDER_MM), out=free)
    white = float(np.median(subject.truth[(subject.white > 0.95) & subject.brain]))
    grey = float(np.median(subject.truth[(subject.grey > 0.95) & subject.brain]))
    search = cast("Mask", depth >= BORDER_MM)
    return LesionSet(tuple(lesions), share, labels, search, white, grey)
