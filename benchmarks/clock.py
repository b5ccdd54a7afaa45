"""How long each stage of a run takes."""

from __future__ import annotations

import time


class Clock:
    """Wall time by stage, each from lap to lap."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """End a stage: what passed since the last lap is its own."""
        now = time.perf_counter()
        self.add(stage, now - self._last)
        self._last = now

    def add(self, stage: str, seconds: float) -> None:
        """Count time that was measured elsewhere."""
        self.laps[stage] = self.laps.get(stage, 0.0) + float(seconds)
