"""Cutting a volume into overlapping tiles, slice by slice, and blending them back."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tile:
    """A square window of slice ``z`` whose corner is at row ``y``, column ``x``."""

    z: int
    y: int
    x: int


def tile_starts(n: int, lo: int, hi: int, tile: int, overlap: int, align: int) -> list[int]:
    """Where tiles start along an axis of ``n`` voxels so that they cover [lo, hi).

    Starts are multiples of ``align`` (so that neighbours share latent cells); a tile may read past
    the end of the axis by less than ``align``, or by more where the axis is shorter than the tile.
    Neighbours overlap by at least ``overlap``.
    """
    s_max = 0 if n <= tile else align * -(-(n - tile) // align)
    first = align * (lo // align)
    if hi - first <= tile:
        middle = align * (max(0, (lo + hi) // 2 - tile // 2) // align)
        start = min(max(middle, 0), s_max)
        covers = start <= lo and hi <= start + tile
        return [start if covers else min(first, s_max)]
    last = min(s_max, align * -(-(hi - tile) // align))
    steps = (last - first) // align
    count = -(-(hi - first - overlap) // (tile - overlap))
    while True:
        starts = [first + align * (i * steps // (count - 1)) for i in range(count)]
        gaps = [b - a for a, b in pairwise(starts)]
        if max(gaps) <= tile - overlap:
            return starts
        count += 1


def plan_tiles(
    shape: tuple[int, int, int],
    boxes: NDArray[np.int32],
    tile: int,
    overlap: int,
    align: int,
) -> list[Tile]:
    """Tiles that cover every slice's foreground box, in order of z, y, x.

    Parameters
    ----------
    shape : (nz, ny, nx)
    boxes : ndarray, int32, (nz, 4)
        Foreground of each slice as [y0, y1, x0, x1); empty where y1 <= y0 or x1 <= x0.
    """
    full = boxes[(boxes[:, 1] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 2])]
    if not len(full):
        return []
    _, ny, nx = shape
    rows = tile_starts(ny, full[:, 0].min(), full[:, 1].max(), tile, overlap, align)
    columns = tile_starts(nx, full[:, 2].min(), full[:, 3].max(), tile, overlap, align)
    return [
        Tile(z, int(y), int(x))
        for z, (y0, y1, x0, x1) in enumerate(boxes)
        for y in rows
        for x in columns
        if y0 < y1 and x0 < x1 and y < y1 and y0 < y + tile and x < x1 and x0 < x + tile
    ]


def read_tile(volume: NDArray[np.float32], at: Tile, tile: int, slices: int) -> NDArray[np.float32]:
    """Voxels (slices, tile, tile) around slice ``at.z``; past the volume its edge voxel repeats."""
    nz, ny, nx = volume.shape
    z = np.clip(np.arange(at.z - slices // 2, at.z + slices // 2 + 1), 0, nz - 1)
    y = np.clip(np.arange(at.y, at.y + tile), 0, ny - 1)
    x = np.clip(np.arange(at.x, at.x + tile), 0, nx - 1)
    return volume[np.ix_(z, y, x)]


def ramp(start: int, n: int, tile: int, overlap: int) -> NDArray[np.float32]:
    """Blending weight (tile,) along an axis: rises over the overlap, but not at a volume's edge."""
    i = np.arange(tile, dtype=np.float32)
    weight = np.ones(tile, np.float32)
    if start > 0:
        weight = np.minimum(weight, (i + 0.5) / overlap)
    if start + tile < n:
        weight = np.minimum(weight, (tile - i - 0.5) / overlap)
    return weight


class Blend:
    """Accumulates tiles: ``out = (sum w x + max(0, 1 - W) volume) / max(1, W)``, W = sum w."""

    def __init__(self, volume: NDArray[np.float32], tile: int, overlap: int) -> None:
        self.volume, self.tile, self.overlap = volume, tile, overlap
        self.total = np.zeros_like(volume)
        self.weight = np.zeros_like(volume)

    def add(self, at: Tile, image: NDArray[np.float32]) -> None:
        """Add one tile's image (tile, tile)."""
        _, ny, nx = self.volume.shape
        wy = ramp(at.y, ny, self.tile, self.overlap)[:, None]
        wx = ramp(at.x, nx, self.tile, self.overlap)[None, :]
        rows, columns = min(self.tile, ny - at.y), min(self.tile, nx - at.x)
        weight = (wy * wx)[:rows, :columns]
        window = (at.z, slice(at.y, at.y + rows), slice(at.x, at.x + columns))
        self.total[window] += weight * image[:rows, :columns]
        self.weight[window] += weight

    def result(self) -> NDArray[np.float32]:
        """The blended volume (nz, ny, nx); voxels that no tile covers keep the input."""
        rest = np.maximum(0, 1 - self.weight)
        return (self.total + rest * self.volume) / np.maximum(1, self.weight)
