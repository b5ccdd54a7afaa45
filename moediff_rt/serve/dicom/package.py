"""pynetdicom, an optional package: found or asked for, and kept quiet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ...dicom.package import pydicom, quiet
from ...errors import InputError
from ...quiet import quieted

# The server is no place to be without it.
pydicom()
try:
    import pynetdicom
    from pynetdicom import AE, _config, evt
    from pynetdicom.presentation import build_context
    from pynetdicom.transport import ThreadedAssociationServer
except ImportError as error:
    raise InputError(
        "expected pynetdicom for the DICOM server, it is not installed; "
        "pip install 'moediff-rt[serve-dicom]'"
    ) from error

__all__ = ["AE", "ThreadedAssociationServer", "build_context", "evt", "quiet_network"]


@contextlib.contextmanager
def quiet_network() -> Iterator[None]:
    """While inside, neither pydicom nor pynetdicom says anything: they quote what peers sent."""
    kept = _config.LOG_HANDLER_LEVEL
    _config.LOG_HANDLER_LEVEL = "none"
    try:
        with quiet(), quieted(pynetdicom.__name__):
            yield
    finally:
        _config.LOG_HANDLER_LEVEL = kept
