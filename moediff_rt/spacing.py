"""Which voxel sizes a bundle can take and make."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from .errors import InputError
from .grid import resized_shape

# Headers round: 0.4999 mm is 0.5 mm.
TOLERANCE = 0.02
MAX_OUTPUT_VOXELS = 1_500_000_000


class TrainedRange(Protocol):
    """The part of a bundle that says which voxel sizes it was trained for."""

    @property
    def output_min_mm(self) -> float:
        """Finest output voxel, mm."""

    @property
    def output_max_mm(self) -> float:
        """Coarsest output voxel, mm."""

    @property
    def input_min_mm(self) -> float:
        """Finest input voxel, mm."""

    @property
    def input_max_mm(self) -> float:
        """Coarsest input voxel, mm."""


def choose_output_spacing(
    spacing: Sequence[float], wanted: float | None, trained: TrainedRange
) -> float:
    """Edge of the isotropic output voxels, mm.

    Parameters
    ----------
    spacing : sequence of 3 float
        The scan's voxel edges, mm.
    wanted : float or None
        None: half the smallest input edge, within what the bundle was trained for.
    trained : TrainedRange

    Raises
    ------
    InputError
        The scan's voxels or the wanted spacing are outside what the bundle was trained for.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> edge = SimpleNamespace(
    ...     output_min_mm=0.5, output_max_mm=1.25, input_min_mm=0.5, input_max_mm=5.0)
    >>> choose_output_spacing((1.0, 1.0, 3.0), None, edge)
    0.5
    """
    sizes = " x ".join(f"{size:g}" for size in spacing)
    low, high = trained.input_min_mm, trained.input_max_mm
    if min(spacing) < low * (1 - TOLERANCE) or max(spacing) > high * (1 + TOLERANCE):
        raise InputError(
            f"expected input voxels from {low:g} to {high:g} mm, got {sizes} mm; "
            "the bundle was not trained for this scan: use another scan or bundle"
        )
    wanted = checked_output_spacing(wanted, trained)
    if wanted is None:
        return min(max(min(spacing) / 2, trained.output_min_mm), trained.output_max_mm)
    return wanted


def checked_output_spacing(wanted: float | None, trained: TrainedRange) -> float | None:
    """Take an output spacing, mm; InputError outside what the bundle was trained for."""
    if wanted is None:
        return None
    low, high = trained.output_min_mm, trained.output_max_mm
    try:
        wanted = float(wanted)
    except (TypeError, ValueError):
        raise InputError(
            f"expected an output spacing in mm, got {wanted!r}; give a number such as 1.0"
        ) from None
    if not math.isfinite(wanted) or not low * (1 - TOLERANCE) <= wanted <= high * (1 + TOLERANCE):
        raise InputError(
            f"expected an output spacing from {low:g} to {high:g} mm, got {wanted:g} mm; "
            "the bundle was not trained outside it: choose a spacing within, or another bundle"
        )
    return wanted


def choose_output_shape(
    shape: Sequence[int], spacing: Sequence[float], wanted: float | None, trained: TrainedRange
) -> tuple[int, int, int]:
    """Shape of the output over the box of a scan of `shape` voxels of `spacing` mm.

    Raises
    ------
    InputError
        As `choose_output_spacing`, and for an output that no computer this is meant for can hold.
    """
    edge = choose_output_spacing(spacing, wanted, trained)
    result = resized_shape(shape, spacing, (edge, edge, edge))
    if math.prod(result) > MAX_OUTPUT_VOXELS:
        raise InputError(
            f"expected at most {MAX_OUTPUT_VOXELS} output voxels, the spacing asks for "
            f"{' x '.join(map(str, result))}; choose a coarser spacing"
        )
    return result
