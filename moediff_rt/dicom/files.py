"""DICOM files, found by what is in them, and their headers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checks import checked_path
from ..errors import InputError
from .package import pydicom, quiet

_PREAMBLE = 128
_START = _PREAMBLE + 4
# Endings of DICOM files, in any case; others have the second one, too.
_ENDING, _OLD_ENDING = ".dcm", ".ima"
# Files without a preamble start with a group length or the first element of these groups.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")
# What files are told apart by. One that is no UID has taken in what follows it in a damaged file.
_IDENTITIES = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_UID = re.compile(r"[0-9.]{0,64}")
# Whom a scan is of: said of its result too, or there is no result.
PATIENT = ("PatientID", "PatientName")
# Strings of one line: once decoded, no control character belongs in them.
_ONE_LINE = frozenset(("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "SH", "TM", "UI"))
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# These do in text of a character set that its file does not name: it is written as it came.
_UNDECODED = re.compile(r"[\x80-\x9f]")


@dataclass(frozen=True)
class Instance:
    """One DICOM file.

    Attributes
    ----------
    path : Path
    header : pydicom Dataset
        All of it but the voxels.
    """

    path: Path
    header: Any

    @property
    def name(self) -> str:
        """What messages call it: its file name."""
        return self.path.name


def is_dicom(path: str | os.PathLike[str]) -> bool:
    """Say whether a path is a folder, is named as DICOM files are, or starts as they do.

    A `.nii` or `.nii.gz` file is never asked for its content.

    Raises
    ------
    InputError
        Its name does not say it, and it cannot be read.
    """
    path = Path(path)
    if os.path.isdir(path) or named_dicom(path.name):
        return True
    if path.name.endswith((".nii", ".nii.gz")) or not os.path.isfile(path):
        return False
    try:
        return _starts_dicom(_start_of(path))
    except OSError as error:
        raise _not_readable(error) from error


def named_dicom(name: str) -> bool:
    """Say whether a file is named .dcm or .ima."""
    return name.lower().endswith((_ENDING, _OLD_ENDING))


def _start_of(path: Path) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(_START)


def _starts_dicom(start: bytes) -> bool:
    return start[_PREAMBLE:] == b"DICM" or start[:2] in _FIRST_GROUPS


def find_files(source: str | os.PathLike[str]) -> list[Path]:
    """Every DICOM file at `source`: itself, or those in the folder and its folders, by name.

    Raises
    ------
    InputError
        There is none, or a file cannot be read or was cut short before it says what it is.
    """
    source = Path(checked_path(source, "a DICOM folder or file"))
    try:
        if not source.exists():
            raise InputError(
                f"expected a DICOM folder or file, found nothing at {source}; check it"
            )
        candidates = [source] if source.is_file() else filter(Path.is_file, _walk(source))
        starts = {path: _start_of(path) for path in candidates}
    except OSError as error:
        raise _not_readable(error) from error
    _refuse_cut(starts)
    found = [path for path, start in starts.items() if _starts_dicom(start)]
    if not found:
        what = "no file" if not starts else f"none among {len(starts)} files"
        raise InputError(
            f"expected DICOM files in {source}, found {what}{_links_in(source)}; "
            "give the folder of one MR series, or a NIfTI file (.nii, .nii.gz)"
        )
    return found


def _refuse_cut(starts: Mapping[Path, bytes]) -> None:
    """Refuse what is left of a DICOM file where too little is: its volume would lose a slice.

    It is known by its ending, the older one where it is alone, or by a name like those of the DICOM
    files beside it.
    """
    named = {_kind_of_name(path) for path, start in starts.items() if _is_whole_start(start)}
    for path, start in starts.items():
        short = len(start) < _START
        if path.name.startswith(".") or (not short and any(start)):
            continue
        alone = len(starts) == 1 and short and named_dicom(path.name)
        if alone or path.name.lower().endswith(_ENDING) or _kind_of_name(path) in named:
            found = f"{len(start)} bytes" if short else "zeros where it starts"
            raise InputError(
                f"expected a whole DICOM file, found {found} in {path.name}; it was probably cut "
                "short: copy or export it again, or take it out of the folder"
            )


def _is_whole_start(start: bytes) -> bool:
    return len(start) == _START and _starts_dicom(start)


def _kind_of_name(path: Path) -> tuple[Path, str]:
    """What files of one series in one folder have in common: all of the name but the digits."""
    return path.parent, re.sub(r"\d+", "0", path.name)


def _links_in(folder: Path) -> str:
    """Say which folders below are links; "" where none is."""
    links = [
        name
        for parent, folders, _names in os.walk(folder)
        for name in sorted(folders)
        if os.path.islink(os.path.join(parent, name))
    ]
    if not links:
        return ""
    shown = ", ".join(links[:3]) + (" and more" if len(links) > 3 else "")
    return f" (links to folders are not followed: {shown})"


def _not_readable(error: OSError) -> InputError:
    return InputError(
        f"expected readable files, {error.filename} cannot be read: {error.strerror}; "
        "check its permissions and the disk it is on"
    )


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise InputError(
            f"expected a readable folder, {error.filename} cannot be read: {error.strerror}; "
            "check its permissions"
        ) from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders.sort()
        for name in sorted(names):
            yield Path(parent) / name


def read_header(path: Path, keywords: Sequence[str] | None = None) -> Any:
    """Read a file up to its voxels.

    Parameters
    ----------
    path : Path
    keywords : sequence of str, optional
        Read these attributes only.

    Returns
    -------
    pydicom Dataset
        Without SOPClassUID where the file is a directory or only starts like DICOM; without
        attributes that are no values of their kind.

    Raises
    ------
    InputError
        It is damaged, also where what it is told apart by is no UID; or its patient cannot be read.
    """
    dicom = pydicom()
    try:
        with quiet():
            header = dicom.dcmread(
                path,
                stop_before_pixels=True,
                force=True,
                specific_tags=None if keywords is None else list(keywords),
            )
            patient = {name: header.get_item(name) for name in PATIENT if name in header}
            _decode(header.file_meta)
            _decode(header)
            for keyword in _IDENTITIES:
                if not _UID.fullmatch(str(header.get(keyword) or "")):
                    raise ValueError(f"{keyword} is no UID")
    except MemoryError:
        raise
    except Exception as error:
        raise unreadable(path, error) from error
    for keyword, encoded in patient.items():
        if keyword not in header or not _is_text(header[keyword], encoded.value):
            raise InputError(
                f"expected {keyword} in {path.name} as text of its SpecificCharacterSet, found "
                "something else; a character set that is not the text's, or a damaged header? "
                "Export the series again"
            )
    return header


def _decode(dataset: Any) -> None:
    """Read every attribute now, and forget those that cannot be: what needs one says so."""
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
            items = element.value if element.VR == "SQ" else ()
        except Exception:
            del dataset[tag]
            continue
        for item in items:
            _decode(item)
        # The identities stay, to be refused.
        if element.VR in _ONE_LINE and element.keyword not in _IDENTITIES:
            if any(_CONTROL.search(str(value)) for value in _values(element)):
                del dataset[tag]


def _is_text(element: Any, encoded: Any) -> bool:
    """Say whether an attribute was decoded without control characters and replaced letters."""
    text = "".join(map(str, _values(element)))
    replaced = "\ufffd" in text and "\ufffd".encode() not in encoded
    return not (replaced or _CONTROL.search(text))


def _values(element: Any) -> Sequence[Any]:
    return element.value if element.VM > 1 else (element.value,)


def plain(text: object) -> str:
    """Text for messages: without control characters.

    Examples
    --------
    >>> plain("t1" + chr(0x84))
    't1?'
    """
    return _UNDECODED.sub("?", str(text))


def frame_count(header: Any, name: str) -> int:
    """How many frames a file has, from its header; `name` is what messages call it.

    Raises
    ------
    InputError
        Its header does not say one number.
    """
    try:
        return int(header.get("NumberOfFrames") or 1)
    except (TypeError, ValueError):
        raise InputError(
            f"expected one number as NumberOfFrames in {name}, found something else; "
            "its header is damaged: export the series again"
        ) from None


def unreadable(path: Path, error: Exception) -> InputError:
    """Say that a file is damaged; not with pydicom's words, which quote values."""
    if isinstance(error, OSError) and error.errno is not None:
        why = error.strerror or type(error).__name__
    else:
        why = type(error).__name__
    return damaged(path, why)


def damaged(path: Path, why: str) -> InputError:
    """Say that a file is damaged, and how that shows, in a word or two."""
    return InputError(
        f"expected a whole DICOM file, {path.name} cannot be read ({why}); "
        "it is truncated or damaged: copy or export it again"
    )
