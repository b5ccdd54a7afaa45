"""What was received and what was made of it, on disk.

A series is a folder, and the folder that it is in is its state::

    arriving/                an instance that is being written; nobody was told yet
    incoming/SERIES/*.dcm    more may come
    ready/SERIES/*.dcm       whole; `result/` is written in it
    sending/SERIES/          *.dcm as received, result/*.dcm; each goes when the peer has it
    refused/SERIES/          *.dcm as received, result/outcome.json says why
    removing/                a series on its way out, under a name of no meaning

Names are digests of UIDs: nothing that a peer sends is part of a path.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ...atomic import FolderWriter, sync_folder, write_whole
from ...errors import Cancelled, InputError, OutputError
from ..hold import MIB
from .disk import (
    BLOCK_BYTES,
    cost_of,
    files_below,
    has_content,
    make_folders,
    number_in,
    open_own,
    remove,
)

ARRIVING, INCOMING, READY, SENDING, REFUSED = "arriving", "incoming", "ready", "sending", "refused"
REMOVING = "removing"
STATES = (INCOMING, READY, SENDING, REFUSED)
RESULT, OUTCOME = "result", "outcome.json"
# In the outcome: true or false.
WITH_ORIGINALS = "OriginalsToSend"

_INSTANCE = re.compile(r"[0-9a-f]{32}\.dcm")
# In a series' folder: how often its enhancement was begun and has not ended.
_BEGUN = "begun"
_MARGIN_BYTES = 256 * MIB
_COUNT_AGAIN_SECONDS = 5.0


class Full(Exception):
    """There is no room for what came."""


class Differs(Exception):
    """An instance is there already, with other content."""


@dataclass(frozen=True)
class Claim:
    """A ready series that is being worked on.

    Attributes
    ----------
    series : str
    folder : Path
    begun : int
        How often work on it was begun, this time with it; more than once after a crash.
    reopened : threading.Event
        Set when an instance was added to it: the work is of no use any more.
    """

    series: str
    folder: Path
    begun: int
    reopened: threading.Event = field(default_factory=threading.Event)


def series_name(study_uid: str, series_uid: str) -> str:
    """Name of a series' folder."""
    return _digest(f"{study_uid}\n{series_uid}")


def instance_name(instance_uid: str) -> str:
    """Name of an instance's file."""
    return f"{_digest(instance_uid)}.dcm"


