"""A bundle's modules in PyTorch, for the scheduler: to compare with, and where no TensorRT is."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from moediff_rt._core import EngineReport
from moediff_rt.errors import BackendError

from .model import MoEDiffSR
from .modules import ModuleExport, list_modules

TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
NAMES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}
# Experts read and write these, and the conditioner gives z_c, in the precision asked for.
LOW = ("z_t", "z_c", "z0")


class TorchExecutor:
    """Runs the reference's modules on a device; a `moediff_rt.gpu.Executor`.

    Its calls are queued anew each time and not captured: PyTorch's allocator may hand memory that a
    graph was captured with to others.

    Parameters
    ----------
    model : MoEDiffSR
        Moved to the device.
    precision : str
        "fp32", or "fp16" or "bf16" under PyTorch's autocast.
    device : str
        "cuda", or "cpu" (where addresses are those of host memory and streams are not used).
    largest_batch : int
        A power of two.

    Raises
    ------
    BackendError
        The precision is not one of these.
    """

    backend = "pytorch"
    captures = False
    concurrent = True

    def __init__(
        self,
        model: MoEDiffSR,
        precision: str = "fp32",
        device: str = "cuda",
        largest_batch: int = 16,
    ) -> None:
        if precision not in TYPES:
            raise BackendError(
                f"pytorch: expected precision {', '.join(TYPES)}, found {precision}; probably one "
                "that TensorRT alone has, or mistyped; give one of these"
            )
        self.precision = precision
        self.largest_batch = largest_batch
        self._device = torch.device(device)
        self.device = torch.cuda.get_device_name() if self._device.type == "cuda" else device
        model.requires_grad_(False)
        self._modules = {item.name: item for item in list_modules(model.cpu())}
        model.to(self._device)

    def load(
        self,
        module: str,
        onnx_path: str,
        onnx_sha256: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> TorchModule:
        """One module, with the weights of the model that this executor was made with."""
        report = EngineReport(
            module=module, backend=self.backend, device=self.device, precision=self.precision
        )
        return TorchModule(self._modules[module], report, self._device, TYPES[self.precision])


class TorchModule:
    """A module whose inputs and outputs are addresses; a `moediff_rt.gpu.GpuModule`."""

    def __init__(
        self, item: ModuleExport, report: EngineReport, device: torch.device, low: torch.dtype
    ) -> None:
        self.report = report
        self._module: nn.Module = item.module
        self._device = device
        self._low = low
        is_expert = report.module.startswith("expert")
        with torch.inference_mode():
            results = item.module(*(v.to(device) for v in item.inputs.values()))
        given = results if isinstance(results, tuple) else (results,)
        made = zip(item.outputs, given, strict=True)
        self.inputs = [self._tensor(k, v, is_expert) for k, v in item.inputs.items()]
        self.outputs = [self._tensor(k, v, is_expert or k == "z_c") for k, v in made]

    def _tensor(self, name: str, value: Tensor, low: bool) -> tuple[str, tuple[int, ...], str]:
        kind = self._low if low and name in LOW else torch.float32
        return name, tuple(value.shape[1:]), NAMES[kind]

    def scratch_bytes(self, batch: int) -> int:
        """None: PyTorch has memory of its own."""
        return 0

    def enqueue(
        self,
        batch: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        scratch: int,
        stream: int,
    ) -> None:
        """Queue the module on a stream; see `moediff_rt.gpu.GpuModule.enqueue`."""
        with torch.inference_mode(), self._on(stream), self._autocast():
            given = self._module(
                *(self._view(*pair, batch) for pair in zip(self.inputs, inputs, strict=True))
            )
            results = given if isinstance(given, tuple) else (given,)
            for spec, address, result in zip(self.outputs, outputs, results, strict=True):
                self._view(spec, address, batch).copy_(result)

    def _on(self, stream: int) -> AbstractContextManager[object]:
        if self._device.type == "cpu":
            return nullcontext()
        return torch.cuda.stream(torch.cuda.ExternalStream(stream))

    def _autocast(self) -> AbstractContextManager[object]:
        enabled = self._low != torch.float32
        return torch.autocast(self._device.type, self._low, enabled=enabled)

    def _view(self, spec: tuple[str, tuple[int, ...], str], address: int, batch: int) -> Tensor:
        """The tensor at an address, (batch, *shape)."""
        _, shape, name = spec
        # Integers of the same size: what views of memory know everywhere.
        integers, kind = ("i4", torch.float32) if name == "float32" else ("i2", self._low)
        size = (batch, *shape)
        if self._device.type == "cpu":
            bytes_ = math.prod(size) * int(integers[1])
            memory = (ctypes.c_byte * bytes_).from_address(address)
            return torch.from_numpy(np.frombuffer(memory, integers).reshape(size)).view(kind)
        return torch.as_tensor(_Memory(address, size, integers), device=self._device).view(kind)


class _Memory:
    """Device memory as the CUDA array interface describes it, version 3."""

    def __init__(self, address: int, shape: tuple[int, ...], integers: str) -> None:
        self.__cuda_array_interface__ = {
            "data": (address, False),
            "shape": shape,
            "typestr": f"<{integers}",
            "version": 3,
        }
