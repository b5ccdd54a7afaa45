"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from .errors import OutputError

Writer = Callable[[BinaryIO], None]


def check_writable(path: Path, *, overwrite: bool) -> None:
    """Refuse early what `write_whole` would refuse late.

    Raises
    ------
    OutputError
        The folder is missing or not writable, `path` is a folder, or it exists and `overwrite`
        is false.
    """
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(
            f"expected an existing folder for the output, found no folder {folder}; "
            "check the path or make the folder first"
        )
    if path.is_dir():
        raise OutputError(f"expected a file name for the output, found the folder {path}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write in {folder}: no permission; choose another place with -o")
    if path.exists() and not overwrite:
        raise _exists(path)


def write_whole(writers: Mapping[Path, Writer], *, overwrite: bool = False) -> None:
    """Write several files so that all of them appear, complete, or none does.

    Each goes to a temporary file in its own folder, is flushed to disk, and is then renamed.
    Without `overwrite` a file that appears meanwhile is never replaced.

    Parameters
    ----------
    writers : mapping of Path to callable
        Called with a binary file object opened for writing.
    overwrite : bool
        Replace files that exist.

    Raises
    ------
    OutputError
        A file exists and `overwrite` is false, or it cannot be written.
    """
    for path in writers:
        check_writable(path, overwrite=overwrite)
    temporary: dict[Path, Path] = {}
    published: list[Path] = []
    try:
        for path, write in writers.items():
            temporary[path] = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
            with open(temporary[path], "xb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
        for path, source in temporary.items():
            if overwrite:
                os.replace(source, path)
            else:
                _publish_new(source, path)
                published.append(path)
    except BaseException as error:
        for path in published:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutputError(
                f"cannot write {', '.join(str(p) for p in writers)}: {error.strerror or error}; "
                "check free space and permissions"
            ) from error
        raise
    finally:
        for source in temporary.values():
            source.unlink(missing_ok=True)
    for folder in {path.parent for path in writers}:
        _sync_folder(folder)


def _publish_new(source: Path, path: Path) -> None:
    """Give `source` the name `path`, atomically, unless `path` exists."""
    try:
        os.link(source, path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:
        # No hard links on this file system: take the name first, then rename over it.
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            raise _exists(path) from None
        os.replace(source, path)


def _exists(path: Path) -> OutputError:
    return OutputError(
        f"output {path} exists already; give another name with -o, or --overwrite to replace it"
    )


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
