"""One C-STORE: its instance onto the disk, then its status."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...dicom.kinds import READ
from ...errors import InputError
from ..errors import Refused
from ..hold import Hold
from ..logs import Log
from ..metrics import Metrics
from .arrivals import Arrivals
from .identity import TooLarge, check_items, read_identity
from .limits import Limits
from .spool import Differs, Full, Spool, instance_name, series_name

# PS3.4 table B.2-1, PS3.7 annex C.
SUCCESS = 0x0000
DUPLICATE_INSTANCE = 0x0111
INVALID_INSTANCE = 0x0117
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_PREAMBLE = b"\0" * 128


class Reception:
    """Takes instances into the spool; the handler of pynetdicom's `EVT_C_STORE`.

    Parameters
    ----------
    spool : Spool
    arrivals : Arrivals
    limits : Limits
    hold : Hold
        Memory for headers while they are read.
    metrics : Metrics
    log : Log
    """

    def __init__(
        self,
        spool: Spool,
        arrivals: Arrivals,
        limits: Limits,
        hold: Hold,
        metrics: Metrics,
        log: Log,
    ) -> None:
        self._spool = spool
        self._arrivals = arrivals
        self._limits = limits
        self._hold = hold
        self._metrics = metrics
        self._log = log

    def store(self, event: Any) -> int:
        """Answer a C-STORE request: success only after the instance is on the disk."""
        try:
            status, reason = self._keep(event)
        except Full as full:
            status, reason = OUT_OF_RESOURCES, str(full)
        except Differs:
            status = DUPLICATE_INSTANCE
            reason = "another instance of the same UID is there, with other content"
        except Refused:
            status, reason = OUT_OF_RESOURCES, "there is no memory to read its header now"
        except TooLarge as bound:
            status, reason = CANNOT_UNDERSTAND, str(bound)
        except InputError as error:
            # Its words name the file, which means nothing to anybody.
            status, reason = CANNOT_UNDERSTAND, "it cannot be read"
            self._log.debug("instance not understood", reason=str(error))
        except Exception as error:
            status, reason = OUT_OF_RESOURCES, f"unexpected {type(error).__name__}"
            self._log.debug(reason, exc_info=True)
        if status == SUCCESS:
            self._metrics.images_received.inc()
        else:
            self._metrics.refused.labels("instance").inc()
            self._log.warning("instance refused", status=f"0x{status:04X}", reason=reason)
        return status

    def _keep(self, event: Any) -> tuple[int, str]:
        request = event.request
        said = str(request.AffectedSOPInstanceUID or "")
        if not is_uid(said):
            return INVALID_INSTANCE, "its SOP instance UID is none"
        if request.DataSet is None:
            return CANNOT_UNDERSTAND, "there is no data set"
        with request.DataSet.getbuffer() as data:
            if len(data) > self._limits.instance_bytes:
                return OUT_OF_RESOURCES, f"it is larger than {self._limits.instance_bytes} bytes"
            check_items(data, self._limits.items)
            path = self._spool.arrive([_PREAMBLE, b"DICM", _meta(event), data])
        return self._place(path, event, said)

    def _place(self, path: Path, event: Any, said: str) -> tuple[int, str]:
        placed = False
        try:
            with self._hold.share() as share:
                found = read_identity(path, self._limits, share)
            if found["SOPClassUID"] != event.context.abstract_syntax or (
                found["SOPClassUID"] not in READ
            ):
                return DOES_NOT_MATCH, "its SOP class is not that of the request"
            if found["SOPInstanceUID"] != said:
                return DOES_NOT_MATCH, "its SOP instance UID is not that of the request"
            study, series = found["StudyInstanceUID"], found["SeriesInstanceUID"]
            if not (is_uid(study) and is_uid(series)):
                return DOES_NOT_MATCH, "its study or its series has no UID"
            name = series_name(study, series)
            # First, so that the series is not taken for whole in between.
            self._arrivals.came(name, event.assoc)
            self._spool.place(path, name, instance_name(said))
            placed = True
        finally:
            if not placed:
                self._spool.drop(path)
        return SUCCESS, ""

    def association_ended(self, *, released: bool) -> Callable[[Any], None]:
        """Make the handler of an association's end."""
        return lambda event: self._arrivals.ended(event.assoc, released=released)


def is_uid(text: str) -> bool:
    """Say whether a text is a UID (PS3.5 section 9.1).

    Examples
    --------
    >>> is_uid("1.2.840.10008.1.1"), is_uid("1.2.03"), is_uid("../1.2")
    (True, False, False)
    """
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def _meta(event: Any) -> bytes:
    """The file meta information group, encoded."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_file_meta_info

    buffer = DicomBytesIO()
    write_file_meta_info(buffer, event.file_meta)
    return bytes(buffer.getvalue())
