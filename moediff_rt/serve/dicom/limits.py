"""How much a DICOM peer may send, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass

from ..hold import MIB


@dataclass(frozen=True)
class Limits:
    """Bounds on what comes from the wire, and on what is made of it.

    Attributes
    ----------
    pdu_bytes : int
        Of one PDU; `offered_pdu_bytes` is what peers are told to keep to.
    instance_bytes : int
        Of one instance, and of all that a peer sent that has no answer yet.
    header_bytes, items : int
        Of an instance before its voxels, and items of sequences in it: each takes pydicom long,
        and much more memory than its bytes.
    unanswered : int
        Messages that a peer may send before the answer to the first of them.
    series_instances : int
        Instances in one series.
    input_voxels, output_voxels : int
        Of a series, and of its result; a larger one is refused.
    associations : int
        Served at once. As many again may be connected, to be told that there are too many.
    first_seconds, idle_seconds : float
        Until a peer has said who it is, and from one message to the next.
    stall_seconds, bytes_per_second : float
        A message may take the former and its size by the latter.
    """

    pdu_bytes: int = MIB
    offered_pdu_bytes: int = MIB // 8
    instance_bytes: int = 1024 * MIB
    header_bytes: int = 16 * MIB
    items: int = 1 << 17
    unanswered: int = 8
    series_instances: int = 20_000
    input_voxels: int = 400_000_000
    output_voxels: int = 400_000_000
    associations: int = 16
    first_seconds: float = 10.0
    idle_seconds: float = 60.0
    stall_seconds: float = 30.0
    bytes_per_second: float = 1e5

    def seconds_for(self, count: int) -> float:
        """How long a message of which `count` bytes have come may have taken, s."""
        return self.stall_seconds + count / self.bytes_per_second
