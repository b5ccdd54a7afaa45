"""The scan that the command's tests enhance."""

from __future__ import annotations

import numpy as np

SHAPE = (28, 30, 20)


def head() -> np.ndarray:
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    tissue = (sum(axis**2 for axis in grid) < 0.5) * (1 + 0.2 * np.sin(9 * grid[0]))
    return (800 * tissue + 10).astype(np.int16)
