"""A signal at any moment of a write: what was there before, or the whole result, and said so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from moediff_rt import atomic, cli
from moediff_rt.atomic import write_whole
from moediff_rt.progress import answer
from moediff_rt.signals import ENDING, HeldSignals, Late


@pytest.fixture(autouse=True)
def raising(monkeypatch):
    """As the command has them: each of the signals raises."""
    kept = {signum: signal.signal(signum, signal.default_int_handler) for signum in ENDING}
    yield
    for signum, handler in kept.items():
        signal.signal(signum, handler)


def test_a_signal_while_handlers_are_given_back_leaves_none_behind(monkeypatch):
    real, given_back = signal.signal, []

    def give_back(signum, handler):
        before = real(signum, handler)
        if handler is signal.default_int_handler:
            given_back.append(signum)
            if len(given_back) == 1:
                signal.raise_signal(signum)
        return before

    with pytest.raises(Late, match="all written"), HeldSignals("all written"):
        monkeypatch.setattr(signal, "signal", give_back)
    assert set(given_back) == set(ENDING)
    assert {signal.getsignal(signum) for signum in ENDING} == {signal.default_int_handler}


def contents(folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def signal_at(monkeypatch, name: str, sent: int, times: int = 1) -> None:
    """Let the first calls of `atomic.name` be interrupted by a signal each, before their work."""
    real, calls = getattr(atomic, name), []

    def call(*args):
        calls.append(None)
        if len(calls) <= times:
            os.kill(os.getpid(), sent)
        return real(*args)

    monkeypatch.setattr(atomic, name, call)


@pytest.mark.parametrize("sent", ENDING)
@pytest.mark.parametrize("name", ["_keep", "sync_folder", "_remove"])
def test_a_signal_from_the_first_rename_on_waits_for_the_last_removal(
    tmp_path, monkeypatch, name, sent
):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text("old")
    signal_at(monkeypatch, name, sent)
    with pytest.raises(Late, match=r"already written: .*a, .*b") as stop:
        write_whole({path: lambda stream: stream.write(b"new") for path in paths}, overwrite=True)
    assert type(stop.value.__cause__) is KeyboardInterrupt
    assert contents(tmp_path) == {"a": "new", "b": "new"}
    assert {signal.getsignal(signum) for signum in ENDING} == {signal.default_int_handler}


@pytest.mark.parametrize("sent", ENDING)
@pytest.mark.parametrize("fault", [KeyboardInterrupt(), OSError(28, "No space left")], ids=repr)
def test_a_signal_while_all_is_undone_waits_until_it_is(tmp_path, monkeypatch, fault, sent):
    def fail(*_args):
        raise fault

    for name in ("a", "b"):
        (tmp_path / name).write_text("old")
    monkeypatch.setattr(atomic, "sync_folder", fail)
    signal_at(monkeypatch, "_remove", sent, times=2)
    new = {tmp_path / name: lambda stream: stream.write(b"new") for name in ("a", "b")}
    with pytest.raises(KeyboardInterrupt) as stop:
        write_whole(new, overwrite=True)
    assert not isinstance(stop.value, Late)
    assert contents(tmp_path) == {"a": "old", "b": "old"}


def test_a_signal_that_kills_waits_too_and_then_does(tmp_path):
    program = (
        "import os, signal, sys; from pathlib import Path; from moediff_rt import atomic\n"
        "real, atomic._remove = atomic._remove, lambda path: (\n"
        "    os.kill(os.getpid(), signal.SIGTERM), real(path))\n"
        "atomic.write_whole({Path('a'): lambda stream: stream.write(b'new')}, overwrite=True)"
    )
    (tmp_path / "a").write_text("old")
    assert subprocess.run([sys.executable, "-c", program], cwd=tmp_path).returncode == -15
    assert contents(tmp_path) == {"a": "new"}


def test_what_is_ignored_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with HeldSignals("done") as signals:
        signals.hold()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGHUP)


def test_on_another_thread_nothing_is_held(tmp_path):
    thread = threading.Thread(target=write_whole, args=({tmp_path / "a": lambda _stream: None},))
    thread.start()
    thread.join()
    assert contents(tmp_path) == {"a": ""}


def test_the_command_says_that_the_result_is_there(scan, tiny_bundle, monkeypatch, capsys):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    command = ["infer", str(scan), "--bundle", str(tiny_bundle), "--threads", "1", "-q"]
    assert cli.main(command) == 0
    signal_at(monkeypatch, "_remove", signal.SIGTERM)
    assert cli.main([*command, "--overwrite", "--seed", "5"]) == 143
    output = scan.with_name("sub-01_desc-moediffsr_T1w.nii.gz")
    sidecar = scan.with_name("sub-01_desc-moediffsr_T1w.json")
    assert capsys.readouterr().err == (
        f"moediff-rt infer: stopped by SIGTERM; already written: {output}, {sidecar}\n"
    )
    assert json.loads(sidecar.read_text())["Settings"]["Seed"] == 5
    assert sorted(os.listdir(scan.parent)) == sorted([scan.name, output.name, sidecar.name])


def test_a_signal_while_the_answer_is_said_takes_nothing_back(monkeypatch):
    class Reader:
        def write(self, _text):
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdout", Reader())
    with pytest.raises(Late, match="the result is in a"):
        answer("a", "the result is in a")
    with pytest.raises(KeyboardInterrupt) as stop:
        answer("1.0")
    assert not isinstance(stop.value, Late)
