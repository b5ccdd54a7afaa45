"""How much a peer may send, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass

from ..hold import MIB


@dataclass(frozen=True)
class Limits:
    """Bounds on what comes from the wire.

    Attributes
    ----------
    text_bytes, header_bytes, attribute_bytes, image_bytes : int
        Of a text or configuration, of the XML header, of an image's attribute string, of an
        image's voxels. The last also bounds the raw data and waveforms that are skipped.
    series_images : int
        Images in one series.
    volumes : int
        Volumes in one connection.
    output_voxels : int
        Of an enhanced volume; for a larger one the originals are returned.
    first_seconds, idle_seconds : float
        Until a peer's first message, and from one message to the next.
    stall_seconds, bytes_per_second : float
        A message may take the former and its size by the latter, in either direction.
    """

    text_bytes: int = MIB
    header_bytes: int = 4 * MIB
    attribute_bytes: int = 4 * MIB
    image_bytes: int = 512 * MIB
    series_images: int = 4096
    volumes: int = 1024
    output_voxels: int = 400_000_000
    first_seconds: float = 30.0
    idle_seconds: float = 3600.0
    stall_seconds: float = 30.0
    bytes_per_second: float = 1e6

    def seconds_for(self, count: int) -> float:
        """How long a message of `count` bytes may take, s."""
        return self.stall_seconds + count / self.bytes_per_second
