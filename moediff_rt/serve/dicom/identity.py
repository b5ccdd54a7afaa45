"""What an instance says that it is, read within bounds: a small header may take much memory."""

from __future__ import annotations

import io
import struct
from pathlib import Path

from ...dicom.files import unreadable
from ...dicom.package import pydicom, quiet
from ..errors import Refused
from ..hold import MIB, Share
from .limits import Limits

_READ = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_ITEM = struct.pack("<HH", 0xFFFE, 0xE000)
# Memory of what pydicom makes of a header, by its length, at most: of items with nothing in them.
_PARSED = 80
_STEP_BYTES = 4096


class TooLarge(Exception):
    """A header passes a bound; the text says which."""


def check_items(data: memoryview, most: int) -> None:
    """Refuse an encoded data set of more than `most` items, without parsing it.

    Raises
    ------
    TooLarge
    """
    count = 0
    # In pieces, so that other threads have their turn; what lies across an edge is not counted.
    for start in range(0, len(data), MIB):
        count += bytes(data[start : start + MIB]).count(_ITEM)
        if count > most:
            raise TooLarge(f"it has more than {most} items of sequences")


def read_identity(path: Path, limits: Limits, share: Share) -> dict[str, str]:
    """Read which instance, of which series, study and SOP class, a file has.

    Parameters
    ----------
    path : Path
    limits : Limits
    share : Share
        Pays for what the header may take while it is read, and keeps that until its end.

    Returns
    -------
    dict of str to str
        By keyword; empty where it is not said.

    Raises
    ------
    InputError
        The file is damaged.
    TooLarge
    Refused
        There is no memory for it now.
    """
    with _Bounded(path, limits.header_bytes, share) as stream:
        try:
            with quiet():
                header = pydicom().dcmread(
                    stream, stop_before_pixels=True, force=True, specific_tags=list(_READ)
                )
                said = {keyword: header.get(keyword) for keyword in _READ}
        except MemoryError:
            raise
        except Exception as error:
            # pydicom has an error of its own for whatever stops it within a sequence.
            raise stream.refusal or unreadable(path, error) from error
    return {keyword: uid if isinstance(uid, str) else "" for keyword, uid in said.items()}


class _Bounded(io.BufferedReader):
    """A file that is read up to a byte, and paid for before it is read.

    Attributes
    ----------
    refusal : Exception or None
        Why it was not read on.
    """

    def __init__(self, path: Path, most: int, share: Share) -> None:
        super().__init__(io.FileIO(path))
        self._most, self._share = most, share
        self._paid = 0
        self.refusal: Exception | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as any file; `TooLarge` or `Refused` beyond the bounds."""
        end = self.tell() + max(0, size or 0)
        if end > self._paid:
            try:
                self._pay(end)
            except (TooLarge, Refused) as refusal:
                self.refusal = refusal
                raise
        return super().read(size)

    def _pay(self, end: int) -> None:
        if end > self._most:
            raise TooLarge(f"its header is larger than {self._most} bytes")
        step = max(end - self._paid, _STEP_BYTES)
        self._share.take(_PARSED * step)
        self._paid += step
