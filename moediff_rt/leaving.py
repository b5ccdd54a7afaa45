"""The end of the process, also where a thread is still in the model."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable


class ModelThread(threading.Thread):
    """A daemon thread that may be in the model when the process is to end.

    Parameters
    ----------
    target : callable
    name : str
    """

    def __init__(self, target: Callable[[], None], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)
        self._ended = threading.Event()

    def run(self) -> None:
        """Call the target."""
        try:
            super().run()
        finally:
            self._ended.set()

    def wait(self, seconds: float) -> None:
        """Wait for its end, at most `seconds`.

        Until Python 3.13 a `join` that a signal has interrupted takes the thread for ended.
        """
        self._ended.wait(seconds)


def leave(code: int) -> int:
    """Give `code` back; where a `ModelThread` is still there, end the process with it at once.

    Python's own end would cut that thread off in the middle of C++, and so abort the process.
    """
    if any(isinstance(thread, ModelThread) for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    return code
