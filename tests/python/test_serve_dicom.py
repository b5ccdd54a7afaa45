"""The DICOM server: series in, results at the archive, and nothing lost whatever peers do."""

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
    association,
    head,
    is_empty,
    send,
    wait_for,
)

from moediff_rt.errors import OutputError
from moediff_rt.serve.dicom import enhance, spool
from moediff_rt.serve.dicom import send as sends
from moediff_rt.serve.dicom.enhance import MOST_BEGUN
from moediff_rt.serve.dicom.limits import Limits
from moediff_rt.serve.dicom.send import Peer, Sending
from moediff_rt.serve.dicom.spool import INCOMING, READY, REFUSED, SENDING
from moediff_rt.serve.logs import Log
from moediff_rt.serve.metrics import Metrics


def test_a_series_is_enhanced_and_its_result_sent(start_dicom, archive, derived):
    with start_dicom() as server:
        assert send(server.port, T1) == [0] * len(T1)
        wait_for(lambda: len(archive.instances) == len(derived), "the result")
        wait_for(lambda: is_empty(server), "an empty spool")
        assert server.counted("series_total", outcome="enhanced") == 1
        assert server.counted("images_received_total") == len(T1)
        assert server.counted("images_sent_total") == len(derived)
        assert server.counted("spool_series", state="sending") == 0
        assert server.hold.taken == 0
    assert_is_whole_result(archive, derived)


def test_a_series_may_come_over_several_associations_at_once(start_dicom, archive, derived):
    with start_dicom() as server:
        with association(server.port) as one, association(server.port) as other:
            for image in T1[:5]:
                assert one.send_c_store(image).Status == 0
            for image in reversed(T1[5:]):
                assert other.send_c_store(image).Status == 0
            one.release()
            wait_for(lambda: server.counted("connections") == 1, "one to have left")
            server.wait_for_looks()
            assert len(server.in_state(INCOMING)) == 1, "the other association is open"
        wait_for(lambda: len(archive.instances) == len(derived), "the result")
    assert_is_whole_result(archive, derived)


def test_series_in_one_association_are_told_apart(start_dicom, archive):
    enhanced = made.enhanced(name="t1 enhanced", image=made.sample(10))
    with start_dicom() as server:
        send(server.port, [*T1[:3], enhanced, *T1[3:]])
        wait_for(lambda: server.counted("series_total", outcome="enhanced") == 2, "two results")
        wait_for(lambda: is_empty(server), "an empty spool")
    assert len({image.SeriesInstanceUID for image in archive.results()}) == 2


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


def with_attribute(images, keyword, value):
    for image in images:
        setattr(image, keyword, value)
    return images


def without_voxels() -> list:
    images = head("no voxels")
    for image in images:
        del image.PixelData
    return images


