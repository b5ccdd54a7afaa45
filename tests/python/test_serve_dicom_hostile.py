"""What DICOM peers must not do, and what the server must not take: it serves the next one."""

from __future__ import annotations

import socket
import struct
import tracemalloc

import dicom_series as made
import numpy as np
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

from moediff_rt.serve.dicom.identity import check_items, read_identity
from moediff_rt.serve.dicom.limits import Limits
from moediff_rt.serve.dicom.spool import INCOMING, REFUSED
from moediff_rt.serve.hold import Hold


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"SOPInstanceUID": "1.2.3"}, 0xA900),
        ({"SOPClassUID": made.ENHANCED_MR}, 0xA900),
        ({"SeriesInstanceUID": ""}, 0xA900),
        ({"StudyInstanceUID": "../../etc"}, 0xA900),
        ({"SeriesInstanceUID": "1.2.03"}, 0xA900),
    ],
)
def test_a_data_set_that_is_not_what_the_request_says_is_refused(start_dicom, change, status):
    with start_dicom() as server, association(server.port) as sender:
        assert send_as(sender, head()[0], T1[0].SOPInstanceUID, **change) == status
        assert server.counted("refused_total", reason="instance") == 1
        assert is_empty(server)
        assert list((server.spool.folder / "arriving").iterdir()) == []


@pytest.mark.parametrize("uid", ["../../../tmp/evil", "1.2.../..", "1..2", "a.b", "1.2.03"])
def test_a_uid_like_a_path_is_refused(start_dicom, uid):
    with start_dicom() as server, association(server.port) as sender:
        assert send_as(sender, head()[0], uid, SOPInstanceUID=uid) == 0x0117
        assert is_empty(server)


@pytest.mark.filterwarnings("ignore")
def send_as(sender, dataset, uid, **change) -> int:
    """Store a data set under a UID of the request, after changing what it says itself."""
    from pydicom.dataset import Dataset

    changed = Dataset()
    with pydicom.config.disable_value_validation():
        changed.update(dataset)
        for keyword, value in change.items():
            changed[keyword] = pydicom.DataElement(
                keyword, "UI", value, validation_mode=pydicom.config.IGNORE
            )
        return send_encoded(sender, encoded(sender, changed), uid)


def context_of(sender):
    return next(c for c in sender.accepted_contexts if c.abstract_syntax == made.MR)


def encoded(sender, dataset) -> bytes:
    """A data set as it is sent."""
    from pynetdicom.dsutils import encode

    syntax = context_of(sender).transfer_syntax[0]
    return encode(dataset, syntax.is_implicit_VR, syntax.is_little_endian)


def send_encoded(sender, data: bytes, uid) -> int:
    """Store bytes under a UID of the request."""
    from io import BytesIO

    from pynetdicom.dimse_primitives import C_STORE

    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID = made.MR
    request.AffectedSOPInstanceUID = uid
    request.DataSet = BytesIO(data)
    sender._reactor_checkpoint.clear()
    wait_for(lambda: sender._is_paused, "the sender")
    sender.dimse.send_msg(request, context_of(sender).context_id)
    _, answer = sender.dimse.get_msg(block=True)
    sender._reactor_checkpoint.set()
    return answer.Status


def test_bytes_that_are_no_data_set_are_refused(start_dicom):
    with start_dicom() as server, association(server.port) as sender:
        dataset = pydicom.Dataset()
        dataset.PixelData = bytes(range(256)) * 40
        dataset["PixelData"].VR = "OW"
        assert send_as(sender, dataset, "1.2.3") == 0xA900
        assert is_empty(server)


def test_other_kinds_of_objects_are_not_negotiated(start_dicom):
    ct, report = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11"
    with start_dicom() as server, association(server.port, classes=[made.MR, ct, report]) as sender:
        accepted = {context.abstract_syntax for context in sender.accepted_contexts}
        assert accepted == {made.MR, "1.2.840.10008.1.1"}
        assert sender.send_c_echo().Status == 0


def test_ae_titles_are_checked(start_dicom):
    with start_dicom(accepted=("SCANNER",)) as server:
        with association(server.port, title="OTHER") as sender:
            assert sender.is_rejected
        with association(server.port, calling="STRANGER") as sender:
            assert sender.is_rejected
        assert server.counted("refused_total", reason="association") == 2
        with association(server.port) as sender:
            assert sender.is_established


