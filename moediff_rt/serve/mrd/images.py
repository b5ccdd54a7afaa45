"""An MRD image as it came from the wire, and the XML beside its voxels."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from ...errors import InputError
from .structures import Meta

# What an image takes besides its voxels and attributes: its header, and the objects around them.
HEAD_BYTES = 2048

# MRD's own table, little-endian on the wire. ismrmrd 1.15 takes 4 for 64 bits; MRD says int32.
DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<u2"),
    2: np.dtype("<i2"),
    3: np.dtype("<u4"),
    4: np.dtype("<i4"),
    5: np.dtype("<f4"),
    6: np.dtype("<f8"),
    7: np.dtype("<c8"),
    8: np.dtype("<c16"),
}

# Memory of an attribute string and of what it is parsed into: bytes for each of its own, and for
# each mark, at most. A mark is what elements or attributes of XML have one of, at least.
PARSED, MARK_BYTES = 16, 400
# XML of more is not parsed.
MOST_MARKS = 1 << 16

# Image types. Many senders leave it 0 for a magnitude.
UNSAID, MAGNITUDE = 0, 1


@dataclass(frozen=True)
class MrdImage:
    """One image: its header, attribute string and voxels, byte for byte.

    Attributes
    ----------
    head : ismrmrd.ImageHeader
    attributes : bytes
        XML, or nothing.
    voxels : bytes
        C order, (channels, z, y, x), of type `DTYPES[head.data_type]`.
    """

    head: Any
    attributes: bytes | bytearray
    voxels: bytes | bytearray

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Channels, then voxels along z, y and x."""
        return head_shape(self.head)

    @property
    def values(self) -> npt.NDArray[Any]:
        """The voxels as a (channels, z, y, x) array, a view."""
        return np.frombuffer(self.voxels, self.dtype).reshape(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        return DTYPES[self.head.data_type]

    @property
    def held_bytes(self) -> int:
        """Memory that the image takes, its parsed attributes with it."""
        parsed = PARSED * len(self.attributes) + mark_bytes(self.attributes)
        return HEAD_BYTES + parsed + len(self.voxels)

    @cached_property
    def meta(self) -> Meta:
        """The attributes.

        Raises
        ------
        InputError
            They are no MRD attribute XML.
        """
        return parse_meta(self.attributes)

    @cached_property
    def number(self) -> int:
        """What orders images of one series: the image index, or the slice where it is not set."""
        return int(self.head.image_index) or int(self.head.slice)

    def pieces(self) -> tuple[bytes, bytes | bytearray, bytes | bytearray]:
        """What goes on the wire after the message's number."""
        length = struct.pack("<Q", len(self.attributes))
        return bytes(self.head) + length, self.attributes, self.voxels


def head_shape(head: Any) -> tuple[int, int, int, int]:
    """Channels, then voxels along z, y and x, of an image header."""
    x, y, z = head.matrix_size
    return int(head.channels), int(z), int(y), int(x)


def head_bytes(head: Any) -> int:
    """How many bytes of voxels an image header announces; KeyError for an unknown type."""
    return math.prod(head_shape(head)) * DTYPES[head.data_type].itemsize


def mark_bytes(attributes: bytes | bytearray) -> int:
    """Memory that the marks of an attribute string take where it is parsed."""
    return MARK_BYTES * min(MOST_MARKS, attributes.count(b"<") + attributes.count(b"="))


def text_of(data: bytes | bytearray) -> str:
    """Text up to the first NUL; what is no UTF-8 is replaced."""
    return bytes(data).split(b"\0", 1)[0].decode("utf-8", errors="replace")


def parse_xml(text: str) -> ElementTree.Element:
    """Parse XML that has no document type: none of MRD's has, and entities could be bombs.

    Raises
    ------
    InputError
    """
    if "<!DOCTYPE" in text:
        raise InputError(
            "expected XML without a document type, found one; no MRD XML has one: leave it out"
        )
    if text.count("<") + text.count("=") > MOST_MARKS:
        raise InputError(
            f"expected XML of at most {MOST_MARKS} tags and attributes, found more; "
            "no scanner writes so many: check what writes it"
        )
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        # Not the parser's words: they quote the text, and this may be logged.
        line, column = error.position
        raise InputError(
            f"expected well-formed XML, found a fault at line {line}, column {column}; "
            "a truncated or damaged text?"
        ) from None


def parse_meta(attributes: bytes | bytearray) -> Meta:
    """Read an attribute string.

    Returns
    -------
    ismrmrd.Meta
        Each value a string, or a list of strings.

    Raises
    ------
    InputError
        It is no MRD attribute XML.
    """
    text = text_of(attributes).strip()
    meta = Meta()
    if not text:
        return meta
    root = parse_xml(text)
    if root.tag != "ismrmrdMeta":
        raise InputError(
            "expected an attribute string of <ismrmrdMeta>, found another element; "
            "check what writes the images"
        )
    for entry in root.iter("meta"):
        name = entry.findtext("name")
        if name:
            for value in entry.findall("value"):
                meta.append(name, value.text or "")
    return meta


def values_of(meta: Meta, name: str) -> list[str]:
    """All values of an attribute, as strings."""
    found = meta.get(name, [])
    return [str(value) for value in found] if isinstance(found, list) else [str(found)]
