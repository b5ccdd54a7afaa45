"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .errors import OutputError
from .signals import HeldSignals

Writer = Callable[[BinaryIO], None]
# A folder: what is in it, by name.
FolderWriter = Mapping[str, Writer]


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


def check_folder_writable(path: Path, *, overwrite: bool, ours: Callable[[Path], bool]) -> None:
    """Refuse early a folder that `write_whole` would refuse late, or that holds anything else.

    Parameters
    ----------
    path : Path
        It may be there when it is empty; what is in it is replaced only with `overwrite`.
    overwrite : bool
    ours : callable
        Says of a file in it whether `overwrite` may replace that file.

    Raises
    ------
    OutputError
    """
    if os.path.lexists(path):
        if path.is_symlink() or not path.is_dir():
            raise OutputError(
                f"expected a folder's name for the output, found a file or a link at {path}; "
                "give another name with -o"
            )
        names = sorted(os.listdir(path))
        if names and not overwrite:
            raise _exists(path)
        if other := next((name for name in names if not ours(path / name)), None):
            raise _holds_other(path, other)
    # The folder is renamed into its place: the parent must be writable.
    check_writable(path.with_name(f".{secrets.token_hex(6)}"), overwrite=False)


def write_whole(
    writers: Mapping[Path, Writer | FolderWriter],
    *,
    overwrite: bool = False,
    ours: Callable[[Path], bool] = lambda _file: False,
) -> None:
    """Write several files and folders so that all of them appear, complete, or none does.

    Each goes under a temporary name in its own folder, is flushed to disk, and is then renamed.
    An empty folder is replaced as if it were not there. When anything fails or interrupts, what
    was there before is there again. Without `overwrite` a file that appears meanwhile is never
    replaced, and with it no folder in which anything else does. A signal that would end the process
    waits from the first rename to the last removal, and until all is undone. Only a crash of the
    computer or a SIGKILL between two renames can leave some of the files, each of them complete.

    Parameters
    ----------
    writers : mapping of Path to callable, or to a mapping of name to callable
        Called with a binary file object opened for writing; a mapping is a folder's files.
    overwrite : bool
        Replace files that exist, and folders that hold nothing but what is `ours`.
    ours : callable
        Says of a file in a folder whether `overwrite` may replace that file; default: of none.

    Raises
    ------
    OutputError
        A file exists and `overwrite` is false, a folder holds what is not `ours`, or one cannot be
        written.
    Late
        A signal came while it waited, and all is written.
    """
    for path, write in writers.items():
        if callable(write):
            check_writable(path, overwrite=overwrite)
        else:
            check_folder_writable(path, overwrite=overwrite, ours=ours)
    files = [_Pending.beside(path) for path in writers]
    names = ", ".join(map(str, writers))
    with HeldSignals(f"already written: {names}") as signals:
        try:
            for file, write in zip(files, writers.values(), strict=True):
                file.fill(write)
            signals.hold()
            for file in files:
                file.publish(overwrite=overwrite, ours=ours)
            for folder in {path.parent for path in writers}:
                sync_folder(folder)
        except BaseException as error:
            signals.hold()
            for file in files:
                file.take_back()
            if isinstance(error, OSError):
                raise OutputError(
                    f"cannot write {names}: {error.strerror or error}; "
                    "check free space and permissions"
                ) from error
            raise
        for file in files:
            _remove(file.previous)


@dataclass
class _Pending:
    """One file or folder on its way: its name, its new content, and what had the name before."""

    path: Path
    content: Path
    previous: Path
    identity: tuple[int, int] | None = None

    @classmethod
    def beside(cls, path: Path) -> _Pending:
        """Choose names that no other run has; short, so that they fit where `path` fits."""
        name = f".{secrets.token_hex(6)}"
        return cls(path, path.with_name(f"{name}.tmp"), path.with_name(f"{name}.old"))

    def fill(self, write: Writer | FolderWriter) -> None:
        """Write the content under its temporary name, onto the disk."""
        if callable(write):
            self.identity = _write_file(self.content, write)
            return
        self.content.mkdir()
        self.identity = _identity(os.lstat(self.content))
        for name, write_file in write.items():
            _write_file(self.content / name, write_file)
        sync_folder(self.content)

    def publish(self, *, overwrite: bool, ours: Callable[[Path], bool]) -> None:
        """Give the content its name, atomically."""
        if self.content.is_dir():
            self._publish_folder(overwrite=overwrite, ours=ours)
            return
        if not overwrite:
            _link_new(self.content, self.path)
            self.content.unlink(missing_ok=True)
            return
        # A folder that has taken the file's name meanwhile is refused.
        check_writable(self.path, overwrite=True)
        with contextlib.suppress(FileNotFoundError):
            _keep(self.path, self.previous)
        os.replace(self.content, self.path)

    def _publish_folder(self, *, overwrite: bool, ours: Callable[[Path], bool]) -> None:
        """Give the folder its name: a rename replaces no folder but an empty one."""
        if overwrite:
            with contextlib.suppress(FileNotFoundError):
                self._set_aside(ours)
        try:
            os.rename(self.content, self.path)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise _exists(self.path) from None
            raise

    def _set_aside(self, ours: Callable[[Path], bool]) -> None:
        """Rename the folder that is there, unless something else came into it meanwhile."""
        known = set(os.listdir(self.path)) if self.path.is_dir() else set()
        check_folder_writable(self.path, overwrite=True, ours=ours)
        os.replace(self.path, self.previous)
        # The check took a while; from now on nobody finds the folder by its name.
        if came := sorted(set(os.listdir(self.previous)) - known):
            raise _holds_other(self.path, came[0])

    def take_back(self) -> None:
        """Undo what was done, however far it went."""
        with contextlib.suppress(OSError):
            _remove(self.content)
        with contextlib.suppress(OSError):
            # Told by identity: at an interrupt nobody knows which call was the last to finish.
            if self.identity == _identity(os.lstat(self.path)):
                _remove(self.path)
        with contextlib.suppress(OSError):
            os.replace(self.previous, self.path)
            # Renaming one of two names of the same file leaves both.
            self.previous.unlink(missing_ok=True)


def _write_file(path: Path, write: Writer) -> tuple[int, int]:
    """Write a new file onto the disk; its identity."""
    with open(path, "xb") as stream:
        write(stream)
        stream.flush()
        os.fsync(stream.fileno())
        return _identity(os.fstat(stream.fileno()))


def _remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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


def _holds_other(path: Path, name: str) -> OutputError:
    return OutputError(
        f"expected nothing but an earlier result in the folder {path}, found {name}; "
        "the whole folder would be replaced: give another one with -o"
    )


def sync_folder(folder: Path) -> None:
    """Put a folder's names onto the disk, where its file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
