"""The side that peers send to: C-ECHO and C-STORE of MR images, in bounds."""

from __future__ import annotations

import itertools
import socket
import socketserver
import threading
import time
from collections.abc import Sequence
from typing import Any

from ...dicom.kinds import READ
from ..hold import Hold
from ..listening import listen
from ..logs import Log
from ..metrics import Metrics
from .guard import Guard
from .limits import Limits
from .package import AE, ThreadedAssociationServer, evt
from .receive import Reception

VERIFICATION = "1.2.840.10008.1.1"
# What the reader of series can decode, without loss first; nothing deflated: its size is unknown.
TRANSFER_SYNTAXES = (
    "1.2.840.10008.1.2.1",  # explicit VR, little endian
    "1.2.840.10008.1.2",  # implicit VR, little endian
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.5",  # RLE lossless
    "1.2.840.10008.1.2.4.51",  # JPEG extended
    "1.2.840.10008.1.2.4.81",  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
)
_POLL_SECONDS = 0.2


class Acceptor:
    """Listens, and hands what peers store to the reception.

    Parameters
    ----------
    bound : socket.socket
        Where to listen, of `listening.bind`; closed at the end.
    title : str
        AE title that peers have to call.
    accepted : sequence of str
        AE titles that may call; none: all may.
    reception : Reception
    limits : Limits
    hold : Hold
        Memory for what all peers have under way.
    metrics : Metrics
    log : Log

    Raises
    ------
    InputError
        The address cannot be listened on.
    """

    def __init__(
        self,
        bound: socket.socket,
        title: str,
        accepted: Sequence[str],
        *,
        reception: Reception,
        limits: Limits,
        hold: Hold,
        metrics: Metrics,
        log: Log,
    ) -> None:
        self._metrics, self._log = metrics, log
        entity = AE(ae_title=title)
        entity.require_called_aet = True
        entity.require_calling_aet = list(accepted)
        entity.maximum_associations = limits.associations
        entity.maximum_pdu_size = limits.offered_pdu_bytes
        entity.acse_timeout = limits.first_seconds
        entity.network_timeout = limits.idle_seconds
        entity.add_supported_context(VERIFICATION)
        for sop_class in READ:
            entity.add_supported_context(sop_class, list(TRANSFER_SYNTAXES))
        handlers = [
            (evt.EVT_C_STORE, reception.store),
            (evt.EVT_RELEASED, reception.association_ended(released=True)),
            (evt.EVT_ABORTED, reception.association_ended(released=False)),
            (evt.EVT_REJECTED, self._rejected),
        ]
        self._server = entity.make_server(
            bound.getsockname(),
            evt_handlers=handlers,
            server_class=_Listener,
            bound=bound,
            limits=limits,
            hold=hold,
            metrics=metrics,
            log=log,
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            args=(_POLL_SECONDS,),
            name="dicom accept",
            daemon=True,
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def stop_listening(self) -> None:
        """Take no new peer; those that are there are served on."""
        self._server.stop()
        self._thread.join()

    def wait_for_peers(self, deadline: float) -> None:
        """Wait until every peer has left, at most until a time of the monotonic clock."""
        for association in self._server.active_associations:
            association.join(max(0.0, deadline - time.monotonic()))

    def end(self, seconds: float) -> None:
        """Break off who is still there; their threads have `seconds` to see it."""
        self._server.break_off()
        self.wait_for_peers(time.monotonic() + seconds)

    def _rejected(self, event: Any) -> None:
        self._metrics.refused.labels("association").inc()
        self._log.warning("association rejected: an AE title, or too many associations")
        asked = event.assoc.requestor.primitive
        self._log.debug(
            "association rejected", called=asked.called_ae_title, calling=asked.calling_ae_title
        )


class _Listener(ThreadedAssociationServer):  # type: ignore[misc]
    """Accepts connections up to a number, each behind a guard."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        *args: Any,
        bound: socket.socket,
        limits: Limits,
        hold: Hold,
        metrics: Metrics,
        log: Log,
        **more: Any,
    ) -> None:
        self._bound = bound
        self._limits, self._hold, self._metrics, self._log = limits, hold, metrics, log
        self._guards: set[Guard] = set()
        self._guards_lock = threading.Lock()
        self._numbers = itertools.count(1)
        super().__init__(*args, **more)

    def server_bind(self) -> None:
        """Take the socket that is bound already for the one that `socketserver` has made."""
        self.socket.close()
        self.socket: socket.socket = self._bound
        self.socket.settimeout(self.ae.network_timeout)
        self.server_address = self._bound.getsockname()

    def server_activate(self) -> None:
        """Let peers connect."""
        listen(self.socket)

    def get_request(self) -> tuple[Guard, Any]:
        """Accept one connection; OSError for one too many, as `socketserver` has it."""
        connection, address = super().get_request()
        with self._guards_lock:
            if len(self._guards) >= 2 * self._limits.associations:
                connection.close()
                self._metrics.refused.labels("connection").inc()
                self._log.warning("connection closed: too many", host=address[0])
                raise ConnectionAbortedError
            log = self._log.bind(connection=next(self._numbers))
            guard = Guard(
                connection,
                self._limits,
                self._hold.share(),
                on_bytes=self._metrics.bytes_received.inc,
                on_refused=lambda reason: self._refused(log, reason),
                on_close=lambda: self._closed(log, guard),
            )
            self._guards.add(guard)
        self._metrics.connections.inc()
        log.info("connected", host=address[0])
        return guard, address

    def stop(self) -> None:
        """Accept nothing more. pynetdicom's own `shutdown` is for servers that its AE started."""
        socketserver.BaseServer.shutdown(self)
        self.server_close()

    def break_off(self) -> None:
        """End every connection."""
        with self._guards_lock:
            guards = list(self._guards)
        for guard in guards:
            guard.shutdown()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log, where `socketserver` would print a traceback."""
        self._log.error("connection failed")
        self._log.debug("connection failed", exc_info=True)

    def _refused(self, log: Log, reason: str) -> None:
        self._metrics.refused.labels("message").inc()
        log.warning("connection broken off", reason=reason)

    def _closed(self, log: Log, guard: Guard) -> None:
        with self._guards_lock:
            self._guards.discard(guard)
        self._metrics.connections.dec()
        log.info("disconnected")
