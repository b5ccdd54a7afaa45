"""Whether a scan's slices look as if integrated over a profile, with whole transforms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.fft import dct

FULL_WIDTH = 2 * math.sqrt(2 * math.log(2))
EDGES = np.linspace(0.25, 0.95, 7)  # of bands, shares of the slices' Nyquist frequency


def gains(slices: int, seen: int, width: float) -> npt.NDArray[np.float64]:
    """Of the lowest frequencies of a scan of so many slices, for a profile of a width."""
    cycles = np.arange(seen) / (2 * slices)  # a slice distance
    return np.exp(-2 * (math.pi * cycles * width / FULL_WIDTH) ** 2)


def fall_off(
    scan: npt.NDArray[np.float64], spacing: Sequence[float], sigma: float
) -> tuple[int, float | None]:
    """Axis of the coarsest edge, and the square of the profile's width, or None where it hides."""
    axis = int(np.argmax(spacing))
    if max(spacing) < 1.2 * min(spacing):
        return axis, None
    logs = []
    for a in range(3):
        found = _log_power(np.moveaxis(scan, a, -1), spacing, a, max(spacing), sigma)
        if found is None:
            return axis, None
        logs.append(found)
    others = [log for a, log in enumerate(logs) if a != axis]
    middle = ((EDGES[1:] + EDGES[:-1]) / 2) ** 2
    slope = np.polyfit(middle, logs[axis] - np.mean(others, axis=0), 1)[0]
    return axis, float(-slope / (math.pi / FULL_WIDTH) ** 2)


def _log_power(
    lines: npt.NDArray[np.float64],
    spacing: Sequence[float],
    axis: int,
    coarsest: float,
    sigma: float,
) -> npt.NDArray[np.float64] | None:
    others = [edge for a, edge in enumerate(spacing) if a != axis]
    blocks = [max(1, math.floor(4 / edge + 0.5)) for edge in others]
    n = lines.shape[-1]
    kept = [size // block for size, block in zip(lines.shape, blocks, strict=False)]
    lines = lines[: kept[0] * blocks[0], : kept[1] * blocks[1]]
    means = lines.reshape(kept[0], blocks[0], kept[1], blocks[1], n).mean(axis=(1, 3))
    power = dct(means.reshape(-1, n), norm="ortho") ** 2
    share = np.arange(n) / (2 * n * spacing[axis]) * 2 * coarsest
    noise = sigma**2 / math.prod(blocks)
    bands = [(low <= share) & (share < high) for low, high in itertools.pairwise(EDGES)]
    if not all(band.any() for band in bands):
        return None
    found = np.stack([power[:, band].mean(axis=1) - noise for band in bands], axis=1)
    mean = found.mean(axis=1)
    told = mean > 20 * noise
    if told.sum() < 50:
        return None
    found, mean = found[told], mean[told, None]
    return np.asarray(np.log(np.maximum(found, np.maximum(0.1 * noise, 1e-6 * mean))).mean(axis=0))
