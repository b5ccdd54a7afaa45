"""Resampling over the same box as one small matrix per axis.

Both grids cover the same box, so output voxel `j` sits at input index
`(j + 0.5) * n_in / n_out - 0.5`, and beyond its faces the volume is mirrored (half-sample
symmetric: d c b a | a b c d | d c b a).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.fft import dct

Volume = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]


def cubic_spline_matrix(n_in: int, n_out: int) -> Matrix:
    """Cubic B-spline interpolation along one axis.

    The spline goes through every input sample (Unser 1999, Splines: a perfect fit for signal and
    image processing), as `scipy.ndimage.zoom(order=3, mode="reflect", grid_mode=True)` does.

    Parameters
    ----------
    n_in, n_out : int
        Voxels along the axis before and after.

    Returns
    -------
    (n_out, n_in) float64 array

    Examples
    --------
    >>> matrix = cubic_spline_matrix(10, 20)
    >>> bool(abs(matrix.sum(axis=1) - 1).max() < 1e-12)
    True
    """
    sampled = np.zeros((n_in, n_in))
    rows = np.arange(n_in)
    for offset, weight in ((-1, 1 / 6), (0, 4 / 6), (1, 1 / 6)):
        np.add.at(sampled, (rows, _mirror(rows + offset, n_in)), weight)
    position = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
    first = np.floor(position).astype(int)
    evaluated = np.zeros((n_out, n_in))
    for offset in (-1, 0, 1, 2):
        index = first + offset
        np.add.at(
            evaluated,
            (np.arange(n_out), _mirror(index, n_in)),
            _cubic_bspline(position - index),
        )
    # evaluated @ inv(sampled); sampled is symmetric.
    return np.asarray(np.linalg.solve(sampled, evaluated.T).T)


def band_matrix(n_from: int, n_to: int) -> Matrix:
    """K-space resampling along one axis of a mirrored volume.

    Towards fewer voxels it cuts k-space at the new Nyquist frequency; towards more it fills with
    zeros. In the mirrored world k-space is the DCT-II. `band_matrix(m, n) @ band_matrix(n, m)` is
    the identity for n >= m, and a constant stays what it is.

    Returns
    -------
    (n_to, n_from) float64 array

    Examples
    --------
    >>> down, up = band_matrix(20, 10), band_matrix(10, 20)
    >>> bool(abs(down @ up - np.eye(10)).max() < 1e-12)
    True
    """
    kept = min(n_from, n_to)
    analysis = dct(np.eye(n_from), norm="ortho", axis=0)[:kept]
    synthesis = dct(np.eye(n_to), norm="ortho", axis=0)[:kept]
    return np.asarray(np.sqrt(n_to / n_from) * (synthesis.T @ analysis))


def apply_along_axes(volume: npt.ArrayLike, matrices: Sequence[Matrix | None]) -> Volume:
    """Multiply a volume by one (m_i, n_i) matrix per axis, None for the identity, in float64."""
    result = np.asarray(volume, dtype=np.float64)
    for axis, matrix in enumerate(matrices):
        if matrix is not None:
            result = np.moveaxis(np.tensordot(matrix, result, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(result)


def interpolate(volume: npt.ArrayLike, shape: Sequence[int]) -> Volume:
    """Cubic B-spline towards finer voxels, k-space cut towards coarser ones."""
    return apply_along_axes(
        volume,
        [
            cubic_spline_matrix(n, m) if m > n else band_matrix(n, m)
            for n, m in zip(np.shape(volume), shape, strict=True)
        ],
    )


def resample_kspace(volume: npt.ArrayLike, shape: Sequence[int]) -> Volume:
    """K-space cut towards coarser voxels, filled with zeros towards finer ones."""
    return apply_along_axes(
        volume, [band_matrix(n, m) for n, m in zip(np.shape(volume), shape, strict=True)]
    )


def _mirror(index: npt.NDArray[np.int_], n: int) -> npt.NDArray[np.int_]:
    wrapped = np.mod(index, 2 * n)
    return np.asarray(np.where(wrapped < n, wrapped, 2 * n - 1 - wrapped))


def _cubic_bspline(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    x = np.abs(x)
    inner = 2 / 3 - x**2 + x**3 / 2
    outer = np.maximum(2 - x, 0) ** 3 / 6
    return np.asarray(np.where(x < 1, inner, outer))
