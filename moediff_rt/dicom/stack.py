"""Slices put in order by where they lie, and the affine of the volume they make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..checks import MAX_VOXEL_MM, MIN_VOXEL_MM, MIN_VOXELS_PER_AXIS
from ..errors import InputError
from ..grid import LPS_TO_RAS
from .files import plain
from .frames import Frame

# Scanners write directions with six digits or more, positions with three decimals or more.
SAME_DIRECTION = 1e-3
SAME_PLACE_MM = 0.01
# Of the distance between two slices.
UNEVEN = 0.02


@dataclass(frozen=True)
class Stack:
    """Slices in order.

    Attributes
    ----------
    frames : tuple of Frame
        Along the slices' normal, in rising order.
    affine : (4, 4) float64 array
        Index (column, row, slice) to RAS+ world, mm.
    """

    frames: tuple[Frame, ...]
    affine: npt.NDArray[np.float64]


def stack_of(frames: Sequence[Frame], name: str) -> Stack:
    """Put frames in order.

    Parameters
    ----------
    frames : sequence of Frame
    name : str
        What messages call the series.

    Raises
    ------
    InputError
        They are not one volume's slices, each once.
    """
    _check_alike(frames, name)
    if len(frames) < MIN_VOXELS_PER_AXIS:
        raise InputError(
            f"expected at least {MIN_VOXELS_PER_AXIS} slices, found {len(frames)} in {name}; "
            "a localizer, or files left behind? Give the folder of the whole series"
        )
    along_row, along_column = frames[0].orientation
    normal = np.cross(along_row, along_column)
    places = np.array([frame.position @ normal for frame in frames])
    order = np.argsort(places, kind="stable")
    frames = [frames[i] for i in order]
    places = places[order]
    _check_duplicates(frames, places, name)
    _check_gaps(frames, places, name)
    positions = np.array([frame.position for frame in frames])
    step = (positions[-1] - positions[0]) / (len(frames) - 1)
    _check_line(frames, positions, step, normal, name)
    row_spacing, column_spacing = frames[0].spacing
    _check_sizes((column_spacing, row_spacing, float(step @ normal)), name)
    affine = np.eye(4)
    affine[:3, 0] = along_row * column_spacing
    affine[:3, 1] = along_column * row_spacing
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    return Stack(tuple(frames), LPS_TO_RAS @ affine)


def _check_alike(frames: Sequence[Frame], name: str) -> None:
    """Refuse frames of several sizes, orientations, parts of the signal or echoes."""
    shapes = Counter((frame.columns, frame.rows) for frame in frames)
    if len(shapes) > 1:
        sizes = ", ".join(f"{x} x {y} ({n} slices)" for (x, y), n in shapes.most_common(3))
        raise InputError(
            f"expected slices of one size, found {sizes} in {name}; "
            "two scans under one series? Export them apart"
        )
    first = frames[0]
    for frame in frames:
        if np.abs(frame.orientation - first.orientation).max() > SAME_DIRECTION:
            raise InputError(
                f"expected slices of one orientation, found {first.name} and {frame.name} in "
                f"{name} at an angle; a localizer? Pick another series with --series"
            )
        if not np.allclose(frame.spacing, first.spacing, rtol=1e-4, atol=0):
            raise InputError(
                f"expected one PixelSpacing, found {_numbers(first.spacing)} mm in {first.name} "
                f"and {_numbers(frame.spacing)} mm in {frame.name} of {name}; "
                "two scans under one series? Export them apart"
            )
    parts = Counter(frame.traits["component"] for frame in frames)
    if len(parts) > 1 or "magnitude" not in parts:
        found = " and ".join(f"{n} {part}" for part, n in parts.most_common())
        raise InputError(
            f"expected magnitude images alone, found {found} images in {name}; "
            "give a folder with the magnitude images only"
        )
    for keyword in ("EchoTime", "EffectiveEchoTime"):
        times = Counter(frame.traits[keyword] for frame in frames)
        if len(times) > 1:
            shown = list(times.items())[:4]
            found = ", ".join(f"{plain(time)} ms ({n} images)" for time, n in shown)
            raise InputError(
                f"expected one echo, found {keyword} {found} in {name}; "
                "a multi-echo series? Give a folder with one echo's images"
            )


def _check_duplicates(frames: Sequence[Frame], places: npt.NDArray[np.float64], name: str) -> None:
    """Refuse two images at one place, and say how they differ."""
    distances = np.diff(places)
    apart = distances[distances > SAME_PLACE_MM]
    typical = float(np.median(apart)) if apart.size else 1.0
    twice = np.flatnonzero(distances < max(SAME_PLACE_MM, 0.1 * typical))
    if not twice.size:
        return
    one, other = frames[twice[0]], frames[twice[0] + 1]
    pair = f"{one.name} and {other.name}"
    if one.instance.header.get("SOPInstanceUID") == other.instance.header.get(
        "SOPInstanceUID"
    ) and (one.index == other.index):
        raise InputError(
            f"expected each slice once, found {pair} in {name} with one SOPInstanceUID; "
            "a file copied twice? Remove the copy"
        )
    differ = next(
        (
            f"that differ in {keyword} ({plain(value)} and {plain(other.traits[keyword])})"
            for keyword, value in one.traits.items()
            if value != other.traits[keyword]
        ),
        "that differ in no attribute known",
    )
    raise InputError(
        f"expected each slice once, found {twice.size + 1} images too many at places such as that "
        f"of {pair} in {name}, {differ}; several volumes in one series? "
        "Give a folder with one volume's images"
        if twice.size > 1
        else f"expected each slice once, found {pair} in {name} at the same place, {differ}; "
        "remove the one that is not wanted"
    )


def _check_gaps(frames: Sequence[Frame], places: npt.NDArray[np.float64], name: str) -> None:
    """Refuse slices that are not at even distances."""
    distances = np.diff(places)
    typical = float(np.median(distances))
    limit = max(UNEVEN * typical, SAME_PLACE_MM)
    uneven = np.flatnonzero(np.abs(distances - typical) > limit)
    if not uneven.size:
        return
    at = int(uneven[0])
    missing = distances[at] / typical
    pair = f"{frames[at].name} and {frames[at + 1].name}"
    if missing > 1.5:
        total = round(float(np.sum(np.rint(distances[uneven] / typical) - 1)))
        raise InputError(
            f"expected slices {typical:.4g} mm apart, found a gap of {distances[at]:.4g} mm "
            f"between {pair} in {name}: {total} missing; an incomplete copy? Fetch it again"
        )
    raise InputError(
        f"expected slices {typical:.4g} mm apart, found {distances[at]:.4g} mm between {pair} in "
        f"{name}; two scans under one series, or slices of uneven distance? Export them apart"
    )


def _check_line(
    frames: Sequence[Frame],
    positions: npt.NDArray[np.float64],
    step: npt.NDArray[np.float64],
    normal: npt.NDArray[np.float64],
    name: str,
) -> None:
    """Refuse slices that do not lie one upon the other along their normal."""
    distance = float(step @ normal)
    limit = max(UNEVEN * distance, SAME_PLACE_MM)
    off = np.linalg.norm(positions - positions[0] - np.outer(np.arange(len(frames)), step), axis=1)
    if off.max() > limit:
        at = int(off.argmax())
        raise InputError(
            f"expected slices on one line, found {frames[at].name} in {name} {off[at]:.3g} mm "
            "beside it; two scans under one series? Export them apart"
        )
    sideways = float(np.linalg.norm(step - distance * normal))
    if sideways > UNEVEN * distance:
        raise InputError(
            f"expected slices stacked along their normal, found each {sideways:.3g} mm beside the "
            f"one before in {name}; a tilted stack? Resample the series first"
        )


def _check_sizes(sizes: Sequence[float], name: str) -> None:
    if min(sizes) < MIN_VOXEL_MM or max(sizes) > MAX_VOXEL_MM:
        raise InputError(
            f"expected voxel sizes from {MIN_VOXEL_MM:g} to {MAX_VOXEL_MM:g} mm, found "
            f"{_numbers(sizes)} mm in {name}; its header is damaged: export the series again"
        )


def _numbers(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)
