"""Bytes to and from one peer, each in a time of its own, so that no peer holds the server."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable

from ..errors import PeerGone, Stopping
from ..listening import ready_for_messages

# How often a thread that waits for a peer looks up.
TICK_SECONDS = 0.25
_CHUNK = 1 << 20
# A peer that still sends after the last message: how long, and how much of it, is read.
_LINGER_SECONDS = 5.0
_LINGER_BYTES = 64 << 20


class Wire:
    """A connected socket, read and written whole pieces at a time.

    Parameters
    ----------
    connection : socket.socket
    stopping : callable
        True from when nothing more is to be read.
    on_bytes : callable
        Told how many bytes came.
    """

    def __init__(
        self,
        connection: socket.socket,
        stopping: Callable[[], bool],
        on_bytes: Callable[[int], object],
    ) -> None:
        self._socket = connection
        self._stopping = stopping
        self._on_bytes = on_bytes
        connection.settimeout(TICK_SECONDS)
        ready_for_messages(connection)

    def read(
        self, count: int, seconds: float, before_each: Callable[[int], object] = lambda count: None
    ) -> bytearray:
        """Read `count` bytes.

        Parameters
        ----------
        count : int
        seconds : float
            How long it may take.
        before_each : callable
            Told how many bytes are about to be kept, piece by piece; may refuse them.

        Raises
        ------
        PeerGone
            The peer left before the end, or took too long.
        Stopping
            The server was told to stop.
        """
        data = bytearray()
        deadline = time.monotonic() + seconds
        while len(data) < count:
            piece = self._receive(min(count - len(data), _CHUNK), deadline)
            if not piece:
                raise PeerGone("left within a message")
            before_each(len(piece))
            data += piece
        return data

    def read_or_end(self, count: int, seconds: float) -> bytearray | None:
        """As `read`, with None for a peer that ended before the first byte."""
        piece = self._receive(count, time.monotonic() + seconds)
        if not piece:
            return None
        return bytearray(piece) + self.read(count - len(piece), seconds)

    def skip(self, count: int, seconds: float) -> None:
        """Read `count` bytes and keep none."""
        deadline = time.monotonic() + seconds
        while count:
            piece = self._receive(min(count, _CHUNK), deadline)
            if not piece:
                raise PeerGone("left within a message")
            count -= len(piece)

    def write(self, data: bytes | bytearray | memoryview, seconds: float) -> None:
        """Write all of `data`; `PeerGone` if the peer left or takes longer than `seconds`."""
        deadline = time.monotonic() + seconds
        rest = memoryview(data).cast("B")
        while rest:
            try:
                rest = rest[self._socket.send(rest[:_CHUNK]) :]
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise PeerGone("does not read what is sent") from None
            except OSError as error:
                raise PeerGone(_words(error)) from error

    def is_broken(self) -> bool:
        """Say whether the connection is known to be broken, not only ended on the peer's side."""
        poll = select.poll()
        try:
            poll.register(self._socket, 0)
            return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
        except (OSError, ValueError):
            return True

    def break_off(self) -> None:
        """Let every read and write, from any thread, end at once."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End what is sent, read the rest of what comes for a while, and close.

        Closing over unread bytes would reset the connection, and the peer would lose what it has
        not read yet.
        """
        deadline, left = time.monotonic() + _LINGER_SECONDS, _LINGER_BYTES
        with contextlib.suppress(OSError), self._socket:
            self._socket.shutdown(socket.SHUT_WR)
            while left > 0 and time.monotonic() < deadline:
                with contextlib.suppress(TimeoutError):
                    piece = self._socket.recv(_CHUNK)
                    if not piece:
                        return
                    left -= len(piece)

    def _receive(self, count: int, deadline: float) -> bytes:
        """Some bytes, at most `count`; none when the peer ended."""
        while True:
            if self._stopping():
                raise Stopping
            try:
                piece = self._socket.recv(count)
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise PeerGone("said nothing for too long") from None
                continue
            except OSError as error:
                raise PeerGone(_words(error)) from error
            if time.monotonic() > deadline:
                raise PeerGone("sent too slowly")
            self._on_bytes(len(piece))
            return piece


def _words(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
