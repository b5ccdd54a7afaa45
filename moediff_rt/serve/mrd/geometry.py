"""Where MRD's voxels are: between image headers and grids in RAS+ world coordinates.

MRD's coordinates are LPS, mm, as DICOM's. An image's `position` is the centre of its box, not of
its first voxel; `read_dir` and `phase_dir` point along x and y of the voxels unless the image was
turned after reconstruction: then the attributes `ImageRowDir` and `ImageColumnDir` do (MRD's
document "Image Data").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...checks import check_geometry
from ...errors import InputError
from ...grid import LPS_TO_RAS, FloatArray, Grid
from .images import MrdImage, values_of

# Headers are float32 and hosts round: angles and positions that differ by less are the same.
_ANGLE = 2e-3
_STEP = 0.02
_STEP_MM = 0.01
# Slices may leave this much of their thickness between them unmeasured.
MAX_GAP = 0.5


def row_and_column(image: MrdImage) -> tuple[FloatArray, FloatArray]:
    """Directions (LPS, unit length) in which x and y of the image's voxels grow.

    Raises
    ------
    InputError
        They are missing, or not at a right angle.
    """
    row = _unit(_turned(image, "ImageRowDir", image.head.read_dir), "row")
    column = _unit(_turned(image, "ImageColumnDir", image.head.phase_dir), "column")
    if abs(row @ column) > _ANGLE:
        raise InputError(
            f"expected rows and columns at a right angle, their cosine is {row @ column:.4f}; "
            "check read_dir and phase_dir, or ImageRowDir and ImageColumnDir"
        )
    return row, column


def volume_grid(image: MrdImage) -> Grid:
    """Grid of a 3-D image.

    Raises
    ------
    InputError
        Its header has no usable geometry.
    """
    row, column = row_and_column(image)
    normal = np.cross(row, column)
    along = _turned(image, "ImageSliceDir", image.head.slice_dir)
    if np.any(along):
        cosine = float(_unit(along, "slice") @ normal)
        if abs(cosine) < 1 - _ANGLE:
            raise InputError(
                "expected slices at a right angle to rows and columns, their normal and "
                f"slice_dir have the cosine {cosine:.4f}; check slice_dir"
            )
        normal = np.copysign(1.0, cosine) * normal
    _channels, z, y, x = image.shape
    sizes = _field_of_view(image) / (x, y, z)
    axes = np.stack([row, column, normal], axis=1) * sizes
    return _grid((x, y, z), axes, _position(image), middle=(z - 1) / 2)


def stack_grid(images: Sequence[MrdImage]) -> tuple[list[MrdImage], Grid]:
    """Sort single slices by where they are, and find the grid that they make.

    The sense of the sorting is that of the images' own numbers.

    Returns
    -------
    slices : list of MrdImage
        In the order of the grid's last axis.
    grid : Grid

    Raises
    ------
    InputError
        The slices differ in size or direction, two are in one place, one is missing between
        others, or they make no box.
    """
    if len(images) < 2:
        raise InputError(
            "expected a volume, got a single slice; the model needs the slices around each one"
        )
    first = images[0]
    row, column = row_and_column(first)
    for image in images[1:]:
        _check_alike(image, first, row, column)
    normal = np.cross(row, column)
    places = np.array([_position(image) for image in images])
    order = np.argsort(places @ normal, kind="stable")
    if images[order[0]].number > images[order[-1]].number:
        order, normal = order[::-1], -normal
    places = places[order]
    step = _even_step(places @ normal)
    _channels, _z, y, x = first.shape
    width, height, thickness = _field_of_view(first, slices=True)
    drift = places - places[0]
    drift -= np.outer(drift @ normal, normal)
    if np.abs(drift).max() > 0.1 * min(width / x, height / y):
        raise InputError(
            "expected slices stacked along their normal, they are shifted sideways by up to "
            f"{np.abs(drift).max():.2f} mm; resample the stack onto a box first"
        )
    if thickness and step > (1 + MAX_GAP) * thickness:
        raise InputError(
            f"expected slices next to each other, {thickness:.2f} mm thick ones are "
            f"{step:.2f} mm apart; are some missing? Send all of them"
        )
    axes = np.stack([row * width / x, column * height / y, normal * step], axis=1)
    grid = _grid((x, y, len(images)), axes, places[0], middle=0)
    return [images[index] for index in order], grid


def box_of(grid: Grid, first: int, count: int) -> tuple[FloatArray, FloatArray]:
    """Centre (LPS, mm) and size (mm) of the box of `count` slices of a grid, from `first` on."""
    x, y, _z = grid.shape
    index = [(x - 1) / 2, (y - 1) / 2, first + (count - 1) / 2, 1.0]
    centre = (LPS_TO_RAS @ grid.affine @ index)[:3]
    return centre, np.array(grid.spacing) * (x, y, count)


def _grid(
    shape: tuple[int, int, int], axes: FloatArray, centre: FloatArray, *, middle: float
) -> Grid:
    """Grid with these voxel axes (LPS columns, mm), `centre` amid the slice of index `middle`."""
    lps = np.eye(4)
    lps[:3, :3] = axes
    lps[:3, 3] = centre - axes @ [(shape[0] - 1) / 2, (shape[1] - 1) / 2, middle]
    affine = LPS_TO_RAS @ lps
    check_geometry("the images", affine, np.linalg.norm(axes, axis=0))
    return Grid(shape, affine)


def _check_alike(image: MrdImage, first: MrdImage, row: FloatArray, column: FloatArray) -> None:
    same_box = np.allclose(image.head.field_of_view, first.head.field_of_view, rtol=1e-3)
    if image.shape != first.shape or image.dtype != first.dtype or not same_box:
        raise InputError(
            "expected slices of one size and type in a series, found several; send each volume as "
            "a series, contrast, set, phase or repetition of its own"
        )
    found = row_and_column(image)
    if not np.allclose(found, (row, column), atol=_ANGLE):
        raise InputError(
            "expected slices of one direction in a series, found several, as localizers and "
            "radial stacks have; send one stack a series"
        )


def _even_step(along: FloatArray) -> float:
    """Distance of sorted slices, mm."""
    steps = np.diff(along)
    step = float(np.median(steps))
    if np.any(steps < max(_STEP_MM, 0.1 * step)):
        raise InputError(
            "expected one slice in a place, found two or more; send each volume as a series, "
            "contrast, set, phase or repetition of its own"
        )
    if np.any(np.abs(steps - step) > _STEP * step + _STEP_MM):
        raise InputError(
            f"expected evenly spaced slices, found steps from {steps.min():.2f} to "
            f"{steps.max():.2f} mm; is one missing? Send all of them"
        )
    return float(along[-1] - along[0]) / (len(along) - 1)


def _turned(image: MrdImage, name: str, otherwise: Any) -> FloatArray:
    """A direction from the attributes, or from the header where they do not say it."""
    words = values_of(image.meta, name)
    if not words:
        return np.array(otherwise, dtype=np.float64)
    try:
        x, y, z = (float(word) for word in words)
    except ValueError:
        raise InputError(
            f"expected three numbers as {name}, found {len(words)} values that are not; "
            "correct the attribute, or leave it out"
        ) from None
    return np.array([x, y, z])


def _unit(vector: FloatArray, what: str) -> FloatArray:
    length = float(np.linalg.norm(vector))
    if not abs(length - 1) < 0.01:
        raise InputError(
            f"expected a {what} direction of length 1, got {length:g}; "
            "its header was not filled in: set the directions"
        )
    return np.asarray(vector / length)


def _position(image: MrdImage) -> FloatArray:
    return np.array(image.head.position, dtype=np.float64)


def _field_of_view(image: MrdImage, *, slices: bool = False) -> FloatArray:
    """Size of the image's box, mm; of single slices the third, their thickness, may be unsaid."""
    size = np.array(image.head.field_of_view, dtype=np.float64)
    needed = size[:2] if slices else size
    if not (np.all(np.isfinite(size)) and np.all(needed > 0) and np.all(size >= 0)):
        raise InputError(
            f"expected a field of view in mm, got {' x '.join(f'{edge:g}' for edge in size)}; "
            "its header was not filled in: set field_of_view"
        )
    return size
