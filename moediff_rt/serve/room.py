"""The room that every server works in: model, metrics, logs, and the end by a signal."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from ..cli_options import open_session
from ..session import Session
from ..signals import ENDING, is_heeded
from .logs import Log, logging_as_json
from .metrics import Metrics, metrics_page
from .turns import Turns

# After a second signal: for the model to see it, which asks several times a second.
AT_ONCE_SECONDS = 5.0


@dataclass(frozen=True)
class Room:
    """What a server is given.

    Attributes
    ----------
    model : Turns of Session
        `with room.model.turn() as session:` is how a server comes by the model.
    metrics : Metrics
    listening : threading.Event
        Set by the server, through `say_listening`: peers can connect.
    stopping : threading.Event
        Set by SIGTERM, SIGINT or SIGHUP: take nothing new, end what was begun, return. A second
        one raises a KeyboardInterrupt: give up what was begun, and let it pass.
    """

    model: Turns[Session]
    metrics: Metrics
    listening: threading.Event
    stopping: threading.Event


@contextlib.contextmanager
def open_room(options: argparse.Namespace) -> Iterator[Room]:
    """Load the model and open logs, metrics and the signals' event, from the common options.

    Parameters
    ----------
    options : argparse.Namespace
        What `cli_serve` adds for every server.

    Yields
    ------
    Room
        With its engines loaded: the first series waits for nothing.

    Raises
    ------
    InputError, BackendError, BundleError, EngineError
        A setting cannot be used, or the model cannot be loaded.
    """
    from ..request import checked_planes, checked_sampling
    from ..spacing import checked_output_spacing

    log = Log("room")
    metrics, listening = Metrics(), threading.Event()
    with contextlib.ExitStack() as stack:
        stack.enter_context(logging_as_json(options.log_level, sys.stderr))
        stopping = stack.enter_context(_stopped_by_signals())
        session = stack.enter_context(open_session(options))
        checked_sampling(options.steps, options.seed, session.bundle)
        checked_planes(options.planes)
        checked_output_spacing(options.spacing, session.bundle)
        turns = Turns(session)
        metrics.watch_waiting(lambda: turns.waiting)
        if options.metrics_port is not None:
            page = metrics_page(options.metrics_port, metrics, listening, stopping)
            log.info("metrics served", port=stack.enter_context(page))
        model = session.model
        log.info(
            "model loaded",
            bundle=session.bundle.name,
            backend=model.backend,
            device=model.device,
            precision=model.precision,
            threads=model.threads,
        )
        if lost := session.why_not_kept:
            log.warning("engines not kept", reason=lost)
        yield Room(turns, metrics, listening, stopping)
        log.info("stopped")


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Turn the first signal into an event; a second one does what it always would.

    What is ignored stays so: a server started with `nohup` survives its terminal.
    """
    stopping = threading.Event()
    kept: dict[int, Any] = {}

    def stop(_signum: int, _frame: FrameType | None) -> None:
        restore()
        stopping.set()

    def restore() -> None:
        for signum, handler in kept.items():
            signal.signal(signum, handler)

    for signum in filter(is_heeded, ENDING):
        kept[signum] = signal.signal(signum, stop)
    try:
        yield stopping
    finally:
        restore()
