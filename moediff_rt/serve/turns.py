"""One model in memory, and whose turn it is."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from ..errors import Cancelled

# How often a waiting peer is asked whether it still wants its turn.
_ASK_SECONDS = 0.2

T = TypeVar("T")


class Turns(Generic[T]):
    """Lends one thing, such as a `Session`, to one thread at a time, first come, first served.

    A peer that waits with one piece of work at a time gets as many turns as every other, however
    much work each has.

    Parameters
    ----------
    lent : object
        What `turn` gives.

    Examples
    --------
    >>> turns = Turns("the model")
    >>> with turns.turn() as model:
    ...     print(model, turns.waiting)
    the model 0
    """

    def __init__(self, lent: T) -> None:
        self._lent = lent
        self._queue: deque[object] = deque()
        self._moved = threading.Condition()

    @property
    def waiting(self) -> int:
        """How many wait, without the one whose turn it is."""
        return max(0, len(self._queue) - 1)

    @contextlib.contextmanager
    def turn(self, give_up: Callable[[], bool] = lambda: False) -> Iterator[T]:
        """Wait for a turn, and have it until the end of the `with` block.

        Parameters
        ----------
        give_up : callable
            Asked a few times a second while waiting; True leaves the queue.

        Raises
        ------
        Cancelled
            `give_up` returned True before the turn came.
        """
        ticket = object()
        with self._moved:
            self._queue.append(ticket)
        try:
            self._wait(ticket, give_up)
            yield self._lent
        finally:
            with self._moved:
                self._queue.remove(ticket)
                self._moved.notify_all()

    def _wait(self, ticket: object, give_up: Callable[[], bool]) -> None:
        with self._moved:
            while self._queue[0] is not ticket:
                self._moved.wait(_ASK_SECONDS)
                if give_up():
                    raise Cancelled("given up while waiting for the model")
