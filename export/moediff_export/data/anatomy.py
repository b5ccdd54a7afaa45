"""Random anatomy: a source volume rotated, scaled and bent, then integrated over the voxel."""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch.nn import functional as F

from .scanner import smooth_field
from .sources import Source


def rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation matrix for three angles in radians, about z, y and x in turn."""
    matrix = np.eye(3)
    for (i, j), angle in zip(((1, 2), (0, 2), (0, 1)), angles, strict=True):
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


def draw_anatomy(
    rng: Generator, source: Source, shape: tuple[int, int, int], spacing: float
) -> NDArray[np.float32]:
    """Draw a slab of deformed anatomy as a sharp acquisition would see it.

    The volume is sampled on a grid of half the target voxel through a random rotation, scale and
    elastic displacement, then averaged over 2 x 2 x 2 of them: partial volume as in a scan.

    Parameters
    ----------
    rng : numpy Generator
    source : Source
    shape : (nz, ny, nx)
        Size of the slab, in target voxels.
    spacing : float
        Target voxel edge, mm.

    Returns
    -------
    ndarray, float32, ``shape``
    """
    fine = np.array(shape) * 2
    step = spacing / 2
    volume = np.maximum(source.data + rng.uniform(*source.sharpen) * source.detail, 0)
    extent = np.array(volume.shape) * source.spacing
    inside = np.maximum(extent - fine * step * 0.8, 0) / 2
    centre = (volume.shape - np.ones(3)) / 2 + rng.uniform(-1, 1, 3) * inside / source.spacing
    matrix = rotation(rng.uniform(-0.25, 0.25, 3)) @ np.diag(rng.uniform(0.85, 1.15, 3))
    matrix *= step / source.spacing
    if rng.random() < 0.5:
        matrix[:, 2] *= -1
    # Displacement on a coarse grid (every 8 fine voxels), knots every 20 to 40 mm, up to ~3 mm.
    coarse = tuple(int(n) for n in np.ceil(fine / 8))
    knot = rng.uniform(20, 40) / (8 * step)
    bend = torch.from_numpy(np.stack([smooth_field(rng, coarse, knot) for _ in range(3)]))
    bend = bend * float(rng.uniform(0.3, 1.5) / source.spacing)
    bend = F.interpolate(
        bend[None], size=tuple(fine.tolist()), mode="trilinear", align_corners=False
    )[0]
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in fine]
    m = torch.from_numpy(matrix.astype(np.float32))
    grid = []
    for i in range(3):
        along = m[i, 0] * axes[0][:, None, None] + m[i, 1] * axes[1][None, :, None]
        along = along + m[i, 2] * axes[2][None, None, :] + bend[i] + float(centre[i])
        grid.append(along * (2.0 / (volume.shape[i] - 1)) - 1.0)
    points = torch.stack([grid[2], grid[1], grid[0]], dim=-1)[None]
    tensor = torch.from_numpy(np.ascontiguousarray(volume))[None, None]
    drawn = F.grid_sample(tensor, points, mode="bilinear", align_corners=True)
    return F.avg_pool3d(drawn, 2)[0, 0].numpy()


def random_contrast(rng: Generator, volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """Another tissue contrast: a random smooth curve over intensity; background stays dark.

    Mostly monotone (T1-like); one in eight is not, so that no contrast is taken for granted.
    """
    if rng.random() < 0.35:
        return volume
    x = np.linspace(0, 1.2, 7)
    rising = np.cumsum(rng.uniform(0.15, 1.0, 6))
    y = np.concatenate([[0.0], rising / rising[-1]])
    if rng.random() < 0.125:
        y[2:] = rng.uniform(0.25, 1.0, 5)
    return np.interp(volume, x, y).astype(np.float32)
