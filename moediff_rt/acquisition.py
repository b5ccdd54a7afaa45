"""How a scan was acquired, where that is said, and the slice profile that it implies."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

from .errors import InputError

# As DICOM's MRAcquisitionType has them: slices excited one by one, or encoded like other axes.
ACQUISITIONS = ("2D", "3D")
# Of excited slices, in their distance from one another. The upper end is what data consistency can
# take; what lies below the lower one was probably not meant in mm.
LEAST_THICKNESS, MOST_THICKNESS = 0.2, 4.0
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
        if self.slice_thickness is not None:
            thickness = _length(self.slice_thickness)
            if thickness is None:
                raise InputError(
                    f"expected a slice thickness in mm above 0, got {self.slice_thickness!r}; "
                    "probably mistyped; leave it out where it is not known"
                )
            object.__setattr__(self, "slice_thickness", thickness)

    def profile(self, spacing: tuple[float, float, float]) -> float:
        """The slice profile that follows, as `Model.enhance_scan` takes it.

        Parameters
        ----------
        spacing : (x, y, z) voxel edges, mm
            Excited slices lie along the coarsest edge. Where the two coarsest are alike it is not
            known along which, and they count as having no profile.

        Raises
        ------
        InputError
            Slices far thinner or far thicker than they lie apart.

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
        thickness = apart if self.slice_thickness is None else self.slice_thickness
        if not _fits(thickness, apart):
            raise InputError(
                f"expected slices {LEAST_THICKNESS} to {MOST_THICKNESS:g} times as thick as they "
                f"lie apart ({apart} mm), got {thickness} mm; that of a whole slab, or not in mm? "
                "Give the thickness of one slice"
            )
        return thickness / apart if _core.has_thick_slices((apart, within, within)) else 0.0


def _length(value: object) -> float | None:
    """A number above 0 as a float; None of anything else."""
    if value is True or not isinstance(value, Real):  # True is a number, too
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if 0 < number < math.inf else None


def _fits(thickness: float, apart: float) -> bool:
    return LEAST_THICKNESS * apart <= thickness <= MOST_THICKNESS * apart


def known_acquisition(
    given: str | Acquisition | None, said: Acquisition | None = None
) -> Acquisition | None:
    """What a caller gives; where that is a kind alone, with the thickness of a scan that says so.

    Parameters
    ----------
    given : str or Acquisition, optional
    said : Acquisition, optional
        What the scan says: all that is known where nothing is given.

    Raises
    ------
    InputError
        As `Acquisition` has it.

    Examples
    --------
    >>> known_acquisition("2D", Acquisition("2D", 2.5))
    Acquisition(kind='2D', slice_thickness=2.5)
    >>> known_acquisition("3D", Acquisition("2D", 2.5))
    Acquisition(kind='3D', slice_thickness=None)
    """
    if given is None or (said is not None and given == said.kind):
        return said
    return given if isinstance(given, Acquisition) else Acquisition(given)


def acquisition_of(
    said: object,
    image_type: object,
    thickness: object,
    spacing: Sequence[float],
    axis: int | None = None,
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
    spacing : 3 voxel edges, mm
    axis : int, optional
        Along which slices lie, where that is known. Excited ones along another than the coarsest
        edge are not what `Acquisition.profile` takes them for.

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
    if said == "3D":
        return Acquisition(said)
    apart = max(spacing)
    if axis is not None and spacing[axis] < apart:
        return None
    found = _length(thickness)
    return Acquisition(said, found if found is not None and _fits(found, apart) else None)


def said_beside(sidecar: Path) -> dict[str, object]:
    """What a scan's BIDS sidecar holds; nothing where there is none that can be read."""
    try:
        if sidecar.stat().st_size > LARGEST_SIDECAR:
            return {}
        said = json.loads(sidecar.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def read_beside(sidecar: Path, spacing: Sequence[float]) -> Acquisition | None:
    """What a scan's BIDS sidecar says, as `acquisition_of` has it; None where it says nothing."""
    said = said_beside(sidecar)
    kind, image_type = said.get("MRAcquisitionType"), said.get("ImageType")
    return acquisition_of(kind, image_type, said.get("SliceThickness"), spacing)
