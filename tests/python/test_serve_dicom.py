"""The DICOM server: series in, results at the archive, and nothing lost whatever peers do."""

from __future__ import annotations

import socket
import struct
import threading

import dicom_series as made
import numpy as np
import pydicom
import pytest

pytest.importorskip("pynetdicom", reason="needs the extra serve-dicom")

from dicom_peer import Archive, association, head, send, served, wait_for

from moediff_rt import dicom
from moediff_rt.serve.dicom.limits import Limits
from moediff_rt.serve.dicom.spool import INCOMING, READY, REFUSED, SENDING

T1 = head()


@pytest.fixture
def archive():
    with Archive() as archive:
        yield archive


@pytest.fixture
def start(tiny_bundle, tmp_path, archive):
    """Start servers over one spool, one after the other."""

    def begin(archive=archive, **options):
        return served(tiny_bundle, tmp_path / "spool", archive, **options)

    return begin


@pytest.fixture(scope="module")
def expected(tiny_bundle, tmp_path_factory):
    """What `dicom.enhance` makes of `T1`."""
    from dicom_peer import _session

    folder = made.save(tmp_path_factory.mktemp("t1"), T1)
    return dicom.enhance(_session(tiny_bundle), dicom.load_series(folder)).derived


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


def test_a_series_is_enhanced_and_its_result_sent(start, archive, expected):
    with start() as server:
        assert send(server.port, T1) == [0] * len(T1)
        wait_for(lambda: len(archive.instances) == len(expected), "the result")
        wait_for(lambda: is_empty(server), "an empty spool")
        assert server.counted("series_total", outcome="enhanced") == 1
        assert server.counted("images_received_total") == len(T1)
        assert server.counted("images_sent_total") == len(expected)
        assert server.counted("spool_series", state="sending") == 0
        assert server.hold.taken == 0
    assert_is_whole_result(archive, expected)


def test_a_series_may_come_over_several_associations_at_once(start, archive, expected):
    with start() as server:
        with association(server.port) as one, association(server.port) as other:
            for image in T1[:5]:
                assert one.send_c_store(image).Status == 0
            for image in reversed(T1[5:]):
                assert other.send_c_store(image).Status == 0
            one.release()
            assert server.in_state(READY) == [], "the other association is open"
        wait_for(lambda: len(archive.instances) == len(expected), "the result")
    assert_is_whole_result(archive, expected)


def test_series_in_one_association_are_told_apart(start, archive):
    enhanced = made.enhanced(name="t1 enhanced", image=made.sample(10))
    with start() as server:
        send(server.port, [*T1[:3], enhanced, *T1[3:]])
        wait_for(lambda: server.counted("series_total", outcome="enhanced") == 2, "two results")
        wait_for(lambda: is_empty(server), "an empty spool")
    assert len({image.SeriesInstanceUID for image in archive.results()}) == 2


def test_originals_are_sent_too_when_asked(start, archive, expected):
    t2 = head("t2 tse")
    with start(send_originals=True) as server:
        send(server.port, [*T1, *t2])
        wait_for(lambda: is_empty(server) and archive.instances, "all to be sent")
        wait_for(lambda: len(archive.instances) == 2 * len(T1) + len(expected), "all")
        assert server.in_state(REFUSED) == []
    for sent in (T1, t2):
        found = archive.series(sent[0].SeriesInstanceUID)
        assert [image.SOPInstanceUID for image in found] == [i.SOPInstanceUID for i in sent]
        assert [image.PixelData for image in found] == [image.PixelData for image in sent]
        assert found[0][0x0029, 0x1010].value.rstrip(b"\0") == sent[0][0x0029, 0x1010].value


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
def test_what_the_model_is_not_for_is_kept_with_the_reason(start, archive, what):
    make, words = REFUSALS[what]
    images = make()
    with start() as server:
        assert send(server.port, images) == [0] * len(images)
        (name,) = wait_for(lambda: server.in_state(REFUSED), "the refusal")
        folder = server.spool.folder / REFUSED / name
        wait_for(lambda: server.counted("series_total", outcome="passed") == 1, "the count")
    assert words in (folder / "result" / "outcome.json").read_text()
    kept = {pydicom.dcmread(path).SOPInstanceUID for path in folder.glob("*.dcm")}
    assert kept == {image.SOPInstanceUID for image in images}
    assert archive.instances == []


