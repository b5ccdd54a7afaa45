"""Engines' threads do not come along into a forked process, which would wait for them for ever."""

from __future__ import annotations

import os

from .errors import EngineError

_process: int | None = None  # the one that has used engines


def check_process() -> None:
    """Note that this process uses engines; EngineError where the one it was forked from has."""
    global _process
    if _process not in (None, os.getpid()):
        raise EngineError(
            "engine: expected engines in a process that has used none when it was forked, found "
            "one forked from a process that has; they would never answer: start it another way, "
            "as multiprocessing's 'spawn' does, or before the first scan"
        )
    _process = os.getpid()
