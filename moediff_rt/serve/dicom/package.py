"""pynetdicom, an optional package: found or asked for, and kept quiet."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from ...dicom.package import pydicom, quiet
from ...errors import InputError
from ...quiet import quieted
from ..logs import Log

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
def quiet_network(log: Log) -> Iterator[None]:
    """While inside, neither pydicom nor pynetdicom says anything: they quote what peers sent.

    Parameters
    ----------
    log : Log
        Is told where an association's thread ends with an exception: a peer that sends what fits
        no state of the protocol gets so far. Its connection is ended as any other.
    """
    kept, kept_hook = _config.LOG_HANDLER_LEVEL, threading.excepthook

    def tell(failed: threading.ExceptHookArgs) -> None:
        log.warning("association failed", reason=failed.exc_type.__name__)
        log.debug("association failed", exc_info=failed.exc_value)

    _config.LOG_HANDLER_LEVEL = "none"
    threading.excepthook = tell
    try:
        with quiet(), quieted(pynetdicom.__name__):
            yield
    finally:
        threading.excepthook = kept_hook
        _config.LOG_HANDLER_LEVEL = kept
