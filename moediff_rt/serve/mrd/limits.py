"""How much a peer may send, and how long it may take."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import Refused

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bounds on what comes from the wire.

    Attributes
    ----------
    text_bytes, header_bytes, attribute_bytes, image_bytes : int
        Of a text or configuration, of the XML header, of an image's attribute string, of an
        image's voxels. The last also bounds the raw data and waveforms that are skipped.
    series_images : int
        Images in one series.
    volumes : int
        Volumes in one connection.
    output_voxels : int
        Of an enhanced volume; for a larger one the originals are returned.
    first_seconds, idle_seconds : float
        Until a peer's first message, and from one message to the next.
    stall_seconds, bytes_per_second : float
        A message may take the former and its size by the latter, in either direction.
    """

    text_bytes: int = MIB
    header_bytes: int = 4 * MIB
    attribute_bytes: int = 4 * MIB
    image_bytes: int = 512 * MIB
    series_images: int = 4096
    volumes: int = 1024
    output_voxels: int = 400_000_000
    first_seconds: float = 30.0
    idle_seconds: float = 3600.0
    stall_seconds: float = 30.0
    bytes_per_second: float = 1e6

    def seconds_for(self, count: int) -> float:
        """How long a message of `count` bytes may take, s."""
        return self.stall_seconds + count / self.bytes_per_second


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
        self.give(self._own)
