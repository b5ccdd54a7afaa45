"""What the DICOM server sends, to archives that are down, full, picky or gone meanwhile."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from types import SimpleNamespace

import dicom_series as made
import pydicom
import pytest

pytest.importorskip("pynetdicom", reason="needs the extra serve-dicom")

from dicom_peer import (
    READ,
    T1,
    Archive,
    assert_is_whole_result,
    head,
    is_empty,
    send,
    wait_for,
)
from pydicom.uid import ExplicitVRLittleEndian

from moediff_rt.serve.dicom import send as sends
from moediff_rt.serve.dicom.limits import Limits
from moediff_rt.serve.dicom.package import quiet_network
from moediff_rt.serve.dicom.send import Peer, Sending
from moediff_rt.serve.dicom.spool import REFUSED, SENDING
from moediff_rt.serve.logs import Log
from moediff_rt.serve.metrics import Metrics


def test_originals_are_sent_too_when_asked(start_dicom, archive, derived):
    t2 = head("t2 tse")
    with start_dicom(send_originals=True) as server:
        send(server.port, [*T1, *t2])
        wait_for(lambda: is_empty(server) and archive.instances, "all to be sent")
        wait_for(lambda: len(archive.instances) == 2 * len(T1) + len(derived), "all")
        assert server.in_state(REFUSED) == []
    for sent in (T1, t2):
        found = archive.series(sent[0].SeriesInstanceUID)
        assert [image.SOPInstanceUID for image in found] == [i.SOPInstanceUID for i in sent]
        assert [image.PixelData for image in found] == [image.PixelData for image in sent]
        assert found[0][0x0029, 0x1010].value.rstrip(b"\0") == sent[0][0x0029, 0x1010].value


def test_originals_that_were_to_be_sent_are_sent_whatever_the_next_start_says(
    start_dicom, archive, derived
):
    archive.close()
    t2 = head("t2 tse")
    with start_dicom(send_originals=True) as server:
        send(server.port, t2)
        wait_for(lambda: server.in_state(SENDING), "the original to wait")
    with start_dicom() as server:
        send(server.port, T1)
        wait_for(lambda: len(server.in_state(SENDING)) == 2, "the result to wait")
    archive.open()
    with start_dicom(send_originals=True) as server:
        wait_for(lambda: is_empty(server), "all to be sent")
    assert len(archive.series(t2[0].SeriesInstanceUID)) == len(t2)
    assert archive.series(T1[0].SeriesInstanceUID) == []
    assert len(archive.series(derived.uid)) == len(derived)


def test_an_archive_that_answers_with_too_much_is_cut_off_and_asked_again(start_dicom, derived):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        archive = Archive(listener.getsockname()[1])
        listener.settimeout(60)
        with start_dicom(archive=archive) as server:
            send(server.port, T1)
            for _ in range(2):
                peer, _address = listener.accept()
                with peer:
                    peer.settimeout(60)
                    assert peer.recv(6)[:1] == b"\1"
                    peer.sendall(struct.pack(">BxL", 2, 1 << 31) + bytes(1000))
            wait_for(lambda: server.counted("refused_total", reason="answer") == 2, "it")
            assert len(server.in_state(SENDING)) == 1


def test_a_peer_that_is_down_gets_the_result_when_it_is_up(start_dicom, archive, derived):
    archive.close()
    with start_dicom() as server:
        send(server.port, T1)
        wait_for(lambda: server.in_state(SENDING), "the result to wait")
        assert archive.instances == []
        archive.open()
        wait_for(lambda: is_empty(server), "an empty spool")
    assert_is_whole_result(archive, derived)


def test_what_the_peer_refuses_is_sent_again_and_nothing_else(start_dicom, archive, derived):
    refused, seen = set(), []

    def refuse_once(dataset) -> int:
        seen.append(dataset.SOPInstanceUID)
        if int(dataset.InstanceNumber) % 5 or dataset.SOPInstanceUID in refused:
            return 0x0000
        refused.add(dataset.SOPInstanceUID)
        return 0xA700

    archive.answer = refuse_once
    with start_dicom() as server:
        send(server.port, T1)
        wait_for(lambda: len(archive.instances) == len(derived), "the result")
        wait_for(lambda: is_empty(server), "an empty spool")
    assert refused and len(seen) == len(derived) + len(refused)
    assert_is_whole_result(archive, derived)


def sending_of(spool, port: int, stopping: threading.Event) -> Sending:
    return Sending(
        spool,
        Peer("127.0.0.1", port, "PACS"),
        "MOEDIFF",
        most_wait=5.0,
        limits=Limits(),
        stopping=stopping,
        give_up=threading.Event(),
        metrics=Metrics(),
        log=Log("dicom"),
    )


def test_the_wait_for_the_next_try_does_not_count_the_time_that_sending_took(monkeypatch):
    now, waits, stopping = [0.0], [], threading.Event()

    class Wake(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            stopping.set()

    def refused_after_minutes(paths):
        now[0] += 300.0
        return Counter({"0xA700": len(paths)})

    full = SimpleNamespace(series_in=lambda _state: ["series"], to_send=lambda _series: ["file"])
    sending = sending_of(full, 104, stopping)
    monkeypatch.setattr(sends, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(sending, "_send_files", refused_after_minutes)
    monkeypatch.setattr(sending, "_wake", Wake())
    sending.run()
    assert waits == [1.0]


def test_one_series_that_the_peer_never_takes_does_not_hold_up_the_others(
    start_dicom, archive, derived
):
    archive.answer = lambda dataset: 0 if dataset.SeriesInstanceUID == derived.uid else 0xC000
    with start_dicom() as server:
        send(server.port, head("t1 other"))
        wait_for(lambda: server.in_state(SENDING), "the first result")
        send(server.port, T1)
        wait_for(lambda: len(archive.instances) == len(derived), "the second result")
        wait_for(lambda: len(server.in_state(SENDING)) == 1, "the first alone to be left")
    assert_is_whole_result(archive, derived)


@pytest.mark.parametrize("how", ["no context", "rejected"])
def test_a_series_of_a_kind_that_the_peer_does_not_take_does_not_hold_up_the_others(
    start_dicom, archive, derived, how
):
    archive.close()
    with start_dicom(send_originals=True) as server:
        send(server.port, [made.enhanced(name="t2 enhanced", image=made.sample(10))])
        (first,) = wait_for(lambda: server.in_state(SENDING), "the enhanced image to wait")
        send(server.port, T1)
        wait_for(lambda: len(server.in_state(SENDING)) == 2, "the result to wait")
        if how == "no context":
            archive.classes = [made.MR]
        else:
            archive.rejects = lambda asked: (1, 1, 1) if made.ENHANCED_MR in asked else None
        archive.open()
        wait_for(lambda: server.in_state(SENDING) == [first], "the first alone to be left")
        assert len(archive.series(derived.uid)) == len(derived)
        archive.close()
        archive.classes, archive.rejects = [*READ], lambda _asked: None
        archive.open()
        wait_for(lambda: is_empty(server), "the first to be sent as well")


def test_an_instance_that_cannot_be_encoded_is_not_told_as_one_that_the_peer_does_not_take(
    archive, tmp_path
):
    archive.close()
    archive.classes, archive.syntaxes = [made.MR], [ExplicitVRLittleEndian]
    archive.open()
    other = made.enhanced(name="t2 enhanced", image=made.sample(10))
    folder = made.save(tmp_path / "in", [*made.implicit(head())[:3], other])
    image = pydicom.dcmread(folder / "0002.dcm")
    # Without it nobody knows which VR the smallest value has.
    del image.PixelRepresentation
    image.save_as(folder / "0002.dcm")
    dropped = []
    sending = sending_of(SimpleNamespace(drop=dropped.append), archive.port, threading.Event())
    with quiet_network(Log("dicom")):
        failed = sending._send_files(sorted(folder.iterdir()))
    assert failed == {"cannot be encoded": 1, "no presentation context": 1}
    assert [path.name for path in dropped] == ["0001.dcm", "0003.dcm"]


def test_a_peer_that_does_not_know_us_is_not_asked_for_each_series(start_dicom, archive, caplog):
    archive.rejects = lambda _asked: (1, 1, 3)
    with start_dicom() as server:
        send(server.port, T1)
        wait_for(lambda: "peer not reached" in caplog.messages, "a try")
        assert len(server.in_state(SENDING)) == 1
    assert "instances not taken by the peer" not in caplog.messages


def test_a_result_damaged_on_disk_does_not_hold_up_the_others(start_dicom, archive, derived):
    archive.close()
    with start_dicom() as server:
        send(server.port, head("t1 other"))
        (name,) = wait_for(lambda: server.in_state(SENDING), "the first result")
        folder = server.spool.folder
    (folder / SENDING / name / "result" / "00003.dcm").write_bytes(b"no DICOM file")
    archive.open()
    with start_dicom() as server:
        send(server.port, T1)
        wait_for(lambda: len(archive.series(derived.uid)) == len(derived), "the second result")
        wait_for(lambda: len(server.in_state(SENDING)) == 1, "the first alone to be left")


@pytest.mark.parametrize("status", [0xB007, 0x0111], ids=["a remark", "there already"])
def test_what_the_peer_has_with_a_remark_or_has_already_is_sent(start_dicom, archive, status):
    archive.answer = lambda _dataset: status
    with start_dicom() as server:
        send(server.port, T1)
        wait_for(lambda: server.counted("images_sent_total"), "an instance")
        wait_for(lambda: is_empty(server), "an empty spool")


def test_a_peer_that_breaks_off_gets_the_rest_later(start_dicom, archive, derived):
    def close_once(dataset) -> int:
        if len(archive.instances) == 7:
            archive.answer = lambda _dataset: 0
            for thread in threading.enumerate():
                if hasattr(thread, "abort") and thread.ae.ae_title == "PACS":
                    thread.abort(block=False)
        return 0

    archive.answer = close_once
    with start_dicom() as server:
        send(server.port, T1)
        wait_for(lambda: is_empty(server) and archive.instances, "an empty spool")
    uids = {image.SOPInstanceUID for image in archive.results()}
    assert len(uids) == len(derived)
