"""What the servers count, and the page that says it: Prometheus metrics and health."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from ..errors import InputError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK = "127.0.0.1"
SLOW_READER_SECONDS = 10
# A small volume on a GPU to a whole head on two cores.
_SECONDS = (0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320, 640)

# What `series` is counted by.
ENHANCED, PASSED, FAILED = "enhanced", "passed", "failed"


class Metrics:
    """The counts that every server keeps; a server adds its own to `registry`.

    Attributes
    ----------
    registry : prometheus_client.CollectorRegistry
    connections : Gauge
        Peers connected now.
    images_received, images_sent, bytes_received : Counter
    refused : Counter, by reason
        Messages and peers that were not taken.
    series : Counter, by outcome
        `ENHANCED`; `PASSED`: sent back as it came, by design; `FAILED`: sent back as it came,
        because something went wrong.
    seconds : Histogram
        Time that a series had the model, s.

    Raises
    ------
    InputError
        prometheus_client is not installed.
    """

    def __init__(self) -> None:
        prometheus = _prometheus()
        self.registry = prometheus.CollectorRegistry()

        def make(kind: str, name: str, words: str, *labels: str, **more: Any) -> Any:
            return getattr(prometheus, kind)(
                f"moediff_rt_{name}", words, labels, registry=self.registry, **more
            )

        self.connections = make("Gauge", "connections", "Peers connected now")
        self.images_received = make("Counter", "images_received", "Images received")
        self.images_sent = make("Counter", "images_sent", "Images sent")
        self.bytes_received = make("Counter", "bytes_received", "Bytes received")
        self.refused = make("Counter", "refused", "Messages and peers not taken", "reason")
        self.series = make("Counter", "series", "Series answered", "outcome")
        self.seconds = make(
            "Histogram", "series_seconds", "Time that a series had the model", buckets=_SECONDS
        )
        # Every outcome is there from the start, so that a rate over it is one, too.
        for outcome in (ENHANCED, PASSED, FAILED):
            self.series.labels(outcome)

    def watch_waiting(self, waiting: Callable[[], int]) -> None:
        """Also report how many series wait for the model."""
        _prometheus().Gauge(
            "moediff_rt_waiting", "Series that wait for the model", registry=self.registry
        ).set_function(waiting)


@contextlib.contextmanager
def metrics_page(
    port: int, metrics: Metrics, listening: threading.Event, stopping: threading.Event
) -> Iterator[int]:
    """While inside, serve `/metrics` and `/health` on loopback.

    `/health` says 200 `ok`; 503 `starting` until `listening` is set, 503 `stopping` from the
    moment that `stopping` is.

    Parameters
    ----------
    port : int
        0: any free one.
    metrics : Metrics
    listening, stopping : threading.Event

    Yields
    ------
    int
        The port.

    Raises
    ------
    InputError
        The port is in use or not allowed.
    """
    try:
        page = _page(metrics, listening, stopping)
        server = make_server(LOOPBACK, port, page, _Server, handler_class=_QuietHandler)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"expected a free port for --metrics-port, cannot listen on {LOOPBACK}:{port} "
            f"({error}); choose another"
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _prometheus() -> Any:
    try:
        import prometheus_client
    except ImportError as error:
        raise InputError(
            "expected prometheus_client for the servers' metrics, it is not installed; "
            "pip install 'moediff-rt[mrd]' or 'moediff-rt[serve-dicom]'"
        ) from error
    return prometheus_client


def _page(
    metrics: Metrics, listening: threading.Event, stopping: threading.Event
) -> WSGIApplication:
    counts: WSGIApplication = _prometheus().make_wsgi_app(metrics.registry)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return counts(environ, start_response)
        if path != "/health":
            status, text = "404 Not Found", "expected /metrics or /health\n"
        elif stopping.is_set():
            status, text = "503 Service Unavailable", "stopping\n"
        elif not listening.is_set():
            status, text = "503 Service Unavailable", "starting\n"
        else:
            status, text = "200 OK", "ok\n"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [text.encode()]

    return answer


class _Server(ThreadingMixIn, WSGIServer):
    """A slow reader holds no other, nor the end of the server."""

    daemon_threads = True
    block_on_close = False


class _QuietHandler(WSGIRequestHandler):
    timeout = SLOW_READER_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing on stderr: that is the structured log's."""
