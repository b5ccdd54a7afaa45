"""How time, memory and error are measured."""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

# What bf16 or int8 may be off from float32 over the whole way, as a relative error.
LOW_PRECISION_ERROR = 5e-3


def relative_error(found: np.ndarray, truth: np.ndarray) -> float:
    """Euclidean distance over the truth's norm."""
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of a call, and what it gave."""
    begin = time.perf_counter()
    found = work()
    return time.perf_counter() - begin, found


def best_seconds(work: Callable[[], Any], rounds: int = 5) -> float:
    """Shortest of several calls, after one that is not counted."""
    work()
    spent = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begin)
    return min(spent)


def median_run(seconds: Sequence[float], runs: Sequence[Any]) -> Any:
    """The run whose time is the median; of an even number, the faster of the middle two."""
    return runs[seconds.index(statistics.median_low(seconds))]


class PeakMemory:
    """The most memory that a block takes beyond what the process had before.

    Linux's high-water mark, set back at the block's start; `bytes` is there at its end.
    """

    def __enter__(self) -> PeakMemory:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        self._before = status_bytes("VmRSS")
        self.bytes = 0
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bytes = max(0, status_bytes("VmHWM") - self._before)


def status_bytes(field: str) -> int:
    """A size of this process as Linux counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    raise ValueError(f"status_bytes: expected {field} in /proc/self/status, found none")
