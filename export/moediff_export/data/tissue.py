"""Tissue from intensity: classes by clustering, soft maps by sharp thresholds between them."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

Volume = NDArray[np.float32]

# Width of the steps between the tissues of a real scan, as a share of the distance of their levels:
# the middle of what simulated anatomy is drawn with.
SCAN_SOFTNESS = 0.15


def cluster_levels(intensities: NDArray[np.float32], classes: int) -> NDArray[np.float32]:
    """Typical intensity of each tissue: k-means (Lloyd 1982), started at even quantiles.

    Parameters
    ----------
    intensities : ndarray, float32, any shape
        Of tissue alone; a hundred thousand of them are used.
    classes : int

    Returns
    -------
    ndarray, float32, (classes,), ascending
    """
    sample = intensities.ravel()[:: max(intensities.size // 100_000, 1)].astype(np.float64)
    start = np.quantile(sample, (np.arange(classes) + 0.5) / classes)
    levels, _ = kmeans2(sample[:, None], start[:, None], minit="matrix")
    return np.sort(levels[:, 0]).astype(np.float32)


def tissue_maps(volume: Volume, levels: NDArray[np.float32], softness: float) -> Volume:
    """How much of each voxel is air and each tissue, by its intensity.

    Between two levels the share goes from one tissue to the next in a logistic step halfway, and
    from air to the first tissue halfway to its level.

    Parameters
    ----------
    volume : ndarray, float32, any shape
    levels : ndarray, float32, (classes,), ascending, all above 0
    softness : float
        Width of the steps, as a share of the distance of the levels.

    Returns
    -------
    ndarray, float32, (1 + classes, ...), air first; they sum to 1
    """
    bounds = np.concatenate([[0.0], levels]).astype(np.float32)
    above = [np.ones_like(volume)]
    for low, high in itertools.pairwise(bounds):
        steepness = 1 / np.float32(max(softness, 1e-3) * (high - low))
        step = np.clip((volume - (low + high) / 2) * steepness, -30, 30)
        above.append(1 / (1 + np.exp(-step)))
    above.append(np.zeros_like(volume))
    return np.stack([a - b for a, b in itertools.pairwise(above)])
