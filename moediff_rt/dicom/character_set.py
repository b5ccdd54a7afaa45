"""The character set that a derived image's text is written in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .kinds import words
from .package import pydicom

UTF_8 = "ISO_IR 192"
# They hold ASCII alone, as does none.
_ASCII = ("", "ISO_IR 6", "ISO 2022 IR 6")
_TEXT = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))


def hold_text(template: Any, text: str) -> str:
    """Let a dataset's character set hold a text that is added.

    UTF-8 takes the place of one that does not. A dataset whose own text is of a set that it does
    not name keeps that as it came, and gets what is added in ASCII, the rest as escapes.

    Parameters
    ----------
    template : pydicom Dataset
        Its SpecificCharacterSet may be changed.
    text : str

    Returns
    -------
    str
        The text to add.
    """
    named = words(template.get("SpecificCharacterSet"))
    encodings = pydicom().charset.python_encoding
    known = [encodings[name] for name in named if name in encodings and name not in _ASCII]
    if text.isascii() or (len(named) == len(known) == 1 and _encodable(text, known[0])):
        return text
    if not known and not all(map(str.isascii, _texts(template))):
        return text.encode("ascii", "backslashreplace").decode()
    template.SpecificCharacterSet = UTF_8
    return text


def _encodable(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeError:
        return False
    return True


def _texts(dataset: Any) -> Sequence[str]:
    """Every text in a dataset, in its sequences too."""
    found = [element for element in dataset.iterall() if element.VR in _TEXT]
    return [str(value) for one in found for value in (one.value if one.VM > 1 else [one.value])]
