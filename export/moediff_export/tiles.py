"""Cutting a volume into overlapping tiles, slice by slice, and blending them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

# How far a tile fades into the input where no neighbour follows, but at the volume's edges.
EDGE_RAMP = 4
# A tile more has to save this many pixels: each has seams.
TILE_PIXELS = 2048
# Of how many sizes a volume's tiles are, at most, and of how many of the largest tiles another size
# has to save the pixels: each has engines of its own.
MOST_SIZES, SAVED_TILES = 2, 16

Size = tuple[int, int]  # height and width, pixels


@dataclass(frozen=True)
class Tile:
    """A window of slice ``z`` whose corner is at row ``y``, column ``x``.

    `size` is its height and width. `ramps_y` and `ramps_x` are the voxels over which its weight
    rises at its first row and column, and falls at its last ones.
    """

    z: int
    y: int
    x: int
    size: Size
    ramps_y: tuple[int, int] = (0, 0)
    ramps_x: tuple[int, int] = (0, 0)


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


def along(
    n: int, lo: int, hi: int, tile: int, overlap: int, align: int
) -> list[tuple[int, tuple[int, int]]]:
    """Starts along an axis as in :func:`tile_starts`, each with the ramps at its two ends."""
    starts = tile_starts(n, lo, hi, tile, overlap, align)
    first = EDGE_RAMP if starts[0] > 0 else 0
    last = EDGE_RAMP if starts[-1] + tile < n else 0
    between = [overlap] * (len(starts) - 1)
    return list(zip(starts, zip([first, *between], [*between, last], strict=True), strict=True))


def is_empty(box: NDArray[np.int32]) -> bool:
    """Whether a box [y0, y1, x0, x1) has no voxels."""
    return bool(box[1] <= box[0] or box[3] <= box[2])


def fit_tiles(
    shape: tuple[int, int, int],
    boxes: NDArray[np.int32],
    smallest: int,
    largest: int,
    pitch: int,
    overlap: int,
    align: int,
) -> list[Size]:
    """The size of each slice's tiles.

    First the one whose tiles have the fewest pixels in all; then another, for the slices that need
    fewer pixels with it, if that saves what `SAVED_TILES` of the largest have.

    Parameters
    ----------
    shape, boxes
        As for :func:`plan_tiles`.
    smallest, largest, pitch : int
        Either edge may be any multiple of the pitch between the two.

    Returns
    -------
    list of (height, width)
        One for each slice; the largest where all boxes are empty.
    """
    _, ny, nx = shape
    edges = range(smallest, largest + 1, pitch)
    full = np.array([not is_empty(box) for box in boxes])
    if not full.any():
        return [(largest, largest)] * len(boxes)
    rows, columns = (
        {
            edge: np.array(
                [
                    0
                    if is_empty(box)
                    else len(tile_starts(n, *map(int, box[at : at + 2]), edge, overlap, align))
                    for box in boxes
                ]
            )
            for edge in edges
        }
        for n, at in ((ny, 0), (nx, 2))
    )
    sizes = list(product(edges, edges))
    pixels = np.array([rows[h] * columns[w] * (h * w + TILE_PIXELS) for h, w in sizes])
    chosen = np.full(len(boxes), pixels.sum(1).argmin())
    for _ in range(MOST_SIZES - 1):
        saved = np.maximum(pixels[chosen, np.arange(len(boxes))] - pixels, 0)
        best = saved.sum(1).argmax()
        if saved[best].sum() < SAVED_TILES * largest**2:
            break
        chosen = np.where(saved[best] > 0, best, chosen)
    return [sizes[i] for i in chosen]


def plan_tiles(
    shape: tuple[int, int, int],
    boxes: NDArray[np.int32],
    sizes: Sequence[Size],
    overlap: int,
    align: int,
) -> list[Tile]:
    """Tiles that cover every slice's foreground box, in order of z, y, x.

    Parameters
    ----------
    shape : (nz, ny, nx)
    boxes : ndarray, int32, (nz, 4)
        Foreground of each slice as [y0, y1, x0, x1); empty where y1 <= y0 or x1 <= x0.
    sizes : sequence of (height, width)
        Of each slice's tiles.
    """
    _, ny, nx = shape
    plan = []
    for z, (box, size) in enumerate(zip(boxes, sizes, strict=True)):
        if is_empty(box):
            continue
        y0, y1, x0, x1 = (int(value) for value in box)
        rows = along(ny, y0, y1, size[0], overlap, align)
        columns = along(nx, x0, x1, size[1], overlap, align)
        plan += [Tile(z, y, x, size, ry, rx) for (y, ry), (x, rx) in product(rows, columns)]
    return plan


def read_tile(volume: NDArray[np.float32], at: Tile, slices: int) -> NDArray[np.float32]:
    """Voxels (slices, *at.size) around slice ``at.z``; beyond its faces the volume is mirrored."""
    starts = (at.z - slices // 2, at.y, at.x)
    indices = (
        mirrored(np.arange(start, start + size), n)
        for start, size, n in zip(starts, (slices, *at.size), volume.shape, strict=True)
    )
    return volume[np.ix_(*indices)]


def mirrored(index: NDArray[np.int_], n: int) -> NDArray[np.int_]:
    """Where samples of the line d c b a | a b c d lie in a b c d, of ``n`` samples."""
    return np.minimum(index % (2 * n), -(index + 1) % (2 * n))


def ramp(tile: int, ramps: tuple[int, int]) -> NDArray[np.float32]:
    """Blending weight (tile,) along an axis: rises and falls over the ramps at its ends."""
    i = np.arange(tile, dtype=np.float32)
    weight = np.ones(tile, np.float32)
    low, high = ramps
    if low:
        weight = np.minimum(weight, (i + 0.5) / low)
    if high:
        weight = np.minimum(weight, (tile - i - 0.5) / high)
    return weight


class Blend:
    """Accumulates tiles: ``out = (sum w x + max(0, 1 - W) volume) / max(1, W)``, W = sum w."""

    def __init__(self, volume: NDArray[np.float32]) -> None:
        self.volume = volume
        self.total = np.zeros_like(volume)
        self.weight = np.zeros_like(volume)

    def add(self, at: Tile, image: NDArray[np.float32]) -> None:
        """Add one tile's image (height, width)."""
        _, ny, nx = self.volume.shape
        height, width = image.shape
        weight = ramp(height, at.ramps_y)[:, None] * ramp(width, at.ramps_x)[None, :]
        rows, columns = min(height, ny - at.y), min(width, nx - at.x)
        window = (at.z, slice(at.y, at.y + rows), slice(at.x, at.x + columns))
        self.total[window] += weight[:rows, :columns] * image[:rows, :columns]
        self.weight[window] += weight[:rows, :columns]

    def result(self) -> NDArray[np.float32]:
        """The blended volume (nz, ny, nx); voxels that no tile covers keep the input."""
        rest = np.maximum(0, 1 - self.weight)
        return (self.total + rest * self.volume) / np.maximum(1, self.weight)
