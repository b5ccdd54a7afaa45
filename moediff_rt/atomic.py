"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .errors import OutputError

Writer = Callable[[BinaryIO], None]


def check_writable(path: Path, *, overwrite: bool) -> None:
    """Refuse early what `write_whole` would refuse late.

    Raises
    ------
    OutputError
        The folder is missing or not writable, `path` is a folder or no possible name, or it
        exists and `overwrite` is false.
    """
    folder = path.parent
    if not os.path.isdir(folder):
        raise OutputError(
            f"expected an existing folder for the output, found no folder {folder}; "
            "check the path or make the folder first"
        )
    if os.path.isdir(path):
        raise OutputError(
            f"expected a file name for the output, found the folder {path}; "
            "give the name of a file in it with -o"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write in {folder}: no permission; choose another place with -o")
    try:
        os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror}; give another name with -o"
        ) from error
    if not overwrite:
        raise _exists(path)


def write_whole(writers: Mapping[Path, Writer], *, overwrite: bool = False) -> None:
    """Write several files so that all of them appear, complete, or none does.

    Each goes to a temporary file in its own folder, is flushed to disk, and is then renamed.
    When anything fails or interrupts, what was there before is there again. Without `overwrite`
    a file that appears meanwhile is never replaced. Only a crash of the computer or a SIGKILL
    between two renames can leave some of the files, each of them complete.

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
    files = [_Pending.beside(path) for path in writers]
    try:
        for file, write in zip(files, writers.values(), strict=True):
            file.fill(write)
        for file in files:
            file.publish(overwrite=overwrite)
        for folder in {path.parent for path in writers}:
            _sync_folder(folder)
    except BaseException as error:
        for file in files:
            file.take_back()
        if isinstance(error, OSError):
            raise OutputError(
                f"cannot write {', '.join(str(p) for p in writers)}: {error.strerror or error}; "
                "check free space and permissions"
            ) from error
        raise
    for file in files:
        file.previous.unlink(missing_ok=True)


@dataclass
class _Pending:
    """One file on its way: its name, its new content, and what had the name before."""

    path: Path
    content: Path
    previous: Path
    identity: tuple[int, int] | None = None

    @classmethod
    def beside(cls, path: Path) -> _Pending:
        """Choose names that no other run has; short, so that they fit where `path` fits."""
        name = f".{secrets.token_hex(6)}"
        return cls(path, path.with_name(f"{name}.tmp"), path.with_name(f"{name}.old"))

    def fill(self, write: Writer) -> None:
        """Write the content under its temporary name, onto the disk."""
        with open(self.content, "xb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
            self.identity = _identity(os.fstat(stream.fileno()))

    def publish(self, *, overwrite: bool) -> None:
        """Give the content its name, atomically."""
        if not overwrite:
            _link_new(self.content, self.path)
            self.content.unlink(missing_ok=True)
            return
        with contextlib.suppress(FileNotFoundError):
            _keep(self.path, self.previous)
        os.replace(self.content, self.path)

    def take_back(self) -> None:
        """Undo what was done, however far it went."""
        with contextlib.suppress(OSError):
            self.content.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            # Told by identity: at an interrupt nobody knows which call was the last to finish.
            if self.identity == _identity(os.lstat(self.path)):
                self.path.unlink()
        with contextlib.suppress(OSError):
            os.replace(self.previous, self.path)
            # Renaming one of two names of the same file leaves both.
            self.previous.unlink(missing_ok=True)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _keep(path: Path, previous: Path) -> None:
    """Keep the file at `path` under a second name."""
    try:
        os.link(path, previous, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:
        os.replace(path, previous)


def _link_new(source: Path, path: Path) -> None:
    """Give `source` the name `path`, atomically, unless `path` exists."""
    try:
        os.link(source, path)
        return
    except FileExistsError:
        raise _exists(path) from None
    except OSError:
        pass
    # No hard links on this file system: take the name first, then rename over it.
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        raise _exists(path) from None
    try:
        os.replace(source, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


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
