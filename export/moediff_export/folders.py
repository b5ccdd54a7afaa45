"""Folders that a JSON record inside says what they are: bundles and checkpoints."""

from __future__ import annotations

import json
from pathlib import Path


def check_replaceable(
    folder: Path, record: str, format: str, *, kind: str, who: str, overwrite: bool
) -> None:
    """Whether a folder may be written, or replaced: no other may be lost by it.

    Parameters
    ----------
    folder : Path
    record : str
        File name of the JSON inside.
    format : str
        What its ``format`` must be.
    kind, who : str
        What such a folder is called, and the function that writes it.
    overwrite : bool
        Replace one of the kind.

    Raises
    ------
    FileExistsError
        If the folder is there and ``overwrite`` is off, or it is none of the kind.
    """
    if not folder.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{who}: {folder} is there already; pass --overwrite to replace it")
    try:
        known = json.loads((folder / record).read_text())["format"] == format
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise FileExistsError(
            f"{who}: expected a {kind} at {folder} to replace, found something else; "
            "give another folder, or remove it yourself"
        )