def test_any_contrast_takes_what_says_it_is_another(start, archive):
    with start(any_contrast=True) as server:
        send(server.port, head("t2 tse"))
        wait_for(lambda: server.counted("series_total", outcome="enhanced") == 1, "the result")


def test_a_series_too_large_for_memory_is_refused_before_its_voxels_are_read(start):
    with start(limits=Limits(input_voxels=100)) as server:
        send(server.port, T1)
        (name,) = wait_for(lambda: server.in_state(REFUSED), "the refusal")
        said = (server.spool.folder / REFUSED / name / "result" / "outcome.json").read_text()
    assert "at most 100 voxels" in said


def test_a_result_beyond_the_limit_is_not_made(start):
    with start(limits=Limits(output_voxels=100)) as server:
        send(server.port, T1)
        (name,) = wait_for(lambda: server.in_state(REFUSED), "the refusal")
        said = (server.spool.folder / REFUSED / name / "result" / "outcome.json").read_text()
    assert "coarser --spacing" in said


def test_a_refused_series_that_is_made_ready_by_hand_is_tried_again(start, archive):
    with start() as server:
        send(server.port, head("t2 tse"))
        (name,) = wait_for(lambda: server.in_state(REFUSED), "the refusal")
        folder = server.spool.folder
    (folder / REFUSED / name).rename(folder / READY / name)
    with start(any_contrast=True) as server:
        wait_for(lambda: archive.instances and is_empty(server), "the result")


def test_what_is_missing_of_a_refused_series_completes_it(start, archive, expected):
    with start() as server:
        send(server.port, T1[:4] + T1[5:])
        wait_for(lambda: server.in_state(REFUSED), "the refusal")
        send(server.port, T1[4:5])
        wait_for(lambda: len(archive.instances) == len(expected), "the result")
        assert server.in_state(REFUSED) == []
    assert_is_whole_result(archive, expected)


def test_a_disk_that_does_not_take_the_result_is_asked_again(start, archive, expected, monkeypatch):
    from moediff_rt.errors import OutputError
    from moediff_rt.serve.dicom import enhance, spool

    tries, write_whole = [], spool.write_whole

    def fail_twice(writers):
        tries.append(1)
        if len(tries) < 3:
            raise OutputError("no space")
        write_whole(writers)

    monkeypatch.setattr(enhance, "_DISK_SECONDS", 0.01)
    monkeypatch.setattr(spool, "write_whole", fail_twice)
    with start() as server:
        send(server.port, T1)
        wait_for(lambda: len(archive.instances) == len(expected), "the result")
    assert len(tries) == 3
    assert_is_whole_result(archive, expected)


def test_an_archive_that_answers_with_too_much_is_cut_off_and_asked_again(start, expected):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        archive = Archive(listener.getsockname()[1])
        listener.settimeout(60)
        with start(archive=archive) as server:
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
    start, archive, monkeypatch, expected
):
    with start() as server:
        with monkeypatch.context() as patch:
            patch.setattr(server.session, "infer_scan", lambda *_a, **_k: 1 / 0)
            send(server.port, head("t1 other"))
            wait_for(lambda: server.in_state(REFUSED), "the refusal")
        wait_for(lambda: server.counted("series_total", outcome="failed") == 1, "the count")
        send(server.port, T1)
        wait_for(lambda: len(archive.instances) == len(expected), "the result")
    assert_is_whole_result(archive, expected)


def test_a_series_that_ends_the_process_again_and_again_is_given_up(start, tmp_path):
    with start(quiet_seconds=1e6) as server:
        send(server.port, T1)
        (series,) = server.in_state(INCOMING)
        server.spool.finish(series)
        for _ in range(3):
            server.spool.claim(series)
    with start() as server:
        (name,) = wait_for(lambda: server.in_state(REFUSED), "the refusal")
        said = (server.spool.folder / REFUSED / name / "result" / "outcome.json").read_text()
    assert "ended 3 times" in said


def test_a_peer_that_is_down_gets_the_result_when_it_is_up(start, archive, expected):
    archive.close()
    with start() as server:
        send(server.port, T1)
        wait_for(lambda: server.in_state(SENDING), "the result to wait")
        assert archive.instances == []
        archive.open()
        wait_for(lambda: is_empty(server), "an empty spool")
    assert_is_whole_result(archive, expected)


