"""Peers of the DICOM server: who sends to it, and the archive that it sends to."""

from __future__ import annotations

import contextlib
import functools
import shutil
import socket
import subprocess
import threading
import time

import dicom_series as made
import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, DEFAULT_TRANSFER_SYNTAXES, evt

from moediff_rt import Session
from moediff_rt.serve.dicom.arrivals import Arrivals
from moediff_rt.serve.dicom.enhance import Asked
from moediff_rt.serve.dicom.limits import Limits
from moediff_rt.serve.dicom.package import quiet_network
from moediff_rt.serve.dicom.send import Peer
from moediff_rt.serve.dicom.server import DicomServer
from moediff_rt.serve.dicom.spool import INCOMING, READY, SENDING, Spool
from moediff_rt.serve.hold import Hold
from moediff_rt.serve.listening import bind
from moediff_rt.serve.logs import Log
from moediff_rt.serve.metrics import Metrics
from moediff_rt.serve.room import Room
from moediff_rt.serve.turns import Turns

SECONDS = 60
READ = (made.MR, made.ENHANCED_MR)


def wait_for(condition, what: str):
    """Ask until the answer is true, and give it; fail after `SECONDS`."""
    deadline = time.monotonic() + SECONDS
    pause = threading.Event()
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        pause.wait(0.01)
    return found


def head(name: str = "t1 mprage") -> list[Dataset]:
    """A small series of classic images."""
    return made.classic(name=name, image=made.sample(10))


