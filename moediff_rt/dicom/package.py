"""pydicom, an optional package: found or asked for, and kept quiet."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from ..errors import InputError
from ..quiet import quieted


def pydicom() -> Any:
    """Give the pydicom package.

    Raises
    ------
    InputError
        It is not installed.
    """
    try:
        import pydicom
        import pydicom.pixels
    except ImportError as error:
        raise InputError(
            "expected pydicom for DICOM, it is not installed; pip install 'moediff-rt[dicom]', "
            "or convert the scan to NIfTI first with dcm2niix"
        ) from error
    return pydicom


def quiet() -> AbstractContextManager[None]:
    """Keep pydicom's remarks off stderr: they quote values, and those are a patient's."""
    return quieted("pydicom")
