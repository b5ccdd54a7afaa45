"""What a library says on stderr by itself, kept off it."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import warnings
from collections.abc import Callable, Iterator


class _Shared:
    """A context of the whole process, of whichever threads: the first enters, the last leaves it.

    Parameters
    ----------
    begin : callable
        Puts what is to be undone at the end on the stack that it is given.
    """

    def __init__(self, begin: Callable[[contextlib.ExitStack], object]) -> None:
        self._begin = begin
        self._lock = threading.Lock()
        self._inside = 0
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._begin(self._undo)
            self._inside += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._undo.close()


def _ignore_warnings(undo: contextlib.ExitStack) -> None:
    undo.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")


def _silence(logger: logging.Logger, undo: contextlib.ExitStack) -> None:
    undo.callback(logger.setLevel, logger.level)
    logger.setLevel(logging.CRITICAL + 1)


_WARNINGS = _Shared(_ignore_warnings)
_LOGGERS: dict[str, _Shared] = {}


@contextlib.contextmanager
def quieted(logger_name: str) -> Iterator[None]:
    """While inside, no warning is shown, and nothing that the named logger is told.

    Threads share both: they are as before when the last one is outside again.

    Parameters
    ----------
    logger_name : str
        As `logging.getLogger` takes it.
    """
    silence = functools.partial(_silence, logging.getLogger(logger_name))
    with _WARNINGS, _LOGGERS.setdefault(logger_name, _Shared(silence)):
        yield
