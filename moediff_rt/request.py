"""What a caller of the library asked for, checked before anything is run."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .checks import check_kind, check_values
from .errors import InputError
from .interchange import to_host

if TYPE_CHECKING:
    from ._core import Bundle

MAX_THREADS = 1024
MAX_SAMPLES = 1000
PLANES = ("axial", "coronal", "sagittal")  # by the axis of (z, y, x) that their slices lie along


def checked_array(array: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Take a caller's array as a float32 (x, y, z) volume; InputError if it is no usable scan."""
    try:
        given = to_host(array)
        values = np.asarray(given)
    except ValueError as error:
        raise InputError(
            f"expected an array of numbers (x, y, z), got {type(array).__name__} that is none "
            f"({error}); give for example a numpy array"
        ) from error
    if np.ma.is_masked(given):
        raise InputError(
            "expected an array without masked voxels, got a masked array that has some; there is "
            "no value to enhance in them: give one, for example array.filled(0)"
        )
    check_kind("the array", values.dtype, values.shape)
    with np.errstate(over="ignore"):
        data = np.asarray(values.reshape(values.shape[:3]), dtype=np.float32)
    check_values("the array", data, values)
    return data


def checked_spacing(spacing: float | Sequence[float]) -> tuple[float, float, float]:
    """Take one or three voxel edges, mm, as three; InputError unless above zero."""
    try:
        sizes = np.atleast_1d(np.asarray(spacing, dtype=np.float64))
    except (TypeError, ValueError):
        sizes = np.empty(0)
    if sizes.shape not in ((1,), (3,)) or not np.all(np.isfinite(sizes)) or np.any(sizes <= 0):
        raise InputError(
            f"expected one or three voxel edges above zero in mm, got {spacing!r}; "
            "give for example 1.0 or (1.0, 1.0, 3.0)"
        )
    x, y, z = np.broadcast_to(sizes, (3,)).tolist()
    return x, y, z


def checked_memory(max_memory: float) -> int:
    """Take a memory limit in bytes, 0 for none; InputError unless 0 to below 2**63."""
    if not (isinstance(max_memory, int | float | np.number) and 0 <= max_memory < 2**63):
        raise InputError(
            f"expected a memory limit from 0 (none) to below 2**63 bytes, got {max_memory!r}; "
            "leave it out or give bytes, for example 8e9"
        )
    return round(max_memory)


def checked_whole(name: str, value: object) -> int:
    """Take a whole number of any integer type; InputError for anything else."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(
            f"expected a whole number for {name}, got {value!r}; give an integer"
        ) from None


def checked_name(what: str, name: str) -> str:
    """Take the name of a backend, device or precision; InputError unless it is text."""
    if not (isinstance(name, str) and name.isprintable()):
        raise InputError(
            f"expected the name of a {what}, got {name!r}; "
            'give "auto" or one that `moediff-rt info` lists'
        )
    return name


def checked_threads(threads: int) -> int:
    """Take a number of CPU threads, 0 for all cores; InputError unless 0 to `MAX_THREADS`."""
    threads = checked_whole("threads", threads)
    if not 0 <= threads <= MAX_THREADS:
        raise InputError(
            f"expected from 0 (all cores) to {MAX_THREADS} threads, got {threads}; "
            "leave it out or give the number of cores"
        )
    return threads


def checked_samples(samples: int) -> int:
    """Take a number of samples to average; InputError unless 1 to `MAX_SAMPLES`."""
    remedy = "leave it out for one, give more for their average"
    return _checked_count("samples", samples, MAX_SAMPLES, remedy)


def checked_planes(planes: int | None) -> int:
    """Take a number of planes, 0 for the bundle's own; InputError unless one to all `PLANES`."""
    if planes is None:
        return 0
    remedy = (
        "a volume has three axes: leave it out, or give 1 for the fastest result, 3 for slices "
        "along each"
    )
    return _checked_count("planes", planes, len(PLANES), remedy)


def _checked_count(name: str, count: int, most: int, remedy: str) -> int:
    count = checked_whole(name, count)
    if not 1 <= count <= most:
        raise InputError(f"expected from 1 to {most} {name}, got {count}; {remedy}")
    return count


def checked_sampling(steps: int | None, seed: int, bundle: Bundle) -> tuple[int | None, int]:
    """Take a step count and a seed; InputError beyond the bundle's timesteps or 64 bits."""
    if steps is not None:
        steps = checked_whole("steps", steps)
        sampler = bundle.sampler
        noise_start = len(bundle.alphas_cumprod) - 1
        start = noise_start if sampler.start == "noise" else sampler.start_timestep
        if not 1 <= steps <= max(1, start):
            raise InputError(
                f"expected from 1 to {max(1, start)} steps, got {steps}; "
                f"the bundle's sampler starts at timestep {start}: ask for fewer, "
                "or leave it out for the bundle's own number"
            )
    seed = checked_whole("seed", seed)
    if not 0 <= seed < 2**64:
        raise InputError(f"expected a seed from 0 to 2**64 - 1, got {seed}; choose another")
    return steps, seed
