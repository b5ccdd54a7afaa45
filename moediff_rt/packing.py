"""Gzip at ISA-L's speed: one member without name or time, read by whatever reads gzip."""

from __future__ import annotations

import contextlib
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

# ISA-L's best, and as fast as its others: docs/performance.md has the sizes and speeds.
LEVEL = 3
# What a thread packs at a time. Fixed, so that the bytes do not depend on the number of threads.
BLOCK_BYTES = 1 << 20
MAX_THREADS = 8

_CHUNK = 1 << 20


class _Forwards(io.RawIOBase):
    """A stream written from its start to its end, with zeros where a writer seeks ahead."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._at += memoryview(data).nbytes
        return self._stream.write(data)

    def tell(self) -> int:
        return self._at

    def seek(self, to: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or to < self._at:
            raise io.UnsupportedOperation("gzip is written forwards alone")
        self.write(bytes(to - self._at))
        return to


@contextlib.contextmanager
def packed(stream: BinaryIO, threads: int = 0) -> Iterator[io.RawIOBase]:
    """Open a stream whose bytes go into `stream` as one gzip member.

    Each thread packs blocks of 1 MiB, each with the end of the one before as its dictionary, as
    pigz does. The same data give the same bytes for any number of threads (on one kind of
    processor: ISA-L's code differs between them, what it packs does not).

    Parameters
    ----------
    stream : binary file, open for writing
        Left open.
    threads : int
        0: as many as this process may use, at most 8.

    Raises
    ------
    OSError
        `stream` cannot be written.
    """
    from isal import igzip_threaded

    count = threads or min(MAX_THREADS, len(os.sched_getaffinity(0)))
    with igzip_threaded.open(
        stream, "wb", compresslevel=LEVEL, threads=count, block_size=BLOCK_BYTES
    ) as out:
        yield _Forwards(cast(IO[bytes], out))


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file's content: gzip where its name ends in .gz, else as it is.

    Raises
    ------
    OSError, EOFError, zlib.error
        In the body, too: the file cannot be read, or is not whole gzip data, as `gzip` says it.
    """
    if path.suffix != ".gz":
        with open(path, "rb") as plain:
            yield plain
        return
    from isal import igzip, isal_zlib

    try:
        with igzip.open(path, "rb") as stream:
            yield cast(IO[bytes], stream)
    except cast(type[Exception], isal_zlib.error) as error:
        raise zlib.error(str(error)) from error


def read_voxels(path: Path, stored: Any) -> npt.NDArray[np.float32]:
    """Read the voxels of a NIfTI file whose header was read, and the file to its end.

    Parameters
    ----------
    path : Path
    stored : nibabel ArrayProxy
        The image's `dataobj`: where the voxels lie in the unpacked file, their type and scaling.

    Returns
    -------
    array of the file's shape, float32, scaling applied

    Raises
    ------
    OSError, EOFError, zlib.error, ValueError
        The file is cut, or its gzip check sum is not that of its content.
    """
    from nibabel.arrayproxy import ArrayProxy

    layout = (stored.shape, stored.dtype, stored.offset, stored.slope, stored.inter)
    with unpacked(path) as stream:
        voxels = np.asarray(ArrayProxy(stream, layout, mmap=False), dtype=np.float32)
        while stream.read(_CHUNK):
            pass
    return voxels