class Spool:
    """The folder of all series, for one server at a time.

    Parameters
    ----------
    folder : Path
        Made when it is not there. What is in it is for this user alone.
    limit : int
        Bytes that it may take before instances are refused. Results are never refused.
    series_instances : int
        Instances that a series may have.

    Raises
    ------
    InputError
        It cannot be used, or another server uses it.
    """

    def __init__(self, folder: Path, limit: int, series_instances: int = 20_000) -> None:
        self.folder, self.limit = folder, limit
        self._series_instances = series_instances
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._claims: dict[str, Claim] = {}
        try:
            make_folders(folder)
            self._held = open_own(folder / "lock", "w")
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for state in (ARRIVING, *STATES, REMOVING):
                (folder / state).mkdir(exist_ok=True)
                # Whoever may look into the spool itself: patients' images are for this user alone.
                (folder / state).chmod(0o700)
            for state in (ARRIVING, REMOVING):
                for path in (folder / state).iterdir():
                    remove(path)
            sync_folder(folder)
        except BlockingIOError as error:
            raise InputError(
                f"expected a spool of its own, {folder} is used by another server; "
                "give another folder with --spool"
            ) from error
        except OSError as error:
            raise InputError(
                f"expected a folder to write to for the spool, {folder} cannot be used "
                f"({error.strerror}); give another one with --spool"
            ) from error
        self._count()

    def close(self) -> None:
        """Let another server have it."""
        self._held.close()

    @property
    def used(self) -> int:
        """Bytes that it takes."""
        return self._used

    def series_in(self, state: str) -> list[str]:
        """Series in a state, the one that has been there longest first."""
        found = []
        with os.scandir(self.folder / state) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_dir(follow_symlinks=False):
                        found.append((entry.stat().st_mtime_ns, entry.name))
        return [name for _when, name in sorted(found)]

    def arrive(self, parts: Sequence[bytes | memoryview]) -> Path:
        """Write an instance to the disk, where nobody looks for it yet.

        Raises
        ------
        Full
            The spool or the disk is full.
        """
        cost = sum(map(len, parts)) + BLOCK_BYTES
        self._take(cost)
        path = self.folder / ARRIVING / secrets.token_hex(16)
        try:
            with open_own(path, "xb") as stream:
                for part in parts:
                    stream.write(part)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            path.unlink(missing_ok=True)
            self._give(cost)
            raise Full(f"the disk does not take it ({error.strerror})") from error
        return path

    def drop(self, path: Path) -> None:
        """Forget an instance that arrived, or one that the peer has."""
        with self._lock:
            self._drop(path)

    def place(self, path: Path, series: str, instance: str) -> bool:
        """Put an instance that arrived where it belongs; False if it was there already.

        A series that was taken for whole is open again, and so is one that was refused.

        Raises
        ------
        Full
            The series has as many as it may have.
        Differs
        """
        with self._lock:
            kept = self._place_new(path, series, instance)
        if kept is None:
            return True
        # It may be large; it never changes, and stays readable wherever it goes.
        with kept:
            same = has_content(kept, path)
        self.drop(path)
        if not same:
            raise Differs
        return False

    def _place_new(self, path: Path, series: str, instance: str) -> BinaryIO | None:
        """Put an instance where it belongs, or open the one that is there already."""
        there = self.folder / READY / series / instance
        if not there.exists():
            self._open_again(series)
            there = self.folder / INCOMING / series / instance
        if there.exists():
            return open(there, "rb")
        folder = there.parent
        if not folder.exists():
            folder.mkdir(mode=0o700)
            sync_folder(folder.parent)
        if series not in self._counts:
            self._counts[series] = len(os.listdir(folder))
        if self._counts[series] >= self._series_instances:
            self._drop(path)
            raise Full(f"the series has {self._series_instances} instances")
        os.rename(path, there)
        sync_folder(folder)
        self._counts[series] += 1
        return None

    def finish(self, series: str) -> bool:
        """Take a series for whole; False if nothing of it is there."""
        with self._lock:
            self._counts.pop(series, None)
            folder = self.folder / INCOMING / series
            with contextlib.suppress(OSError):
                # A crash may have come before its first instance.
                folder.rmdir()
            if not folder.exists():
                return False
            self._move(series, INCOMING, READY, series)
            return True

    def begun(self, series: str) -> int:
        """How often work on a ready series was begun and has not ended."""
        return number_in(self.folder / READY / series / _BEGUN)

    def claim(self, series: str) -> Claim:
        """Begin work on a ready series: what an earlier try has left is removed.

        Raises
        ------
        Cancelled
            It is not ready any more.
        """
        with self._lock:
            folder = self.folder / READY / series
            if not folder.is_dir():
                raise Cancelled("more of the series has come")
            begun = self.begun(series) + 1
            left = [path for path in folder.iterdir() if not _INSTANCE.fullmatch(path.name)]
            for path in left:
                remove(path)
            with open_own(folder / _BEGUN, "w") as stream:
                stream.write(str(begun))
                stream.flush()
                os.fsync(stream.fileno())
            sync_folder(folder)
            if left:
                self._count()
            claim = Claim(series, folder, begun)
            self._claims[series] = claim
            return claim

    def give_back(self, claim: Claim) -> None:
        """End work without a result: this try does not count."""
        with self._lock:
            self._claims.pop(claim.series, None)
            if not claim.reopened.is_set():
                (claim.folder / _BEGUN).unlink(missing_ok=True)

    def settle(self, claim: Claim, result: FolderWriter, state: str) -> str:
        """End work with a result: all of it is written, and the series goes to its next state.

        Returns
        -------
        str
            Name of the series in that state: there may be an earlier one of its own name.

        Raises
        ------
        Cancelled
            More of the series has come.
        OutputError
            It cannot be written.
        """
        try:
            write_whole({claim.folder / RESULT: result})
        except OutputError:
            # Where its folder was renamed meanwhile, that is why.
            if not claim.reopened.is_set():
                raise
        with self._lock:
            if claim.reopened.is_set():
                raise Cancelled("more of the series has come")
            del self._claims[claim.series]
            (claim.folder / _BEGUN).unlink(missing_ok=True)
            self._used += sum(map(cost_of, (claim.folder / RESULT).iterdir()))
            name, number = claim.series, 1
            while (self.folder / state / name).exists():
                number += 1
                name = f"{claim.series}-{number}"
            self._move(claim.series, READY, state, name)
            return name

    def to_send(self, series: str) -> list[Path]:
        """Files of a series that the peer does not have yet: originals, then the result.

        Whether originals are among them was decided with the outcome, which says so.
        """
        folder = self.folder / SENDING / series
        found = sorted((folder / RESULT).glob("*.dcm"))
        if _with_originals(folder / RESULT / OUTCOME):
            received = sorted(path for path in folder.iterdir() if _INSTANCE.fullmatch(path.name))
            found = [*received, *found]
        return found

    def remove(self, series: str, state: str) -> None:
        """Remove a series and its result."""
        with self._lock:
            aside = self._set_aside(series, state)
        self._delete(aside)

    def remove_refused(self, older_than: float) -> list[str]:
        """Remove what was refused more than so many seconds ago; their names."""
        names = []
        for name in self.series_in(REFUSED):
            with self._lock:
                try:
                    since = (self.folder / REFUSED / name).stat().st_mtime
                except FileNotFoundError:
                    # More of it has come: it is open again.
                    continue
                if time.time() - since <= older_than:
                    continue
                aside = self._set_aside(name, REFUSED)
            self._delete(aside)
            names.append(name)
        return names

    def _set_aside(self, series: str, state: str) -> Path:
        """Take a series out of its state at once: from then on nothing is added to it."""
        aside = self.folder / REMOVING / secrets.token_hex(16)
        os.rename(self.folder / state / series, aside)
        for folder in (aside.parent, self.folder / state):
            sync_folder(folder)
        return aside

    def _delete(self, aside: Path) -> None:
        """Delete what was set aside; it may be large, so not under the lock."""
        cost = sum(map(cost_of, files_below(aside)))
        shutil.rmtree(aside)
        self._give(cost)

    def _drop(self, path: Path) -> None:
        cost = cost_of(path)
        path.unlink(missing_ok=True)
        self._used -= cost

    def _move(self, series: str, state: str, other: str, name: str) -> None:
        source, target = self.folder / state, self.folder / other
        os.rename(source / series, target / name)
        # Since when it is there.
        os.utime(target / name)
        for folder in (target, source):
            sync_folder(folder)

    def _open_again(self, series: str) -> None:
        # First, so that whoever misses its folder finds out why.
        if claim := self._claims.pop(series, None):
            claim.reopened.set()
        folder = self.folder / INCOMING / series
        for state in (READY, REFUSED):
            if (self.folder / state / series).exists() and not folder.exists():
                self._move(series, state, INCOMING, series)
                (folder / _BEGUN).unlink(missing_ok=True)

    def _take(self, cost: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if cost + _MARGIN_BYTES > free:
            raise Full("the disk is full")
        with self._lock:
            again = time.monotonic() - self._counted > _COUNT_AGAIN_SECONDS
            if self._used + cost > self.limit and again:
                # Somebody may have tidied up.
                self._count()
            if self._used + cost > self.limit:
                raise Full("the spool is full")
            self._used += cost

    def _give(self, cost: int) -> None:
        with self._lock:
            self._used -= cost

    def _count(self) -> None:
        self._used = sum(map(cost_of, files_below(self.folder)))
        self._counted = time.monotonic()


def _with_originals(outcome: Path) -> bool:
    """Say whether originals go with an outcome; where it does not say, rather than lose them."""
    try:
        record = json.loads(outcome.read_bytes())
    except (OSError, ValueError):
        return True
    return not isinstance(record, dict) or record.get(WITH_ORIGINALS) is not False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
