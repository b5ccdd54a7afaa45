"""Frames: one slice each, of classic files and of enhanced ones, in one form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .files import Instance, frame_count
from .kinds import component, words
from .package import quiet

# By what images at one place may differ, as messages name it: (attribute, sequence in enhanced
# files that holds it, or "" for none).
_TRAITS = (
    ("EchoTime", ""),
    ("EffectiveEchoTime", "MREchoSequence"),
    ("EchoNumbers", ""),
    ("InversionTime", ""),
    ("FlipAngle", "MRTimingAndRelatedParametersSequence"),
    ("RepetitionTime", "MRTimingAndRelatedParametersSequence"),
    ("DiffusionBValue", "MRDiffusionSequence"),
    ("TriggerTime", ""),
    ("TemporalPositionIdentifier", ""),
    ("TemporalPositionIndex", "FrameContentSequence"),
    ("StackID", "FrameContentSequence"),
    ("AcquisitionNumber", ""),
    ("ImageType", ""),
    ("InstanceNumber", ""),
)


@dataclass(frozen=True)
class Frame:
    """One slice.

    Attributes
    ----------
    instance : Instance
        The file it is in.
    index : int
        Which frame of the file, from 0.
    rows, columns : int
    spacing : tuple of 2 float
        Between rows and between columns, mm.
    orientation : (2, 3) float64 array
        Direction along a row (rising column index) and along a column, LPS.
    position : (3,) float64 array
        Centre of the first voxel, LPS, mm.
    thickness : float or None
        SliceThickness, mm; None where no number stands there.
    slope, intercept : float
        Of the value that a stored number stands for.
    traits : mapping of str to value
        What tells it from other frames at the same place.
    """

    instance: Instance
    index: int
    rows: int
    columns: int
    spacing: tuple[float, float]
    orientation: npt.NDArray[np.float64]
    position: npt.NDArray[np.float64]
    thickness: float | None
    slope: float
    intercept: float
    traits: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What messages call it."""
        many = frame_count(self.instance.header, self.instance.name) > 1
        return self.instance.name + (f", frame {self.index + 1}" if many else "")


def frames_of(instances: Sequence[Instance]) -> list[Frame]:
    """Every frame of these files.

    Raises
    ------
    InputError
        A geometry attribute is missing or no number.
    """
    with quiet():
        return [frame for instance in instances for frame in _frames(instance)]


def _frames(instance: Instance) -> Iterator[Frame]:
    header = instance.header
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    count = frame_count(header, instance.name)
    if not per_frame:
        if count != 1:
            raise InputError(
                f"expected where each frame lies, found {count} frames without "
                f"PerFrameFunctionalGroupsSequence in {instance.name}; export the series again"
            )
        yield _frame(instance, 0, _Groups(header, None, None))
        return
    if len(per_frame) != count:
        raise InputError(
            f"expected as many functional groups as frames, found {len(per_frame)} of "
            f"{count} in {instance.name}; export it again"
        )
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    for index, item in enumerate(per_frame):
        yield _frame(instance, index, _Groups(header, item, shared))


@dataclass(frozen=True)
class _Groups:
    """Where a frame's attributes are: its own group, the groups of all frames, the file's top."""

    header: Any
    own: Any
    shared: Any

    def get(self, keyword: str, sequence: str) -> Any:
        """An attribute's value; None where it is not there."""
        item = self.item(sequence)
        return item.get(keyword) if item is not None else None

    def item(self, sequence: str) -> Any:
        """The item of a functional group; the header itself in a classic file."""
        if self.own is None:
            return self.header
        for groups in (self.own, self.shared):
            if groups is not None and (found := groups.get(sequence)):
                return found[0]
        return None


def _frame(instance: Instance, index: int, groups: _Groups) -> Frame:
    header = instance.header

    def numbers(keyword: str, sequence: str, count: int) -> list[float]:
        return _numbers(groups.get(keyword, sequence), keyword, count, instance.name, index)

    row, column = numbers("PixelSpacing", "PixelMeasuresSequence", 2)
    orientation = numbers("ImageOrientationPatient", "PlaneOrientationSequence", 6)
    position = numbers("ImagePositionPatient", "PlanePositionSequence", 3)
    (rows,) = _numbers(header.get("Rows"), "Rows", 1, instance.name, index)
    (columns,) = _numbers(header.get("Columns"), "Columns", 1, instance.name, index)
    scaling = groups.item("PixelValueTransformationSequence")
    slope, intercept = 1.0, 0.0
    if scaling is not None and scaling.get("RescaleSlope") is not None:
        slope = numbers("RescaleSlope", "PixelValueTransformationSequence", 1)[0]
        intercept = _numbers(
            scaling.get("RescaleIntercept") or 0, "RescaleIntercept", 1, instance.name, index
        )[0]
    if slope == 0:
        raise InputError(
            f"expected a RescaleSlope other than 0, found 0 in {instance.name}; "
            "its header is damaged: export it again"
        )
    return Frame(
        instance=instance,
        index=index,
        rows=int(rows),
        columns=int(columns),
        spacing=(row, column),
        orientation=_directions(orientation, instance.name),
        position=np.array(position),
        thickness=_number(groups.get("SliceThickness", "PixelMeasuresSequence")),
        slope=slope,
        intercept=intercept,
        traits=_traits(groups),
    )


def _number(value: Any) -> float | None:
    """Take an attribute that need not be there as one number."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _numbers(value: Any, keyword: str, count: int, name: str, index: int) -> list[float]:
    """Take an attribute as `count` finite numbers."""
    where = f"{name}, frame {index + 1}" if index else name
    if value is None or value == "":
        raise InputError(
            f"expected {keyword} in {where}, found none; a screenshot, or a series whose geometry "
            "was removed? Export the original series"
        )
    try:
        found = np.atleast_1d(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (count,) or not np.all(np.isfinite(found)):
        raise InputError(
            f"expected {count} finite numbers as {keyword} in {where}, found something else; "
            "its header is damaged: export the series again"
        )
    return [float(number) for number in found]


def _directions(values: Sequence[float], name: str) -> npt.NDArray[np.float64]:
    """Two unit vectors at a right angle, of numbers that are so to three digits."""
    pair = np.array(values).reshape(2, 3)
    lengths = np.linalg.norm(pair, axis=1)
    if np.any(np.abs(lengths - 1) > 1e-3) or abs(pair[0] @ pair[1]) > 1e-3:
        raise InputError(
            f"expected two unit vectors at a right angle as ImageOrientationPatient in {name}, "
            f"found lengths {lengths[0]:.4g} and {lengths[1]:.4g} with the product "
            f"{pair[0] @ pair[1]:.4g}; its header is damaged: export the series again"
        )
    along_row = pair[0] / lengths[0]
    along_column = pair[1] - (pair[1] @ along_row) * along_row
    return np.stack([along_row, along_column / np.linalg.norm(along_column)])


def _traits(groups: _Groups) -> dict[str, Any]:
    traits: dict[str, Any] = {
        "component": component(groups.header, groups.item("MRImageFrameTypeSequence"))
    }
    for keyword, sequence in _TRAITS:
        value = groups.header.get(keyword) if not sequence else groups.get(keyword, sequence)
        if isinstance(value, str) or value is None:
            traits[keyword] = value
        elif keyword == "ImageType":
            traits[keyword] = "\\".join(words(value))
        else:
            traits[keyword] = str(value)
    return traits
