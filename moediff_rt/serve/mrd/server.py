"""The MRD server: peers in, one thread for each, and an end that leaves none without an answer."""

from __future__ import annotations

import argparse
import itertools
import socket
import threading
import time
from functools import partial

from ...leaving import ModelThread
from ..hold import Hold
from ..listening import bind, check_numbers, listen, say_listening
from ..logs import Log
from ..room import AT_ONCE_SECONDS, Room, open_room
from .answers import Answers, Settings
from .connection import Connection
from .enhance import Asked
from .limits import Limits
from .wire import TICK_SECONDS, Wire

# After the model was told to give up: for the last originals to go out.
_LAST_SECONDS = 15.0
_BREAK_SECONDS = 1.0  # for a thread to see that its connection is broken off


class MrdServer:
    """Listens, and serves each peer in a thread of its own.

    Parameters
    ----------
    bound : socket.socket
        Where to listen, of `listening.bind`; closed at the end.
    room : Room
    settings : Settings
    most_peers : int
        Peers served at once; more wait to be accepted.
    hold : Hold
        Memory for all peers' images.

    Raises
    ------
    InputError
        The address cannot be listened on.
    """

    def __init__(
        self,
        bound: socket.socket,
        room: Room,
        settings: Settings,
        *,
        most_peers: int,
        hold: Hold,
    ) -> None:
        self._room = room
        self._settings = settings
        self._hold = hold
        self._free = threading.Semaphore(most_peers)
        self._giving_up = threading.Event()
        self._peers: dict[Wire, ModelThread] = {}
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._log = Log("mrd")
        self._listener = bound
        self._listener.settimeout(TICK_SECONDS)
        listen(bound)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._listener.getsockname()[1])

    def serve(self, grace_seconds: float) -> None:
        """Serve until the room's `stopping` is set, and end within about `grace_seconds`.

        From then on nothing is accepted or read. A series that has the model, or waits for it,
        has the grace to be enhanced; what is not is returned as it came.

        Raises
        ------
        KeyboardInterrupt
            A second signal: there was no grace, and little time for what is returned.
        """
        try:
            with self._listener:
                while not self._room.stopping.is_set():
                    if self._free.acquire(timeout=TICK_SECONDS):
                        if not self._accept():
                            self._free.release()
            self._log.info("stopping", peers=len(self._peers))
            self._end(grace_seconds, _LAST_SECONDS)
        except KeyboardInterrupt:
            self._log.warning("giving up", peers=len(self._peers))
            self._room.stopping.set()
            self._end(0.0, AT_ONCE_SECONDS)
            raise

    def _end(self, grace_seconds: float, last_seconds: float) -> None:
        self._join(grace_seconds)
        self._giving_up.set()
        deadline = time.monotonic() + last_seconds
        self._join(last_seconds)
        with self._lock:
            for wire in self._peers:
                wire.break_off()
        self._join(max(_BREAK_SECONDS, deadline - time.monotonic()))

    def _accept(self) -> bool:
        try:
            connection, address = self._listener.accept()
        except TimeoutError:
            return False
        except OSError as error:
            # It left before it was accepted, or there are no more files to open: not for ever.
            self._log.warning("not accepted", reason=type(error).__name__)
            time.sleep(TICK_SECONDS)
            return False
        log = self._log.bind(connection=next(self._numbers))
        log.info("connected", host=address[0])
        received = self._room.metrics.bytes_received.inc
        wire = Wire(connection, self._room.stopping.is_set, received)
        thread = ModelThread(partial(self._serve, wire, log), "mrd peer")
        with self._lock:
            self._peers[wire] = thread
        try:
            thread.start()
        except RuntimeError:
            log.error("not served: no more threads")
            with self._lock:
                del self._peers[wire]
            connection.close()
            return False
        return True

    def _serve(self, wire: Wire, log: Log) -> None:
        metrics = self._room.metrics
        metrics.connections.inc()
        try:
            with (
                self._hold.share() as share,
                Answers(
                    wire, self._room, self._settings, share, self._giving_up.is_set, log
                ) as answers,
            ):
                Connection(wire, answers, self._settings, share, metrics, log).run()
        except Exception as error:
            log.error("connection failed", reason=type(error).__name__)
            log.debug("connection failed", exc_info=True)
        finally:
            wire.close()
            metrics.connections.dec()
            log.info("disconnected")
            with self._lock:
                del self._peers[wire]
            self._free.release()

    def _join(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        with self._lock:
            threads = list(self._peers.values())
        for thread in threads:
            thread.wait(max(0.0, deadline - time.monotonic()))


def serve_mrd(options: argparse.Namespace) -> None:
    """Run the server with the command's options until a signal.

    Raises
    ------
    InputError, BackendError, BundleError, EngineError
        An option cannot be used, the model cannot be loaded, or the address not listened on.
    KeyboardInterrupt
        A second signal.
    """
    check_numbers(options, hold=0.01, stop_after=0, idle_timeout=1, max_connections=1)
    limits = Limits(idle_seconds=options.idle_timeout)
    with bind(options.host, options.port) as bound, open_room(options) as room:
        with room.model.turn() as session:
            bundle = session.bundle
        settings = Settings(
            Asked(
                bundle,
                options.spacing,
                options.steps,
                options.seed,
                options.planes,
                limits.output_voxels,
            ),
            options.send_originals,
            options.any_contrast,
            limits,
        )
        server = MrdServer(
            bound,
            room,
            settings,
            most_peers=options.max_connections,
            hold=Hold(round(1e9 * options.hold)),
        )
        say_listening(room, Log("mrd"), "MRD", options.host, server.port)
        server.serve(options.stop_after)
