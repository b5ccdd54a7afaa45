"""What MoEDiff-SR must beat: ways to a finer grid that nobody trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.restoration import denoise_nl_means

from moediff_rt import Acquisition
from moediff_rt.foreground import find_foreground
from moediff_rt.noise import noise_sigma
from moediff_rt.postprocess import enforce_consistency, find_slice_profile
from moediff_rt.resample import interpolate, resample_kspace

Volume = NDArray[np.float32]

# Non-local means: patches of 3 voxels an edge, compared within 3 voxels on every side.
PATCH_SIZE = 3
PATCH_DISTANCE = 3
# Strength on the scan itself, in noise standard deviations (scikit-image's advice for its fast
# mode), and of each pass on the fine grid, relative to the brain's bright end: falling by halves.
SCAN_STRENGTH = 0.6
FINE_STRENGTHS = (0.04, 0.02)


def trilinear(low: Volume, shape: Sequence[int]) -> Volume:
    """Linear interpolation along each axis, on a grid over the same box.

    Parameters
    ----------
    low : ndarray, float32, (mx, my, mz)
    shape : (nx, ny, nz)
    """
    ratio = [n / m for n, m in zip(shape, low.shape, strict=True)]
    return ndimage.zoom(low, ratio, order=1, mode="reflect", grid_mode=True)


def cubic_spline(low: Volume, shape: Sequence[int]) -> Volume:
    """Cubic B-spline interpolation, as the runtime does before the model; see `trilinear`."""
    return interpolate(low, shape)


def zero_filling(low: Volume, shape: Sequence[int]) -> Volume:
    """k-space filled with zeros, as scanners interpolate; see `trilinear`."""
    return resample_kspace(low, shape)


def non_local_means(
    low: Volume,
    spacing: Sequence[float],
    shape: Sequence[int],
    acquisition: Acquisition | None = None,
) -> Volume:
    """Non-local means upsampling (Manjon et al. 2010).

    The scan is denoised, interpolated, and then filtered by non-local means in turn with a
    correction that makes the result agree with the denoised scan at the scan's resolution, as the
    scan was acquired (`find_slice_profile`).

    Parameters
    ----------
    low : ndarray, float32, (mx, my, mz)
    spacing : (x, y, z) voxel edges of ``low``, mm
    shape : (nx, ny, nz)
    acquisition : Acquisition, optional
        Where it is known.

    Returns
    -------
    ndarray, float32, ``shape``
    """
    foreground = find_foreground(low, spacing)
    sigma = noise_sigma(low, foreground)
    bright = float(np.percentile(low[foreground.voxels()], 99.5))
    profile = find_slice_profile(low, spacing, sigma, acquisition)
    denoised = _filter(low, SCAN_STRENGTH * sigma, sigma)
    volume = interpolate(denoised, shape)
    for strength in FINE_STRENGTHS:
        volume = _filter(volume, strength * bright, 0.0)
        enforce_consistency(volume, denoised, 0.0, profile=profile)
    return volume


def _filter(volume: Volume, strength: float, sigma: float) -> Volume:
    filtered = denoise_nl_means(
        volume, PATCH_SIZE, PATCH_DISTANCE, h=strength, sigma=sigma, fast_mode=True
    )
    return np.ascontiguousarray(filtered, dtype=np.float32)
