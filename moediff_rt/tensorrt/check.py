"""An engine against its graph in float32: on a GPU, run; without one, nothing can be run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx

from ..errors import EngineError
from .accuracy import Arrays, error_limit, random_inputs, relative_error, run_float32
from .build import Plan, Recipe, Tensor
from .driver import DeviceMemory, on_gpu
from .package import Package

_DTYPES = {"FLOAT": np.float32, "HALF": np.float16, "BF16": ml_dtypes.bfloat16}


@dataclass(frozen=True)
class Check:
    """How far an engine is from float32, as |y - r| / |r| of its worst output, and the limit."""

    error: float
    limit: float
    gpu: str


class Checker:
    """Runs engines on the first GPU; `cache` holds kernels that RTX compiled, b"" at first."""

    def __init__(self, package: Package, recipe: Recipe, gpu: str, cache: bytes = b"") -> None:
        self.package = package
        self.recipe = recipe
        self.gpu = gpu
        self.cache = cache

    def check(self, module: str, plan: Plan, model: onnx.ModelProto) -> Check:
        """Run an engine in each batch size on random inputs.

        Parameters
        ----------
        module : str
            Its name, for errors.
        plan : Plan
        model : onnx.ModelProto
            The module's graph in float32.

        Raises
        ------
        EngineError
            The engine does not load or run, has other tensors than its network, or is further
            from float32 than `error_limit`.
        """
        inputs = random_inputs(model)
        reference = run_float32(model, inputs)
        limit = error_limit(model, inputs, reference, self.recipe.precision)
        worst = max(
            relative_error(found, [_rows(array, batch) for array in reference])
            for batch, found in self._run(module, plan, inputs).items()
        )
        if not worst <= limit:
            raise EngineError(
                f"engine: expected {module} in {self.recipe.precision} within {limit:.2g} of its "
                f"float32 reference, found {worst:.2g} on {self.gpu} with {self.package.backend} "
                f"{self.package.version}; probably a fault of this release on this GPU; try "
                "--precision fp32, or another release"
            )
        return Check(worst, limit, self.gpu)

    def _run(
        self, module: str, plan: Plan, inputs: Arrays
    ) -> dict[int, list[npt.NDArray[np.float32]]]:
        trt = self.package.trt
        runtime = trt.Runtime(trt.Logger(trt.Logger.INTERNAL_ERROR))
        with on_gpu() as memory:
            engine = runtime.deserialize_cuda_engine(plan.blob)
            if engine is None:
                raise self._failed(module, "to load")
            names = {engine.get_tensor_name(number) for number in range(engine.num_io_tensors)}
            if names != {tensor.name for tensor in (*plan.inputs, *plan.outputs)}:
                raise self._failed(module, f"to have its network's tensors, not {sorted(names)}")
            context = self._context(engine)
            found = {
                batch: self._run_batch(module, plan, context, memory, profile, inputs)
                for profile, batch in enumerate(self.recipe.batches)
            }
            self._keep_kernels(context)
            del context, engine
        return found

    def _context(self, engine: Any) -> Any:
        """A context; RTX compiles each shape's kernels at once and takes them from its cache."""
        if self.package.backend != "tensorrt-rtx":
            return engine.create_execution_context()
        config = engine.create_runtime_config()
        strategies = self.package.trt.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        kernels = config.create_runtime_cache()
        if self.cache:
            kernels.deserialize(self.cache)
        config.set_runtime_cache(kernels)
        return engine.create_execution_context(config)

    def _keep_kernels(self, context: Any) -> None:
        if self.package.backend == "tensorrt-rtx":
            self.cache = bytes(context.get_runtime_config().get_runtime_cache().serialize())

    def _run_batch(
        self,
        module: str,
        plan: Plan,
        context: Any,
        memory: DeviceMemory,
        profile: int,
        inputs: Arrays,
    ) -> list[npt.NDArray[np.float32]]:
        batch = self.recipe.batches[profile]
        if not context.set_optimization_profile_async(profile, memory.stream):
            raise self._failed(module, f"to take batches of {batch}")
        for tensor in plan.inputs:
            rows = _rows(inputs[tensor.name], batch).astype(_DTYPES[tensor.dtype])
            if not context.set_input_shape(tensor.name, rows.shape):
                raise self._failed(module, f"to take {tensor.name} of shape {rows.shape}")
            context.set_tensor_address(tensor.name, memory.put(rows))
        # What the engine leaves out stays NaN.
        empty = [_poison(tensor, batch) for tensor in plan.outputs]
        places = [memory.put(array) for array in empty]
        for tensor, place in zip(plan.outputs, places, strict=True):
            context.set_tensor_address(tensor.name, place)
        if not context.execute_async_v3(memory.stream):
            raise self._failed(module, f"to run a batch of {batch}")
        outputs = [memory.get(p, array) for p, array in zip(places, empty, strict=True)]
        memory.free()
        return [array.astype(np.float32) for array in outputs]

    def _failed(self, module: str, what: str) -> EngineError:
        return EngineError(
            f"engine: expected the engine of {module} {what} with {self.package.backend} "
            f"{self.package.version} on {self.gpu}, found that it does not; it is probably for "
            "another GPU or release, or the GPU is out of memory; build it with --force"
        )


def _rows(array: npt.NDArray[Any], batch: int) -> npt.NDArray[Any]:
    return array[np.arange(batch) % len(array)]


def _poison(tensor: Tensor, batch: int) -> npt.NDArray[Any]:
    return np.full((batch, *tensor.shape), np.nan, _DTYPES[tensor.dtype])
