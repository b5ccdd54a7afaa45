"""HaarPSI: the Haar wavelet-based perceptual similarity index (Reisenhofer et al. 2018).

Written from the paper, in NumPy: the kept library that has it (piq) needs torchvision.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit, logit

Volume = NDArray[np.float32]
Weights = NDArray[np.bool_] | NDArray[np.float32]

# The paper's constants, for intensities from 0 to 255.
C = 30.0
ALPHA = 4.2
FULL_SCALE = 255.0
SCALES = (1, 2, 3)


def halve(slices: Volume) -> Volume:
    """Average 2 x 2 pixels of the first two axes; an odd last line is repeated."""
    for axis in (0, 1):
        if slices.shape[axis] % 2:
            slices = np.concatenate([slices, slices.take([-1], axis)], axis)
        first, second = (slices.take(np.arange(i, slices.shape[axis], 2), axis) for i in (0, 1))
        slices = (first + second) / 2
    return slices


def haar_coefficient(slices: Volume, scale: int, axis: int) -> Volume:
    """Magnitude of the Haar wavelet coefficient in each pixel (paper, equations 3 to 5).

    A filter of 2^scale x 2^scale pixels of 2^-scale, one half of them negative along ``axis``.

    Parameters
    ----------
    slices : ndarray, float32, (nx, ny, slices)
    scale : int
    axis : int, 0 or 1
    """
    size = 2**scale
    box = np.full(size, 2.0**-scale)
    step = np.where(np.arange(size) < size // 2, -1.0, 1.0)
    along = ndimage.convolve1d(slices, step, axis=axis, mode="constant")
    return np.abs(ndimage.convolve1d(along, box, axis=1 - axis, mode="constant"))


def haarpsi(
    image: Volume, truth: Volume, peak: float, masks: Mapping[str, Weights]
) -> dict[str, float]:
    """HaarPSI over axial slices, in each mask: 1 for equal images, 0 for unlike ones.

    As in the paper's own code the slices are halved first (viewing distance), the local similarity
    comes from the two finest scales and its weight from the third (equations 9 to 12). All slices
    go into one weighted mean, each pixel's weight times the mask's.

    Parameters
    ----------
    image, truth : ndarray, float32, (nx, ny, nz)
    peak : float
        Intensity that the paper's 255 stands for.
    masks : mapping of name to weights, (nx, ny, nz)

    Returns
    -------
    dict of name to float
    """
    gain = np.float32(FULL_SCALE / peak)
    a, b = (halve(np.clip(v, 0, peak) * gain) for v in (image, truth))
    totals = dict.fromkeys(masks, 0.0)
    weighed = dict.fromkeys(masks, 0.0)
    halved = {name: halve(np.asarray(m, dtype=np.float32)) for name, m in masks.items()}
    for axis in (0, 1):
        similarity = np.zeros_like(a)
        for scale in SCALES[:2]:
            x, y = haar_coefficient(a, scale, axis), haar_coefficient(b, scale, axis)
            similarity += (2 * x * y + C) / (x * x + y * y + C) / 2
        x, y = (haar_coefficient(v, SCALES[2], axis) for v in (a, b))
        weight = np.maximum(x, y)
        local = expit(ALPHA * similarity)
        for name, mask in halved.items():
            each = weight * mask
            totals[name] += float((local * each).sum(dtype=np.float64))
            weighed[name] += float(each.sum(dtype=np.float64))
    return {
        name: float((logit(totals[name] / weighed[name]) / ALPHA) ** 2) if weighed[name] else 1.0
        for name in masks
    }
