"""The signals that end a process: raised so that it cleans up, or held back where it may not end.

That is where things would be left half done.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, NoReturn

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# As shells say that a signal ended a command; 130 for Ctrl-C, 143 for SIGTERM.
SIGNALLED = 128


class Stopped(KeyboardInterrupt):
    """A scheduler or a closed terminal ended the command: clean up as after Ctrl-C."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class Late(KeyboardInterrupt):
    """A signal came when all was done; the text says what, the cause is what the signal raised."""


@contextlib.contextmanager
def already(done: str) -> Iterator[None]:
    """Let what ends a command within the block say what was done before it."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Late(done) from stop


def is_heeded(signum: int) -> bool:
    """Say whether a signal does anything here, and Python knows what.

    `nohup` has SIGHUP ignored, and a shell without job control SIGINT for what runs behind it.
    """
    return signal.getsignal(signum) not in (signal.SIG_IGN, None)


@contextlib.contextmanager
def signals_raised() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a command through its clean-up, unless they are in use."""

    def stop(signum: int, _frame: FrameType | None) -> NoReturn:
        raise Stopped(signum)

    taken = []
    try:
        for signum in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(signum) is signal.SIG_DFL:
                # Only the main thread may; elsewhere signals are the caller's.
                with contextlib.suppress(ValueError):
                    signal.signal(signum, stop)
                    taken.append(signum)
        yield
    finally:
        for signum in taken:
            signal.signal(signum, signal.SIG_DFL)


def describe_end(stop: BaseException | None) -> tuple[str, str, int]:
    """How a command ended and what it leaves, in words, and its exit code, by what ended it."""
    kept = "nothing was written"
    if isinstance(stop, Late):
        kept, stop = str(stop), stop.__cause__
    if isinstance(stop, Stopped):
        return f"stopped by {signal.Signals(stop.signum).name}", kept, SIGNALLED + stop.signum
    return "interrupted", kept, SIGNALLED + signal.SIGINT


class HeldSignals:
    """While inside, `hold` lets the signals of `ENDING` wait until the end of the `with` block.

    Threads other than the main one have nothing to hold: Python handles signals on that one alone.

    Parameters
    ----------
    done : str
        What is done when the block has ended well.

    Raises
    ------
    Late
        At the end of a block that ended well: a signal came, and raised a KeyboardInterrupt.
    """

    def __init__(self, done: str) -> None:
        self._done = done
        self._holding = False
        self._came: list[int] = []
        self._handlers: dict[int, Any] = {}

    def hold(self) -> None:
        """Let what comes from now on wait."""
        self._holding = True

    def __enter__(self) -> HeldSignals:
        if threading.current_thread() is threading.main_thread():
            for signum in filter(is_heeded, ENDING):
                self._handlers[signum] = signal.getsignal(signum)
                signal.signal(signum, self._take)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        stop = self._give_back()
        self._holding = False
        try:
            for signum in self._came:
                signal.raise_signal(signum)
        except KeyboardInterrupt as raised:
            stop = raised
        if stop is None:
            return
        if kind is not None:
            raise stop
        raise Late(self._done) from stop

    def _give_back(self) -> KeyboardInterrupt | None:
        """Restore every handler, also where one that is back again already interrupts this."""
        stop = None
        while True:
            try:
                for signum, handler in self._handlers.items():
                    signal.signal(signum, handler)
                return stop
            except KeyboardInterrupt as raised:
                stop = raised

    def _take(self, signum: int, frame: FrameType | None) -> None:
        handler = self._handlers[signum]
        if self._holding:
            self._came.append(signum)
        elif callable(handler):
            handler(signum, frame)
        else:
            signal.signal(signum, handler)
            signal.raise_signal(signum)
