"""What compressed voxels say of their size, read before they are decoded."""

from __future__ import annotations

import struct
from itertools import islice, pairwise
from typing import Any

from ..errors import InputError
from .files import frame_count
from .package import pydicom

_RLE = "1.2.840.10008.1.2.5"
# How a JPEG 2000 codestream starts, and a JP2 file around one (ISO/IEC 15444-1 A.5.1, I.5.1).
_J2K, _JP2 = b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "
# How a JPEG one starts, and markers of frame headers (ISO/IEC 10918-1 table B.1; JPEG-LS has 0xF7).
_JPEG = b"\xff\xd8"
_FRAME_HEADERS = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
# Markers that have no length; none of them belongs before the frame header.
_ALONE = frozenset((*range(0xC0), *range(0xD0, 0xDA)))


def check_encoded(dataset: Any, name: str) -> None:
    """Refuse compressed frames that would not be decoded into the size that the header says.

    A decoder makes room for what a frame says of itself: a few hundred bytes can ask for gigabytes.

    Parameters
    ----------
    dataset : pydicom Dataset
        Of an encapsulated transfer syntax. Its extended offset table is not looked at.
    name : str
        What messages call it.

    Raises
    ------
    InputError
    """
    count, columns, rows = frame_count(dataset, name), int(dataset.Columns), int(dataset.Rows)
    frames = pydicom().encaps.generate_frames(dataset.PixelData, number_of_frames=count)
    for frame in islice(frames, count):
        if dataset.file_meta.TransferSyntaxUID == _RLE:
            # Encoders pad.
            if all(length <= 2 * rows * columns for length in _segment_lengths(frame)):
                continue
            found = "more than twice as much"
        else:
            size = _size(frame)
            if size == (columns, rows, 1):
                continue
            found = " x ".join(map(str, size)) if size else "none that say their size"
        raise InputError(
            f"expected compressed voxels of {columns} x {rows} in {name}, found {found}; "
            "it is damaged: export it again"
        )


def _size(frame: bytes) -> tuple[int, int, int] | None:
    """Columns, rows and components of JPEG, JPEG-LS or JPEG 2000; None where it is none."""
    if frame.startswith(_JPEG):
        return _jpeg_size(frame)
    at = _codestream_of_jp2(frame) if frame.startswith(_JP2) else 0
    if frame[at : at + 4] != _J2K:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", frame, at + 8)
    (components,) = struct.unpack_from(">H", frame, at + 40)
    return right - left, bottom - top, components


def _codestream_of_jp2(frame: bytes) -> int:
    """Where a JP2 file's codestream starts; a box that says no length has none after it."""
    at = 0
    while frame[at + 4 : at + 8] != b"jp2c":
        (length,) = struct.unpack_from(">I", frame, at)
        if length < 8:
            return len(frame)
        at += length
    return at + 8


def _jpeg_size(frame: bytes) -> tuple[int, int, int] | None:
    at = len(_JPEG)
    while True:
        start, marker, length = struct.unpack_from(">BBH", frame, at)
        if start != 0xFF or marker in _ALONE:
            return None
        if marker in _FRAME_HEADERS:
            rows, columns, components = struct.unpack_from(">HHB", frame, at + 5)
            return columns, rows, components
        # 0xFF may be repeated before a marker.
        at += 1 if marker == 0xFF else 2 + length


def _segment_lengths(frame: bytes) -> list[int]:
    """Bytes that each segment of an RLE frame unpacks to (PS3.5 annex G)."""
    count, *starts = struct.unpack_from("<16I", frame)
    edges = pairwise([*starts[:count], len(frame)])
    return [_unpacked(frame[start:end]) for start, end in edges]


def _unpacked(segment: bytes) -> int:
    length = at = 0
    while at < len(segment):
        code = segment[at]
        if code < 128:
            length += code + 1
            at += code + 2
        else:
            # 128 stands for nothing.
            length += 257 - code if code > 128 else 0
            at += 2 if code > 128 else 1
    return length
