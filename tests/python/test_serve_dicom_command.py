"""`moediff-rt serve dicom` as a process: killed at every stage, and with peers of DCMTK."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import dicom_series as made
import pytest

pytest.importorskip("pynetdicom", reason="needs the extra serve-dicom")

from dicom_peer import (
    SECONDS,
    Archive,
    dcmtk,
    errors_of,
    free_port,
    head,
    read_all,
    send,
    wait_for,
)

from moediff_rt import cli
from moediff_rt.serve.dicom.spool import INCOMING, READY, SENDING

T1 = head()


class Command:
    """The command in a process of its own; its log is one JSON object a line."""

    def __init__(self, bundle, folder: Path, archive_port: int, *options: str) -> None:
        self.port, self.spool = free_port(), folder / "spool"
        self.log = folder / f"log-{self.port}"
        command = [sys.executable, "-m", "moediff_rt", "serve", "dicom", "--bundle", str(bundle)]
        command += ["--port", str(self.port), "--spool", str(self.spool), "--threads", "1"]
        command += ["--send-to", f"127.0.0.1:{archive_port}:PACS", "--quiet-seconds", "0"]
        command += ["--retry-most", "0.1", "--broken-seconds", "0.5", *options]
        with self.log.open("wb") as log:
            # Elsewhere: the source tree has a moediff_rt without its extension.
            self.process = subprocess.Popen(command, stderr=log, cwd=folder)
        wait_for(lambda: self.said("listening"), "the server")

    def events(self) -> list[dict]:
        lines = self.log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def said(self, event: str) -> list[dict]:
        assert self.process.poll() is None or self.process.returncode in (0, -signal.SIGKILL), (
            self.log.read_text()
        )
        return [line for line in self.events() if line["event"] == event]

    def in_state(self, state: str) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return os.listdir(self.spool / state)
        return []

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(SECONDS)


@pytest.fixture
def command(tiny_bundle, tmp_path, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("MOEDIFF_RT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    started = []

    def start(archive_port: int, *options: str) -> Command:
        started.append(Command(tiny_bundle, tmp_path, archive_port, *options))
        return started[-1]

    yield start
    for one in started:
        one.kill()


def assert_one_whole_result(instances, images) -> None:
    """Of two slices for each of the source's: one series, each instance number once."""
    results = {one.SOPInstanceUID: one for one in instances if "MOEDIFFSR" in one.ImageType}
    assert len({one.SeriesInstanceUID for one in results.values()}) == 1
    numbers = sorted(int(one.InstanceNumber) for one in results.values())
    assert numbers == list(range(1, 2 * len(images) + 1))


@pytest.mark.parametrize("stage", [INCOMING, READY, SENDING, "partly sent"])
def test_a_kill_at_any_stage_loses_no_series_and_makes_one_result(command, tmp_path, stage):
    archive = Archive()
    first = command(archive.port, "--quiet-seconds", "600" if stage == INCOMING else "0")
    if stage == INCOMING:
        send(first.port, T1[:4])
        assert len(first.in_state(INCOMING)) == 1
        first.kill()
        archive.open()
        second = command(archive.port, "--broken-seconds", "600")
        send(second.port, T1[4:])
    else:
        if stage == "partly sent":

            def kill_at_the_fifth(_dataset) -> int:
                if len(archive.instances) == 5:
                    first.process.kill()
                return 0

            archive.answer = kill_at_the_fifth
            archive.open()
        send(first.port, T1)
        if stage == "partly sent":
            first.process.wait(SECONDS)
            assert 0 < len(archive.instances) < 2 * len(T1)
        else:
            wait_for(lambda: first.in_state(stage), stage)
            first.kill()
        assert first.process.returncode == -signal.SIGKILL
        archive.close()
        archive.answer = lambda _dataset: 0
        archive.open()
        second = command(archive.port)
    wait_for(lambda: second.said("series sent"), "the result")
    assert second.stop() == 0
    archive.close()
    assert_one_whole_result(archive.instances, T1)
    for state in (INCOMING, READY, SENDING):
        assert second.in_state(state) == []
    path = tmp_path / "result.dcm"
    archive.instances[-1].save_as(path, enforce_file_format=True)
    assert errors_of(path) == []


def test_storescu_sends_and_storescp_gets_a_result_without_errors(command, tmp_path):
    storescp, storescu, echoscu = map(dcmtk, ("storescp", "storescu", "echoscu"))
    port, received = free_port(), tmp_path / "received"
    received.mkdir()
    source = made.save(tmp_path / "in", T1)
    archive = subprocess.Popen(
        [storescp, "-od", received, "-aet", "PACS", str(port)], stderr=subprocess.DEVNULL
    )
    try:
        server = command(port, "--send-originals", "--accept-aet", "SCANNER")
        called = ["-aet", "SCANNER", "-aec", "MOEDIFF", "127.0.0.1", str(server.port)]
        subprocess.run([echoscu, *called], check=True)
        subprocess.run([storescu, *called, *sorted(source.iterdir())], check=True)
        stranger = [echoscu, "-aet", "OTHER", *called[2:]]
        assert subprocess.run(stranger, stderr=subprocess.DEVNULL).returncode != 0
        wait_for(lambda: server.said("series sent"), "the result")
        assert server.stop() == 0
    finally:
        archive.kill()
        archive.wait(SECONDS)
    instances = read_all(received)
    assert len(instances) == 3 * len(T1)
    assert_one_whole_result(instances, T1)
    results = [
        path
        for path, one in zip(sorted(received.iterdir()), instances, strict=True)
        if "MOEDIFFSR" in one.ImageType
    ]
    for path in results[::9]:
        assert errors_of(path) == []


