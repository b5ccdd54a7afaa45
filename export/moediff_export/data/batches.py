"""Batches: random crops of training pairs, ready for the model."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from ..tiles import mirrored
from .shards import Pair

TISSUE_ABOVE = 0.1  # of the intensity scale
LEAST_TISSUE = 0.25  # of a crop


class Batch(NamedTuple):
    """Crops, float32.

    Attributes
    ----------
    target : Tensor, (N, 1, H, W)
    slices : Tensor, (N, S, H, W), the low-field slice between its neighbours
    maps : Tensor, (N, 2, H, W), log bias field and log Jacobian, or zeros where not told
    regions : Tensor, (N, 3, H, W), soft masks of the experts' regions
    """

    target: Tensor
    slices: Tensor
    maps: Tensor
    regions: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(t.to(device) for t in self))


def crop_batch(rng: Generator, pairs: list[Pair], size: int, count: int, slices: int) -> Batch:
    """Cut ``count`` crops of ``size`` x ``size`` that show some anatomy, flipped at random.

    A pair is drawn in proportion to its voxels: real ones are larger than simulated ones. The flips
    are along all three axes, and the two in the plane change places at random, too.
    ``slices`` neighbours, an odd number, come from the scan; past the slab it is mirrored.
    """
    groups: list[list[Tensor]] = [[], [], [], []]
    share = np.array([pair.target.size for pair in pairs], dtype=float)
    share /= share.sum()
    while len(groups[0]) < count:
        pair = pairs[rng.choice(len(pairs), p=share)]
        nz, ny, nx = pair.target.shape
        half = slices // 2
        margin = min(half, (nz - 1) // 2)
        z = int(rng.integers(margin, nz - margin))
        y, x = int(rng.integers(ny - size + 1)), int(rng.integers(nx - size + 1))
        window = (slice(y, y + size), slice(x, x + size))
        target = pair.target[z][window]
        if (target > TISSUE_ABOVE).mean() < LEAST_TISSUE and rng.random() < 0.95:
            continue
        around = mirrored(np.arange(z - half, z + half + 1), nz)
        told = np.float32(rng.random() < 0.5)
        cut = [
            target[None],
            pair.low[(around, *window)],
            np.stack([pair.bias[z][window], pair.jacobian[z][window]]) * told,
            pair.regions[(slice(None), z, *window)].astype(np.float32) / 255,
        ]
        if rng.random() < 0.5:
            cut[1] = cut[1][::-1]
        if rng.random() < 0.5:
            cut = [c[:, :, ::-1] for c in cut]
        if rng.random() < 0.5:
            cut = [c[:, ::-1] for c in cut]
        if rng.random() < 0.5:
            cut = [c.transpose(0, 2, 1) for c in cut]
        for group, c in zip(groups, cut, strict=True):
            group.append(torch.from_numpy(np.ascontiguousarray(c, dtype=np.float32)))
    return Batch(*(torch.stack(group) for group in groups))
