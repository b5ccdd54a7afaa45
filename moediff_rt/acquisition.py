"""How a scan was acquired, where that is said, and the slice profile that it implies."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from .errors import InputError

# As DICOM's MRAcquisitionType has them: slices excited one by one, or encoded like other axes.
ACQUISITIONS = ("2D", "3D")
# Bytes; a sidecar has some thousands.
LARGEST_SIDECAR = 1 << 20

# Words of ImageType.
_REFORMATTED = frozenset({"MPR", "REFORMATTED", "RESAMPLED"})


def acquisition_of(said: object, image_type: object) -> str | None:
    """What DICOM's attributes say of how slices were acquired, as `ACQUISITIONS` have it.

    Parameters
    ----------
    said : object
        MRAcquisitionType, or anything else that stands there.
    image_type : object
        ImageType, a sequence of words where it is there. Slices of reformatted images are averages
        of others, whatever was acquired: of them nothing is known.

    Examples
    --------
    >>> acquisition_of("3D", ["ORIGINAL", "PRIMARY", "M", "ND"])
    '3D'
    >>> acquisition_of("3D", ["DERIVED", "SECONDARY", "MPR"]) is acquisition_of("4D", None) is None
    True
    """
    if not (isinstance(said, str) and said in ACQUISITIONS):
        return None
    words = [str(word).upper() for word in image_type] if isinstance(image_type, Iterable) else []
    if words and (words[0] != "ORIGINAL" or not _REFORMATTED.isdisjoint(words)):
        return None
    return said


def read_beside(sidecar: Path) -> str | None:
    """What a scan's BIDS sidecar says, as `acquisition_of` has it; None where it says nothing."""
    try:
        if sidecar.stat().st_size > LARGEST_SIDECAR:
            return None
        said = json.loads(sidecar.read_bytes())
        return acquisition_of(said["MRAcquisitionType"], said.get("ImageType"))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def known_profile(acquisition: str | None, spacing: tuple[float, float, float]) -> float:
    """The slice profile that a way of acquisition implies, as `Model.enhance_scan` takes it.

    Parameters
    ----------
    acquisition : str or None
        One of `ACQUISITIONS`, or None for unknown.
    spacing : (x, y, z) voxel edges, mm
        Which axis excited slices lie along is not known where the two coarsest edges are alike.

    Raises
    ------
    InputError
        It is something else.

    Examples
    --------
    >>> known_profile("2D", (1, 1, 3)), known_profile("3D", (1, 1, 3))
    (1.0, -1.0)
    >>> known_profile(None, (1, 1, 3)), known_profile("2D", (1.3, 1.3, 1))
    (0.0, 0.0)
    """
    from . import _core

    if acquisition is None:
        return 0.0
    if acquisition not in ACQUISITIONS:
        raise InputError(
            f"expected {' or '.join(ACQUISITIONS)} for acquisition, got {acquisition!r}; "
            "probably mistyped; leave it out where it is not known"
        )
    if acquisition == "3D":
        return -1.0
    _, within, apart = sorted(spacing)
    return 1.0 if _core.has_thick_slices((apart, within, within)) else 0.0
