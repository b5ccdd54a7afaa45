"""Counter-based Gaussian noise: the same place in the volume, the same number, on any machine.

Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), then Box-Muller.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
LOW = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)


def philox(counter: list[NDArray[np.uint64]], seed: int) -> list[NDArray[np.uint64]]:
    """Philox 4x32-10 of four 32-bit counter words (arrays of one shape) keyed by a 64-bit seed."""
    key = [seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF]
    for _ in range(10):
        p0, p1 = MULTIPLIERS[0] * counter[0], MULTIPLIERS[1] * counter[2]
        counter = [
            (p1 >> SHIFT) ^ counter[1] ^ np.uint64(key[0]),
            p1 & LOW,
            (p0 >> SHIFT) ^ counter[3] ^ np.uint64(key[1]),
            p0 & LOW,
        ]
        key = [(k + step) & 0xFFFFFFFF for k, step in zip(key, KEY_STEPS, strict=True)]
    return counter


def normal(
    seed: int, index: int, origin: tuple[int, int, int], shape: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Standard normal noise of one tile.

    Parameters
    ----------
    seed : int, 64-bit
    index : int
        0 for the start, k + 1 for step k.
    origin : (gx, gy, z)
        Latent cell of the volume at the tile's corner, and its slice.
    shape : (C, h, w)

    Returns
    -------
    ndarray, float32, (C, h, w)
    """
    c, h, w = shape
    groups = (c + 3) // 4
    group, y, x = np.meshgrid(
        np.arange(groups, dtype=np.uint64),
        np.arange(origin[1], origin[1] + h, dtype=np.uint64),
        np.arange(origin[0], origin[0] + w, dtype=np.uint64),
        indexing="ij",
    )
    words = philox([x, y, np.full_like(x, origin[2]), group + np.uint64(index * 65536)], seed)
    uniform = [(((r >> np.uint64(8)).astype(np.float64)) + 0.5) * 2.0**-24 for r in words]
    out = np.empty((groups, 4, h, w))
    for pair in (0, 2):
        radius = np.sqrt(-2.0 * np.log(uniform[pair]))
        angle = 2.0 * np.pi * uniform[pair + 1]
        out[:, pair] = radius * np.cos(angle)
        out[:, pair + 1] = radius * np.sin(angle)
    return out.reshape(4 * groups, h, w)[:c].astype(np.float32)