def test_a_full_spool_refuses_instances_and_keeps_what_it_has(start_dicom):
    with start_dicom(quiet_seconds=1e6, limit=16_000) as server:
        statuses = send(server.port, T1)
        assert statuses[0] == 0 and statuses[-1] == 0xA700
        (series,) = server.in_state(INCOMING)
        kept = len(list((server.spool.folder / INCOMING / series).iterdir()))
        assert kept == statuses.count(0)


def test_too_many_associations_are_told_so(start_dicom):
    with start_dicom(limits=Limits(associations=2)) as server:
        with association(server.port) as one, association(server.port) as two:
            assert one.is_established and two.is_established
            with association(server.port) as three:
                assert three.is_rejected

        def is_served() -> bool:
            with association(server.port) as four:
                return four.is_established

        wait_for(is_served, "the peers to have left")


def test_too_many_connections_are_closed_at_once(start_dicom):
    with start_dicom(limits=Limits(associations=1, first_seconds=3.0)) as server:
        peers = [socket.create_connection(("127.0.0.1", server.port), 30) for _ in range(3)]
        try:
            assert peers[2].recv(1) == b""
            wait_for(lambda: server.counted("refused_total", reason="connection") == 1, "it")
        finally:
            for peer in peers:
                peer.close()


ITEM, NO_ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, 0), struct.pack("<HHL", 8, 8, 0)
END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def with_items(sender, dataset, items: bytes, length: int) -> bytes:
    """A data set with a sequence of some bytes and a length in front of its series description."""
    data = encoded(sender, dataset)
    explicit = not context_of(sender).transfer_syntax[0].is_implicit_VR
    place = data.index(struct.pack("<HH", 0x0008, 0x103E))
    head = struct.pack("<HH", 0x0008, 0x1032) + b"SQ\0\0" * explicit + struct.pack("<L", length)
    return data[:place] + head + items + data[place:]


@pytest.mark.parametrize("length", ["defined", "undefined"])
def test_a_header_of_many_items_is_refused_unread_and_others_are_served(start_dicom, length):
    items = ITEM * 400_000 + END * (length == "undefined")
    count = (1 << 32) - 1 if length == "undefined" else len(items)
    with start_dicom() as server, association(server.port) as sender:
        bomb = with_items(sender, T1[0], items, count)
        tracemalloc.start()
        assert send_encoded(sender, bomb, T1[0].SOPInstanceUID) == 0xC000
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 10 * len(bomb), "it was not parsed"
        assert is_empty(server)
        assert sender.send_c_store(T1[0]).Status == 0
    assert server.hold.taken == 0


@pytest.mark.parametrize(
    ("options", "status"),
    [({"limits": Limits(header_bytes=20_000)}, 0xC000), ({"hold": 1_600_000}, 0xA700)],
    ids=["larger than allowed", "more than is free"],
)
def test_a_header_is_read_up_to_a_bound_whatever_is_in_it(start_dicom, options, status):
    """pydicom takes any tag for an item's."""
    items = NO_ITEM * 4000 + END
    with start_dicom(**options) as server, association(server.port) as sender:
        bomb = with_items(sender, T1[0], items, (1 << 32) - 1)
        assert send_encoded(sender, bomb, T1[0].SOPInstanceUID) == status
        assert is_empty(server)
        assert list((server.spool.folder / "arriving").iterdir()) == []
        assert sender.send_c_store(T1[0]).Status == 0
    assert server.hold.taken == 0


