"""How noisy a scan is."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .foreground import Foreground

# Fourth difference: blind to anything cubic over five voxels; norm of its weights.
_DETAIL = (1.0, -4.0, 6.0, -4.0, 1.0)
_DETAIL_NORM = math.sqrt(70.0) ** 3
# The spread is read in blocks of this many voxels, at this percentile over the blocks, where
# white noise of standard deviation 1 gives _BLOCK_RESPONSE (measured on 86 x 100 x 82 voxels).
_BLOCK = 4
_FLATTEST_PERCENTILE = 10.0
_BLOCK_RESPONSE = 0.672
_FEWEST_BLOCKS = 20
_FEWEST_VOXELS = 1000
# The air tells more than the tissue unless it is far quieter: then it was masked or suppressed.
_QUIETEST_AIR = 0.4
# Of white noise in air a block's detail has 0.94 to 0.95 of its spread (medians, measured).
_WHITE = 0.89
_FEWEST_AIR_BLOCKS = 100


def noise_sigma(volume: npt.NDArray[np.float64], foreground: Foreground) -> float:
    """Noise standard deviation of a magnitude scan, inside the head.

    Two estimates. In the head: the finest diagonal detail where it is flattest, which anatomy can
    only raise. In the air: noise there is Rayleigh, its median is `sigma * sqrt(2 ln 2)`
    (Gudbjartsson and Patz 1995, The Rician distribution of noisy MRI data). The air's is taken
    if it is below the head's and not so far below that the air must have been masked. Where noise
    is not white by the air's detail, the spread in small blocks of air is.

    Parameters
    ----------
    volume : (nz, ny, nx) float32 array
    foreground : Foreground
        Of the same volume.

    Returns
    -------
    float, in the volume's unit
    """
    volume = np.asarray(volume, dtype=np.float64)
    head = _detail_sigma(volume, foreground.voxels())
    spread, whiteness = _air_blocks(volume, ~foreground.reach_voxels())
    if spread.size >= _FEWEST_AIR_BLOCKS and np.median(whiteness) < _WHITE:
        return max(head, float(np.median(spread)) / math.sqrt(2 - math.pi / 2))
    air = volume[~foreground.reach_voxels()]
    if air.size < _FEWEST_VOXELS:
        return head
    air_sigma = float(np.median(np.abs(air))) / math.sqrt(2 * math.log(2))
    return air_sigma if _QUIETEST_AIR * head <= air_sigma <= head else head


def _air_blocks(
    volume: npt.NDArray[np.float64], air: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Spread in blocks that see nothing but air, and the share of it that is detail."""
    voxels = volume[2:-2, 2:-2, 2:-2]
    alone = ndimage.minimum_filter(air, 5)[2:-2, 2:-2, 2:-2]
    squares = _block_mean(_detail(volume) ** 2)
    spread = np.sqrt((_block_mean(voxels**2) - _block_mean(voxels) ** 2) * 64 / 63)
    used = (_block_mean(alone) == 1) & (_block_mean(voxels == 0) <= 0.25) & (spread > 0)
    return spread[used], np.sqrt(squares[used]) / (_DETAIL_NORM * spread[used])


def _detail(volume: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    for axis in range(3):
        volume = _fourth_difference(volume, axis)
    return volume


def _detail_sigma(volume: npt.NDArray[np.float64], mask: npt.NDArray[np.bool_]) -> float:
    detail = _detail(volume)
    inner = mask[2:-2, 2:-2, 2:-2]
    spread = np.sqrt(_block_mean(detail * detail)[_block_mean(inner) == 1])
    if spread.size >= _FEWEST_BLOCKS:
        flattest = float(np.percentile(spread, _FLATTEST_PERCENTILE))
        return flattest / (_DETAIL_NORM * _BLOCK_RESPONSE)
    chosen = detail[inner] if inner.any() else detail
    return 1.4826 * float(np.median(np.abs(chosen))) / _DETAIL_NORM


def _fourth_difference(volume: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    lines = np.moveaxis(volume, axis, -1)
    length = lines.shape[-1] - 4
    total = np.zeros((*lines.shape[:-1], length), dtype=np.float64)
    for start, weight in enumerate(_DETAIL):
        total += weight * lines[..., start : start + length]
    return np.moveaxis(total, -1, axis)


def _block_mean(values: npt.NDArray[np.float64] | npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    nz, ny, nx = (n // _BLOCK for n in values.shape)
    whole = values[: nz * _BLOCK, : ny * _BLOCK, : nx * _BLOCK]
    blocks = whole.reshape(nz, _BLOCK, ny, _BLOCK, nx, _BLOCK)
    return np.asarray(blocks.mean(axis=(1, 3, 5), dtype=np.float64))
