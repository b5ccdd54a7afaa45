"""The plain whole-volume loop: the oracle for everything in csrc."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import noise, tiles
from .config import ModelConfig
from .diffusion import Sampling, cosine_alphas_cumprod, step_coefficients, timesteps
from .model import MoEDiffSR, RegressionUNet

if TYPE_CHECKING:
    from moediff_rt._core import Foreground


def default_sampling(config: ModelConfig) -> Sampling:
    """The sampling that a configuration names."""
    return Sampling(
        config.sampler,
        config.steps,
        config.start,
        config.start_timestep,
        gate_threshold=config.gate_threshold,
    )


def dispatch(gates: Tensor, threshold: float) -> Tensor:
    """Silence the experts that a tile hardly needs; their weight goes to the others.

    Parameters
    ----------
    gates : Tensor, (N, experts, gh, gw)
    threshold : float, below 1 / experts
        An expert whose weight is below this everywhere in the tile is left out.
    """
    needed = gates.amax(dim=(2, 3), keepdim=True) >= threshold
    kept = gates * needed
    return torch.where(needed.all(dim=1, keepdim=True), gates, kept / kept.sum(1, keepdim=True))


def sample(
    model: MoEDiffSR,
    slices: Tensor,
    sampling: Sampling,
    noise_of: Callable[[int], Tensor],
) -> Tensor:
    """Enhance tiles.

    Parameters
    ----------
    slices : Tensor, (N, S, H, W)
    sampling : Sampling
    noise_of : callable
        Noise (N, C, h, w) for index 0 (start) and k + 1 (step k).

    Returns
    -------
    Tensor, (N, 1, H, W)
    """
    alphas_cumprod = cosine_alphas_cumprod(model.config.timesteps)
    last = len(alphas_cumprod) - 1
    start = last if sampling.start == "noise" else sampling.start_timestep
    steps = timesteps(sampling.steps, start)
    z_low = model.encode_low_field(slices)
    z_c, gates = model.condition(slices, z_low)
    gates = dispatch(gates, sampling.gate_threshold)
    z = noise_of(0)
    if sampling.start == "low_field":
        ab = float(alphas_cumprod[steps[0]])
        z = ab**0.5 * z_low + (1 - ab) ** 0.5 * z
    previous = torch.zeros_like(z)
    rows = step_coefficients(sampling, alphas_cumprod).tolist()
    for k, (t, (c_z, c_0, c_1, c_n)) in enumerate(zip(steps, rows, strict=True)):
        time = z.new_full((len(z),), float(t))
        z0 = model.predict(z, z_c, gates, time).z0
        z = c_z * z + c_0 * z0 + c_1 * previous
        if c_n:
            z = z + c_n * noise_of(k + 1)
        previous = z0
    return model.decoder(z, slices)


def plane_seed(seed: int, plane: int) -> int:
    """The noise of one seed differs from plane to plane: by multiples of 2**64 / golden ratio."""
    return seed ^ (plane * 0x9E3779B97F4A7C15 % 2**64)


def choose_planes(
    config: ModelConfig, spacing: Sequence[float], shape: Sequence[int], asked: int | None = None
) -> list[int]:
    """The planes that a scan is enhanced in: the axis of (z, y, x) that slices lie along in each.

    Parameters
    ----------
    config : ModelConfig
    spacing : (z, y, x) voxel edges of the scan, mm
        Slices lie along the coarsest axis first (edges within 1 % are alike). Where one is 1.2
        times another or more, along that alone.
    shape : (nz, ny, nx) of the result
        Planes whose slices are less than half a tile high or wide come last, and only when asked
        for.
    asked : int, optional
        How many; the configuration's number by default.
    """
    left, order = [0, 1, 2], []
    while left:
        most = max(spacing[axis] for axis in left)
        order.append(next(axis for axis in left if spacing[axis] * 1.01 >= most))
        left.remove(order[-1])
    large = []
    for axis in order:
        if 2 * min(n for i, n in enumerate(shape) if i != axis) >= config.smallest_tile:
            large.append(axis)
    alike = max(spacing) < 1.2 * min(spacing)
    usual = max(1, min(config.planes if alike else 1, len(large)))
    return [*large, *(axis for axis in order if axis not in large)][: asked or usual]


def enhance_in_planes(
    model: MoEDiffSR | RegressionUNet,
    volume: NDArray[np.float32],
    foreground: Foreground,
    planes: Sequence[int],
    seed: int = 0,
) -> NDArray[np.float32]:
    """Enhance a volume's slices in several planes, and average the results.

    Parameters
    ----------
    model, volume, seed
        As :func:`enhance_volume` takes them.
    foreground : Foreground
        Of the scan, over the same box.
    planes : sequence of int
        As :func:`choose_planes` gives them.

    Returns
    -------
    ndarray, float32, (nz, ny, nx)
    """
    total = np.zeros_like(volume)
    for plane in sorted(planes):
        seen = np.ascontiguousarray(volume.swapaxes(0, plane))
        boxes = foreground.boxes(volume.shape, plane)
        made = enhance_volume(model, seen, boxes, seed=plane_seed(seed, plane))
        total += made.swapaxes(0, plane)
    return total / np.float32(len(planes))


@torch.inference_mode()
def enhance_volume(
    model: MoEDiffSR | RegressionUNet,
    volume: NDArray[np.float32],
    boxes: NDArray[np.int32],
    sampling: Sampling | None = None,
    seed: int = 0,
    batch: int = 4,
    progress: Callable[[int, int], None] | None = None,
    size: tiles.Size | None = None,
    normal: Callable[..., NDArray[np.float32]] = noise.normal,
) -> NDArray[np.float32]:
    """Enhance a volume's axial slices, tile by tile.

    Parameters
    ----------
    model : MoEDiffSR or RegressionUNet
        In evaluation mode; its parameters' dtype is the precision of every network, their device
        where it runs. A plain regression has no use for ``sampling`` and ``seed``.
    volume : ndarray, float32, (nz, ny, nx)
        Interpolated on the target grid, intensity-normalised.
    boxes : ndarray, int32, (nz, 4)
        Foreground of each slice as [y0, y1, x0, x1); tiles without any are left as they are.
    sampling : Sampling, optional
        The configuration's by default.
    seed : int
    batch : int
        Tiles at a time; the result does not depend on it.
    progress : callable, optional
        Called with (tiles done, tiles in all).
    size : (height, width), optional
        Of all tiles, in multiples of the configuration's pitch; as :func:`tiles.fit_tiles` has
        them by default.
    normal : callable, optional
        Draws a tile's noise as :func:`noise.normal` does; the runtime's own draws it faster.

    Returns
    -------
    ndarray, float32, (nz, ny, nx)
    """
    config = model.config
    sampling = sampling or default_sampling(config)
    weights = next(model.parameters())
    overlap, factor = config.tile_overlap, config.factor
    if size:
        sizes = [size] * len(boxes)
    else:
        edges = config.smallest_tile, config.tile, config.tile_pitch
        sizes = tiles.fit_tiles(volume.shape, boxes, *edges, overlap, factor)
    plan = tiles.plan_tiles(volume.shape, boxes, sizes, overlap, factor)
    blend = tiles.Blend(volume)
    done = 0
    for group in batches_of(plan, batch):
        slices = np.stack([tiles.read_tile(volume, at, config.slices) for at in group])

        def noise_of(index: int, group: list[tiles.Tile] = group) -> Tensor:
            height, width = group[0].size
            shape = (config.latent_channels, height // factor, width // factor)
            origins = [(at.x // factor, at.y // factor, at.z) for at in group]
            drawn = np.stack([normal(seed, index, origin, shape) for origin in origins])
            return torch.from_numpy(drawn).to(weights)

        tensor = torch.from_numpy(slices).to(weights)
        if isinstance(model, RegressionUNet):
            images = model(tensor)
        else:
            images = sample(model, tensor, sampling, noise_of)
        for at, image in zip(group, images.float().cpu().numpy(), strict=True):
            blend.add(at, image[0])
        done += len(group)
        if progress:
            progress(done, len(plan))
    return blend.result()


def batches_of(plan: Sequence[tiles.Tile], batch: int) -> Iterator[list[tiles.Tile]]:
    """Tiles in their order, at most so many of one size at a time."""
    for _, alike in groupby(plan, key=lambda tile: tile.size):
        rest = list(alike)
        for first in range(0, len(rest), batch):
            yield rest[first : first + batch]