def test_what_the_peer_refuses_is_sent_again_and_nothing_else(start, archive, expected):
    refused, seen = set(), []

    def refuse_once(dataset) -> int:
        seen.append(dataset.SOPInstanceUID)
        if int(dataset.InstanceNumber) % 5 or dataset.SOPInstanceUID in refused:
            return 0x0000
        refused.add(dataset.SOPInstanceUID)
        return 0xA700

    archive.answer = refuse_once
    with start() as server:
        send(server.port, T1)
        wait_for(lambda: len(archive.instances) == len(expected), "the result")
        wait_for(lambda: is_empty(server), "an empty spool")
    assert refused and len(seen) == len(expected) + len(refused)
    assert_is_whole_result(archive, expected)


def test_one_series_that_the_peer_never_takes_does_not_hold_up_the_others(start, archive, expected):
    archive.answer = lambda dataset: 0 if dataset.SeriesInstanceUID == expected.uid else 0xC000
    with start() as server:
        send(server.port, head("t1 other"))
        wait_for(lambda: server.in_state(SENDING), "the first result")
        send(server.port, T1)
        wait_for(lambda: len(archive.instances) == len(expected), "the second result")
        wait_for(lambda: len(server.in_state(SENDING)) == 1, "the first alone to be left")
    assert_is_whole_result(archive, expected)


def test_a_warning_of_the_peer_is_a_yes(start, archive):
    archive.answer = lambda _dataset: 0xB007
    with start() as server:
        send(server.port, T1)
        wait_for(lambda: server.counted("images_sent_total"), "an instance")
        wait_for(lambda: is_empty(server), "an empty spool")


def test_a_peer_that_breaks_off_gets_the_rest_later(start, archive, expected):
    def close_once(dataset) -> int:
        if len(archive.instances) == 7:
            archive.answer = lambda _dataset: 0
            for thread in threading.enumerate():
                if hasattr(thread, "abort") and thread.ae.ae_title == "PACS":
                    thread.abort(block=False)
        return 0

    archive.answer = close_once
    with start() as server:
        send(server.port, T1)
        wait_for(lambda: is_empty(server) and archive.instances, "an empty spool")
    uids = {image.SOPInstanceUID for image in archive.results()}
    assert len(uids) == len(expected)


def test_a_new_instance_after_the_series_was_whole_is_part_of_it(start, archive, expected):
    with start() as server:
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
            wait_for(lambda: len(archive.instances) == len(expected), "the result")
            wait_for(lambda: is_empty(server), "an empty spool")
        finally:
            del server.session.infer_scan
    assert_is_whole_result(archive, expected)


def test_a_series_sent_twice_has_one_result(start, archive, expected):
    with start() as server:
        for _ in range(2):
            send(server.port, T1)
            wait_for(lambda: is_empty(server), "an empty spool")
    assert {image.SeriesInstanceUID for image in archive.results()} == {expected.uid}
    assert len({image.SOPInstanceUID for image in archive.results()}) == len(expected)


def test_the_same_instance_again_is_taken_and_other_bytes_of_its_uid_are_not(start):
    with start(quiet_seconds=1e6) as server:
        assert send(server.port, [T1[0], T1[0]]) == [0, 0]
        other = head()[0]
        other.PixelData = bytes(len(other.PixelData))
        assert send(server.port, [other]) == [0x0111]
        (series,) = server.in_state(INCOMING)
        (path,) = (server.spool.folder / INCOMING / series).iterdir()
        assert pydicom.dcmread(path).PixelData == T1[0].PixelData


def test_stopping_loses_nothing_and_the_next_start_goes_on(start, archive, expected):
    with start(quiet_seconds=1e6) as server:
        send(server.port, T1[:4])
    with start(quiet_seconds=0.0, broken_seconds=1e6) as server:
        assert len(server.in_state(INCOMING)) == 1
        send(server.port, T1[4:])
        wait_for(lambda: len(archive.instances) == len(expected), "the result")
    assert_is_whole_result(archive, expected)


def test_at_the_end_the_series_that_has_the_model_may_be_set_back(start, archive, expected):
    with start(grace=0.0) as server:
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
    with start() as server:
        wait_for(lambda: len(archive.instances) == len(expected), "the result")
    assert_is_whole_result(archive, expected)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"SOPInstanceUID": "1.2.3"}, 0xA900),
        ({"SOPClassUID": made.ENHANCED_MR}, 0xA900),
        ({"SeriesInstanceUID": ""}, 0xA900),
        ({"StudyInstanceUID": "../../etc"}, 0xC000),
        ({"SeriesInstanceUID": "1.2.03"}, 0xA900),
    ],
)
def test_a_data_set_that_is_not_what_the_request_says_is_refused(start, change, status):
    with start() as server, association(server.port) as sender:
        assert send_as(sender, head()[0], T1[0].SOPInstanceUID, **change) == status
        assert server.counted("refused_total", reason="instance") == 1
        assert is_empty(server)
        assert list((server.spool.folder / "arriving").iterdir()) == []


