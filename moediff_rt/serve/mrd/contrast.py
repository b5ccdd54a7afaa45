"""What an image shows, as far as it is said: the model knows T1-weighted magnitudes alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree

from ...errors import InputError
from .images import MAGNITUDE, UNSAID, MrdImage, parse_xml, values_of
from .structures import Meta

# T1-weighted scans have short echoes: of spin echo up to about 25 ms, of MPRAGE 2 to 5 ms.
MAX_ECHO_MS = 30.0

# Words of names, split at anything but letters and digits.
_DERIVED = {"map", "maps", "mip", "minip", "loc", "localizer", "localiser", "scout"}
_T1 = {"t1", "t1w", "mprage", "mp2rage", "mpr", "spgr", "fspgr", "bravo", "irfspgr"}
_OTHER = {
    *("t2", "t2w", "t2star", "t2s", "flair", "dwi", "dti", "diff", "diffusion", "adc", "trace"),
    *("fa", "epi", "ep2d", "bold", "fmri", "swi", "qsm", "tof", "angio", "mra", "pd", "pdw"),
    *("asl", "pcasl", "pasl", "perf", "perfusion", "dsc", "cbf", "phase", "fieldmap", "fmap"),
    *("b1", "b0", "csi", "svs", "space", "haste", "trufi", "ciss", "fiesta"),
}
_NAMES = ("SeriesDescription", "SequenceDescription", "ProtocolName", "ImageTypeValue4")


@dataclass(frozen=True)
class Protocol:
    """What the XML header says of the measurement.

    Attributes
    ----------
    names : tuple of str
        Protocol name, series description, sequence name.
    echo_ms : tuple of float
        Echo times, by contrast.
    """

    names: tuple[str, ...] = ()
    echo_ms: tuple[float, ...] = ()


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
    )


def check_contrast(image: MrdImage, protocol: Protocol) -> None:
    """Refuse what is known not to be a T1-weighted magnitude; what is not said is allowed.

    Raises
    ------
    InputError
    """
    meta = image.meta
    check_magnitude(image)
    if "quantitative" in _lower(values_of(meta, "DataRole")):
        raise _not_t1("a quantitative map (DataRole)")
    own = _words([text for name in (*_NAMES, "ImageType") for text in values_of(meta, name)])
    measurement = _words(protocol.names)
    if found := (own | measurement) & _DERIVED:
        raise _not_t1(f"a derived or localizing image ({min(found)!r} in its names)")
    # What an image says of itself goes before what is said of the whole measurement.
    for words in (own, measurement):
        if words & _T1:
            break
        if found := words & _OTHER:
            raise _not_t1(f"{min(found)!r} in its names")
    echo = _echo_ms(meta, int(image.head.contrast), protocol)
    if echo is not None and echo > MAX_ECHO_MS:
        raise _not_t1(f"an echo time of {echo:g} ms")


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


def _not_t1(found: str) -> InputError:
    return InputError(
        f"expected a T1-weighted image, found {found}; the model knows T1 alone "
        "(--any-contrast takes all magnitudes)"
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
        element.text.strip()
        for element in root.iter()
        if element.tag.rpartition("}")[2] == name and element.text
    ]


def _lower(words: list[str]) -> set[str]:
    return {word.strip().lower() for word in words}


def _words(names: Iterable[str]) -> set[str]:
    return {word for name in names for word in re.split(r"[^a-z0-9]+", name.lower()) if word}
