"""Arrays of other libraries, in and out: PyTorch, CuPy, JAX, on any device, through DLPack."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError

_CPU = 1  # kDLCPU of DLPack


def to_host(array: Any) -> npt.ArrayLike:
    """The values of a caller's array where NumPy can read them.

    An array on a device is copied after what is queued on the stream that is current for its
    library; one in host memory is not copied. What is no array of a library is passed on.

    Raises
    ------
    InputError
        Its library cannot hand it out.
    """
    if isinstance(array, np.ndarray) or not hasattr(array, "__dlpack__"):
        return array  # type: ignore[no-any-return]
    try:
        if array.__dlpack_device__()[0] == _CPU:
            return np.from_dlpack(array)
        return np.from_dlpack(array, device="cpu", copy=True)
    except (BufferError, RuntimeError, TypeError) as error:
        raise InputError(
            f"expected an array that DLPack can hand over, got {_name(array)} that it cannot "
            f"({error}); give it detached, in a type that NumPy has, for example float32"
        ) from error


def like(array: Any, result: npt.NDArray[np.float32]) -> Any:
    """A result as an array of the caller's library, on the device of the caller's array."""
    if isinstance(array, np.ndarray) or not hasattr(array, "__dlpack__"):
        return result
    library = _library(array)
    if library.__name__ == "cupy":
        with array.device:
            return library.asarray(result)
    return library.asarray(result, device=array.device)


def _library(array: Any) -> Any:
    # PyTorch's tensors do not name theirs as the array API has it.
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__()
    return sys.modules[type(array).__module__.partition(".")[0]]


def _name(array: Any) -> str:
    return f"{type(array).__module__.partition('.')[0]}.{type(array).__name__}"
