"""What an MRD image shows, as far as it is said: the model knows T1-weighted magnitudes alone."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from ...errors import InputError
from ..contrast import check_t1, not_t1
from .images import MAGNITUDE, UNSAID, MrdImage, parse_xml, values_of
from .structures import Meta

_NAMES = ("SeriesDescription", "SequenceDescription", "ProtocolName")
_IMAGE_TYPE = ("ImageType", "ImageTypeValue4")


@dataclass(frozen=True)
class Protocol:
    """What the XML header says of the measurement.

    Attributes
    ----------
    names : tuple of str
        Protocol name, series description, sequence name.
    echo_ms : tuple of float
        Echo times, by contrast.
    acquisition : str or None
        "3D" where k-space has partitions, "2D" where it has none; None where it is not said.
    """

    names: tuple[str, ...] = ()
    echo_ms: tuple[float, ...] = ()
    acquisition: str | None = None


def read_protocol(text: str) -> Protocol:
    """Read an MRD header; one that is no XML says nothing, as some clients send it."""
    try:
        root = parse_xml(text)
    except InputError:
        return Protocol()
    names = ("protocolName", "seriesDescription", "sequenceName", "sequence_type")
    return Protocol(
        tuple(word for name in names for word in _texts(root, name)),
        tuple(_number(word) for word in _texts(root, "TE")),
        _acquisition(root),
    )


def _acquisition(root: ElementTree.Element) -> str | None:
    """From the encoded k-spaces' size along z, where all agree."""
    depths = [
        _number(depth)
        for space in root.iter()
        if _name(space) == "encodedSpace"
        for size in space
        if _name(size) == "matrixSize"
        for depth in _texts(size, "z")
    ]
    if depths and all(depth > 1 for depth in depths):
        return "3D"
    return "2D" if depths and all(depth == 1 for depth in depths) else None


def check_contrast(image: MrdImage, protocol: Protocol) -> None:
    """Refuse what is known not to be a T1-weighted magnitude; what is not said is allowed.

    Raises
    ------
    InputError
    """
    meta = image.meta
    check_magnitude(image)
    if "quantitative" in _lower(values_of(meta, "DataRole")):
        raise not_t1("a quantitative map (DataRole)")
    own = [text for name in _NAMES for text in values_of(meta, name)]
    image_type = [text for name in _IMAGE_TYPE for text in values_of(meta, name)]
    check_t1(own, protocol.names, image_type, _echo_ms(meta, int(image.head.contrast), protocol))


def check_magnitude(image: MrdImage) -> None:
    """Refuse images of phase, real or imaginary parts, complex values, colours or many channels.

    Raises
    ------
    InputError
    """
    head = image.head
    if head.image_type not in (UNSAID, MAGNITUDE) or head.data_type in (7, 8):
        raise InputError(
            f"expected magnitude images, got image type {head.image_type} and data type "
            f"{head.data_type}; the model knows magnitudes alone: send those"
        )
    if head.channels != 1:
        raise InputError(
            f"expected images of one channel, got {head.channels}; combine the coils first"
        )


def _echo_ms(meta: Meta, contrast: int, protocol: Protocol) -> float | None:
    said = [_number(word) for word in values_of(meta, "EchoTime")]
    if said:
        return said[0]
    times = protocol.echo_ms
    if not times:
        return None
    return times[contrast] if contrast < len(times) else times[0]


def _number(word: str) -> float:
    """Not a number where the word is none: every comparison with it is false."""
    try:
        return float(word)
    except ValueError:
        return float("nan")


def _texts(root: ElementTree.Element, name: str) -> list[str]:
    """Text of every element of this name, in any namespace."""
    return [
        element.text.strip() for element in root.iter() if _name(element) == name and element.text
    ]


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _lower(words: list[str]) -> set[str]:
    return {word.strip().lower() for word in words}