def dcmtk(program: str) -> str:
    """Path of a program of DCMTK; pynetdicom installs others of the same names."""
    for folder in ("/usr/bin", "/usr/local/bin"):
        if path := shutil.which(program, path=folder):
            return path
    pytest.skip(f"{program} is not installed: apt-get install dcmtk")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def association(port: int, title="MOEDIFF", calling="SCANNER", classes=READ, **options):
    """An association of a well-behaved sender; released at the end."""
    entity = AE(ae_title=calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = SECONDS
    for uid in classes:
        entity.add_requested_context(uid)
    entity.add_requested_context("1.2.840.10008.1.1")
    found = entity.associate("127.0.0.1", port, ae_title=title, **options)
    try:
        yield found
    finally:
        if found.is_established:
            found.release()


def send(port: int, images, **options) -> list[int]:
    """Store images over one association; the status of each."""
    with association(port, **options) as sender:
        assert sender.is_established
        return [sender.send_c_store(image).Status for image in images]


T1 = head()


class Archive:
    """A storage SCP that keeps what it gets; `answer` may refuse an instance or end the world.

    It takes the SOP classes of `classes` in `syntaxes` from when it is opened, and refuses
    associations for which `rejects` gives a result, a source and a reason.
    """

    def __init__(self, port: int = 0, title: str = "PACS") -> None:
        self.title, self.port = title, port or free_port()
        self.instances: list[Dataset] = []
        self.answer = lambda dataset: 0x0000
        self.classes, self.syntaxes = READ, DEFAULT_TRANSFER_SYNTAXES
        self.rejects = lambda requested: None
        self._entity = None

    def __enter__(self) -> Archive:
        self.open()
        return self

    def __exit__(self, *_exc) -> None:
        self.close()

    def open(self) -> None:
        self._entity = AE(ae_title=self.title)
        self._entity.require_called_aet = True
        for uid in self.classes:
            self._entity.add_supported_context(uid, self.syntaxes)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_REQUESTED, self._requested)]
        self._entity.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)

    def close(self) -> None:
        if self._entity is not None:
            self._entity.shutdown()
            self._entity = None

    def _store(self, event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        status = self.answer(dataset)
        if status == 0:
            self.instances.append(dataset)
        return status

    def _requested(self, event) -> None:
        requested = {cx.abstract_syntax for cx in event.assoc.requestor.requested_contexts}
        if rejection := self.rejects(requested):
            event.assoc.acse.send_reject(*rejection)
            event.assoc.kill()

    def series(self, uid: str) -> list[Dataset]:
        """What came of a series, by instance number."""
        found = [one for one in self.instances if one.SeriesInstanceUID == uid]
        return sorted(found, key=lambda one: int(one.InstanceNumber))

    def results(self) -> list[Dataset]:
        """What came that moediff-rt made."""
        return [one for one in self.instances if "MOEDIFFSR" in one.ImageType]


class CountedArrivals(Arrivals):
    """Counts how often the server has asked what is whole."""

    asked = 0

    def take_whole(self) -> list[str]:
        whole = super().take_whole()
        self.asked += 1
        return whole


class Served:
    """A server in this process, on a free port."""

    def __init__(self, bundle, folder, archive, **options) -> None:
        settings = {
            "quiet_seconds": 0.0,
            "broken_seconds": 600.0,
            "any_contrast": False,
            "send_originals": False,
            "accepted": (),
            "limits": Limits(),
            "limit": 1 << 40,
            "hold": 1 << 32,
            "most_wait": 0.05,
            "grace": 60.0,
            "keep_refused": None,
        } | options
        limits = settings["limits"]
        self.metrics, self.stopping = Metrics(), threading.Event()
        self.session = session_of(bundle)
        self.spool = Spool(folder, settings["limit"], limits.series_instances)
        self.hold = Hold(settings["hold"])
        self.arrivals = CountedArrivals(settings["quiet_seconds"], settings["broken_seconds"])
        self._quiet = contextlib.ExitStack()
        self._quiet.enter_context(quiet_network(Log("dicom")))
        self.server = DicomServer(
            Room(Turns(self.session), self.metrics, threading.Event(), self.stopping),
            self.spool,
            self.arrivals,
            Asked(None, None, 0, None, settings["any_contrast"], settings["send_originals"]),
            Peer("127.0.0.1", archive.port, archive.title),
            bound=bind("127.0.0.1", 0),
            title="MOEDIFF",
            accepted=settings["accepted"],
            limits=limits,
            hold=self.hold,
            most_wait=settings["most_wait"],
            keep_refused=settings["keep_refused"],
        )
        self.port = self.server.port
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._serve, args=(settings["grace"],))
        self.thread.start()

    def _serve(self, grace: float) -> None:
        try:
            self.server.serve(grace)
        except Exception as error:
            self.error = error

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join(SECONDS)
        self._quiet.close()
        self.spool.close()
        assert not self.thread.is_alive()

    def give_time(self) -> None:
        """Let peers take their time from now on, however short `limits` had it for others."""
        entity = self.server._acceptor._server.ae
        entity.acse_timeout = entity.network_timeout = SECONDS

    def wait_for_looks(self) -> None:
        """Wait until it has asked what is whole, from now on, and moved what was."""
        # One is under way, the second is from now on, at the third the second was acted upon.
        asked = self.arrivals.asked
        wait_for(lambda: self.arrivals.asked >= asked + 3, "the server to look")

    def counted(self, name: str, **labels) -> float:
        return self.metrics.registry.get_sample_value(f"moediff_rt_{name}", labels) or 0.0

    def in_state(self, state: str) -> list[str]:
        return self.spool.series_in(state)


@functools.cache
def session_of(bundle) -> Session:
    """One model for all servers of a test run."""
    return Session(bundle, threads=1)


@contextlib.contextmanager
def served(bundle, folder, archive, **options):
    server = Served(bundle, folder, archive, **options)
    try:
        yield server
    finally:
        server.stop()
    if server.error is not None:
        raise server.error


def errors_of(path) -> list[str]:
    """What dciodvfy finds wrong with a file."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed: apt-get install dicom3tools")
    said = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace")
    lines = said.stderr.splitlines()
    assert "MRImage" in lines, "it saw what it is"
    return [line for line in lines if line.startswith("Error")]


def read_all(folder) -> list[Dataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def is_empty(server) -> bool:
    states = (INCOMING, READY, SENDING)
    return not any(server.in_state(state) for state in states)


def assert_is_whole_result(archive, expected) -> None:
    """Exactly one result of `T1` is there, once, with the voxels that it has to have."""
    assert {image.SeriesInstanceUID for image in archive.results()} == {expected.uid}
    found = archive.series(expected.uid)
    assert [int(image.InstanceNumber) for image in found] == list(range(1, len(expected) + 1))
    for image, other in zip(found, expected.datasets(), strict=True):
        assert image.SOPInstanceUID == other.SOPInstanceUID
        assert image.PixelData == other.PixelData
        assert image.PatientName == T1[0].PatientName
