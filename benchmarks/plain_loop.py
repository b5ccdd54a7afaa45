"""The loop over a bundle's ONNX files that a good engineer writes in an hour, in NumPy.

Full-size tiles, the reference's arithmetic, several tiles at a time or several threads, whichever
is faster. An expert that no tile of a batch needs is not called.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from clock import Clock
from numpy.typing import NDArray

from moediff_rt import _core

Volume = NDArray[np.float32]
Corner = tuple[int, int, int]  # slice, row, column


class Modules(Protocol):
    """A bundle's modules in one engine; batches come first in every tensor."""

    def __call__(self, name: str, **inputs: Volume) -> Sequence[Volume]:
        """One module's outputs, in the order of its file."""


def starts(lo: int, hi: int, size: int, tile: int, overlap: int, pitch: int) -> list[int]:
    """Where tiles start that cover [lo, hi) of an axis, evenly spaced, on whole latent cells."""
    last = pitch * math.ceil(max(0, size - tile) / pitch)
    first = min(pitch * (lo // pitch), last)
    if hi - first <= tile:
        return [first]
    cells = (min(pitch * math.ceil((hi - tile) / pitch), last) - first) // pitch
    count = math.ceil((hi - first - overlap) / (tile - overlap))
    return [first + pitch * (i * cells // (count - 1)) for i in range(count)]


def ramp(start: int, tile: int, overlap: int, neighbours: Sequence[int]) -> Volume:
    """Weight along an axis: rises over the overlap on a side where a neighbour is."""
    i = np.arange(tile, dtype=np.float32)
    weight = np.ones(tile, np.float32)
    if any(other < start for other in neighbours):
        weight = np.minimum(weight, (i + 0.5) / overlap)
    if any(other > start for other in neighbours):
        weight = np.minimum(weight, (tile - i - 0.5) / overlap)
    return weight


def stretch(gates: Volume, size: int, axis: int) -> Volume:
    """Bilinear interpolation of gate cells to `size` latent cells along an axis."""
    cells = gates.shape[axis]
    at = np.clip((np.arange(size) + 0.5) * cells / size - 0.5, 0, cells - 1)
    low = at.astype(int)
    shape = [1] * gates.ndim
    shape[axis] = size
    share = (at - low).astype(np.float32).reshape(shape)
    below, above = gates.take(low, axis), gates.take(np.minimum(low + 1, cells - 1), axis)
    return below + share * (above - below)


class PlainLoop:
    """Enhances prepared volumes with a bundle's modules in one engine.

    Parameters
    ----------
    bundle : Bundle
    modules : Modules
    batch : int
        Tiles at a time.
    workers : int
        Threads that each take a batch.
    """

    def __init__(
        self, bundle: _core.Bundle, modules: Modules, batch: int = 1, workers: int = 1
    ) -> None:
        self.bundle, self.modules, self.batch, self.workers = bundle, modules, batch, workers
        sampler = bundle.sampler
        first = sampler.start_timestep
        if sampler.start == "noise":
            first = len(bundle.alphas_cumprod) - 1
        self.first_alpha = bundle.alphas_cumprod[first]
        self.times = _core.timesteps(sampler.steps, first)
        self.rows = _core.step_coefficients(
            sampler.method, bundle.alphas_cumprod, sampler.steps, first, sampler.eta
        )

    def __call__(
        self, volume: Volume, boxes: NDArray[np.int32], seed: int = 0
    ) -> tuple[Volume, dict[str, float], dict[str, Any]]:
        """Enhance a volume.

        Returns
        -------
        volume : (nz, ny, nx) float32 array
        seconds : dict
            Busy time by stage, summed over threads.
        counts : dict
            "tiles", their "tile_sizes" (height, width), and "expert_calls": steps of a tile.
        """
        height, width, _ = self.bundle.tile
        overlap = self.bundle.tile_overlap
        rows, columns = self._grid(volume, boxes)
        corners = [
            (z, y, x)
            for z, (y0, y1, x0, x1) in enumerate(boxes)
            for y in rows
            for x in columns
            if y0 < y1 and x0 < x1 and y < y1 and y0 < y + height and x < x1 and x0 < x + width
        ]
        groups = [corners[i : i + self.batch] for i in range(0, len(corners), self.batch)]
        total, weight = np.zeros_like(volume), np.zeros_like(volume)
        seconds, calls = Counter[str](), 0
        clock = Clock()
        with ThreadPoolExecutor(self.workers) as pool:
            for group, (images, spent, called) in zip(
                groups,
                pool.map(lambda group: self._tiles(volume, group, seed), groups),
                strict=True,
            ):
                clock.lap("waiting")
                for (z, y, x), image in zip(group, images, strict=True):
                    wanted = np.outer(
                        ramp(y, height, overlap, rows), ramp(x, width, overlap, columns)
                    )
                    part = (z, slice(y, y + height), slice(x, x + width))
                    ny, nx = total[part].shape
                    total[part] += (wanted * image)[:ny, :nx]
                    weight[part] += wanted[:ny, :nx]
                seconds.update(spent)
                calls += called
                clock.lap("blend")
        out = np.where(weight > 0, total / np.maximum(weight, 1e-6), volume)
        clock.lap("blend")
        counts = {"tiles": len(corners), "tile_sizes": [[height, width]], "expert_calls": calls}
        return out, {**seconds, "blend": clock.laps["blend"]}, counts

    def _grid(self, volume: Volume, boxes: NDArray[np.int32]) -> tuple[list[int], list[int]]:
        height, width, _ = self.bundle.tile
        _, h, w = self.bundle.latent
        full = boxes[(boxes[:, 0] < boxes[:, 1]) & (boxes[:, 2] < boxes[:, 3])]
        if not len(full):
            return [], []
        y0, x0 = full[:, [0, 2]].min(0)
        y1, x1 = full[:, [1, 3]].max(0)
        _, ny, nx = volume.shape
        overlap = self.bundle.tile_overlap
        return (
            starts(int(y0), int(y1), ny, height, overlap, height // h),
            starts(int(x0), int(x1), nx, width, overlap, width // w),
        )

    def _tiles(
        self, volume: Volume, corners: list[Corner], seed: int
    ) -> tuple[Volume, dict[str, float], int]:
        """Images (N, height, width) of a batch of tiles, busy seconds, calls of experts."""
        clock, modules = Clock(), self.modules
        slices = np.stack([self._read(volume, corner) for corner in corners])
        centre = np.zeros((len(corners), 3, *slices.shape[2:]), np.float32)
        centre[:, 0] = slices[:, slices.shape[1] // 2]
        clock.lap("read")
        (z_low,) = modules("encoder", image=centre)
        clock.lap("encoder")
        z_c, tokens = modules("conditioner", slices=slices, z_low=z_low)
        clock.lap("conditioner")
        (gates,) = modules("gate", tokens=tokens)
        clock.lap("gate")
        needed = gates.max((2, 3), keepdims=True) >= self.bundle.gate_threshold
        gates = np.where(needed, gates, 0)
        gates /= gates.sum(1, keepdims=True)
        _, h, w = self.bundle.latent
        maps = stretch(stretch(gates, h, 2), w, 3)
        z = self._noise(seed, 0, corners)
        if self.bundle.sampler.start == "low_field":
            alpha = self.first_alpha
            z = np.float32(alpha**0.5) * z_low + np.float32((1 - alpha) ** 0.5) * z
        before = np.zeros_like(z)
        experts = np.flatnonzero(needed.any((0, 2, 3)))
        for k, (time, row) in enumerate(zip(self.times, self.rows, strict=True)):
            c_z, c_0, c_1, c_n = (np.float32(c) for c in row)
            clock.lap("step")
            z0 = np.zeros_like(z)
            for i in experts:
                t = np.full(len(z), time, np.float32)
                (found,) = modules(f"expert_{i}", z_t=z, z_c=z_c, t=t)
                clock.lap(f"expert_{i}")
                z0 += maps[:, i : i + 1] * found
            z = c_z * z + c_0 * z0 + c_1 * before
            if c_n:
                z += c_n * self._noise(seed, k + 1, corners)
            before = z0
        clock.lap("step")
        (images,) = modules("decoder", z0=before, slices=slices)
        clock.lap("decoder")
        return images[:, 0], clock.laps, len(corners) * len(experts) * len(self.rows)

    def _read(self, volume: Volume, corner: Corner) -> Volume:
        height, width, count = self.bundle.tile
        z, y, x = corner
        nz, ny, nx = volume.shape
        around = count // 2
        planes = np.pad(np.arange(nz), around, "symmetric")[z : z + count]
        rows = np.pad(np.arange(ny), (0, height), "symmetric")[y : y + height]
        columns = np.pad(np.arange(nx), (0, width), "symmetric")[x : x + width]
        return volume[np.ix_(planes, rows, columns)]

    def _noise(self, seed: int, index: int, corners: list[Corner]) -> Volume:
        height, width, _ = self.bundle.tile
        _, h, w = shape = self.bundle.latent
        return np.stack(
            [
                _core.normal(seed, index, (x // (width // w), y // (height // h), z), shape)
                for z, y, x in corners
            ]
        )
