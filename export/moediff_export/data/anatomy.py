"""Random anatomy: a source volume rotated, scaled and bent, at half the target voxel."""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from .scanner import smooth_field
from .sources import Source

Volume = NDArray[np.float32]

# Anatomy is drawn on voxels of half the target's edge, and fields on nodes this many of them apart.
OVERSAMPLING = 2
NODE_VOXELS = 8
# How far apart a brain mask's border wanders, and how much (standard deviation, share of brain).
MASK_KNOT_VOXELS = (6.0, 30.0)
MASK_WANDER = 0.08


def rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation matrix for three angles in radians, about z, y and x in turn."""
    matrix = np.eye(3)
    for (i, j), angle in zip(((1, 2), (0, 2), (0, 1)), angles, strict=True):
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


def node_positions(shape: tuple[int, int, int], spacing: float) -> NDArray[np.float64]:
    """Where the nodes of a slab's fields lie: (z, y, x) mm from its centre, (nodes..., 3)."""
    counts = [-(-OVERSAMPLING * n // NODE_VOXELS) for n in shape]
    axes = [
        ((np.arange(k) + 0.5) / k - 0.5) * n * spacing for k, n in zip(counts, shape, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def from_nodes(field: Volume, shape: tuple[int, ...]) -> Volume:
    """A field at the nodes (..., nodes z, y, x), trilinear on a grid over the same box."""
    lead = field.shape[:-3]
    tensor = torch.from_numpy(np.ascontiguousarray(field)).reshape(1, -1, *field.shape[-3:])
    fine = F.interpolate(tensor, size=tuple(shape), mode="trilinear", align_corners=False)
    return fine.reshape(*lead, *shape).numpy()


def draw_points(
    rng: Generator,
    source: Source,
    shape: tuple[int, int, int],
    spacing: float,
    shift: Volume,
) -> Tensor:
    """Where in a source each fine voxel of a slab of deformed anatomy comes from.

    A random rotation, scale and flip, and an elastic displacement: knots every 20 to 40 mm, up to
    about 3 mm.

    Parameters
    ----------
    rng : numpy Generator
    source : Source
    shape : (nz, ny, nx)
        Size of the slab, in target voxels.
    spacing : float
        Target voxel edge, mm.
    shift : ndarray, float32, (3, nodes z, y, x)
        How far from where it is seen a point lies, (z, y, x) mm, at `node_positions`.

    Returns
    -------
    Tensor, float32, (1, 2 nz, 2 ny, 2 nx, 3)
        As `torch.nn.functional.grid_sample` takes them, corners aligned.
    """
    fine = np.array(shape) * OVERSAMPLING
    step = spacing / OVERSAMPLING
    extent = np.array(source.data.shape) * source.spacing
    inside = np.maximum(extent - fine * step * 0.8, 0) / 2
    middle = (np.array(source.data.shape) - 1) / 2
    centre = middle + rng.uniform(-1, 1, 3) * inside / source.spacing
    matrix = rotation(rng.uniform(-0.25, 0.25, 3)) @ np.diag(rng.uniform(0.85, 1.15, 3))
    if rng.random() < 0.5:
        matrix[:, 2] *= -1
    matrix /= source.spacing  # mm in the slab to voxels of the source
    nodes = shift.shape[1:]
    knot = rng.uniform(20, 40) / (NODE_VOXELS * step)
    bend = np.stack([smooth_field(rng, nodes, knot) for _ in range(3)])
    bend *= np.float32(rng.uniform(0.3, 1.5) / source.spacing)
    bend += np.tensordot(matrix.astype(np.float32), shift, axes=1)
    displaced = torch.from_numpy(from_nodes(bend, tuple(fine.tolist())))
    axes = [(torch.arange(n, dtype=torch.float32) - (n - 1) / 2) * step for n in fine.tolist()]
    m = torch.from_numpy(matrix.astype(np.float32))
    grid = []
    for i in range(3):
        along = m[i, 0] * axes[0][:, None, None] + m[i, 1] * axes[1][None, :, None]
        along = along + m[i, 2] * axes[2][None, None, :] + displaced[i] + float(centre[i])
        grid.append(along * (2.0 / (source.data.shape[i] - 1)) - 1.0)
    return torch.stack([grid[2], grid[1], grid[0]], dim=-1)[None]


def read_at(volume: Volume, points: Tensor) -> Volume:
    """A source's volume (nz, ny, nx) at the points of `draw_points`: trilinear, 0 outside."""
    tensor = torch.from_numpy(np.require(volume, requirements=["C", "W"]))[None, None]
    return F.grid_sample(tensor, points, mode="bilinear", align_corners=True)[0, 0].numpy()


def integrate(fine: Volume) -> Volume:
    """Mean of the fine voxels in each target voxel, over the last three axes: partial volume."""
    tensor = torch.from_numpy(np.ascontiguousarray(fine))
    lead = tensor.shape[:-3]
    pooled = F.avg_pool3d(tensor.reshape(1, -1, *tensor.shape[-3:]), OVERSAMPLING)
    return pooled.reshape(*lead, *pooled.shape[-3:]).numpy()


def extract_brain(rng: Generator, inside: Volume) -> Volume:
    """What a brain extraction keeps: whole voxels, up to about two inside the border or a half out.

    Every voxel is in or out, as in a skull-stripped volume: a border that no acquisition has, and
    that the model meets wherever the brain was extracted before.

    Parameters
    ----------
    rng : numpy Generator
    inside : ndarray, float32, (nz, ny, nx)
        The brain's share of each target voxel.

    Returns
    -------
    ndarray, float32, (nz, ny, nx), 0 or 1
    """
    smooth = ndimage.gaussian_filter(inside, rng.uniform(0.5, 2.0))
    wander = smooth_field(rng, inside.shape, rng.uniform(*MASK_KNOT_VOXELS))
    border = np.clip(rng.uniform(0.4, 0.85) + MASK_WANDER * wander, 0.35, 0.9)
    return (smooth > border).astype(np.float32)


def random_contrast(rng: Generator, volume: Volume) -> Volume:
    """Another tissue contrast, of two in three: a random piecewise linear curve over intensity.

    Background stays dark. One curve in eight is not monotone (T1-like), so that no contrast is
    taken for granted.
    """
    if rng.random() < 0.35:
        return volume
    x = np.linspace(0, 1.2, 7)
    rising = np.cumsum(rng.uniform(0.15, 1.0, 6))
    y = np.concatenate([[0.0], rising / rising[-1]])
    if rng.random() < 0.125:
        y[2:] = rng.uniform(0.25, 1.0, 5)
    return np.interp(volume, x, y).astype(np.float32)
