"""What every server shares: turns at the model, structured logs, metrics, health, signals."""

from __future__ import annotations

import argparse
import http.client
import importlib
import io
import json
import os
import signal
import socket
import threading

import pytest

from moediff_rt import cli
from moediff_rt.errors import Cancelled, InputError
from moediff_rt.serve.listening import bind, listen
from moediff_rt.serve.logs import Log, logging_as_json
from moediff_rt.serve.turns import Turns

pytest.importorskip("prometheus_client", reason="needs the extra mrd")

from moediff_rt.serve.metrics import Metrics, metrics_page


def common_options(bundle, *more: str) -> argparse.Namespace:
    from moediff_rt.cli_options import OneLineParser
    from moediff_rt.cli_serve_options import add_common

    parser = OneLineParser(prog="serve")
    add_common(parser, port=0)
    return parser.parse_args(["--bundle", str(bundle), "--threads", "1", *more])


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    return reply.status, text


def a_page(port: int = 0):
    return metrics_page(port, Metrics(), threading.Event(), threading.Event())


def test_turns_are_taken_one_at_a_time_in_the_order_of_asking():
    turns, taken, inside = Turns("model"), [], threading.Semaphore(1)
    queued = threading.Event()

    def work(number: int) -> None:
        with turns.turn():
            assert inside.acquire(blocking=False)
            taken.append(number)
            inside.release()

    threads = []
    with turns.turn():
        for number in range(8):
            threads.append(threading.Thread(target=work, args=(number,)))
            threads[-1].start()
            while turns.waiting != number + 1:
                queued.wait(0.001)
    for thread in threads:
        thread.join()
    assert taken == list(range(8))
    assert turns.waiting == 0


def test_who_gives_up_leaves_the_queue_and_the_next_gets_the_turn():
    turns = Turns("model")
    with turns.turn():
        with pytest.raises(Cancelled), turns.turn(give_up=lambda: True):
            pass
        assert turns.waiting == 0
    with turns.turn() as model:
        assert model == "model"


def test_a_turn_that_fails_frees_the_model():
    turns = Turns("model")
    with pytest.raises(ZeroDivisionError), turns.turn():
        raise ZeroDivisionError
    with turns.turn() as model:
        assert model == "model"


def test_an_event_is_one_json_object_a_line():
    stream = io.StringIO()
    log = Log("mrd", connection=7)
    with logging_as_json("info", stream):
        log.info("series enhanced\nat last", images=20)
        log.debug("what a peer sent")
        log.bind(series=2).error("failed", reason="InputError", connection=8)
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["level"], first["from"], first["event"]) == (
        "info",
        "mrd",
        "series enhanced\nat last",
    )
    assert (first["connection"], first["images"]) == (7, 20)
    assert (second["connection"], second["series"], second["reason"]) == (8, 2, "InputError")


def test_a_field_may_be_named_as_logging_names_its_own():
    stream = io.StringIO()
    with logging_as_json("info", stream):
        Log("mrd").info("odd", name="n", args=3, module="m")
    line = json.loads(stream.getvalue())
    assert (line["name"], line["args"], line["module"]) == ("n", 3, "m")


def test_the_page_has_counts_and_health():
    metrics, listening, stopping = Metrics(), threading.Event(), threading.Event()
    metrics.series.labels("enhanced").inc()
    metrics.watch_waiting(lambda: 3)
    with metrics_page(0, metrics, listening, stopping) as port:
        status, text = get(port, "/metrics")
        assert status == 200
        assert 'moediff_rt_series_total{outcome="enhanced"} 1.0' in text
        assert "moediff_rt_waiting 3.0" in text
        assert get(port, "/health") == (503, "starting\n")
        listening.set()
        assert get(port, "/health") == (200, "ok\n")
        assert get(port, "/else")[0] == 404
        stopping.set()
        assert get(port, "/health") == (503, "stopping\n")


def test_the_page_does_not_wait_for_a_reader_that_says_nothing():
    with a_page() as port:
        with socket.create_connection(("127.0.0.1", port)):
            assert get(port, "/health")[0] == 503


def test_a_port_in_use_is_refused_in_one_line():
    with a_page() as port:
        with pytest.raises(InputError, match="choose another"):
            with a_page(port):
                pass


