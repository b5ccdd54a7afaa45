"""Which series of those that come in are whole: DICOM has no message that says so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field


@dataclass
class _Series:
    last: float
    senders: set[Hashable] = field(default_factory=set)
    broken: bool = False


class Arrivals:
    """Knows who sends which series, and when the last of it came.

    A series is whole `quiet_seconds` after its last instance, or after the last association that
    sent to it was released, whichever is later. Where that association was broken off, or is
    still open, or the server was started anew meanwhile, its sender may come back with the rest:
    then it is whole after `broken_seconds`.

    Parameters
    ----------
    quiet_seconds, broken_seconds : float
        0 for the former: as soon as the association is released.
    now : callable
        A clock, s.

    Examples
    --------
    >>> clock = iter([0.0, 1.0, 5.0, 12.0])
    >>> arrivals = Arrivals(10.0, 600.0, now=lambda: next(clock))
    >>> arrivals.came("series", sender=1)
    >>> arrivals.ended(1, released=True)
    >>> arrivals.take_whole(), arrivals.take_whole()
    ([], ['series'])
    """

    def __init__(
        self,
        quiet_seconds: float,
        broken_seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quiet, self._broken = quiet_seconds, max(quiet_seconds, broken_seconds)
        self._now = now
        self._lock = threading.Lock()
        self._series: dict[str, _Series] = {}

    def came(self, series: str, sender: Hashable) -> None:
        """Note that an instance of a series came, or is about to."""
        with self._lock:
            one = self._series.setdefault(series, _Series(0.0))
            one.last = self._now()
            one.senders.add(sender)

    def found(self, series: str) -> None:
        """Note a series that was there at the start."""
        with self._lock:
            self._series[series] = _Series(self._now(), broken=True)

    def ended(self, sender: Hashable, *, released: bool) -> None:
        """Note the end of an association. Only the first end of one counts."""
        with self._lock:
            for one in self._series.values():
                if sender in one.senders:
                    one.senders.remove(sender)
                    one.last, one.broken = self._now(), not released

    def take_whole(self) -> list[str]:
        """Hand over the series that are whole."""
        with self._lock:
            now = self._now()
            whole = [
                series
                for series, one in self._series.items()
                if now - one.last >= (self._broken if one.broken or one.senders else self._quiet)
            ]
            for series in whole:
                del self._series[series]
            return whole
