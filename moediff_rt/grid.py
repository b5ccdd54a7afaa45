"""Voxel grids: a shape and an affine, and the ways between them that keep world coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

# World axes of DICOM and MRD (left, posterior, superior) to those of NIfTI, and back.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def voxel_sizes(affine: npt.ArrayLike) -> FloatArray:
    """Edge lengths (3,) of a voxel, in the affine's unit: the norms of its columns."""
    return np.asarray(np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :3], axis=0))


def resized_affine(
    affine: npt.ArrayLike, shape: Sequence[int], new_shape: Sequence[int]
) -> FloatArray:
    """Affine of a grid of another shape over the same box.

    The outer faces of the volume (voxel index -0.5 and n - 0.5) keep their world coordinates.

    Parameters
    ----------
    affine : (4, 4) array
        Voxel index to world, of the grid with `shape`.
    shape, new_shape : sequence of 3 int
        Voxels along each axis before and after.

    Returns
    -------
    (4, 4) float64 array, in the unit of `affine`

    Examples
    --------
    >>> import numpy as np
    >>> resized_affine(np.diag([2.0, 2.0, 2.0, 1.0]), (5, 5, 5), (10, 10, 10))[:3, 3].tolist()
    [-0.5, -0.5, -0.5]
    """
    ratio = np.asarray(shape, dtype=np.float64) / np.asarray(new_shape, dtype=np.float64)
    index_map = np.diag([*ratio, 1.0])
    index_map[:3, 3] = 0.5 * ratio - 0.5
    return np.asarray(np.asarray(affine, dtype=np.float64) @ index_map)


@dataclass(frozen=True)
class Grid:
    """A box of voxels: its shape and its affine (voxel index to RAS+ world, mm)."""

    shape: tuple[int, int, int]
    affine: FloatArray

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel edge lengths, mm."""
        x, y, z = voxel_sizes(self.affine)
        return float(x), float(y), float(z)

    def resized(self, new_shape: Sequence[int]) -> Grid:
        """Return the grid of `new_shape` voxels over the same box."""
        x, y, z = (int(n) for n in new_shape)
        return Grid((x, y, z), resized_affine(self.affine, self.shape, (x, y, z)))


def resized_shape(
    shape: Sequence[int], spacing: Sequence[float], new_spacing: Sequence[float]
) -> tuple[int, int, int]:
    """Shape of the grid over the same box whose voxels are nearest to `new_spacing`.

    The box is kept, so the voxel edge is `n * spacing / n_new`: exactly `new_spacing` where that
    divides the box, else a little off.

    Examples
    --------
    >>> resized_shape((91, 109, 30), (2.0, 2.0, 3.0), (1.0, 1.0, 1.0))
    (182, 218, 90)
    """
    x, y, z = (
        max(1, round(n * old / new))
        for n, old, new in zip(shape, spacing, new_spacing, strict=True)
    )
    return x, y, z


@dataclass(frozen=True)
class AxisOrder:
    """How a file's axes map to the nearest RAS+ axes, and back.

    `forward` and `back` are nibabel orientation arrays (3, 2).
    """

    forward: FloatArray
    back: FloatArray

    @classmethod
    def nearest_ras(cls, affine: npt.ArrayLike) -> AxisOrder:
        """Find the flips and the permutation that bring a grid with `affine` nearest to RAS+."""
        from nibabel.orientations import io_orientation, ornt_transform

        forward = io_orientation(np.asarray(affine))
        ras = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
        return cls(np.asarray(forward), np.asarray(ornt_transform(ras, forward)))

    def to_ras(self, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """View of `data` (its first three axes) in RAS+ order."""
        from nibabel.orientations import apply_orientation

        return np.asarray(apply_orientation(data, self.forward))

    def from_ras(self, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """View of RAS+ ordered `data` (its first three axes) in the file's order."""
        from nibabel.orientations import apply_orientation

        return np.asarray(apply_orientation(data, self.back))

    def spacing_to_ras(self, spacing: Sequence[float]) -> tuple[float, float, float]:
        """Spacing per file axis, reordered to one per RAS+ axis."""
        ordered = [0.0, 0.0, 0.0]
        for axis, value in enumerate(spacing):
            ordered[int(self.forward[axis, 0])] = float(value)
        return ordered[0], ordered[1], ordered[2]
