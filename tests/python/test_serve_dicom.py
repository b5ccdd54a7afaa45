"""The DICOM server: series in, results at the archive, and nothing lost whatever peers do."""

from __future__ import annotations

import threading

import dicom_series as made
import pydicom
import pytest

pytest.importorskip("pynetdicom", reason="needs the extra serve-dicom")

from dicom_peer import (
    T1,
    assert_is_whole_result,
    association,
    head,
    is_empty,
    send,
    wait_for,
)

from moediff_rt.errors import OutputError
from moediff_rt.serve.dicom import enhance, spool
from moediff_rt.serve.dicom.enhance import MOST_BEGUN
from moediff_rt.serve.dicom.spool import INCOMING, READY, REFUSED


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
    "reformatted angiogram": (
        lambda: with_attribute(
            head("TOF_3D_multi-slab MPR Tra"), "ImageType", ["DERIVED", "SECONDARY", "MPR"]
        ),
        "'tof' in its names",
    ),
    "PD, reformatted": (
        lambda: with_attribute(head("pd_tse"), "ImageType", ["DERIVED", "SECONDARY", "MPR"]),
        "'pd' in its names",
    ),
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
