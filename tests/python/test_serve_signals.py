"""Servers and signals: one is a request, a second one an order, and what is ignored stays so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from tiny_bundle import make_bundle

pytest.importorskip("prometheus_client", reason="needs the extra mrd")

# The command, which says when the model is at work, and then may not ask whether to give up.
PROGRAM = """
import sys
from moediff_rt import __main__, session
from moediff_rt.serve import room

manner = sys.argv.pop()
room.AT_ONCE_SECONDS = 60 if manner == "heeds" else 0.5

def told(cancel):
    print("running", flush=True)
    return manner == "heeds" and cancel()

real = session.Session.run
session.Session.run = lambda self, *args, cancel, **more: real(
    self, *args, cancel=lambda: told(cancel), **more
)
sys.exit(__main__.run())
"""


@pytest.fixture(scope="module")
def slow_bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "slow", expert_layers=20)


@pytest.fixture
def start(slow_bundle, tmp_path, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("MOEDIFF_RT_CACHE", str(tmp_path_factory.getbasetemp() / "slow cache"))
    started = []

    def begin(*options: str) -> subprocess.Popen[str]:
        name, *more, manner = options
        command = [sys.executable, "-c", PROGRAM, "serve", name, "--bundle", str(slow_bundle)]
        command += ["--port", "0", "--threads", "1", "--steps", "40"]
        command += ["--spacing", "0.8", *more, manner]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def read_to(process: subprocess.Popen[str], event: str) -> dict:
    """Read the log up to an event."""
    for line in process.stderr:
        if (found := json.loads(line))["event"] == event:
            return found
    raise AssertionError(f"no {event!r} in the log")


def send_mrd(port: int):
    pytest.importorskip("ismrmrd", reason="needs the extra mrd")
    from mrd_peer import CLOSE, Peer, head, opening, slices_of

    peer = Peer(port)
    peer.send(opening(), *slices_of(head((60, 60, 20))), CLOSE)
    return peer


def send_dicom(port: int) -> None:
    pytest.importorskip("pynetdicom", reason="needs the extra serve-dicom")
    from dicom_peer import T1, send

    send(port, T1)


@pytest.mark.parametrize("name", ["mrd", "dicom"])
@pytest.mark.parametrize(
    ("manner", "sent", "code", "words"),
    [
        ("heeds", signal.SIGTERM, 143, "stopped by SIGTERM"),
        ("deaf", signal.SIGINT, 130, "interrupted"),
    ],
)
def test_a_second_signal_ends_a_server_that_is_at_work(
    start, tmp_path, name, manner, sent, code, words
):
    spool = str(tmp_path / "spool")
    more = ["--send-to", "127.0.0.1:1:PACS", "--spool", spool, "--quiet-seconds", "0"]
    process = start(name, *(more if name == "dicom" else []), manner)
    port = read_to(process, "listening")["port"]
    peer = send_mrd(port) if name == "mrd" else send_dicom(port)
    assert process.stdout.readline() == "running\n"
    process.send_signal(sent)
    read_to(process, "stopping")
    process.send_signal(sent)
    *log, last = process.stderr.read().splitlines()
    assert process.wait(60) == code, last
    assert last == (f"moediff-rt serve: {words}; what was begun was given up at the second signal")
    events = [json.loads(line)["event"] for line in log]
    assert events[0] == "giving up"
    if manner == "heeds":
        assert ("series returned" if name == "mrd" else "series set back: stopping") in events
    if peer is not None:
        peer.__exit__()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_what_was_ignored_before_ends_no_server(tiny_bundle, signum):
    from test_serve_room import common_options

    from moediff_rt.serve.room import open_room

    kept = signal.signal(signum, signal.SIG_IGN)
    try:
        with open_room(common_options(tiny_bundle)) as room:
            os.kill(os.getpid(), signum)
            assert not room.stopping.is_set()
            assert signal.getsignal(signum) is signal.SIG_IGN
    finally:
        signal.signal(signum, kept)