# What is not enhanced, and words of the reason that is recorded.
REFUSALS = {
    "T2": (lambda: head("t2 tse"), "'t2' in its names"),
    "long echo": (lambda: with_attribute(head("long"), "EchoTime", "90"), "echo time of 90 ms"),
    "knee": (lambda: with_attribute(head("knee"), "BodyPartExamined", "KNEE"), "BodyPart"),
    "gap": (lambda: [image for image in head("gap") if image.InstanceNumber != 5], "mm apart"),
    "single slice": (lambda: head("single")[:1], "at least"),
    "no voxels": (without_voxels, "expected voxels"),
    "a result of ours": (
        lambda: with_attribute(head("ours"), "ImageType", ["DERIVED", "PRIMARY", "M", "MOEDIFFSR"]),
        "a result of moediff-rt",
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_what_the_model_is_not_for_is_kept_with_the_reason(start_dicom, archive, what):
    make, words = REFUSALS[what]
    images = make()
    with start_dicom() as server:
        assert send(server.port, images) == [0] * len(images)
        (name,) = wait_for(lambda: server.in_state(REFUSED), "the refusal")
        folder = server.spool.folder / REFUSED / name
        wait_for(lambda: server.counted("series_total", outcome="passed") == 1, "the count")
    assert words in (folder / "result" / "outcome.json").read_text()
    kept = {pydicom.dcmread(path).SOPInstanceUID for path in folder.glob("*.dcm")}
    assert kept == {image.SOPInstanceUID for image in images}
    assert archive.instances == []


def test_any_contrast_takes_what_says_it_is_another(start_dicom, archive):
    with start_dicom(any_contrast=True) as server:
        send(server.port, head("t2 tse"))
        wait_for(lambda: server.counted("series_total", outcome="enhanced") == 1, "the result")


def test_a_refused_series_that_is_made_ready_by_hand_is_tried_again(start_dicom, archive):
    with start_dicom() as server:
        send(server.port, head("t2 tse"))
        (name,) = wait_for(lambda: server.in_state(REFUSED), "the refusal")
        folder = server.spool.folder
    (folder / REFUSED / name).rename(folder / READY / name)
    with start_dicom(any_contrast=True) as server:
        wait_for(lambda: archive.instances and is_empty(server), "the result")


def test_what_is_missing_of_a_refused_series_completes_it(start_dicom, archive, derived):
    with start_dicom() as server:
        send(server.port, T1[:4] + T1[5:])
        wait_for(lambda: server.in_state(REFUSED), "the refusal")
        send(server.port, T1[4:5])
        wait_for(lambda: len(archive.instances) == len(derived), "the result")
        assert server.in_state(REFUSED) == []
    assert_is_whole_result(archive, derived)


def test_a_disk_that_does_not_take_the_result_is_asked_again(
    start_dicom, archive, derived, monkeypatch
):
    tries, write_whole = [], spool.write_whole

    def fail_twice(writers):
        tries.append(1)
        if len(tries) < 3:
            raise OutputError("no space")
        write_whole(writers)

    monkeypatch.setattr(enhance, "_DISK_SECONDS", 0.01)
    monkeypatch.setattr(spool, "write_whole", fail_twice)
    with start_dicom() as server:
        send(server.port, T1)
        wait_for(lambda: len(archive.instances) == len(derived), "the result")
    assert len(tries) == 3
    assert_is_whole_result(archive, derived)


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


def test_a_failure_of_the_model_keeps_the_series_and_the_next_is_enhanced(
    start_dicom, archive, monkeypatch, derived
):
    with start_dicom() as server:
        with monkeypatch.context() as patch:
            patch.setattr(server.session, "infer_scan", lambda *_a, **_k: 1 / 0)
            send(server.port, head("t1 other"))
            wait_for(lambda: server.in_state(REFUSED), "the refusal")
        wait_for(lambda: server.counted("series_total", outcome="failed") == 1, "the count")
        send(server.port, T1)
        wait_for(lambda: len(archive.instances) == len(derived), "the result")
    assert_is_whole_result(archive, derived)


def test_a_series_that_ends_the_process_again_and_again_is_given_up(start_dicom, tmp_path):
    with start_dicom(quiet_seconds=1e6) as server:
        send(server.port, T1)
        (series,) = server.in_state(INCOMING)
        server.spool.finish(series)
        for _ in range(MOST_BEGUN):
            server.spool.claim(series)
    with start_dicom() as server:
        (name,) = wait_for(lambda: server.in_state(REFUSED), "the refusal")
        said = (server.spool.folder / REFUSED / name / "result" / "outcome.json").read_text()
    assert f"ended {MOST_BEGUN} times" in said


def test_a_series_that_has_ended_the_process_holds_up_no_other(start_dicom, archive, derived):
    with start_dicom(quiet_seconds=1e6) as server:
        send(server.port, head("t1 other"))
        (first,) = server.in_state(INCOMING)
        server.spool.finish(first)
        server.spool.claim(first)
        send(server.port, T1)
        (second,) = server.in_state(INCOMING)
        server.spool.finish(second)
    with start_dicom() as server:
        wait_for(lambda: archive.instances and is_empty(server), "both results")
    assert archive.instances[0].SeriesInstanceUID == derived.uid
    assert len(archive.instances) == 2 * len(derived)


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
    sending = Sending(
        full,
        Peer("127.0.0.1", 104, "PACS"),
        "MOEDIFF",
        most_wait=5.0,
        limits=Limits(),
        stopping=stopping,
        give_up=threading.Event(),
        metrics=Metrics(),
        log=Log("dicom"),
    )
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


def test_a_refused_series_that_cannot_be_removed_does_not_end_the_server(
    start_dicom, archive, derived, monkeypatch
):
    tried = threading.Event()

    def fail(_spool, _older_than):
        tried.set()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(spool.Spool, "remove_refused", fail)
    with start_dicom(keep_refused=0.0) as server:
        assert tried.wait(60)
        send(server.port, T1)
        wait_for(lambda: len(archive.instances) == len(derived), "the result")


def test_a_spool_that_breaks_ends_the_server_with_an_error(start_dicom, monkeypatch):
    def fail(_state):
        raise OSError(5, "Input/output error")

    with pytest.raises(OutputError, match="cannot be used any more"):
        with start_dicom() as server:
            monkeypatch.setattr(server.spool, "series_in", fail)
            server.server._enhancing.look()
            assert server.stopping.wait(60)


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


def test_a_new_instance_after_the_series_was_whole_is_part_of_it(start_dicom, archive, derived):
    with start_dicom() as server:
        begun, go_on = threading.Event(), threading.Event()
        infer = server.session.infer_scan

        def slow(scan, **settings):
            begun.set()
            assert go_on.wait(60)
            return infer(scan, **settings)

        server.session.infer_scan = slow
        try:
            send(server.port, T1[:-1])
            assert begun.wait(60)
            send(server.port, T1[-1:])
            go_on.set()
            wait_for(lambda: len(archive.instances) == len(derived), "the result")
            wait_for(lambda: is_empty(server), "an empty spool")
        finally:
            del server.session.infer_scan
    assert_is_whole_result(archive, derived)


def test_a_series_sent_twice_has_one_result(start_dicom, archive, derived):
    with start_dicom() as server:
        for _ in range(2):
            send(server.port, T1)
            wait_for(lambda: is_empty(server), "an empty spool")
    assert {image.SeriesInstanceUID for image in archive.results()} == {derived.uid}
    assert len({image.SOPInstanceUID for image in archive.results()}) == len(derived)


def test_the_same_instance_again_is_taken_and_other_bytes_of_its_uid_are_not(start_dicom):
    with start_dicom(quiet_seconds=1e6) as server:
        assert send(server.port, [T1[0], T1[0]]) == [0, 0]
        other = head()[0]
        other.PixelData = bytes(len(other.PixelData))
        assert send(server.port, [other]) == [0x0111]
        (series,) = server.in_state(INCOMING)
        (path,) = (server.spool.folder / INCOMING / series).iterdir()
        assert pydicom.dcmread(path).PixelData == T1[0].PixelData


def test_stopping_loses_nothing_and_the_next_start_goes_on(start_dicom, archive, derived):
    with start_dicom(quiet_seconds=1e6) as server:
        send(server.port, T1[:4])
    with start_dicom(quiet_seconds=0.0, broken_seconds=1e6) as server:
        assert len(server.in_state(INCOMING)) == 1
        send(server.port, T1[4:])
        wait_for(lambda: len(archive.instances) == len(derived), "the result")
    assert_is_whole_result(archive, derived)


def test_at_the_end_the_series_that_has_the_model_may_be_set_back(start_dicom, archive, derived):
    with start_dicom(grace=0.0) as server:
        begun = threading.Event()
        infer = server.session.infer_scan

        def endless(scan, *, cancel, **settings):
            begun.set()
            wait_for(cancel, "the end")
            return infer(scan, cancel=cancel, **settings)

        server.session.infer_scan = endless
        try:
            send(server.port, T1)
            assert begun.wait(60)
            server.stop()
        finally:
            del server.session.infer_scan
        assert len(server.in_state(READY)) == 1
    with start_dicom() as server:
        wait_for(lambda: len(archive.instances) == len(derived), "the result")
    assert_is_whole_result(archive, derived)
