"""A peer of the MRD server, with the public `ismrmrd` package for every structure on the wire."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

import ismrmrd
import numpy as np

from moediff_rt import Session
from moediff_rt.serve.hold import Hold
from moediff_rt.serve.listening import bind
from moediff_rt.serve.metrics import Metrics
from moediff_rt.serve.mrd.answers import Settings
from moediff_rt.serve.mrd.enhance import Asked
from moediff_rt.serve.mrd.limits import Limits
from moediff_rt.serve.mrd.server import MrdServer
from moediff_rt.serve.room import Room
from moediff_rt.serve.turns import Turns

SECONDS = 60
AXIAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
 <measurementInformation><protocolName>t1_mprage_sag</protocolName></measurementInformation>
 <sequenceParameters><TR>2300</TR><TE>2.3</TE><TI>900</TI></sequenceParameters>
</ismrmrdHeader>"""


def head(shape=(12, 14, 10), seed=0) -> np.ndarray:
    """A head-like volume (x, y, z), uint16."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    tissue = (sum(axis**2 for axis in grid) < 0.7) * (1 + 0.3 * np.sin(7 * grid[0] + seed))
    return (600 * tissue + rng.uniform(5, 15, shape)).astype(np.uint16)


def image_of(
    voxels, position, size, directions=AXIAL, *, series=1, number=1, slice=0, meta=None, **fields
) -> ismrmrd.Image:
    """An image of (x, y, z) voxels, with the centre and size of its box in mm (LPS)."""
    image = ismrmrd.Image.from_array(np.ascontiguousarray(voxels.T), transpose=False)
    image.image_type = ismrmrd.IMTYPE_MAGNITUDE
    image.position, image.field_of_view = tuple(map(float, position)), tuple(map(float, size))
    image.read_dir, image.phase_dir, image.slice_dir = directions
    image.image_series_index, image.image_index, image.slice = series, number, slice
    for name, value in fields.items():
        setattr(image, name, value)
    if meta:
        image.meta = meta
    return image


def slices_of(
    volume, *, centre=(0.0, 0.0, 0.0), spacing=(2.0, 2.0, 2.0), directions=AXIAL, **fields
) -> list[ismrmrd.Image]:
    """A volume as single slices along the third direction, numbered from 1."""
    x, y, z = volume.shape
    along = np.array(directions[2])
    return [
        image_of(
            volume[..., k : k + 1],
            np.array(centre) + along * spacing[2] * (k - (z - 1) / 2),
            (x * spacing[0], y * spacing[1], spacing[2]),
            directions,
            number=k + 1,
            slice=k,
            **fields,
        )
        for k in range(z)
    ]


def message(image) -> bytes:
    """An image, or a text, as it goes over the wire."""
    if isinstance(image, ismrmrd.Image):
        return struct.pack("<H", 1022) + image.to_bytes()
    return text_message(5, image)


def text_message(kind: int, text: str) -> bytes:
    data = text.encode() + b"\0"
    return struct.pack("<HI", kind, len(data)) + data


def opening(config: str = "moediff", header: str = HEADER) -> bytes:
    """What comes before the images."""
    return struct.pack("<H1024s", 1, config.encode()) + text_message(3, header)


CLOSE = struct.pack("<H", 4)


class Peer:
    """A connection to the server."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self._stream = self.socket.makefile("rb")

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_exc) -> None:
        self._stream.close()
        self.socket.close()

    def send(self, *parts) -> None:
        for part in parts:
            self.socket.sendall(part if isinstance(part, bytes) else message(part))

    def answer(self) -> tuple[list[ismrmrd.Image], list[str]]:
        """Read up to the close message: images, and texts."""
        images, texts = [], []
        reader = ismrmrd.ProtocolDeserializer(self._stream)
        for item in reader.deserialize():
            (texts if isinstance(item, str) else images).append(item)
        assert self._stream.read() == b"", "nothing follows the close message"
        return images, texts


def exchange(port: int, images, *, config="moediff", header=HEADER, extra=()):
    """One whole conversation: everything is sent before anything is read."""
    with Peer(port) as peer:
        peer.send(opening(config, header), *extra, *images, CLOSE)
        return peer.answer()


def identical(one, other) -> bool:
    """Two images have the same header and voxels."""
    return bytes(one.getHead()) == bytes(other.getHead()) and np.array_equal(one.data, other.data)


class Served:
    """A server in this process, on a free port."""

    def __init__(self, bundle, *, most_peers=32, hold=1 << 30, **settings) -> None:
        self.metrics, self.stopping = Metrics(), threading.Event()
        self.session = Session(bundle, threads=1)
        self.hold = Hold(hold)
        limits = settings.pop("limits", Limits())
        spacing = settings.pop("spacing", None)
        asked = Asked(self.session.bundle, spacing, None, 0, None, limits.output_voxels)
        options = {"send_originals": False, "any_contrast": False, **settings}
        self.server = MrdServer(
            bind("127.0.0.1", 0),
            Room(Turns(self.session), self.metrics, threading.Event(), self.stopping),
            Settings(asked, limits=limits, **options),
            most_peers=most_peers,
            hold=self.hold,
        )
        self.port = self.server.port
        self.grace = 60.0
        self.thread = threading.Thread(target=lambda: self.server.serve(self.grace))
        self.thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()

    def series(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value(
            "moediff_rt_series_total", {"outcome": outcome}
        )


@contextlib.contextmanager
def served(bundle, **settings):
    server = Served(bundle, **settings)
    try:
        yield server
    finally:
        server.stop()
