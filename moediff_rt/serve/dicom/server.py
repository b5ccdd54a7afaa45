"""The DICOM server: peers in, series through the model, results out, each at its own pace."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
import socket
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ...cache import NO_HOME, home_folder
from ...errors import InputError, OutputError
from ...leaving import ModelThread
from ..hold import MIB, Hold
from ..listening import bind, check_numbers, say_listening
from ..logs import Log
from ..room import AT_ONCE_SECONDS, Room, open_room
from .acceptor import Acceptor
from .arrivals import Arrivals
from .enhance import Asked, Enhancing
from .limits import Limits
from .package import quiet_network
from .receive import Reception
from .send import Peer, Sending
from .spool import INCOMING, STATES, Spool

_TICK_SECONDS = 0.1
_TIDY_SECONDS = 600.0
# After the model and the sender were told to give up.
_LAST_SECONDS = 30.0
_DAY = 86400.0
# PS3.5: an AE title is of up to 16 printable characters, without a backslash.
_TITLE = re.compile(r"[ -\[\]-~]{1,16}")


class DicomServer:
    """All that the server is made of, over one spool.

    Parameters
    ----------
    room : Room
    spool : Spool
    arrivals : Arrivals
    asked : Asked
    peer : Peer
        Where results go.
    bound : socket.socket
        Where to listen, of `listening.bind`; closed at the end.
    title : str
        Its AE title.
    accepted : sequence of str
        AE titles that may call; none: all may.
    limits : Limits
    hold : Hold
        Memory for what peers have under way.
    most_wait : float
        Bound of the time between two tries to send, s.
    keep_refused : float or None
        How long refused series are kept, s; None: until somebody removes them.

    Raises
    ------
    InputError
        The address cannot be listened on.
    """

    def __init__(
        self,
        room: Room,
        spool: Spool,
        arrivals: Arrivals,
        asked: Asked,
        peer: Peer,
        *,
        bound: socket.socket,
        title: str,
        accepted: tuple[str, ...] = (),
        limits: Limits,
        hold: Hold,
        most_wait: float,
        keep_refused: float | None = None,
    ) -> None:
        self._room, self._spool, self._arrivals = room, spool, arrivals
        self._keep_refused = keep_refused
        self._give_up = threading.Event()
        self._failed: str | None = None
        self._log = Log("dicom")
        self._sending = Sending(
            spool,
            peer,
            title,
            most_wait=most_wait,
            limits=limits,
            stopping=room.stopping,
            give_up=self._give_up,
            metrics=room.metrics,
            log=self._log,
        )
        self._enhancing = Enhancing(
            spool, room, asked, limits, self._give_up, self._sending.look, self._log
        )
        for series in spool.series_in(INCOMING):
            arrivals.found(series)
        _watch(room.metrics.registry, spool)
        self._acceptor = Acceptor(
            bound,
            title,
            accepted,
            reception=Reception(spool, arrivals, limits, hold, room.metrics, self._log),
            limits=limits,
            hold=hold,
            metrics=room.metrics,
            log=self._log,
        )

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._acceptor.port

    def serve(self, grace_seconds: float) -> None:
        """Serve until the room's `stopping` is set, and end within about `grace_seconds`.

        From then on no peer is accepted. Peers that are there, the series that has the model and
        the one that is being sent have the grace to come to their end; what does not is in the
        spool, for the next start.

        Raises
        ------
        OutputError
            The spool could not be used any more.
        KeyboardInterrupt
            A second signal: there was no grace.
        """
        workers = [
            ModelThread(partial(self._working, work.run), name)
            for name, work in (("dicom enhance", self._enhancing), ("dicom send", self._sending))
        ]
        for worker in workers:
            worker.start()
        try:
            self._run()
            self._log.info("stopping")
            self._end(workers, grace_seconds, _LAST_SECONDS)
        except KeyboardInterrupt:
            self._log.warning("giving up")
            self._room.stopping.set()
            self._end(workers, 0.0, AT_ONCE_SECONDS)
            raise
        if self._failed is not None:
            raise OutputError(
                f"expected a spool to work in, it cannot be used any more ({self._failed}); "
                "check the disk and start again: what is in it is gone on with"
            )

    def _run(self) -> None:
        """Hand on what is whole until the server is to stop."""
        tidied = -math.inf
        while not self._room.stopping.is_set():
            for series in self._arrivals.take_whole():
                self._finish(series)
            if self._keep_refused is not None and time.monotonic() - tidied > _TIDY_SECONDS:
                tidied = time.monotonic()
                self._tidy(self._keep_refused)
            # No wait for the event: its lock would be held while a signal is to set it.
            time.sleep(_TICK_SECONDS)

    def _tidy(self, keep: float) -> None:
        try:
            for name in self._spool.remove_refused(keep):
                self._log.info("refused series removed", series=name)
        except OSError as error:
            # Peers are served all the same; it is tried again at the next time.
            self._log.error("refused series not removed", reason=type(error).__name__)

    def _finish(self, series: str) -> None:
        try:
            is_ready = self._spool.finish(series)
        except OSError as error:
            self._log.error("series not moved", series=series, reason=type(error).__name__)
            self._arrivals.found(series)
            return
        if is_ready:
            self._log.info("series whole", series=series)
            self._enhancing.look()

    def _end(self, workers: list[ModelThread], grace_seconds: float, last_seconds: float) -> None:
        deadline = time.monotonic() + grace_seconds
        self._acceptor.stop_listening()
        self._enhancing.look()
        self._sending.look()
        self._acceptor.wait_for_peers(deadline)
        for worker in workers:
            worker.wait(max(0.0, deadline - time.monotonic()))
        self._give_up.set()
        deadline = time.monotonic() + last_seconds
        self._acceptor.end(last_seconds)
        for worker in workers:
            worker.wait(max(0.0, deadline - time.monotonic()))

    def _working(self, work: Any) -> None:
        """Run a worker; without one the server is none, so its end ends the server."""
        try:
            work()
        except Exception as error:
            self._log.error("worker failed, the server stops", reason=type(error).__name__)
            self._log.debug("worker failed", exc_info=True)
            self._failed = type(error).__name__
            self._room.stopping.set()


def serve_dicom(options: argparse.Namespace) -> None:
    """Run the server with the command's options until a signal.

    Raises
    ------
    InputError, BackendError, BundleError, EngineError
        An option or the spool cannot be used, the model cannot be loaded, or the address not
        listened on.
    KeyboardInterrupt
        A second signal.
    """
    check_numbers(
        options,
        quiet_seconds=0,
        broken_seconds=0,
        spool_limit=0.001,
        max_associations=1,
        max_instance=1,
        hold=0.01,
        idle_timeout=1,
        retry_most=0.1,
        keep_refused=0,
        stop_after=0,
    )
    peer = parse_peer(options.send_to)
    for title in (options.aet, *options.accept_aet):
        check_title(title)
    limits = Limits(
        instance_bytes=round(options.max_instance * MIB),
        associations=options.max_associations,
        idle_seconds=options.idle_timeout,
    )
    hold = Hold(round(1e9 * options.hold))
    folder = Path(options.spool) if options.spool else default_spool()
    spool = Spool(folder, round(1e9 * options.spool_limit), limits.series_instances)
    log = Log("dicom")
    with (
        contextlib.closing(spool),
        bind(options.host, options.port) as bound,
        open_room(options) as room,
        quiet_network(log),
    ):
        server = DicomServer(
            room,
            spool,
            Arrivals(options.quiet_seconds, options.broken_seconds),
            Asked(
                options.spacing,
                options.steps,
                options.seed,
                options.planes,
                options.any_contrast,
                options.send_originals,
            ),
            peer,
            bound=bound,
            title=options.aet,
            accepted=tuple(options.accept_aet),
            limits=limits,
            hold=hold,
            most_wait=options.retry_most,
            keep_refused=None if options.keep_refused is None else _DAY * options.keep_refused,
        )
        counts = {state: len(spool.series_in(state)) for state in STATES}
        log.info("spool", bytes=spool.used, series=counts)
        say_listening(room, log, "DICOM", options.host, server.port)
        server.serve(options.stop_after)


def parse_peer(text: str) -> Peer:
    """Read `HOST:PORT:AET`; the host may be an IPv6 address in brackets.

    Raises
    ------
    InputError

    Examples
    --------
    >>> parse_peer("archive.local:104:PACS")
    Peer(host='archive.local', port=104, title='PACS')
    """
    found = re.fullmatch(r"(\[[^\]]+\]|[^:]+):(\d{1,5}):(.*)", text)
    if not found or not 0 < int(found[2]) < 65536:
        raise InputError(
            f"expected HOST:PORT:AET for --send-to, such as archive.local:104:PACS, got {text}"
        )
    check_title(found[3])
    return Peer(found[1].strip("[]"), int(found[2]), found[3])


def check_title(title: str) -> None:
    """Refuse what is no AE title.

    Raises
    ------
    InputError
    """
    if not _TITLE.fullmatch(title) or not title.strip():
        raise InputError(
            f"expected an AE title of 1 to 16 characters without a backslash, got {title!r}; "
            "ask for it where the peer is configured"
        )


def default_spool(environ: Mapping[str, str] = os.environ) -> Path:
    """Folder of the spool: `$XDG_STATE_HOME/moediff-rt/spool`, else below `~/.local/state`.

    Raises
    ------
    InputError
        There is no home folder.

    Examples
    --------
    >>> default_spool({"XDG_STATE_HOME": "/var/lib/me"}).as_posix()
    '/var/lib/me/moediff-rt/spool'
    """
    if state := environ.get("XDG_STATE_HOME"):
        return Path(state) / "moediff-rt" / "spool"
    home = home_folder()
    if home is None:
        raise InputError(f"expected a folder for the spool, {NO_HOME}; give one with --spool")
    return home / ".local" / "state" / "moediff-rt" / "spool"


def _watch(registry: Any, spool: Spool) -> None:
    """Report what is in the spool."""
    from prometheus_client import Gauge

    series = Gauge("moediff_rt_spool_series", "Series in the spool", ["state"], registry=registry)
    for state in STATES:
        series.labels(state).set_function(lambda state=state: len(spool.series_in(state)))
    for name, words, value in (
        ("bytes", "Bytes that the spool takes", lambda: spool.used),
        ("limit_bytes", "Bytes that it may take", lambda: spool.limit),
    ):
        Gauge(f"moediff_rt_spool_{name}", words, registry=registry).set_function(value)
