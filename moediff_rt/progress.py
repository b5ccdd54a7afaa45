"""Progress on a terminal as a bar, elsewhere as plain lines; notes beside it; and the answer."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Any, Protocol, TextIO

from .signals import already


class ProgressReport(Protocol):
    """A callable for `progress=`, closed at the end by `with`."""

    def __call__(self, done: int, total: int) -> None:
        """Take note that `done` of `total` tiles are done."""

    def __enter__(self) -> ProgressReport: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def progress_on(stream: TextIO, *, quiet: bool) -> ProgressReport:
    """Give a bar if `stream` is a terminal, a line every 10 % if not, nothing when `quiet`."""
    if quiet:
        return SilentProgress()
    return BarProgress(stream) if stream.isatty() else LineProgress(stream)


def say(text: str, stream: TextIO, end: str = "\n") -> None:
    """Print what nothing depends on: a full disk under the stream stops no run."""
    with contextlib.suppress(OSError):
        print(text, end=end, file=stream, flush=True)


class Unsaid(Exception):
    """Stdout does not take the answer."""


def answer(text: str, done: str = "") -> None:
    """Print on stdout what a command was asked for.

    Parameters
    ----------
    text : str
    done : str
        What was done all the same, where it cannot be printed.

    Raises
    ------
    Unsaid
        A full disk under stdout.
    Late
        A signal came, and `done` says what was done.
    BrokenPipeError
        Whoever reads it left early, as `head` does.
    """
    try:
        with already(done) if done else contextlib.nullcontext():
            print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        line = f"stdout cannot be written: {error.strerror}; free space where it goes"
        raise Unsaid(f"{line}; {done}" if done else line) from error


class SilentProgress:
    """Says nothing."""

    def __call__(self, done: int, total: int) -> None:
        """Ignore."""

    def __enter__(self) -> ProgressReport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to close."""


class LineProgress(SilentProgress):
    """One line each time another tenth is done.

    Examples
    --------
    >>> import sys
    >>> with LineProgress(sys.stdout) as report:
    ...     for done in range(1, 5):
    ...         report(done, 4)
     20 %  1 of 4 tiles
     50 %  2 of 4 tiles
     70 %  3 of 4 tiles
    100 %  4 of 4 tiles
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._tenths = 0

    def __call__(self, done: int, total: int) -> None:
        """Print a line if another tenth is done."""
        tenths = 10 * done // max(total, 1)
        if tenths > self._tenths:
            self._tenths = tenths
            say(f"{10 * tenths:3d} %  {done} of {total} tiles", self._stream)


class BarProgress(SilentProgress):
    """A bar with the time left."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        """Move the bar."""
        with contextlib.suppress(OSError):
            if self._bar is None:
                from tqdm import tqdm

                self._bar = tqdm(total=total, unit="tile", file=self._stream, leave=False)
            self._bar.update(done - self._bar.n)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.close()
