"""Export: one ONNX file per module, for any batch and tile size, checked against PyTorch."""

from __future__ import annotations

import copy
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from .errors import ExportError
from .model import MoEDiffSR
from .modules import ROWS, ModuleExport

RELATIVE_TOLERANCE = 1e-4
OPSET = 18
SMALL = 16  # initializers below this many values stay float32
HALF = ".half"  # suffix of an initializer stored as float16


def round_weights(model: MoEDiffSR) -> MoEDiffSR:
    """Round every parameter to float16's values, in place: what the bundle stores is what runs."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())
    return model


def store_half(graph: onnx.ModelProto) -> None:
    """Store float32 initializers as float16, each followed by a Cast back, in place.

    Only those that lose nothing: rounded weights, but not the timestep's frequencies.
    """
    casts = []
    for initializer in graph.graph.initializer:
        array = numpy_helper.to_array(initializer)
        if array.dtype != np.float32 or array.size < SMALL:
            continue
        if not np.array_equal(array.astype(np.float16).astype(np.float32), array):
            continue
        name, stored = initializer.name, initializer.name + HALF
        initializer.CopyFrom(numpy_helper.from_array(array.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = casts + list(graph.graph.node)
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Every initializer of an exported module by its PyTorch name, as float32."""
    graph = onnx.load(path).graph
    return {
        initializer.name.removesuffix(HALF): torch.from_numpy(
            numpy_helper.to_array(initializer).astype(np.float32)
        )
        for initializer in graph.initializer
    }


def relative_error(result: np.ndarray, truth: np.ndarray) -> float:
    """Euclidean distance over the truth's norm."""
    with np.errstate(invalid="ignore"):  # infinities
        return float(np.linalg.norm(result - truth) / np.linalg.norm(truth))


def free_dimensions(item: ModuleExport) -> tuple[dict[int, Any], ...]:
    """What may vary in each input: the batch, and height and width in steps of the tile's pitch."""
    config, pitch = item.config, item.config.tile_pitch
    batch = torch.export.Dim("batch", min=1, max=4096)
    fewest, most = config.smallest_tile // pitch, config.tile // pitch
    free: list[dict[int, Any]] = [{0: batch} for _ in item.inputs]
    if fewest == most:
        return tuple(free)
    height, width = (torch.export.Dim(n, min=fewest, max=most) for n in ("height", "width"))
    for name, dims in zip(item.inputs, free, strict=True):
        if cell := item.cells.get(name):
            rows = ROWS.get(name, 2)
            dims.update({rows: pitch // cell * height, rows + 1: pitch // cell * width})
    return tuple(free)


def export_module(item: ModuleExport, path: Path, half: bool = True) -> float:
    """Write one module as ONNX and check it.

    Parameters
    ----------
    item : ModuleExport
    path : Path
        The .onnx file to write.
    half : bool
        Store weights as float16 where they are float16's values already.

    Returns
    -------
    float
        The largest relative error of its outputs; see `check_module`.

    Raises
    ------
    ExportError
        If that error is above 1e-4.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            item.module,
            tuple(item.inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(item.inputs),
            output_names=list(item.outputs),
            dynamic_shapes=free_dimensions(item),
            optimize=False,  # parameters keep their PyTorch names and shapes
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    if half:
        store_half(graph)
    # The exporter's notes: source lines of its machine, and sets in whatever order.
    del graph.graph.metadata_props[:]
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.checker.check_model(graph)
    onnx.save(graph, path)
    return check_module(item, path)


@torch.inference_mode()
def check_module(item: ModuleExport, path: Path) -> float:
    """Largest relative error of an ONNX file against PyTorch in float64.

    Over a batch of 1 in the largest tile, and the example's batch in the smallest, in two that are
    not square, and in one whose windows may not fit.

    Raises
    ------
    ExportError
        If that error is above 1e-4.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    exact = copy.deepcopy(item.module).double()
    errors, own_errors = [], []
    batch = len(next(iter(item.inputs.values())))
    large, small = item.config.tile, item.config.smallest_tile
    pitch = item.config.tile_pitch if large > small else 0
    others = ((small, large), (large, small), (small, small), (small + pitch, large - pitch))
    # A model of one size has no others.
    for size in dict.fromkeys([(1, large, large), *((batch, *other) for other in others)]):
        inputs = item.cut(*size)
        truths = _outputs(exact(*(value.double() for value in inputs.values())))
        singles = _outputs(item.module(*inputs.values()))
        results = session.run(list(item.outputs), {k: v.numpy() for k, v in inputs.items()})
        for result, single, truth in zip(results, singles, truths, strict=True):
            errors.append(relative_error(result, truth))
            own_errors.append(relative_error(single, truth))
    worst, own = (float(np.max(found)) for found in (errors, own_errors))  # NaN where one is
    if not worst <= RELATIVE_TOLERANCE:
        raise ExportError(
            f"export_module: expected {item.name} within {RELATIVE_TOLERANCE:g} of PyTorch in "
            f"float64, found a relative error of {worst:.2e}, PyTorch's own in float32 {own:.2e}; "
            "where the two are alike training has blown the weights up, train again; else an "
            "operator is exported wrongly: try another torch and onnxscript release"
        )
    return worst


def _outputs(made: Tensor | tuple[Tensor, ...]) -> list[np.ndarray]:
    return [value.numpy() for value in (made if isinstance(made, tuple) else (made,))]
