"""How far from float32: random inputs, the reference on them, and what may differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ..telemetry import stay_silent
from .rounding import float_tensors, with_rounding

Arrays = Mapping[str, npt.NDArray[Any]]

# A low-precision path may be this much further from float32 than a plain low-precision run.
ALLOWED = 2.0

# What float32 engines may differ by, as a share of what TF32's rounding of each tensor costs
# (2^-11 each): a float32 sum of n products is off by at most n 2^-24, an eighth of it up to
# n = 1024. An engine that rounds to TF32 unasked does not pass.
FLOAT32_SHARE = 1 / 8

# Different tiles in a check; larger batches repeat them.
TILES = 2


def random_inputs(model: onnx.ModelProto, seed: int = 0) -> dict[str, npt.NDArray[np.float32]]:
    """Inputs for a few tiles: images from 0 to 1, whole timesteps to 100, the rest normal."""
    rng = np.random.default_rng(seed)
    made = {}
    for value in model.graph.input:
        shape = (TILES, *(dim.dim_value for dim in value.type.tensor_type.shape.dim[1:]))
        if value.name == "t":
            drawn = rng.integers(1, 100, shape).astype(np.float64)
        elif value.name in ("image", "slices"):
            drawn = rng.random(shape)
        else:
            drawn = rng.standard_normal(shape)
        made[value.name] = drawn.astype(np.float32)
    return made


def run_float32(model: onnx.ModelProto, inputs: Arrays) -> list[npt.NDArray[np.float32]]:
    """Outputs of a float32 graph, by OpenVINO on the CPU in float32."""
    stay_silent()
    import openvino

    core = openvino.Core()
    network = core.read_model(model.SerializeToString())
    compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    result = compiled(dict(inputs))
    return [np.array(result[output], np.float32) for output in compiled.outputs]


def relative_error(
    found: Sequence[npt.NDArray[Any]], reference: Sequence[npt.NDArray[Any]]
) -> float:
    """The largest |y - r| / |r| (Euclidean) over pairs of arrays; infinity where one is not finite.

    Examples
    --------
    >>> round(relative_error([np.array([3.0, 4.1])], [np.array([3.0, 4.0])]), 6)
    0.02
    """
    worst = 0.0
    for array, expected in zip(found, reference, strict=True):
        y, r = np.asarray(array, np.float64), np.asarray(expected, np.float64)
        error = float(np.linalg.norm(y - r)) / max(float(np.linalg.norm(r)), 1e-30)
        worst = max(worst, error if math.isfinite(error) else math.inf)
    return worst


def error_limit(
    model: onnx.ModelProto,
    inputs: Arrays,
    reference: Sequence[npt.NDArray[np.float32]],
    precision: str,
) -> float:
    """How far an engine may be from float32 on these inputs.

    Twice as far as a plain run in its precision, in which each tensor is rounded and sums are
    float32; `FLOAT32_SHARE` of the plain TF32 run's error for fp32.

    Parameters
    ----------
    model : onnx.ModelProto
        In float32, from `load_graph`.
    inputs : mapping of str to float32 array
    reference : sequence of float32 array
        What `run_float32` gives for them.
    precision : str
        One of `PRECISIONS`.

    Returns
    -------
    float
        As `relative_error`.
    """
    rounded = "tf32" if precision == "fp32" else precision
    plain = with_rounding(model, float_tensors(model), rounded)
    error = relative_error(run_float32(plain, inputs), reference)
    return error * (FLOAT32_SHARE if precision == "fp32" else ALLOWED)
