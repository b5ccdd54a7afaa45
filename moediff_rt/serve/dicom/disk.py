"""Files and folders of the spool: made for one user, counted, compared, removed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

from ...atomic import sync_folder
from ..hold import MIB

# A file takes whole blocks, and its name's place.
BLOCK_BYTES = 4096


def make_folders(folder: Path) -> None:
    """Make a folder and those above it, for this user alone, their names onto the disk."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)
        sync_folder(one.parent)


def open_own(path: Path, mode: str) -> IO[Any]:
    """Open a file that, where it is new, no other user may read."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


def has_content(stream: BinaryIO, path: Path) -> bool:
    """Say whether a file has the bytes of a stream."""
    with open(path, "rb") as other:
        while chunk := stream.read(MIB):
            if chunk != other.read(MIB):
                return False
        return not other.read(1)


def files_below(folder: Path) -> Iterator[Path]:
    """Every file in a folder and in those below it."""
    for parent, _folders, names in os.walk(folder):
        for name in names:
            yield Path(parent) / name


def cost_of(path: Path) -> int:
    """Bytes that a file takes; none where it is gone meanwhile."""
    try:
        return path.lstat().st_size + BLOCK_BYTES
    except FileNotFoundError:
        return 0


def number_in(path: Path) -> int:
    """The number that a file holds; 0 where it is missing or holds none."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
