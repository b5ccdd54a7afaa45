"""A connected socket for pynetdicom, which bounds what a peer sends before pynetdicom keeps it.

pynetdicom reads a PDU of any length that its header names, and a message of any number of PDUs,
into memory, in any time.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections import deque
from collections.abc import Callable

from ..errors import Refused
from ..hold import Share
from ..listening import ready_for_messages
from .limits import Limits

_P_DATA = 4
# Both a PDU's header and a presentation data value's are of six bytes.
_HEADER_BYTES = 6
_COMMAND, _LAST = 1, 2


class Framing:
    """Follows the PDUs in a stream of bytes, without keeping them.

    PS3.8 section 9.3.1 (PDU header), 9.3.5 (P-DATA-TF) and annex E (message control header).

    Parameters
    ----------
    pdu_bytes : int
        What a PDU may have after its header.

    Attributes
    ----------
    commands : int
        Command sets whose last fragment began: one a DIMSE message.
    data_bytes : int
        Of P-DATA PDUs.
    """

    def __init__(self, pdu_bytes: int) -> None:
        self.commands = self.data_bytes = 0
        self._pdu_bytes = pdu_bytes
        self._header = bytearray()
        self._skip = 0
        self._is_data = False
        # Of a P-DATA PDU: bytes after the value that is being skipped.
        self._left = 0

    @property
    def is_between(self) -> bool:
        """The last PDU is whole, and nothing of the next has come."""
        return not (self._header or self._skip or self._left)

    def feed(self, piece: bytes | bytearray | memoryview) -> None:
        """Follow some bytes; `Refused` where they are no PDUs, or too long ones."""
        view = memoryview(piece)
        while view:
            if self._skip:
                count = min(self._skip, len(view))
                self._skip -= count
                self.data_bytes += count if self._is_data else 0
            else:
                count = min(_HEADER_BYTES - len(self._header), len(view))
                self._header += view[:count]
                if len(self._header) == _HEADER_BYTES:
                    if self._left:
                        self._begin_value()
                    else:
                        self._begin_pdu()
                    self._header.clear()
            view = view[count:]

    def _begin_pdu(self) -> None:
        kind, length = struct.unpack(">BxL", self._header)
        if length > self._pdu_bytes:
            raise Refused(f"expected PDUs of at most {self._pdu_bytes} bytes, got {length}")
        self._is_data = kind == _P_DATA
        if self._is_data:
            self.data_bytes += _HEADER_BYTES
            self._left = length
            self._check_left()
        else:
            self._skip = length

    def _begin_value(self) -> None:
        length, control = struct.unpack(">LxB", self._header)
        self.data_bytes += _HEADER_BYTES
        # The length counts the context ID and the control header.
        self._skip = length - 2
        self._left -= _HEADER_BYTES + self._skip
        if self._skip < 0 or self._left < 0:
            raise Refused("expected presentation data values that fit their PDU, got others")
        self._check_left()
        if control & _COMMAND and control & _LAST:
            self.commands += 1

    def _check_left(self) -> None:
        if 0 < self._left < _HEADER_BYTES:
            raise Refused("expected a presentation data value, got the rest of a PDU")


class Guard:
    """A socket as pynetdicom's associations use it; ends the connection where a bound is passed.

    Parameters
    ----------
    connection : socket.socket
    limits : Limits
    share : Share
        Pays for the bytes of messages that have no answer yet. Ended with the connection.
    on_bytes, on_refused : callable
        Told how many bytes came; told why a connection is ended.
    on_close : callable
        Called once.
    now : callable
        A clock, s.
    """

    def __init__(
        self,
        connection: socket.socket,
        limits: Limits,
        share: Share,
        *,
        on_bytes: Callable[[int], object] = lambda count: None,
        on_refused: Callable[[str], object] = lambda reason: None,
        on_close: Callable[[], object] = lambda: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket = connection
        self._limits = limits
        self._share = share
        self._on_bytes, self._on_refused, self._on_close = on_bytes, on_refused, on_close
        self._from_peer, self._to_peer = (Framing(limits.pdu_bytes) for _ in range(2))
        # Bytes of each message without an answer, and of what came before the next one's command.
        self._messages: deque[int] = deque()
        self._before = 0
        self._since: float | None = None
        self._now = now
        self._closed = False
        ready_for_messages(connection)

    def recv(self, count: int) -> bytes:
        """Read at most `count` bytes.

        Raises
        ------
        OSError
            The connection is broken, or was ended here.
        """
        if self._since is None:
            self._since = self._now()
        self._socket.settimeout(self._limits.stall_seconds)
        piece = self._socket.recv(count)
        # Many senders hold back a message's data until its command is acknowledged: 40 ms each.
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        try:
            self._take(piece)
        except Refused as refused:
            self._on_refused(str(refused))
            self.shutdown()
            raise ConnectionAbortedError(str(refused)) from refused
        return piece

    def send(self, data: bytes | memoryview) -> int:
        """Write some bytes; how many."""
        self._socket.settimeout(self._limits.stall_seconds)
        count = self._socket.send(data)
        answers = self._to_peer.commands
        with contextlib.suppress(Refused):
            self._to_peer.feed(memoryview(data)[:count])
        for _ in range(self._to_peer.commands - answers):
            if self._messages:
                self._share.give(self._messages.popleft())
        self._since = self._now() if self._messages or self._before else None
        return count

    def fileno(self) -> int:
        """For `select`."""
        return self._socket.fileno()

    def shutdown(self, how: int = socket.SHUT_RDWR) -> None:
        """End the connection, also one that the peer has ended; reads from any thread return."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(how)

    def close(self) -> None:
        """Close, and give back what was held."""
        self._socket.close()
        if not self._closed:
            self._closed = True
            self._share.end()
            self._on_close()

    def _take(self, piece: bytes) -> None:
        self._on_bytes(len(piece))
        commands, before = self._from_peer.commands, self._from_peer.data_bytes
        self._from_peer.feed(piece)
        count = self._from_peer.data_bytes - before
        self._share.take(count)
        if self._messages:
            self._messages[-1] += count
        else:
            self._before += count
        for _ in range(self._from_peer.commands - commands):
            self._messages.append(self._before)
            self._before = 0
        held = sum(self._messages) + self._before
        limits = self._limits
        if held > limits.instance_bytes + 2 * limits.pdu_bytes:
            raise Refused(f"expected instances of at most {limits.instance_bytes} bytes, got more")
        if len(self._messages) > limits.unanswered:
            raise Refused(f"expected one message at a time, got {limits.unanswered} unanswered")
        if self._since is not None:
            if self._now() - self._since > limits.seconds_for(held):
                raise Refused("sent too slowly")
            if not self._messages and not self._before and self._from_peer.is_between:
                self._since = None