@pytest.mark.parametrize("uid", ["../../../tmp/evil", "1.2.../..", "1..2", "a.b", "1.2.03"])
def test_a_uid_like_a_path_is_refused(start, uid):
    with start() as server, association(server.port) as sender:
        assert send_as(sender, head()[0], uid, SOPInstanceUID=uid) == 0x0117
        assert is_empty(server)


@pytest.mark.filterwarnings("ignore")
def send_as(sender, dataset, uid, **change) -> int:
    """Store a data set under a UID of the request, after changing what it says itself."""
    from io import BytesIO

    from pydicom.dataset import Dataset
    from pynetdicom.dimse_primitives import C_STORE
    from pynetdicom.dsutils import encode

    changed = Dataset()
    with pydicom.config.disable_value_validation():
        changed.update(dataset)
        for keyword, value in change.items():
            changed[keyword] = pydicom.DataElement(
                keyword, "UI", value, validation_mode=pydicom.config.IGNORE
            )
        request = C_STORE()
        request.MessageID, request.Priority = 1, 2
        request.AffectedSOPClassUID = made.MR
        request.AffectedSOPInstanceUID = uid
        context = next(c for c in sender.accepted_contexts if c.abstract_syntax == made.MR)
        syntax = context.transfer_syntax[0]
        data = encode(changed, syntax.is_implicit_VR, syntax.is_little_endian)
        request.DataSet = BytesIO(data)
        sender._reactor_checkpoint.clear()
        wait_for(lambda: sender._is_paused, "the sender")
        sender.dimse.send_msg(request, context.context_id)
        _, answer = sender.dimse.get_msg(block=True)
        sender._reactor_checkpoint.set()
    return answer.Status


def test_bytes_that_are_no_data_set_are_refused(start):
    with start() as server, association(server.port) as sender:
        dataset = pydicom.Dataset()
        dataset.PixelData = bytes(range(256)) * 40
        dataset["PixelData"].VR = "OW"
        assert send_as(sender, dataset, "1.2.3") == 0xA900
        assert is_empty(server)


def test_other_kinds_of_objects_are_not_negotiated(start):
    ct, report = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11"
    with start() as server, association(server.port, classes=[made.MR, ct, report]) as sender:
        accepted = {context.abstract_syntax for context in sender.accepted_contexts}
        assert accepted == {made.MR, "1.2.840.10008.1.1"}
        assert sender.send_c_echo().Status == 0


def test_ae_titles_are_checked(start):
    with start(accepted=("SCANNER",)) as server:
        with association(server.port, title="OTHER") as sender:
            assert sender.is_rejected
        with association(server.port, calling="STRANGER") as sender:
            assert sender.is_rejected
        assert server.counted("refused_total", reason="association") == 2
        with association(server.port) as sender:
            assert sender.is_established


def test_a_full_spool_refuses_instances_and_keeps_what_it_has(start):
    with start(quiet_seconds=1e6, limit=16_000) as server:
        statuses = send(server.port, T1)
        assert statuses[0] == 0 and statuses[-1] == 0xA700
        (series,) = server.in_state(INCOMING)
        kept = len(list((server.spool.folder / INCOMING / series).iterdir()))
        assert kept == statuses.count(0)


def test_too_many_associations_are_told_so(start):
    with start(limits=Limits(associations=2)) as server:
        with association(server.port) as one, association(server.port) as two:
            assert one.is_established and two.is_established
            with association(server.port) as three:
                assert three.is_rejected

        def is_served() -> bool:
            with association(server.port) as four:
                return four.is_established

        wait_for(is_served, "the peers to have left")


def test_too_many_connections_are_closed_at_once(start):
    with start(limits=Limits(associations=1, first_seconds=0.3)) as server:
        peers = [socket.create_connection(("127.0.0.1", server.port), 30) for _ in range(3)]
        try:
            assert peers[2].recv(1) == b""
            wait_for(lambda: server.counted("refused_total", reason="connection") == 1, "it")
        finally:
            for peer in peers:
                peer.close()


