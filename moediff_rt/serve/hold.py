"""The memory that what peers send may take, all of them together."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from .errors import Refused

MIB = 1 << 20


class Hold:
    """The memory that all peers' images may take together, and each one's share of it.

    Parameters
    ----------
    limit : int
        Bytes, all peers together. One peer may hold half.

    Attributes
    ----------
    taken : int
        Bytes held now.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self.lock = threading.Lock()

    def share(self) -> Share:
        """Open an account for one peer."""
        return Share(self)


class Share:
    """What one peer holds, for all threads that serve it. Leaving the `with` block ends it."""

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self._own = 0

    def take(self, count: int) -> None:
        """Hold `count` more bytes; `Refused` beyond the limits."""
        hold = self._hold
        with hold.lock:
            if self._own + count > hold.limit // 2:
                raise Refused(
                    f"expected at most {hold.limit // 2 // MIB} MiB of images in a connection, "
                    "got more; send fewer series in one, or start the server with a larger --hold"
                )
            if hold.taken + count > hold.limit:
                raise Refused(
                    f"expected at most {hold.limit // MIB} MiB of images held at once, other "
                    "connections hold the rest; send again later, or start the server with a "
                    "larger --hold"
                )
            self._own += count
            hold.taken += count

    def give(self, count: int) -> None:
        """Hold `count` bytes less."""
        with self._hold.lock:
            self._own -= count
            self._hold.taken -= count

    @contextlib.contextmanager
    def holding(self, count: int) -> Iterator[None]:
        """Hold `count` more bytes while inside; `Refused` beyond the limits."""
        self.take(count)
        try:
            yield
        finally:
            self.give(count)

    def __enter__(self) -> Share:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.end()

    def end(self) -> None:
        """Hold nothing any more."""
        self.give(self._own)
