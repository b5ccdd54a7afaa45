"""The NVIDIA driver, through its own library: which GPU is here, and memory on it.

Nothing to install: where a GPU can be used, the driver's library is there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import BackendError, EngineError

# Of CUdevice_attribute.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
_NO_DEVICE = 100


@dataclass(frozen=True)
class Gpu:
    """The first GPU of this computer."""

    name: str
    capability: tuple[int, int]

    @property
    def target(self) -> str:
        """Its generation as builders name it.

        Examples
        --------
        >>> Gpu("NVIDIA GeForce RTX 4090", (8, 9)).target
        'sm89'
        """
        return f"sm{self.capability[0]}{self.capability[1]}"


def load_driver() -> Any:
    """The driver's library, started.

    Raises
    ------
    BackendError
        There is none, or it finds no GPU.
    """
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise BackendError(
            "expected an NVIDIA driver, found no libcuda.so.1; this computer probably has no "
            "NVIDIA GPU or its driver is not installed; install it, or use the openvino backend"
        ) from error
    status = library.cuInit(0)
    if status:
        what = "no GPU" if status == _NO_DEVICE else f"CUDA error {status}"
        raise BackendError(
            f"expected an NVIDIA GPU, the driver found {what}; it is probably not passed through "
            "to this process, or the driver was updated without a restart; see nvidia-smi"
        )
    return library


def find_gpu() -> Gpu:
    """The first GPU.

    Raises
    ------
    BackendError
        No driver, or no GPU.
    """
    driver = load_driver()
    device = ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    _call(driver, "cuDeviceGet", ctypes.byref(device), 0)
    _call(driver, "cuDeviceGetName", name, 256, device)
    numbers = []
    for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR):
        number = ctypes.c_int()
        _call(driver, "cuDeviceGetAttribute", ctypes.byref(number), attribute, device)
        numbers.append(number.value)
    return Gpu(name.value.decode(errors="replace"), (numbers[0], numbers[1]))


def has_gpu() -> bool:
    """Whether the driver finds a GPU."""
    try:
        find_gpu()
    except (BackendError, EngineError):
        return False
    return True


class DeviceMemory:
    """Arrays on the first GPU and a stream, freed when `on_gpu` ends."""

    def __init__(self, driver: Any, stream: int) -> None:
        self._driver = driver
        self._pointers: list[ctypes.c_uint64] = []
        self.stream = stream

    def put(self, array: npt.NDArray[Any]) -> int:
        """Address of a copy of an array on the GPU."""
        source = np.ascontiguousarray(array)
        pointer = ctypes.c_uint64()
        _call(self._driver, "cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(source.nbytes))
        self._pointers.append(pointer)
        _call(
            self._driver,
            "cuMemcpyHtoD_v2",
            pointer,
            ctypes.c_void_p(source.ctypes.data),
            ctypes.c_size_t(source.nbytes),
        )
        return pointer.value

    def get(self, address: int, like: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Copy of an array on the GPU, after what the stream has to do."""
        target = np.empty_like(like)
        _call(self._driver, "cuStreamSynchronize", ctypes.c_void_p(self.stream))
        _call(
            self._driver,
            "cuMemcpyDtoH_v2",
            ctypes.c_void_p(target.ctypes.data),
            ctypes.c_uint64(address),
            ctypes.c_size_t(target.nbytes),
        )
        return target

    def free(self) -> None:
        """Give the memory back."""
        while self._pointers:
            self._driver.cuMemFree_v2(self._pointers.pop())


@contextmanager
def on_gpu() -> Iterator[DeviceMemory]:
    """Make the first GPU this thread's, and free at the end what was put there."""
    driver = load_driver()
    device, context, stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
    _call(driver, "cuDeviceGet", ctypes.byref(device), 0)
    _call(driver, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    try:
        _call(driver, "cuCtxSetCurrent", context)
        _call(driver, "cuStreamCreate", ctypes.byref(stream), 0)
        memory = DeviceMemory(driver, stream.value or 0)
        try:
            yield memory
        finally:
            memory.free()
            driver.cuStreamDestroy_v2(stream)
    finally:
        driver.cuDevicePrimaryCtxRelease_v2(device)


def _call(driver: Any, name: str, *arguments: Any) -> None:
    status = getattr(driver, name)(*arguments)
    if status:
        raise EngineError(
            f"expected the NVIDIA driver to carry out {name}, found CUDA error {status}; the GPU "
            "is probably out of memory or was reset; see nvidia-smi"
        )
