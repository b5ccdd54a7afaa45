"""What a caller of the library asked for, checked before anything is run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .checks import check_kind, check_values
from .errors import InputError


def checked_array(array: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Take a caller's array as a float32 (x, y, z) volume; InputError if it is no usable scan."""
    values = np.asarray(array)
    check_kind("the array", values.dtype, values.shape)
    data = np.asarray(values.reshape(values.shape[:3]), dtype=np.float32)
    check_values("the array", data)
    return data


def checked_spacing(spacing: float | Sequence[float]) -> tuple[float, float, float]:
    """Take one or three voxel edges, mm, as three; InputError unless above zero."""
    sizes = np.atleast_1d(np.asarray(spacing, dtype=np.float64))
    if sizes.shape not in ((1,), (3,)) or not np.all(np.isfinite(sizes)) or np.any(sizes <= 0):
        raise InputError(
            f"expected one or three voxel edges above zero in mm, got {spacing!r}; "
            "give for example 1.0 or (1.0, 1.0, 3.0)"
        )
    x, y, z = np.broadcast_to(sizes, (3,)).tolist()
    return x, y, z


def check_sampling(steps: int | None, seed: int, timesteps: int) -> None:
    """Refuse step counts beyond the schedule and seeds beyond 64 bits."""
    if steps is not None and not 1 <= steps <= timesteps:
        raise InputError(
            f"expected from 1 to {timesteps} steps, got {steps}; "
            "leave it out for the bundle's own number"
        )
    if not 0 <= seed < 2**64:
        raise InputError(f"expected a seed from 0 to 2**64 - 1, got {seed}; choose another")
