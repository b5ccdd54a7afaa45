"""What kind of image a header is of, and the kinds that are no scan to enhance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import InputError
from .files import Instance, plain

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
LEGACY_CONVERTED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.4"
READ = (MR_IMAGE, ENHANCED_MR_IMAGE, LEGACY_CONVERTED_MR_IMAGE)
# In ImageType: made by moediff-rt.
OURS = "MOEDIFFSR"

_GE_COMPONENT = (0x0043, 0x102F)
_COMPONENTS = ("magnitude", "phase", "real", "imaginary")
_LETTERS = {"P": "phase", "R": "real", "I": "imaginary"}


def words(value: Any) -> list[str]:
    """A CS attribute's values, also where there is one or none."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value.upper()] if value else []
    return [str(word).upper() for word in value]


def sop_class_name(uid: str) -> str:
    """Name of a SOP class for messages."""
    from pydicom.uid import UID

    return UID(uid).name if uid else "an unnamed kind"


def is_standard(uid: str) -> bool:
    """Say whether a UID is one of the standard's, none cut short."""
    from pydicom.uid import UID

    return str(UID(uid).name) != uid


def component(header: Any, frame_type: Any = None) -> str:
    """Which part of the complex signal an image shows: "magnitude", "phase", "real", "imaginary".

    Parameters
    ----------
    header : pydicom Dataset
    frame_type : pydicom Dataset, optional
        The frame's item of MR Image Frame Type Sequence.
    """
    for item in (frame_type, header):
        said = str(item.get("ComplexImageComponent") or "").lower() if item is not None else ""
        if said in _COMPONENTS:
            return said
    coded = header.get(_GE_COMPONENT)
    if coded is not None and coded.value in (1, 2, 3):
        return _COMPONENTS[coded.value]
    kind = (frame_type.get("FrameType") if frame_type is not None else None) or header.get(
        "ImageType"
    )
    for word in words(kind)[2:]:
        if word.startswith("PHASE"):
            return "phase"
        if word in ("REAL", "IMAGINARY"):
            return word.lower()
        letter, _, rest = word.partition("_")
        if letter in _LETTERS and (not rest or rest.isalpha()):
            return _LETTERS[letter]
    return "magnitude"


def check_kind_of(instances: Sequence[Instance]) -> None:
    """Refuse a series that is not of grey MR images of a head as it was scanned.

    Raises
    ------
    InputError
    """
    for instance in instances:
        header, name = instance.header, instance.name
        sop_class = str(header.get("SOPClassUID", ""))
        if sop_class not in READ:
            raise InputError(
                f"expected MR images, found {sop_class_name(sop_class)} in {name}; "
                "pick another series with --series"
            )
        if header.get("SamplesPerPixel", 1) != 1:
            raise InputError(
                f"expected one value per voxel, found a colour image in {name}; "
                "it is a picture of a scan: use the scan it was made from"
            )
        if (photometric := str(header.get("PhotometricInterpretation", ""))) != "MONOCHROME2":
            raise InputError(
                "expected PhotometricInterpretation MONOCHROME2, found "
                f"{plain(photometric) or 'none'} in {name}; "
                "an inverted or colour image? Export the scan itself"
            )
        if str(header.get("BurnedInAnnotation", "NO")) == "YES":
            raise InputError(
                f"expected voxels alone, found text burned into {name}; "
                "it may name the patient: use the scan it was made from"
            )
        if "ModalityLUTSequence" in header:
            raise InputError(
                f"expected a rescale slope, found a lookup table for the voxels of {name}; "
                "export the scan as the scanner made it"
            )
        _check_image_type(name, words(header.get("ImageType")))


def _check_image_type(name: str, image_type: Sequence[str]) -> None:
    if OURS in image_type:
        raise InputError(
            f"expected a scan, {name} is a result of moediff-rt; give the scan it was made from"
        )
    for word, what in (
        ("MOSAIC", "a mosaic of slices in one picture"),
        ("PROJECTION IMAGE", "a projection"),
        ("MIP", "a projection"),
    ):
        if word in image_type:
            raise InputError(
                f"expected slices of a scan, found {what} in {name} (ImageType {word}); "
                "pick another series with --series"
            )
