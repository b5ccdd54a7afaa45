"""MRD's messages: what a peer says, read within limits, and what is said to it."""

from __future__ import annotations

import ctypes
import enum
import struct
from dataclasses import dataclass
from typing import Any

from ..errors import Refused
from ..hold import MIB, Share
from .images import DTYPES, HEAD_BYTES, PARSED, MrdImage, head_bytes, mark_bytes, text_of
from .limits import Limits
from .structures import AcquisitionHeader, ImageHeader, WaveformHeader
from .wire import Wire


class Kind(enum.IntEnum):
    """The numbers of the messages that are known."""

    CONFIG_FILE = 1
    CONFIG_TEXT = 2
    HEADER = 3
    CLOSE = 4
    TEXT = 5
    ACQUISITION = 1008
    IMAGE = 1022
    WAVEFORM = 1026


CONFIG_FILE_BYTES = 1024


@dataclass(frozen=True)
class Message:
    """What a peer said. `content` is text, an image, or nothing."""

    kind: Kind
    content: str | MrdImage | None = None


def read_message(wire: Wire, limits: Limits, share: Share, idle_seconds: float) -> Message | None:
    """Read the next message.

    Parameters
    ----------
    wire : Wire
    limits : Limits
    share : Share
        Pays for the images that are kept.
    idle_seconds : float
        How long the message may be waited for.

    Returns
    -------
    Message or None
        None: the peer ended without a close message.

    Raises
    ------
    Refused
        The message is unknown or too large. What follows it cannot be told apart any more.
    PeerGone, Stopping
        As `Wire.read`.
    """
    number = wire.read_or_end(2, idle_seconds)
    if number is None:
        return None
    (code,) = struct.unpack("<H", number)
    try:
        kind = Kind(code)
    except ValueError:
        raise Refused(
            f"expected one of the messages {', '.join(str(int(kind)) for kind in Kind)}, got "
            f"{code}; a message of another protocol version, or one of another length before it?"
        ) from None
    if kind is Kind.CLOSE:
        return Message(kind)
    if kind is Kind.CONFIG_FILE:
        seconds = limits.seconds_for(CONFIG_FILE_BYTES)
        return Message(kind, text_of(wire.read(CONFIG_FILE_BYTES, seconds)))
    if kind is Kind.IMAGE:
        return Message(kind, _read_image(wire, limits, share))
    if kind is Kind.ACQUISITION:
        _skip_acquisition(wire, limits)
        return Message(kind)
    if kind is Kind.WAVEFORM:
        _skip_waveform(wire, limits)
        return Message(kind)
    most = limits.header_bytes if kind is Kind.HEADER else limits.text_bytes
    (length,) = struct.unpack("<I", wire.read(4, limits.stall_seconds))
    _check_size(length, most, "text")
    return Message(kind, text_of(wire.read(length, limits.seconds_for(length))))


def send_text(wire: Wire, text: str, limits: Limits) -> None:
    """Send one line of text; its first three letters tell FIRE's log viewer how to show it."""
    data = text.encode() + b"\0"
    head = struct.pack("<HI", Kind.TEXT, len(data))
    wire.write(head + data, limits.seconds_for(len(data)))


def send_image(wire: Wire, image: MrdImage, limits: Limits) -> None:
    """Send an image."""
    head, attributes, voxels = image.pieces()
    wire.write(struct.pack("<H", Kind.IMAGE) + head, limits.stall_seconds)
    for piece in (attributes, voxels):
        wire.write(piece, limits.seconds_for(len(piece)))


def send_close(wire: Wire, limits: Limits) -> None:
    """Say that nothing follows."""
    wire.write(struct.pack("<H", Kind.CLOSE), limits.stall_seconds)


def _read_image(wire: Wire, limits: Limits, share: Share) -> MrdImage:
    head = _read_head(wire, ImageHeader, limits)
    if head.data_type not in DTYPES:
        raise Refused(
            f"expected an image of data type 1 to 8, got {head.data_type}; "
            "a damaged header, or a newer version of MRD?"
        )
    size = head_bytes(head)
    _check_size(size, limits.image_bytes, "image")
    (length,) = struct.unpack("<Q", wire.read(8, limits.stall_seconds))
    _check_size(length, limits.attribute_bytes, "attribute string")
    share.take(HEAD_BYTES + (PARSED - 1) * length)
    attributes = wire.read(length, limits.seconds_for(length), share.take)
    share.take(mark_bytes(attributes))
    return MrdImage(head, attributes, wire.read(size, limits.seconds_for(size), share.take))


def _skip_acquisition(wire: Wire, limits: Limits) -> None:
    head = _read_head(wire, AcquisitionHeader, limits)
    samples = int(head.number_of_samples)
    size = 4 * samples * int(head.trajectory_dimensions) + 8 * samples * int(head.active_channels)
    _check_size(size, limits.image_bytes, "acquisition")
    wire.skip(size, limits.seconds_for(size))


def _skip_waveform(wire: Wire, limits: Limits) -> None:
    head = _read_head(wire, WaveformHeader, limits)
    size = 4 * int(head.channels) * int(head.number_of_samples)
    _check_size(size, limits.image_bytes, "waveform")
    wire.skip(size, limits.seconds_for(size))


def _read_head(wire: Wire, structure: Any, limits: Limits) -> Any:
    data = wire.read(ctypes.sizeof(structure), limits.stall_seconds)
    return structure.from_buffer_copy(data)


def _check_size(size: int, most: int, what: str) -> None:
    if size > most:
        raise Refused(
            f"expected {_article(what)} of at most {most / MIB:g} MiB, got one of "
            f"{size / MIB:.4g} MiB; a damaged length, or more than this server is made for"
        )


def _article(what: str) -> str:
    return f"an {what}" if what[0] in "aeiou" else f"a {what}"