def another_photometric() -> list:
    images = head("quote of photometric")
    for image in images:
        image.PhotometricInterpretation = "SCHMIDT A"
    return images


def several_echoes() -> list:
    images = head("quote of echoes")
    images[3].EchoTime = "77.125"
    return images


def a_slice_of_another_type() -> list:
    images = head("quote of type")
    images.append(copy.deepcopy(images[3]))
    images[-1].ImageType = [*images[3].ImageType, "SCHMIDT B"]
    uid = f"{images[3].SOPInstanceUID}.1"
    images[-1].SOPInstanceUID = images[-1].file_meta.MediaStorageSOPInstanceUID = uid
    return images


def a_frame_of_another_stack() -> list:
    image = made.enhanced(name="quote of stack", image=made.sample(10))
    frames = image.PerFrameFunctionalGroupsSequence
    frames.append(copy.deepcopy(frames[-1]))
    frames[-1].FrameContentSequence[0].StackID = "SCHMIDT C"
    size = len(image.PixelData) // int(image.NumberOfFrames)
    image.NumberOfFrames = str(len(frames))
    image.PixelData += image.PixelData[-size:]
    return [image]


# What a refusal quotes of a header, and the series that it is of.
QUOTING = {
    "SCHMIDT A": another_photometric,
    "77.125": several_echoes,
    "SCHMIDT B": a_slice_of_another_type,
    "SCHMIDT C": a_frame_of_another_stack,
}


def test_the_log_names_no_patient_and_quotes_no_peer(command):
    with Archive() as archive:
        server = command(archive.port)
        send(server.port, [*T1, *head("t2 of Mueller")], calling="DR MUELLERS MR")
        for images in QUOTING.values():
            assert send(server.port, images()) == [0] * len(images())
        wait_for(lambda: server.said("series sent"), "the result")
        wait_for(lambda: len(server.said("series refused")) == 1 + len(QUOTING), "the refusals")
        assert server.stop() == 0
        reasons = [path.read_text() for path in server.spool.glob("refused/*/result/outcome.json")]
    for words in QUOTING:
        assert any(words in reason for reason in reasons), f"{words} is told where it belongs"
    text = server.log.read_text()
    assert text.count("\n") > 8
    for secret in ("ller", "rgen", "P-1", "1970", "A1", "pital", "Doctor", made.ROOT, "MUELLERS"):
        assert secret not in text
    for words in QUOTING:
        assert words not in text
    events = [line["event"] for line in server.events()]
    assert events[-2:] == ["stopping", "stopped"]
    assert "Traceback" not in text


BOUNDED = (
    "--quiet-seconds",
    "--broken-seconds",
    "--spool-limit",
    "--keep-refused",
    "--retry-most",
    "--max-instance",
    "--hold",
    "--idle-timeout",
    "--stop-after",
)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--send-to"),
        (["--send-to", "archive"], "HOST:PORT:AET"),
        (["--send-to", "archive:0:PACS"], "HOST:PORT:AET"),
        (["--send-to", "archive:104:AN ARCHIVE WITH A LONG NAME"], "AE title"),
        (["--send-to", "a:104:PACS", "--aet", "A\\B"], "AE title"),
        (["--send-to", "a:104:PACS", "--accept-aet", " "], "AE title"),
        (["--send-to", "a:104:PACS", "--quiet-seconds", "-1"], "--quiet-seconds"),
        (["--send-to", "a:104:PACS", "--spool-limit", "nan"], "--spool-limit"),
        *((["--send-to", "a:1:PACS", option, "inf"], f"1e+09 for {option}") for option in BOUNDED),
        (["--send-to", "a:104:PACS", "--hold", "1e300"], "1e+09 for --hold"),
        (["--send-to", "a:104:PACS", "--port", "65536"], "--port: expected a port from 0 to 65535"),
        (["--send-to", "a:104:PACS", "--spool", "/dev/null"], "--spool"),
    ],
)
def test_wrong_options_are_refused_in_one_line_and_nothing_is_loaded(
    tiny_bundle, tmp_path, capsys, options, words
):
    spool = [] if "--spool" in options else ["--spool", str(tmp_path / "spool")]
    try:
        code = cli.main(["serve", "dicom", "--bundle", str(tiny_bundle), *spool, *options])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


@pytest.mark.parametrize("host", ["256.0.0.1", "a" * 300])
def test_an_address_that_is_none_is_refused_in_one_line(tiny_bundle, tmp_path, capsys, host):
    options = ["--send-to", "a:104:PACS", "--spool", str(tmp_path), "--host", host, "--port", "0"]
    common = ["--bundle", str(tiny_bundle), "--log-level", "error"]
    assert cli.main(["serve", "dicom", *common, *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--host" in line


def test_without_pynetdicom_the_server_says_what_to_install(tiny_bundle, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("moediff_rt.serve.dicom")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    options = ["--bundle", str(tiny_bundle), "--log-level", "error", "--send-to", "a:1:P"]
    assert cli.main(["serve", "dicom", *options]) == 2
    assert "pip install 'moediff-rt[serve-dicom]'" in capsys.readouterr().err
