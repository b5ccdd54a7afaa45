"""Where the head is: a coarse mask, its share of the input's voxels, a box per output slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

# Edge of the blocks the mask is made on, mm: averaging over one tames noise.
BLOCK_MM = 3.0
# The mask may reach this far past the head, mm.
MARGIN_MM = 4.0
# Signal levels relative to the bright end of the scan.
LOWEST_LEVEL = 0.06
HIGHEST_LEVEL = 0.15
# A background smaller than this share of the volume is no background.
SMALLEST_BACKGROUND = 0.02
# Pieces smaller than this share of the largest are specks.
SMALLEST_PIECE = 0.02


@dataclass(frozen=True)
class Foreground:
    """A mask over blocks of input voxels.

    Attributes
    ----------
    inside : (bz, by, bx) bool array
        Blocks of the head, holes filled.
    reach : (bz, by, bx) bool array
        `inside` grown by `MARGIN_MM`.
    block : tuple of 3 int
        Input voxels per block, along (z, y, x).
    shape : tuple of 3 int
        Shape of the input, (z, y, x).
    """

    inside: npt.NDArray[np.bool_]
    reach: npt.NDArray[np.bool_]
    block: tuple[int, int, int]
    shape: tuple[int, int, int]

    def voxels(self) -> npt.NDArray[np.bool_]:
        """`inside` on the input's grid, (z, y, x) bool."""
        return self._on_input(self.inside)

    def reach_voxels(self) -> npt.NDArray[np.bool_]:
        """`reach` on the input's grid, (z, y, x) bool."""
        return self._on_input(self.reach)

    def _on_input(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        for axis, size in enumerate(self.block):
            mask = np.repeat(mask, size, axis=axis)
        nz, ny, nx = self.shape
        return mask[:nz, :ny, :nx]

    def boxes(self, output_shape: Sequence[int]) -> npt.NDArray[np.int32]:
        """Bounding box of `reach` in each slice of a grid over the same box.

        Parameters
        ----------
        output_shape : (nz, ny, nx)

        Returns
        -------
        (nz, 4) int32 array of [y0, y1, x0, x1), zeros where a slice has no foreground
        """
        scale = [out / n for out, n in zip(output_shape, self.shape, strict=True)]
        boxes = np.zeros((output_shape[0], 4), dtype=np.int32)
        for k in range(output_shape[0]):
            # Every block that slice k touches, so that no slice between two blocks is missed.
            first = int(k / scale[0]) // self.block[0]
            last = int(np.ceil((k + 1) / scale[0]) - 1) // self.block[0]
            mask = np.any(self.reach[first : last + 1], axis=0)
            if not mask.any():
                continue
            for axis in (0, 1):
                hit = np.flatnonzero(np.any(mask, axis=1 - axis))
                size, step = self.block[axis + 1], scale[axis + 1]
                low = int(np.floor(hit[0] * size * step))
                high = int(np.ceil((hit[-1] + 1) * size * step))
                boxes[k, 2 * axis : 2 * axis + 2] = low, min(high, output_shape[axis + 1])
        return boxes


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
    """
    block = tuple(max(1, round(BLOCK_MM / size)) for size in spacing)
    means = _block_means(volume, block)
    inside = _clean(means > _signal_level(means))
    edges = [size * n for size, n in zip(spacing, block, strict=True)]
    grow = [2 * int(np.ceil(MARGIN_MM / edge)) + 1 for edge in edges]
    reach = ndimage.maximum_filter(inside, size=grow, mode="constant", cval=0)
    bz, by, bx = block
    nz, ny, nx = volume.shape
    return Foreground(inside, np.asarray(reach, dtype=bool), (bz, by, bx), (nz, ny, nx))


def _block_means(volume: npt.NDArray[np.float32], block: Sequence[int]) -> npt.NDArray[np.float64]:
    means = np.asarray(volume, dtype=np.float64)
    for axis in (2, 1, 0):
        starts = np.arange(0, volume.shape[axis], block[axis])
        counts = np.diff([*starts, volume.shape[axis]])
        sums = np.add.reduceat(means, starts, axis=axis)
        means = sums / counts.reshape([-1 if i == axis else 1 for i in range(3)])
    return means


def _signal_level(means: npt.NDArray[np.float64]) -> float:
    """Find the level that parts tissue from background; below all values without a background."""
    bright = float(np.percentile(means, 99.5))
    dark = means[means < HIGHEST_LEVEL * bright]
    if dark.size < SMALLEST_BACKGROUND * means.size:
        return -np.inf
    middle = float(np.median(dark))
    spread = 1.4826 * float(np.median(np.abs(dark - middle)))
    return min(max(LOWEST_LEVEL * bright, middle + 4 * spread), HIGHEST_LEVEL * bright)


def _clean(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    if count > 1:
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        mask = (sizes >= SMALLEST_PIECE * sizes.max())[labels]
    return np.asarray(ndimage.binary_fill_holes(mask), dtype=bool)
