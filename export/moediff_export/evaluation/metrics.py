"""Image quality against a truth, in a mask that may be soft."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from .haarpsi import haarpsi

Volume = NDArray[np.float32]
# A mask, or a weight from 0 to 1 for each voxel.
Weights = NDArray[np.bool_] | NDArray[np.float32]

LOG_SIGMA = 1.5  # voxels
SSIM_SIGMA = 1.5  # voxels
MS_SSIM_EDGE = 176  # pixels: the smallest slice that five scales of a window of 11 fit into
HEAD_MARGIN = 3  # voxels of air around the head that count as head
RIM = 3  # voxels of a brain where most of the error lies if it was extracted before the scan


def peak_intensity(truth: Volume, weights: Weights) -> float:
    """The 99.5th percentile of the truth where the weight is at least a half."""
    return float(np.percentile(truth[np.asarray(weights) >= 0.5], 99.5))


def weighted_mean(values: NDArray[np.floating], weights: Weights) -> float:
    """Mean of the values, each counted with its weight."""
    return float(np.average(values, weights=weights))


def psnr(image: Volume, truth: Volume, weights: Weights, peak: float | None = None) -> float:
    """Peak signal-to-noise ratio of the weighted mean squared error.

    Parameters
    ----------
    image, truth : ndarray, float32, (nx, ny, nz)
    weights : ndarray, bool or float32, (nx, ny, nz)
    peak : float, optional
        `peak_intensity` of the truth in the mask by default.

    Returns
    -------
    float, dB
    """
    peak = peak or peak_intensity(truth, weights)
    inside = np.asarray(weights) > 0
    error = weighted_mean((image[inside] - truth[inside]) ** 2, weights[inside])
    return 10 * math.log10(peak**2 / error) if error else math.inf


def ssim_map(image: Volume, truth: Volume, peak: float) -> Volume:
    """Structural similarity of each voxel (Wang et al. 2004), Gaussian window of 1.5 voxels."""
    _, each = structural_similarity(
        image,
        truth,
        data_range=peak,
        gaussian_weights=True,
        sigma=SSIM_SIGMA,
        use_sample_covariance=False,
        full=True,
    )
    return each


def ssim(image: Volume, truth: Volume, weights: Weights, peak: float | None = None) -> float:
    """Weighted mean of `ssim_map`, 1 for equal images; parameters as `psnr`."""
    peak = peak or peak_intensity(truth, weights)
    return weighted_mean(ssim_map(image, truth, peak), weights)


def ms_ssim(image: Volume, truth: Volume, head: Weights, peak: float) -> float:
    """Multi-scale structural similarity (Wang et al. 2003), five scales; torchmetrics' own.

    The mean over the axial slices that show any of the head, the air blanked: in three dimensions
    its window of 11 x 11 x 11 takes minutes, and a slab is too thin for five scales. Slices below
    `MS_SSIM_EDGE` are mirrored at their edges up to it.

    Parameters
    ----------
    image, truth : ndarray, float32, (nx, ny, nz)
    head : ndarray, bool, (nx, ny, nz)
    peak : float
    """
    shown = np.flatnonzero(np.asarray(head).any(axis=(0, 1)))
    short = [max(MS_SSIM_EDGE - n, 0) for n in truth.shape[:2]]
    margins = [(0, 0), *((n // 2, n - n // 2) for n in short)]
    values: list[float] = []
    for group in np.array_split(shown, -(-len(shown) // 32)):
        slices = [
            torch.from_numpy(
                np.pad(
                    (v[..., group] * head[..., group]).transpose(2, 0, 1), margins, mode="symmetric"
                )
            )
            for v in (image, truth)
        ]
        each = multiscale_structural_similarity_index_measure(
            slices[0][:, None], slices[1][:, None], data_range=peak, reduction="none"
        )
        values.extend(each.tolist())
    return float(np.mean(values))


def laplacian_of_gaussian(volume: Volume) -> Volume:
    """The volume's fine detail, by a Laplacian of Gaussian of `LOG_SIGMA`."""
    return ndimage.gaussian_laplace(volume, LOG_SIGMA, mode="reflect")


def hfen(image: Volume, truth: Volume, weights: Weights) -> float:
    """High-frequency error norm (Ravishankar and Bresler 2011), 0 for equal images.

    `|LoG(image) - LoG(truth)| / |LoG(truth)|`, root of the weighted squares, sigma 1.5 voxels.
    """
    detail = laplacian_of_gaussian(truth)
    error = laplacian_of_gaussian(image) - detail
    return math.sqrt(weighted_mean(error**2, weights) / weighted_mean(detail**2, weights))


def inner_brain(brain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The brain deeper than `RIM` voxels; the volume's faces are no rim."""
    return np.asarray(ndimage.binary_erosion(brain, iterations=RIM, border_value=1))


def head_mask(brain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The skull-stripped head: the brain grown by `HEAD_MARGIN` voxels of air."""
    return ndimage.binary_dilation(brain, iterations=HEAD_MARGIN)


def score(
    image: Volume, truth: Volume, masks: Mapping[str, Weights], peak: float
) -> dict[str, dict[str, float]]:
    """Every metric in every mask.

    Parameters
    ----------
    image, truth : ndarray, float32, (nx, ny, nz)
    masks : mapping of name to weights, (nx, ny, nz)
        "head" among them.
    peak : float
        One for all masks, so that their PSNR compares.

    Returns
    -------
    dict
        mask -> metric -> value: ``psnr`` (dB), ``ssim``, ``hfen``, ``haarpsi``, and for the head
        ``ms_ssim``, which has no meaning for scattered voxels.
    """
    similarity = ssim_map(image, truth, peak)
    detail = laplacian_of_gaussian(truth)
    lost = (laplacian_of_gaussian(image) - detail) ** 2
    detail = detail**2
    haar = haarpsi(image, truth, peak, masks)
    table: dict[str, dict[str, float]] = {
        name: {
            "psnr": psnr(image, truth, weights, peak),
            "ssim": weighted_mean(similarity, weights),
            "hfen": math.sqrt(weighted_mean(lost, weights) / weighted_mean(detail, weights)),
            "haarpsi": haar[name],
        }
        for name, weights in masks.items()
    }
    table["head"]["ms_ssim"] = ms_ssim(image, truth, masks["head"], peak)
    return table
