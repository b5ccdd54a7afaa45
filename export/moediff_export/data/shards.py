"""Shards: files of training pairs that need NumPy alone to be read."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from moediff_rt.atomic import write_whole
from moediff_rt.signals import HeldSignals

SHARD_BYTES = 55_000_000  # so that a file travels where 60 MB may
MAP_STEPS = 512  # maps are smooth: kept to a 512th, they compress to almost nothing
UNFINISHED = ".moediff-new"  # where a folder's shards are made
ALIGNMENT = 64  # bytes: where an unpacked array begins


@dataclass(frozen=True)
class Pair:
    """A sharp slab, and the same slab as a 3T-like scan shows it.

    Attributes
    ----------
    target, low : ndarray, float16, (nz, ny, nx)
        The sharp slab, and the low-field scan interpolated on its grid; intensity-normalised.
    bias, jacobian : ndarray, float16, (nz, ny, nx)
        Log bias field and log Jacobian that both carry.
    regions : ndarray, uint8, (3, nz, ny, nx)
        Deep white matter, cortex, junction: soft masks times 255.
    subject : str
        Whose scan it is, so that training and validation share nobody; "" of a simulated slab.
    """

    target: NDArray[np.float16]
    low: NDArray[np.float16]
    bias: NDArray[np.float16]
    jacobian: NDArray[np.float16]
    regions: NDArray[np.uint8]
    subject: str = ""


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A place for a folder's shards until all are made: a part of them would train without a word.

    They move into the folder at the end of the block, unless it ends in an error. What a kill
    leaves there goes with the next block.
    """
    making = folder / UNFINISHED
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    try:
        yield making
        with HeldSignals(f"all shards are in {folder}") as held:
            held.hold()
            for path in sorted(making.iterdir()):
                path.replace(folder / path.name)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def write_shards(pairs: Iterable[Pair], folder: Path, prefix: str = "shard") -> list[Path]:
    """Write pairs into as few files of at most 60 MB as they fill, each whole or not at all.

    Returns
    -------
    list of Path
        The files, ``PREFIX-0000.npz`` on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    waiting: list[Pair] = []
    size = 0
    for pair in pairs:
        # Noise does not compress; the maps do, and most of the masks.
        bytes_now = pair.target.nbytes + pair.low.nbytes + pair.regions.nbytes // 3
        if waiting and size + bytes_now > SHARD_BYTES:
            paths.append(_write(waiting, folder / f"{prefix}-{len(paths):04d}.npz"))
            waiting, size = [], 0
        waiting.append(pair)
        size += bytes_now
    if waiting:
        paths.append(_write(waiting, folder / f"{prefix}-{len(paths):04d}.npz"))
    return paths


def _write(pairs: Sequence[Pair], path: Path) -> Path:
    arrays = {}
    for i, pair in enumerate(pairs):
        for field in fields(Pair):
            values = getattr(pair, field.name)
            if field.name in ("bias", "jacobian"):
                values = (np.round(values * MAP_STEPS) / MAP_STEPS).astype(np.float16)
            arrays[f"{i:04d}.{field.name}"] = values
    write_whole({path: lambda file: np.savez_compressed(file, **arrays)}, overwrite=True)
    return path


def read_shards(folder: Path, scratch: Path) -> list[Pair]:
    """Every pair of a folder's shards, in the order of their names.

    Unpacked, 10000 simulated slabs are 18 GB. They lie in a nameless file of ``scratch``, a folder
    that is made where there is none, and are mapped: the system keeps in memory what it has room
    for. The file goes when its process ends, however it ends.

    Raises
    ------
    FileNotFoundError
        If the folder has no shard.
    ValueError
        If a file is no shard, or a damaged one.
    OSError
        If ``scratch`` cannot be written, or its disk is full.
    """
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise FileNotFoundError(
            f"read_shards: expected shards (*.npz) in {folder}, found none; "
            "make them with moediff-export data"
        )
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=scratch) as file:
        moved = [_moved(pair, file) for path in paths for pair in _read(path)]
        file.flush()  # written, not set through the map: a full disk is an error, not a signal
        whole = np.memmap(file, np.uint8, mode="r")
    return [_seen(fields, whole) for fields in moved]


def _read(path: Path) -> list[Pair]:
    try:
        with np.load(path) as arrays:
            count, rest = divmod(len(arrays.files), len(fields(Pair)))
            if rest or not count:
                raise ValueError(f"{len(arrays.files)} arrays")
            return [_pair(arrays, f"{i:04d}") for i in range(count)]
    except Exception as error:
        raise ValueError(
            f"read_shards: expected a shard of moediff-export data at {path}, found a file "
            f"that cannot be read as one ({type(error).__name__}: {error}); make it anew"
        ) from error


def _pair(arrays: Mapping[str, NDArray[np.generic]], number: str) -> Pair:
    values = {field.name: arrays[f"{number}.{field.name}"] for field in fields(Pair)}
    return Pair(**values | {"subject": str(values["subject"])})  # type: ignore[arg-type]


class _Place(NamedTuple):
    """Where an array lies in a file, as `numpy.ndarray` takes it."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    def view(self, file: NDArray[np.uint8]) -> NDArray[Any]:
        return np.ndarray(self.shape, self.dtype, file, self.offset)


def _moved(pair: Pair, file: IO[bytes]) -> dict[str, str | _Place]:
    """Write a pair's arrays at the end of a file; its fields, arrays as their places."""
    found: dict[str, str | _Place] = {"subject": pair.subject}
    for name, value in vars(pair).items():
        if name not in found:
            found[name] = _Place(value.shape, value.dtype, file.tell())
            file.write(np.ascontiguousarray(value).data)
            file.write(bytes(-value.nbytes % ALIGNMENT))
    return found


def _seen(moved: Mapping[str, str | _Place], file: NDArray[np.uint8]) -> Pair:
    values = {k: v.view(file) if isinstance(v, _Place) else v for k, v in moved.items()}
    return Pair(**values)  # type: ignore[arg-type]