def test_a_multi_frame_header_of_thousands_of_frames_is_within_bounds(tmp_path):
    """Each with 20 sequences and a kilobyte of a vendor's own, as scanners write them."""
    from pydicom.dataset import Dataset

    image = made.enhanced(image=made.sample(10))
    frame = image.PerFrameFunctionalGroupsSequence[0]
    for number in range(18):
        item = Dataset()
        item.EffectiveEchoTime, item.FlipAngle, item.RepetitionTime = 2.98, 9.0, 2300.0
        frame.add_new(0x00189100 + number, "SQ", [item])
    frame.add_new(0x00210010, "LO", "SCANNERS INC")
    frame.add_new(0x00211001, "OB", bytes(1024))
    image.PerFrameFunctionalGroupsSequence = [frame] * 2000
    path = made.save(tmp_path / "large", image) / "0001.dcm"
    data = path.read_bytes()
    check_items(memoryview(data), Limits().items)
    with Hold(4 << 30).share() as share:
        said = read_identity(path, Limits(), share)
    assert said["SOPInstanceUID"] == image.SOPInstanceUID
    assert len(data) > 4 << 20


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
def test_a_hostile_peer_is_cut_off_and_the_next_one_served(start_dicom, archive, derived, what):
    with start_dicom(limits=Limits(first_seconds=0.3, idle_seconds=3)) as server:
        with socket.create_connection(("127.0.0.1", server.port), 30) as peer:
            peer.sendall(HOSTILE[what])
            peer.shutdown(socket.SHUT_WR)
            peer.settimeout(30)
            try:
                while peer.recv(4096):
                    pass
            except ConnectionError:
                pass
        server.give_time()
        with association(server.port) as sender:
            assert sender.send_c_echo().Status == 0
        wait_for(lambda: server.counted("connections") == 0, "the peers to leave")
        assert server.hold.taken == 0


def recorded(start_dicom, images) -> list[bytes]:
    """The PDUs of a sender that stores some images."""
    from pynetdicom import evt

    pdus = []
    keep = [(evt.EVT_DATA_SENT, lambda event: pdus.append(bytes(event.data)))]
    with start_dicom(quiet_seconds=1e6) as server:
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


def test_damaged_conversations_harm_nobody(start_dicom, archive, derived, rng):
    pdus = recorded(start_dicom, head("t1 recorded")[:2])
    limits = Limits(first_seconds=0.2, idle_seconds=0.5, associations=50)
    with start_dicom(limits=limits, broken_seconds=1e6) as server:
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
        server.give_time()
        send(server.port, T1)
        wait_for(lambda: len(archive.series(derived.uid)) == len(derived), "the result")


def test_an_idle_peer_is_not_waited_for(start_dicom):
    with start_dicom(limits=Limits(idle_seconds=0.3)) as server:
        with association(server.port) as sender:
            wait_for(lambda: sender.is_aborted, "the server to end it")
        wait_for(lambda: server.counted("connections") == 0, "its end")


def test_a_peer_that_stays_does_not_hold_up_the_end(start_dicom):
    with start_dicom(grace=0.0) as server, association(server.port) as sender:
        assert sender.send_c_store(T1[0]).Status == 0
        server.stop()
        wait_for(lambda: not sender.is_established, "the end of the association")
        assert len(server.in_state(INCOMING)) == 1


def test_a_sender_that_vanishes_in_the_middle_may_send_the_rest_later(
    start_dicom, archive, derived
):
    with start_dicom(broken_seconds=1e6) as server:
        with association(server.port) as sender:
            for image in T1[:4]:
                assert sender.send_c_store(image).Status == 0
            sender.dul.socket.socket.shutdown(socket.SHUT_RDWR)
            wait_for(lambda: not sender.is_established, "its own end")
        wait_for(lambda: server.counted("connections") == 0, "its end")
        server.wait_for_looks()
        assert len(server.in_state(INCOMING)) == 1
        send(server.port, T1)
        wait_for(lambda: len(archive.instances) == len(derived), "the result")
    assert_is_whole_result(archive, derived)


def test_an_instance_larger_than_allowed_ends_the_association(start_dicom):
    with start_dicom(limits=Limits(instance_bytes=20_000, pdu_bytes=1 << 17)) as server:
        with association(server.port) as sender:
            large = head()[0]
            large.PixelData = bytes(1 << 20)
            assert "Status" not in sender.send_c_store(large)
        assert server.counted("refused_total", reason="message") == 1
        assert is_empty(server)


def test_a_series_too_large_for_memory_is_refused_before_its_voxels_are_read(start_dicom):
    with start_dicom(limits=Limits(input_voxels=100)) as server:
        send(server.port, T1)
        (name,) = wait_for(lambda: server.in_state(REFUSED), "the refusal")
        said = (server.spool.folder / REFUSED / name / "result" / "outcome.json").read_text()
    assert "at most 100 voxels" in said


def test_a_result_beyond_the_limit_is_not_made(start_dicom):
    with start_dicom(limits=Limits(output_voxels=100)) as server:
        send(server.port, T1)
        (name,) = wait_for(lambda: server.in_state(REFUSED), "the refusal")
        said = (server.spool.folder / REFUSED / name / "result" / "outcome.json").read_text()
    assert "coarser --spacing" in said
