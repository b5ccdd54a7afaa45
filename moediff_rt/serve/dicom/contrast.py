"""What a DICOM series shows, as far as it is said: the model knows T1-weighted heads alone."""

from __future__ import annotations

from typing import Any

from ...dicom.kinds import words
from ...dicom.series import Series
from ...errors import InputError
from ..contrast import check_t1, not_t1

_NAMES = ("SeriesDescription", "SequenceName", "PulseSequenceName")
# AcquisitionContrast of enhanced images (PS3.3 section C.8.13.3) that may be of T1.
_MAY_BE_T1 = ("", "T1", "UNKNOWN")
_HEAD = ("HEAD", "BRAIN", "SKULL", "CEREBRUM")


def check_contrast(series: Series) -> None:
    """Refuse what is known to be no T1-weighted head; what is not said is allowed.

    Raises
    ------
    InputError
    """
    header = series.header
    part = str(header.get("BodyPartExamined") or "").upper()
    if part and not any(word in part for word in _HEAD):
        raise InputError(
            "expected a head, found another BodyPartExamined; the model knows heads alone "
            "(--any-contrast takes every part)"
        )
    frame = series.frames[0]
    echo = frame.traits.get("EchoTime") or frame.traits.get("EffectiveEchoTime")
    said = str(header.get("AcquisitionContrast") or "").upper()
    if said not in _MAY_BE_T1:
        raise not_t1("another AcquisitionContrast")
    own = [str(header.get(name) or "") for name in _NAMES]
    protocol = [str(header.get("ProtocolName") or "")]
    check_t1(own, protocol, words(header.get("ImageType")), _number(echo))


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
