"""TensorRT's engines for the scheduler; a `moediff_rt.gpu.Executor`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import EngineError
from .build import Plan, Tensor
from .package import Package

if TYPE_CHECKING:
    from .._core import EngineReport

# More than one run's lanes, batch sizes and experts' own rows come to.
MOST_CONTEXTS = 48

_TYPES = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True)
class Loaded:
    """A module's engine, out of the cache, and how it came to be."""

    plan: Plan
    report: EngineReport


class TensorRTExecutor:
    """Queues engines on the scheduler's streams.

    Parameters
    ----------
    package : Package
    engines : dict of str to Loaded
        By module.
    batches : sequence of int
        Of the engines' optimisation profiles, rising powers of two.
    kernels : bytes
        What `tensorrt-rtx` compiled for this GPU in earlier runs; b"" for a new cache.
    """

    captures = True
    concurrent = True

    def __init__(
        self,
        package: Package,
        engines: dict[str, Loaded],
        batches: Sequence[int],
        kernels: bytes = b"",
    ) -> None:
        first = next(iter(engines.values())).report
        self.backend = package.backend
        self.device = first.device
        self.precision = first.precision
        self.largest_batch = max(batches)
        self._package = package
        self._engines = engines
        self._batches = tuple(batches)
        self._kernels = Kernels(kernels)
        self._runtime = package.trt.Runtime(package.trt.Logger(package.trt.Logger.INTERNAL_ERROR))

    def load(
        self,
        module: str,
        onnx_path: str,
        onnx_sha256: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> TensorRTModule:
        """One module's engine on the GPU.

        Raises
        ------
        EngineError
            The engine does not load here.
        """
        loaded = self._engines.pop(module)  # a copy on the host is enough once
        engine = self._runtime.deserialize_cuda_engine(loaded.plan.blob)
        if engine is None:
            raise EngineError(
                f"engine: expected the engine of {module} to load with {self.backend} "
                f"{self._package.version}, found that it does not; it is probably for another GPU "
                "or release; build it again with moediff-rt build-engines --force"
            )
        contexts = Contexts(self._package, engine, self._batches, self._kernels)
        by_name = {tensor.name: tensor for tensor in (*loaded.plan.inputs, *loaded.plan.outputs)}
        return TensorRTModule(
            loaded.report,
            contexts,
            [by_name[name] for name in inputs],
            [by_name[name] for name in outputs],
        )


class Kernels:
    """What `tensorrt-rtx` compiles for this GPU: one cache for every context of a model.

    The package does not say that a context keeps the cache alive that it was made with: its maker
    does.

    Parameters
    ----------
    kept : bytes
        What earlier runs compiled; b"" for nothing.
    """

    def __init__(self, kept: bytes = b"") -> None:
        self._kept = kept
        self._cache: Any = None

    def share(self, config: Any) -> None:
        """Have contexts that are made with a runtime configuration use the cache."""
        if self._cache is None:
            self._cache = config.create_runtime_cache()
            if self._kept:
                self._cache.deserialize(self._kept)
        config.set_runtime_cache(self._cache)


class Contexts:
    """An engine's execution contexts: one per batch size and set of addresses.

    What a captured graph replays is the context's: nothing of a context is changed after its first
    call. Those of earlier runs, whose memory is gone, are dropped in time.
    """

    def __init__(
        self, package: Package, engine: Any, batches: Sequence[int], kernels: Kernels
    ) -> None:
        self._package = package
        self._engine = engine
        self._batches = tuple(batches)
        # Before the cache of kernels: attributes go in this order, and no context may outlive it.
        self._contexts: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._kernels = kernels

    def scratch_bytes(self, batch: int) -> int:
        """Device memory that a context for this batch works in, bytes."""
        return int(self._engine.get_device_memory_size_for_profile_v2(self._profile(batch)))

    def get(
        self,
        batch: int,
        inputs: Sequence[Tensor],
        addresses: Mapping[str, int],
        scratch: int,
        stream: int,
    ) -> Any:
        """The context for a batch at these addresses, ready to be queued.

        Raises
        ------
        EngineError
            TensorRT has no memory for it, or does not take the batch or an address.
        """
        key = (batch, scratch, *addresses.values())
        context = self._contexts.get(key)
        if context is not None:
            self._contexts.move_to_end(key)
            return context
        context = self._make()
        if context is None or not context.set_optimization_profile_async(
            self._profile(batch), stream
        ):
            raise self._refused(f"to take batches of {batch}")
        for tensor in inputs:
            if not context.set_input_shape(tensor.name, (batch, *tensor.shape)):
                raise self._refused(f"to take {tensor.name} in batches of {batch}")
        context.set_device_memory(scratch, self.scratch_bytes(batch))
        for name, address in addresses.items():
            if not context.set_tensor_address(name, address):
                raise self._refused(f"to take the address of {name}")
        self._contexts[key] = context
        if len(self._contexts) > MOST_CONTEXTS:
            self._contexts.popitem(last=False)
        return context

    def _profile(self, batch: int) -> int:
        if batch not in self._batches:
            raise EngineError(
                f"engine: expected a batch among {self._batches}, found {batch}; the engines were "
                "probably built for others; build them again"
            )
        return self._batches.index(batch)

    def _make(self) -> Any:
        """A context that works in the scheduler's memory."""
        trt = self._package.trt
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if self._package.backend != "tensorrt-rtx":
            return self._engine.create_execution_context(strategy)
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        # Each batch size has kernels of its own, compiled before the first call returns. The
        # package's own capture of whole graphs stays off: it clashes with the scheduler's.
        strategies = trt.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        config.cuda_graph_strategy = trt.CudaGraphStrategy.DISABLED
        self._kernels.share(config)
        return self._engine.create_execution_context(config)

    def _refused(self, what: str) -> EngineError:
        return EngineError(
            f"engine: expected {self._package.backend} {self._package.version} {what}, found that "
            "it does not; the GPU is probably out of memory; give it less with a smaller batch"
        )


class TensorRTModule:
    """A module whose inputs and outputs are addresses; a `moediff_rt.gpu.GpuModule`."""

    def __init__(
        self,
        report: EngineReport,
        contexts: Contexts,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
    ) -> None:
        self.report = report
        self.inputs = [(t.name, t.shape, _TYPES[t.dtype]) for t in inputs]
        self.outputs = [(t.name, t.shape, _TYPES[t.dtype]) for t in outputs]
        self._contexts = contexts
        self._tensors = (*inputs, *outputs)
        self._inputs = inputs

    def scratch_bytes(self, batch: int) -> int:
        """Device memory that the engine works in, bytes."""
        return self._contexts.scratch_bytes(batch)

    def enqueue(
        self,
        batch: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        scratch: int,
        stream: int,
    ) -> None:
        """Queue the engine on a stream; see `moediff_rt.gpu.GpuModule.enqueue`.

        Raises
        ------
        EngineError
            TensorRT says that it did not: nothing was computed, and nothing may be read as if.
        """
        names = (tensor.name for tensor in self._tensors)
        addresses = dict(zip(names, (*inputs, *outputs), strict=True))
        context = self._contexts.get(batch, self._inputs, addresses, scratch, stream)
        if not context.execute_async_v3(stream):
            raise EngineError(
                f"engine: expected {self.report.backend} to queue a batch of {batch} of "
                f"{self.report.module}, found that it does not; the GPU has probably failed or is "
                "out of memory; run again with less"
            )
