"""GPU memory for tests, through CuPy or PyTorch, whichever is there."""

from __future__ import annotations

import numpy as np


class NoDevice(Exception):
    """No GPU, or nothing to reach it with."""


class Buffer:
    """An array in device memory."""

    def __init__(self, library, array: np.ndarray) -> None:
        self._library, self._dtype, self._shape = library, array.dtype, array.shape
        self._bytes = library.send(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        self.address: int = library.address(self._bytes)

    def numpy(self) -> np.ndarray:
        """What is there now; waits for the device."""
        return self._library.receive(self._bytes).view(self._dtype).reshape(self._shape)


class _CuPy:
    name = "CuPy"

    def __init__(self) -> None:
        import cupy

        if cupy.cuda.runtime.getDeviceCount() == 0:
            raise NoDevice("no GPU: CuPy finds none")
        self._cupy = cupy

    def send(self, data):
        sent = self._cupy.asarray(data)
        # A small copy may still be under way, and other streams do not wait for it.
        self._cupy.cuda.runtime.deviceSynchronize()
        return sent

    def receive(self, data):
        self._cupy.cuda.runtime.deviceSynchronize()
        return self._cupy.asnumpy(data)

    def address(self, data):
        return data.data.ptr

    def record(self, body):
        stream = self._cupy.cuda.Stream(non_blocking=True)
        stream.begin_capture()
        try:
            body(stream.ptr)
        finally:
            graph = stream.end_capture()
        return lambda: graph.launch(stream)


class _Torch:
    name = "PyTorch"

    def __init__(self) -> None:
        import torch

        if not torch.cuda.is_available():
            raise NoDevice("no GPU: PyTorch finds none")
        self._torch = torch

    def send(self, data):
        sent = self._torch.from_numpy(data.copy()).cuda()
        self._torch.cuda.synchronize()
        return sent

    def receive(self, data):
        self._torch.cuda.synchronize()
        return data.cpu().numpy()

    def address(self, data):
        return data.data_ptr()

    def record(self, body):
        graph, stream = self._torch.cuda.CUDAGraph(), self._torch.cuda.Stream()
        with self._torch.cuda.graph(graph, stream=stream):
            body(stream.cuda_stream)
        return graph.replay


class DeviceMemory:
    """Buffers on one GPU."""

    def __init__(self, library) -> None:
        self._library = library

    def send(self, array: np.ndarray) -> Buffer:
        """A copy of ``array``."""
        return Buffer(self._library, array)

    def poisoned(self, shape: tuple[int, ...], dtype: type) -> Buffer:
        """Room for an array, every bit set: NaN in each floating-point type."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self.send(np.full(size, 0xFF, np.uint8).view(dtype).reshape(shape))

    def record(self, body):
        """Capture ``body(stream)`` into a CUDA graph; returns what replays it."""
        return self._library.record(body)


def find() -> DeviceMemory:
    """The GPU. Raises :class:`NoDevice` with the reason where there is none."""
    reasons = []
    for library in (_CuPy, _Torch):
        try:
            return DeviceMemory(library())
        except NoDevice as error:
            reasons.append(str(error))
        except Exception as error:  # CuPy has its own errors for a missing driver
            reasons.append(f"no GPU through {library.name}: {error}")
    raise NoDevice("; ".join(reasons))
