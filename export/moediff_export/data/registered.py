"""A 3T scan and its co-registered 7T partner, on one grid and one intensity scale."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from moediff_rt.bias import correct_bias
from moediff_rt.foreground import find_foreground
from moediff_rt.grid import Grid
from moediff_rt.io import Scan
from moediff_rt.preprocess import prepare
from moediff_rt.resample import interpolate

from .pairs import INTENSITY_PERCENTILE
from .scans import MOST_APART, Mask, faces_apart, load_ras, read_brain_mask

Volume = NDArray[np.float32]

SAME_BOX = 1e-3  # how far apart the faces of equal boxes may lie, voxels
MATCHED_VOXELS = 1_000_000  # enough to fit one scale to the other


@dataclass(frozen=True)
class RegisteredPair:
    """A 3T scan and its 7T partner; volumes are (nz, ny, nx) on the 7T grid.

    Attributes
    ----------
    scan : Scan
        The 3T scan as it was read, in RAS+ order.
    scale : float
        The 3T scan's intensity that 1 stands for in the volumes.
    grid : Grid
        Of the 7T scan, in RAS+ order.
    low, target : ndarray, float32
        3T and 7T scan; the latter's intensity is fitted to the former's by a robust slope.
    bias : ndarray, float32
        Log of the receive field that both carry, or 0 where it was not asked for.
    inside : ndarray, bool
        The brain, where a mask lies beside the 7T scan; else all of the foreground.
    masked : bool
        Whether there is such a mask.
    """

    scan: Scan
    scale: float
    grid: Grid
    low: Volume
    target: Volume
    bias: Volume
    inside: Mask
    masked: bool


def read_registered(low_path: Path, target_path: Path, *, n4: bool = False) -> RegisteredPair:
    """Read a pair; parameters and errors are those of `bids.load_real_pair`."""
    low, target = load_ras(low_path), load_ras(target_path)
    grid = target.grid
    apart = faces_apart(low.grid, grid)
    if apart > MOST_APART:
        raise ValueError(
            f"read_registered: expected the same box of the world, faces at most {MOST_APART:g} "
            f"3T voxels apart, found {apart:.3g} in {low_path} and {target_path}; they are "
            "probably not registered, or one is cropped; resample the 3T scan over the 7T box"
        )
    prepared = prepare(
        low.data, low.grid.spacing, low.data.shape, percentile=INTENSITY_PERCENTILE, value=1.0
    )
    low_volume = on_grid(prepared.measured, low.grid, grid)
    bias = np.zeros_like(low_volume)
    if n4:
        bias = on_grid(correct_bias(low)[1].T, low.grid, grid)
        target = correct_bias(target)[0]
    target_volume = np.ascontiguousarray(target.data.T) * np.exp(bias)
    brain = read_brain_mask(target_path, grid)
    if brain is not None:
        inside = np.ascontiguousarray(brain.T)
    else:
        inside = find_foreground(low_volume, grid.spacing[::-1]).voxels()
    slope = _match(target_volume[inside], low_volume[inside])
    if not 0 < slope < np.inf:
        raise ValueError(
            f"read_registered: expected tissue at the same place in both, found {target_path} "
            f"or {low_path} dark where the other is not; they are probably not registered, or of "
            "two subjects; look at them one over the other in a viewer"
        )
    target_volume *= np.float32(slope)
    return RegisteredPair(
        low, prepared.scale, grid, low_volume, target_volume, bias, inside, brain is not None
    )


def on_grid(volume: Volume, source: Grid, target: Grid) -> Volume:
    """Resample (nz, ny, nx) of a source grid on a target grid, as `infer` does on equal boxes."""
    shape = target.shape[::-1]
    if faces_apart(source, target) <= SAME_BOX:
        return interpolate(volume, shape)
    # The spline does not cut k-space: axes that get coarser are made so first.
    kept = tuple(min(n, m) for n, m in zip(volume.shape, shape, strict=True))
    matrix = np.linalg.inv(source.resized(kept[::-1]).affine) @ target.affine
    resampled = ndimage.affine_transform(
        interpolate(volume, kept).T, matrix, output_shape=target.shape, order=3, mode="reflect"
    )
    return np.ascontiguousarray(resampled.T)


def _match(target: Volume, low: Volume) -> float:
    """Slope of the line through the origin that fits ``low`` on ``target``; 0 if that is dark.

    The fit of least absolute deviations: the median of the quotients, weighted by the target. Air
    weighs nothing and stays at 0, bright vessels and voxels out of place do not move it.
    """
    step = max(target.size // MATCHED_VOXELS, 1)
    x, y = target[::step].astype(np.float64), low[::step].astype(np.float64)
    x, y = x[x > 0], y[x > 0]
    if not x.size:
        return 0.0
    order = np.argsort(y / x)
    weight = np.cumsum(x[order])
    middle = order[np.searchsorted(weight, weight[-1] / 2)]
    return float(y[middle] / x[middle])
