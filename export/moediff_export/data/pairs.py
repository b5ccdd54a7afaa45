"""Training pairs: a sharp slab, and the same slab as a 3T-like scan shows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from . import scanner
from .anatomy import draw_anatomy, random_contrast
from .sources import Source

SLAB = (40, 192, 192)  # target voxels: slices, rows, columns
EDGE_SLICES = 4  # dropped at both ends, where the slab's own border blurs
INTENSITY_PERCENTILE = 99.5
# What a bundle is offered for: target voxel edges, mm, and how many times larger a scan's are.
OUTPUT_MM = (0.5, 1.25)
RATIOS = (1.25, 3.0)
# Voxel edge that anatomy is drawn at, mm. Colin27 is an average of scans: halving its resolution
# at 1 mm loses less than half of what it loses of a single scan; at 2 mm, about as much.
DETAIL_MM = (0.7, 2.0)
# Scans differ in sharpness: the model must read it from the scan, not assume one head's.
BLURRED_SHARE = 0.4
# Brightest tissue over brain: scalp fat sets the intensity scale of a scan with its skull.
BRIGHT_FAT = 2.2


@dataclass(frozen=True)
class Pair:
    """One simulated slab.

    Attributes
    ----------
    target, low : ndarray, float16, (nz, ny, nx)
        The sharp slab, and the low-field scan interpolated on its grid; intensity-normalised.
    bias, jacobian : ndarray, float16, (nz, ny, nx)
        Log bias field and log Jacobian that both carry.
    """

    target: NDArray[np.float16]
    low: NDArray[np.float16]
    bias: NDArray[np.float16]
    jacobian: NDArray[np.float16]


def low_field_shape(rng: Generator, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Matrix of the low-field scan: half on every axis, as `infer` does unless told otherwise.

    Three in ten have anything from 1/3 to 4/5, half of those with thicker slices.
    """
    kind = rng.random()
    if kind < 0.7:
        ratios = np.full(3, 2.0)
    elif kind < 0.85:
        ratios = np.full(3, rng.uniform(RATIOS[0], 2.5))
    else:
        ratios = np.array([rng.uniform(1.5, RATIOS[1]), *np.full(2, rng.uniform(RATIOS[0], 2.0))])
    return tuple(round(n / r) for n, r in zip(shape, ratios, strict=True))


def make_pair(rng: Generator, sources: list[Source]) -> Pair:
    """Draw anatomy, contrast and acquisition at random.

    The bias field and the Jacobian change scan and target alike: removing them is a correction of
    its own, before this model; the autoencoder is told of them by its maps.
    """
    weights = np.array([s.weight for s in sources])
    source = sources[rng.choice(len(sources), p=weights / weights.sum())]
    finest = max(source.spacing, DETAIL_MM[0])
    spacing = finest * (DETAIL_MM[1] / finest) ** rng.random()
    target = draw_anatomy(rng, source, SLAB, spacing)
    if rng.random() < BLURRED_SHARE:
        target = ndimage.gaussian_filter(target, rng.uniform(0.2, 0.9))
    target = random_contrast(rng, target)
    bias = scanner.log_bias_field(rng, SLAB, rng.uniform(0.0, 0.2))
    jacobian = scanner.log_jacobian(rng, SLAB, rng.uniform(0.0, 0.03))
    target = target * np.exp(bias + jacobian)

    shape = low_field_shape(rng, SLAB)
    blurred = target
    if rng.random() < 0.1:  # a 2-D multi-slice scan has a slice profile through plane
        blurred = scanner.slice_profile(target, SLAB[0] / shape[0], axis=0)
    apodisation = 0.0 if rng.random() < 0.75 else rng.uniform(0.0, 0.7)
    low = np.maximum(scanner.truncate_kspace(blurred, shape, apodisation), 0)
    foreground = low[low > 0.1 * low.max()]
    scale = float(np.percentile(foreground, INTENSITY_PERCENTILE)) if foreground.size else 1.0
    noise = 0.01 if rng.random() < 0.3 else rng.uniform(0.0, 0.04)
    low = scanner.rician_noise(rng, low, noise * scale)
    low = scanner.interpolate(low, SLAB)
    if rng.random() < 0.3:
        scale *= rng.uniform(1.0, BRIGHT_FAT)
    keep = slice(EDGE_SLICES, -EDGE_SLICES)
    return Pair(
        *(
            np.ascontiguousarray(v[keep], dtype=np.float16)
            for v in (target / scale, low / scale, bias, jacobian)
        )
    )


@dataclass(frozen=True)
class Batch:
    """Crops ready for the model, float32.

    Attributes
    ----------
    target : Tensor, (N, 1, H, W)
    slices : Tensor, (N, 3, H, W), the low-field slice between its neighbours
    maps : Tensor, (N, 2, H, W), log bias field and log Jacobian, or zeros where not told
    """

    target: torch.Tensor
    slices: torch.Tensor
    maps: torch.Tensor


def crop_batch(rng: Generator, pairs: list[Pair], size: int, count: int) -> Batch:
    """Cut ``count`` crops of ``size`` x ``size`` that show some anatomy, flipped at random."""
    targets, slices, maps = [], [], []
    while len(targets) < count:
        pair = pairs[rng.integers(len(pairs))]
        nz, ny, nx = pair.target.shape
        z = int(rng.integers(1, nz - 1))
        y, x = int(rng.integers(ny - size + 1)), int(rng.integers(nx - size + 1))
        window = (slice(y, y + size), slice(x, x + size))
        target = pair.target[z][window]
        if (target > 0.1).mean() < 0.25 and rng.random() < 0.95:
            continue
        cut = [target[None], pair.low[z - 1 : z + 2][(slice(None), *window)]]
        told = rng.random() < 0.5
        cut.append(np.stack([pair.bias[z][window], pair.jacobian[z][window]]) * told)
        if rng.random() < 0.5:
            cut = [c[:, :, ::-1] for c in cut]
        for group, c in zip((targets, slices, maps), cut, strict=True):
            group.append(torch.from_numpy(np.ascontiguousarray(c, dtype=np.float32)))
    return Batch(torch.stack(targets), torch.stack(slices), torch.stack(maps))
