"""A bundle's modules in ONNX Runtime and in OpenVINO's Python package, as their manuals show."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moediff_rt import _core

ORDER = ("encoder", "conditioner", "gate", "experts", "decoder")


def module_paths(bundle: _core.Bundle, int8: bool) -> dict[str, Path]:
    """Each module's ONNX file, in an order in which inputs are known before they are needed."""

    def place(name: str) -> int:
        return ORDER.index("experts" if name.startswith("expert") else name)

    modules = {module.name: module for module in bundle.modules}
    if int8:
        modules |= {module.name: module for module in bundle.int8_modules}
    return {name: Path(bundle.path) / modules[name].file for name in sorted(modules, key=place)}


def input_shapes(bundle: _core.Bundle, batch: int, tile: tuple[int, int]) -> dict[str, list[int]]:
    """Shapes of the tensors that no module of the bundle makes, for tiles of (height, width)."""
    height, width, slices = bundle.tile
    channels, h, w = bundle.latent
    rows, columns = tile[0] * h // height, tile[1] * w // width
    latent = [batch, channels, rows, columns]
    return {
        "image": [batch, 3, *tile],
        "slices": [batch, slices, *tile],
        "z_low": latent,
        "z_t": latent,
        "z0": latent,
        "t": [batch],
    }


def read_modules(
    core: Any, bundle: _core.Bundle, batch: int, tile: tuple[int, int], int8: bool = False
) -> dict[str, Any]:
    """Each module as an OpenVINO model of fixed shapes, whatever its file leaves open."""
    shapes = input_shapes(bundle, batch, tile)
    models = {}
    for name, path in module_paths(bundle, int8).items():
        model = core.read_model(str(path))
        model.reshape({port.any_name: shapes[port.any_name] for port in model.inputs})
        for port in model.outputs:
            shapes.setdefault(port.any_name, [int(n) for n in port.shape])
        models[name] = model
    return models


class OnnxRuntimeModules:
    """Sessions of ONNX Runtime on the CPU, which has no bfloat16 there.

    Parameters
    ----------
    bundle : Bundle
    int8 : bool
        The 8-bit form of those modules that have one.
    threads : int
        Of one call.
    """

    def __init__(self, bundle: _core.Bundle, int8: bool, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._sessions = {
            name: onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            for name, path in module_paths(bundle, int8).items()
        }

    def __call__(self, name: str, **inputs: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        """See `plain_loop.Modules`."""
        outputs: list[NDArray[np.float32]] = self._sessions[name].run(None, inputs)
        return outputs


class CompiledModules:
    """OpenVINO models compiled for one batch; a smaller one is filled up.

    Parameters
    ----------
    models : dict
        Each module's model, of fixed shapes: see `read_modules`.
    precision : str
        "fp32" or "bf16", as OpenVINO's hint: of all that is not in 8 bits.
    threads : int
        In all.
    batch : int
    workers : int
        Threads that call at the same time, a stream each.
    """

    def __init__(
        self, models: dict[str, Any], precision: str, threads: int, batch: int, workers: int
    ) -> None:
        import openvino as ov

        core = ov.Core()
        settings = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": workers,
        }
        self._batch = batch
        self._compiled = {
            name: core.compile_model(model, "CPU", settings) for name, model in models.items()
        }
        self._own = threading.local()

    def __call__(self, name: str, **inputs: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        """See `plain_loop.Modules`."""
        requests = self._own.__dict__.setdefault("requests", {})
        if name not in requests:
            requests[name] = self._compiled[name].create_infer_request()
        count = len(next(iter(inputs.values())))
        missing = self._batch - count
        if missing:
            inputs = {k: np.concatenate([v, v[-1:].repeat(missing, 0)]) for k, v in inputs.items()}
        results = requests[name].infer(inputs, share_inputs=True)
        return [np.array(value[:count]) for value in results.values()]