HOSTILE = {
    "noise": bytes(np.random.default_rng(1).integers(0, 256, 5000, np.uint8)),
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "huge PDU": struct.pack(">BxL", 1, (1 << 32) - 1) + b"x" * 1000,
    "data before the association": struct.pack(">BxLLBB", 4, 16, 12, 1, 3) + bytes(10),
    "half a header": b"\1\0\0",
    "association of noise": struct.pack(">BxL", 1, 500) + b"\xff" * 500,
    "nothing": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_peer_is_cut_off_and_the_next_one_served(start, archive, expected, what):
    with start(limits=Limits(first_seconds=0.3)) as server:
        with socket.create_connection(("127.0.0.1", server.port), 30) as peer:
            peer.sendall(HOSTILE[what])
            peer.shutdown(socket.SHUT_WR)
            peer.settimeout(30)
            try:
                while peer.recv(4096):
                    pass
            except ConnectionError:
                pass
        with association(server.port) as sender:
            assert sender.send_c_echo().Status == 0
        wait_for(lambda: server.counted("connections") == 0, "the peers to leave")
        assert server.hold.taken == 0


def recorded(start, images) -> list[bytes]:
    """The PDUs of a sender that stores some images."""
    from pynetdicom import evt

    pdus = []
    keep = [(evt.EVT_DATA_SENT, lambda event: pdus.append(bytes(event.data)))]
    with start(quiet_seconds=1e6) as server:
        assert send(server.port, images, evt_handlers=keep) == [0] * len(images)
    return pdus


def damaged(pdus, rng) -> bytes:
    """What a faulty or hostile sender may make of a conversation."""
    pdus = list(pdus)
    what = rng.integers(5)
    if what == 0:
        del pdus[rng.integers(len(pdus))]
    elif what == 1:
        pdus *= 3
    data = bytearray(b"".join(pdus))
    if what == 2:
        del data[rng.integers(len(data)) :]
    elif what == 3:
        for place in rng.integers(len(data), size=20):
            data[place] = rng.integers(256)
    elif what == 4:
        place = rng.integers(len(data))
        data[place:place] = rng.bytes(100)
    return bytes(data)


def test_damaged_conversations_harm_nobody(start, archive, expected, rng):
    pdus = recorded(start, head("t1 recorded")[:2])
    limits = Limits(first_seconds=0.2, idle_seconds=0.5, stall_seconds=1.0, associations=50)
    with start(limits=limits, broken_seconds=1e6) as server:
        for _ in range(60):
            with socket.create_connection(("127.0.0.1", server.port), 30) as peer:
                try:
                    peer.sendall(damaged(pdus, rng))
                    peer.shutdown(socket.SHUT_WR)
                except ConnectionError:
                    pass
        wait_for(lambda: server.counted("connections") == 0, "the peers to leave")
        assert server.hold.taken == 0
        assert list((server.spool.folder / "arriving").iterdir()) == []
        send(server.port, T1)
        wait_for(lambda: len(archive.series(expected.uid)) == len(expected), "the result")


def test_an_idle_peer_is_not_waited_for(start):
    with start(limits=Limits(idle_seconds=0.3)) as server:
        with association(server.port) as sender:
            wait_for(lambda: sender.is_aborted, "the server to end it")
        wait_for(lambda: server.counted("connections") == 0, "its end")


def test_a_sender_that_vanishes_in_the_middle_may_send_the_rest_later(start, archive, expected):
    with start(broken_seconds=1e6) as server:
        with association(server.port) as sender:
            for image in T1[:4]:
                assert sender.send_c_store(image).Status == 0
            sender.dul.socket.socket.shutdown(socket.SHUT_RDWR)
            wait_for(lambda: not sender.is_established, "its own end")
        wait_for(lambda: server.counted("connections") == 0, "its end")
        assert server.in_state(READY) == []
        send(server.port, T1)
        wait_for(lambda: len(archive.instances) == len(expected), "the result")
    assert_is_whole_result(archive, expected)


def test_an_instance_larger_than_allowed_ends_the_association(start):
    with start(limits=Limits(instance_bytes=20_000, pdu_bytes=1 << 17)) as server:
        with association(server.port) as sender:
            large = head()[0]
            large.PixelData = bytes(1 << 20)
            assert "Status" not in sender.send_c_store(large)
        assert server.counted("refused_total", reason="message") == 1
        assert is_empty(server)
