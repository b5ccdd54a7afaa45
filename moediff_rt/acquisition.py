"""How a scan was acquired, where that is said, and the slice profile that it implies."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TypeGuard

from .errors import InputError

# As DICOM's MRAcquisitionType has them: slices excited one by one, or encoded like other axes.
ACQUISITIONS = ("2D", "3D")
# Of excited slices, in their distance from one another: what data consistency can take.
MOST_THICKNESS = 4.0
# Bytes; a sidecar has some thousands.
LARGEST_SIDECAR = 1 << 20

# Words of ImageType.
_REFORMATTED = frozenset({"MPR", "REFORMATTED", "RESAMPLED"})


@dataclass(frozen=True)
class Acquisition:
    """How the slices of a scan were acquired.

    Attributes
    ----------
    kind : str
        "2D" where the scanner excited slices one by one, "3D" where it encoded them.
    slice_thickness : float, optional
        Of an excited slice, full width at half maximum, mm: less than their distance where there
        are gaps, more where slices overlap. Without it, as thick as they lie apart.

    Raises
    ------
    InputError
        A kind or a thickness that there is not.

    Examples
    --------
    >>> Acquisition("2D", slice_thickness=2.5).profile((1, 1, 3.125))
    0.8
    """

    kind: str
    slice_thickness: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ACQUISITIONS:
            raise InputError(
                f"expected {' or '.join(ACQUISITIONS)} for acquisition, got {self.kind!r}; "
                "probably mistyped; leave it out where it is not known"
            )
        if self.slice_thickness is not None and not _is_length(self.slice_thickness):
            raise InputError(
                f"expected a slice thickness in mm above 0, got {self.slice_thickness!r}; "
                "leave it out where it is not known"
            )

    def profile(self, spacing: tuple[float, float, float]) -> float:
        """The slice profile that follows, as `Model.enhance_scan` takes it.

        Parameters
        ----------
        spacing : (x, y, z) voxel edges, mm
            Which axis excited slices lie along is not known where the two coarsest edges are alike.

        Raises
        ------
        InputError
            Slices far thicker than they lie apart.

        Examples
        --------
        >>> Acquisition("2D").profile((1, 1, 3)), Acquisition("3D").profile((1, 1, 3))
        (1.0, -1.0)
        >>> Acquisition("2D").profile((1.3, 1.3, 1))
        0.0
        """
        from . import _core

        if self.kind == "3D":
            return -1.0
        _, within, apart = sorted(spacing)
        if not _core.has_thick_slices((apart, within, within)):
            return 0.0
        if self.slice_thickness is None:
            return 1.0
        if self.slice_thickness > MOST_THICKNESS * apart:
            raise InputError(
                f"expected slices at most {MOST_THICKNESS:g} times as thick as they lie apart "
                f"({apart:g} mm), got {self.slice_thickness:g} mm; give the thickness of one slice"
            )
        return self.slice_thickness / apart


def _is_length(value: object) -> TypeGuard[float]:
    if value is True:  # a number, too
        return False
    return isinstance(value, Real) and 0 < float(value) < math.inf


def known_acquisition(given: str | Acquisition | None) -> Acquisition | None:
    """What a caller says, by its kind alone or in full; InputError as `Acquisition` has it."""
    return given if given is None or isinstance(given, Acquisition) else Acquisition(given)


def acquisition_of(
    said: object, image_type: object, thickness: object, spacing: Iterable[float]
) -> Acquisition | None:
    """What DICOM's attributes say of how slices were acquired; None where they do not say.

    Parameters
    ----------
    said : object
        MRAcquisitionType, or anything else that stands there.
    image_type : object
        ImageType, a sequence of words where it is there. Slices of reformatted images are averages
        of others, whatever was acquired: of them nothing is known.
    thickness : object
        SliceThickness, mm; left out where it is none that slices of this grid can have.
    spacing : (x, y, z) voxel edges, mm

    Examples
    --------
    >>> acquisition_of("2D", ["ORIGINAL", "PRIMARY", "M", "ND"], 4.0, (1, 1, 5))
    Acquisition(kind='2D', slice_thickness=4.0)
    >>> acquisition_of("3D", ["DERIVED", "SECONDARY", "MPR"], 1.0, (1, 1, 1)) is None
    True
    >>> acquisition_of("4D", None, 1.0, (1, 1, 1)) is None
    True
    """
    if not (isinstance(said, str) and said in ACQUISITIONS):
        return None
    words = [str(word).upper() for word in image_type] if isinstance(image_type, Iterable) else []
    if words and (words[0] != "ORIGINAL" or not _REFORMATTED.isdisjoint(words)):
        return None
    if said == "2D" and _is_length(thickness) and thickness <= MOST_THICKNESS * max(spacing):
        return Acquisition(said, float(thickness))
    return Acquisition(said)


def read_beside(sidecar: Path, spacing: Iterable[float]) -> Acquisition | None:
    """What a scan's BIDS sidecar says, as `acquisition_of` has it; None where it says nothing."""
    try:
        if sidecar.stat().st_size > LARGEST_SIDECAR:
            return None
        said = json.loads(sidecar.read_bytes())
        kind, image_type = said["MRAcquisitionType"], said.get("ImageType")
        return acquisition_of(kind, image_type, said.get("SliceThickness"), spacing)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
