"""What a DICOM peer sends is bounded before pynetdicom keeps it."""

from __future__ import annotations

import select
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pynetdicom", reason="needs the extra serve-dicom")

from moediff_rt.serve.dicom.guard import Framing, Guard
from moediff_rt.serve.dicom.limits import Limits
from moediff_rt.serve.errors import Refused
from moediff_rt.serve.hold import Hold

COMMAND, DATA = 3, 2


def pdu(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxL", kind, len(content)) + content


def value(control: int, content: bytes) -> bytes:
    """A presentation data value on context 1."""
    return struct.pack(">LBB", len(content) + 2, 1, control) + content


def message(size: int = 100, pieces: int = 3) -> bytes:
    """A DIMSE message with a data set, in P-DATA PDUs."""
    parts = [pdu(4, value(COMMAND, bytes(80)))]
    parts += [pdu(4, value(0, bytes(size))) for _ in range(pieces - 1)]
    return b"".join([*parts, pdu(4, value(DATA, bytes(size)))])


STREAM = (
    pdu(1, bytes(200)) + message() + message(1, 1) + pdu(4, value(COMMAND, b"e") * 2) + pdu(5, b"")
)


@given(st.lists(st.integers(1, len(STREAM)), max_size=20))
def test_framing_is_the_same_however_the_stream_is_cut(cuts):
    framing = Framing(1000)
    ends = [*sorted(cuts), len(STREAM)]
    for start, end in zip([0, *ends], ends, strict=False):
        framing.feed(STREAM[start:end])
    assert framing.commands == 4
    assert framing.is_between
    assert framing.data_bytes == len(STREAM) - 206 - 6


@pytest.mark.parametrize(
    "wrong",
    [
        struct.pack(">BxL", 4, 1001),
        struct.pack(">BxL", 1, 1 << 31),
        pdu(4, value(COMMAND, b"abc") + b"12345"),
        pdu(4, struct.pack(">LBB", 100, 1, 3)),
        pdu(4, struct.pack(">LBB", 0, 1, 3)),
        pdu(4, b"1"),
    ],
)
def test_what_is_no_pdu_or_too_long_a_one_is_refused(wrong):
    with pytest.raises(Refused, match="expected"):
        Framing(1000).feed(wrong)


@pytest.fixture
def pair():
    """A guard and its peer, and what the guard said."""
    made = []

    def make(limits=None, hold=1 << 30, **more):
        ours, theirs = socket.socketpair()
        theirs.settimeout(30)
        said, closed = [], []
        guard = Guard(
            ours,
            limits or Limits(pdu_bytes=1000, instance_bytes=2000, unanswered=3),
            Hold(hold).share(),
            on_refused=said.append,
            on_close=lambda: closed.append(True),
            **more,
        )
        made.append((guard, theirs))
        return guard, theirs, said, closed

    yield make
    for guard, theirs in made:
        guard.close()
        theirs.close()


def read(guard) -> int:
    """Read as pynetdicom does: while there is something; how much there was."""
    total = 0
    while select.select([guard], [], [], 0)[0] and (piece := guard.recv(4096)):
        total += len(piece)
    return total


def test_messages_that_are_answered_may_be_any_number(pair):
    guard, peer, said, _closed = pair()
    peer.sendall(pdu(1, bytes(900)))
    assert read(guard) == 906
    guard.send(pdu(2, b"accepted"))
    for _ in range(50):
        peer.sendall(message(600))
        read(guard)
        guard.send(pdu(4, value(COMMAND, b"done")))
        assert guard._share._own == 0, "nothing is held after the answer"
    assert not said


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (message(900, pieces=5), "instances of at most 2000"),
        (b"".join([pdu(4, value(0, bytes(900)))] * 5), "instances of at most 2000"),
        (b"".join([pdu(4, value(1, bytes(900)))] * 5), "instances of at most 2000"),
        (message() * 4, "one message at a time"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "PDUs of at most"),
    ],
)
def test_a_peer_that_sends_too_much_is_cut_off(pair, sent, words):
    guard, peer, said, closed = pair()
    peer.sendall(sent)
    with pytest.raises(OSError, match="expected"):
        read(guard)
    assert len(said) == 1 and words in said[0]
    assert peer.recv(100) == b"", "the connection is ended"
    guard.close()
    guard.close()
    assert closed == [True]


def test_all_peers_together_hold_no_more_than_they_may(pair):
    guard, peer, said, _closed = pair(hold=3000)
    peer.sendall(message(900, pieces=2))
    with pytest.raises(OSError, match="expected"):
        read(guard)
    assert "in a connection" in said[0]
    hold = guard._share._hold
    guard.close()
    assert hold.taken == 0, "what a peer held is given back with its end"


def test_a_peer_that_drips_is_cut_off_and_an_idle_one_is_not(pair):
    # Looked at when a message begins, and after each piece of it.
    times = iter([0.0, 1.0, 500.0, 501.0, 502.0, 503.0, 600.0])
    guard, peer, said, _closed = pair(now=lambda: next(times))
    peer.sendall(pdu(1, bytes(9)))
    guard.recv(4096)
    peer.sendall(pdu(1, bytes(9)))
    guard.recv(4096)
    assert not said, "between two messages it may take its time"
    peer.sendall(message()[:50])
    guard.recv(40)
    with pytest.raises(OSError, match="too slowly"):
        guard.recv(40)
    assert said == ["sent too slowly"]


def test_a_peer_that_leaves_is_no_error(pair):
    guard, peer, said, _closed = pair()
    peer.close()
    assert guard.recv(6) == b""
    guard.shutdown()
    assert not said