@pytest.mark.parametrize("name", ["mrd", "dicom"])
def test_health_says_starting_until_the_server_listens(tiny_bundle, tmp_path, monkeypatch, name):
    more = ["--send-to", "a:1:PACS", "--spool", str(tmp_path)] if name == "dicom" else []
    if name == "dicom":
        pytest.importorskip("pynetdicom", reason="needs the extra serve-dicom")
    module = importlib.import_module(f"moediff_rt.serve.{name}.server")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        page = listener.getsockname()[1]
    said = []

    class Watched(getattr(module, f"{name.title()}Server")):
        def __init__(self, *args, **options) -> None:
            said.append(get(page, "/health"))
            super().__init__(*args, **options)

        def serve(self, grace_seconds: float) -> None:
            said.append(get(page, "/health"))
            self._room.stopping.set()
            super().serve(grace_seconds)
            said.append(get(page, "/health"))

    monkeypatch.setattr(module, f"{name.title()}Server", Watched)
    common = ["--bundle", str(tiny_bundle), "--port", "0", "--metrics-port", str(page)]
    assert cli.main(["serve", name, *common, *more]) == 0
    assert said == [(503, "starting\n"), (200, "ok\n"), (503, "stopping\n")]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_an_address_of_either_family_is_listened_on(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, 0), family=family).close()
    except OSError as error:
        pytest.skip(f"this computer has no {host}: {error}")
    with bind(host, 0) as bound:
        assert bound.family == family
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, bound.getsockname()[1]), 30)
        listen(bound)
        with socket.create_connection((host, bound.getsockname()[1]), 30):
            bound.accept()[0].close()


def test_of_two_servers_that_load_at_once_one_is_told_when_it_listens():
    with bind("127.0.0.1", 0) as first, bind(*first.getsockname()) as second:
        listen(second)
        with pytest.raises(InputError, match="is another server running there"):
            listen(first)


@pytest.mark.parametrize("name", ["mrd", "dicom"])
def test_a_port_in_use_is_told_before_anything_is_loaded(tmp_path, capsys, name):
    if name == "dicom":
        pytest.importorskip("pynetdicom", reason="needs the extra serve-dicom")
    more = ["--send-to", "a:1:PACS", "--spool", str(tmp_path)] if name == "dicom" else []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        assert cli.main(["serve", name, "--bundle", "none", "--port", port, *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"got 127.0.0.1:{port}" in line and "--host or --port" in line


@pytest.mark.parametrize(
    ("host", "port"), [("256.0.0.1", 0), ("a" * 300, 0), ("no such host", 0), ("127.0.0.1", 70000)]
)
def test_an_address_that_is_none_is_refused_in_one_line(host, port):
    with pytest.raises(InputError, match="--host or --port"):
        bind(host, port)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_an_event_and_the_second_one_is_as_always(tiny_bundle, signum):
    from moediff_rt.serve.room import open_room

    before = signal.getsignal(signum)
    with open_room(common_options(tiny_bundle)) as room:
        assert not room.stopping.is_set()
        os.kill(os.getpid(), signum)
        assert room.stopping.wait(30)
        assert signal.getsignal(signum) == before
    assert signal.getsignal(signum) == before


def test_the_room_has_the_model_loaded_and_its_logs_name_it(tiny_bundle, capsys):
    from moediff_rt.serve.room import open_room

    with open_room(common_options(tiny_bundle, "--metrics-port", "0")) as room:
        with room.model.turn() as session:
            assert session.bundle.name == "tiny"
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["metrics served", "model loaded", "stopped"]
    assert lines[1]["bundle"] == "tiny"


def test_the_room_s_log_warns_of_engines_that_cannot_be_kept(
    tiny_bundle, tmp_path, capsys, monkeypatch
):
    from moediff_rt.serve.room import open_room

    (tmp_path / "file").touch()
    monkeypatch.setenv("MOEDIFF_RT_CACHE", str(tmp_path / "file"))
    with open_room(common_options(tiny_bundle)):
        pass
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (line,) = [line for line in lines if line["level"] == "warning"]
    assert line["event"] == "engines not kept"
    assert "set MOEDIFF_RT_CACHE" in line["reason"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--spacing", "9"], "output spacing"),
        (["--seed", "-1"], "seed"),
        (["--planes", "4"], "1 to 3 planes"),
    ],
)
def test_a_setting_that_no_series_could_use_is_refused_at_the_start(tiny_bundle, more, words):
    from moediff_rt.serve.room import open_room

    with pytest.raises(InputError, match=words), open_room(common_options(tiny_bundle, *more)):
        pass


def test_serve_without_a_server_is_refused_in_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["serve"])
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("name", ["mrd", "dicom"])
def test_the_help_says_that_one_peer_may_use_half_of_the_memory(capsys, name):
    with pytest.raises(SystemExit):
        cli.main(["serve", name, "--help"])
    words = " ".join(capsys.readouterr().out.split())
    assert "memory limit for the i" in words and "; one peer may use half of it" in words
