"""pydicom, an optional package: found or asked for, and kept quiet."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

from ..errors import InputError


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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's remarks off stderr: they quote values, and those are a patient's."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
