"""The series indices of one connection: those that came, and those that results are given."""

from __future__ import annotations

import threading

# Enhanced images go into a series of their own, this far from that of the originals.
SERIES_OFFSET = 1000
_INDICES = 1 << 16


class Numbering:
    """Gives each enhanced series an index that no other series of the connection has.

    It is 1000 above the original's, or the next one that is free of those known so far.

    Examples
    --------
    >>> numbering = Numbering()
    >>> for index in (1, 2, 1001):
    ...     numbering.receive(index)
    >>> numbering.enhanced(1), numbering.enhanced(2), numbering.enhanced(1)
    (1002, 1003, 1002)
    """

    def __init__(self) -> None:
        self._received: set[int] = set()
        self._given: dict[int, int] = {}
        self._lock = threading.Lock()

    def receive(self, index: int) -> int | None:
        """Take note that images of a series come.

        Returns
        -------
        int or None
            The series whose result has this index already; told with its first image alone.
        """
        with self._lock:
            if index in self._received:
                return None
            self._received.add(index)
            return next((source for source, given in self._given.items() if given == index), None)

    def enhanced(self, index: int) -> int:
        """Series index of what is made of a series, each time the same."""
        with self._lock:
            if index not in self._given:
                taken = self._received.union(self._given.values())
                first = index + SERIES_OFFSET
                choices = (number % _INDICES for number in range(first, first + _INDICES))
                free = (number for number in choices if number not in taken)
                # Of a peer that has used up all 65,536 there is none.
                self._given[index] = next(free, first % _INDICES)
            return self._given[index]
