"""Stored numbers for a result's values, and the window to look at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .frames import Frame

# Values that get a slope use 15 bits: readers that take 16 bits as signed see the same.
_LARGEST = 32767
# Rounding values that span so many levels is far below any noise.
_FINE_LEVELS = 1000
# What a viewer shows from black to white, of the values, when the source says nothing.
_WINDOW_PERCENTILES = (1.0, 99.8)
_DS_LENGTH = 16


@dataclass(frozen=True)
class Stored:
    """A volume as DICOM stores it: `value = slope * number + intercept`.

    Attributes
    ----------
    numbers : (columns, rows, slices) uint16 or int16 array
    slope, intercept : str
        As DS, at most 16 characters.
    """

    numbers: npt.NDArray[Any]
    slope: str
    intercept: str


def decimal(value: float) -> str:
    """Write a number as a DICOM decimal string: as many digits as 16 characters hold.

    Examples
    --------
    >>> decimal(-1 / 3), decimal(1.0), decimal(-1e-9 / 3)
    ('-0.3333333333333', '1', '-3.333333333e-10')
    """
    for digits in range(17, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= _DS_LENGTH:
            return text
    raise AssertionError(f"no decimal string for {value}")


def store(data: npt.NDArray[np.float32], source: npt.NDArray[np.float32], *, whole: bool) -> Stored:
    """Round a volume to 16 bits.

    The values themselves, wherever they can be: MR images have no rescale slope in the standard,
    and some viewers set their window without it. Else 15 bits with a slope and an intercept.

    Parameters
    ----------
    data : (columns, rows, slices) float32 array
        In the source's unit.
    source : float32 array
        The source's values: where none is below zero, none is stored.
    whole : bool
        The source's values are whole numbers over a wide range: rounding loses nothing.

    Returns
    -------
    Stored
    """
    low, high = float(data.min()), float(data.max())
    if unsigned := bool(source.min() >= 0):
        low, high = max(low, 0.0), max(high, 0.0)
    fine = high - low >= _FINE_LEVELS and -_LARGEST <= low and high <= _LARGEST
    if whole or fine:
        kind = np.dtype("u2" if unsigned else "i2")
        return Stored(_rounded(data, 1.0, 0.0, kind), "1", "0")
    intercept = decimal(min(low, 0.0))
    # Rounded up, so that the largest value still fits.
    slope = decimal((high - float(intercept)) / _LARGEST * (1 + 1e-9) or 1.0)
    numbers = _rounded(data, float(slope), float(intercept), np.dtype("u2"))
    return Stored(numbers, slope, intercept)


def _rounded(
    data: npt.NDArray[np.float32], slope: float, intercept: float, kind: np.dtype[Any]
) -> npt.NDArray[Any]:
    limits = np.iinfo(kind)
    out = np.empty(data.shape, dtype=kind, order="F")
    for k in range(data.shape[2]):
        exact = (data[..., k].astype(np.float64) - intercept) / slope
        out[..., k] = np.clip(np.rint(exact), limits.min, limits.max)
    return out


def window(data: npt.NDArray[np.float32], frames: Sequence[Frame]) -> tuple[str, str]:
    """Center and width of the window: the source's where all its slices have one, else of `data`.

    Returns
    -------
    tuple of 2 str
        As DS, in the values' unit.
    """
    said = {_window_of(frame) for frame in frames}
    if len(said) == 1 and (first := said.pop()) is not None:
        return decimal(first[0]), decimal(first[1])
    low, high = (float(x) for x in np.percentile(data, _WINDOW_PERCENTILES))
    return decimal((low + high) / 2), decimal(max(high - low, 1.0))


def _window_of(frame: Frame) -> tuple[float, float] | None:
    header = frame.instance.header
    try:
        center = np.atleast_1d(np.asarray(header.WindowCenter, dtype=np.float64))[0]
        width = np.atleast_1d(np.asarray(header.WindowWidth, dtype=np.float64))[0]
    except (AttributeError, TypeError, ValueError, IndexError):
        return None
    usable = np.isfinite(center) and np.isfinite(width) and width >= 1
    return (float(center), float(width)) if usable else None
