"""Low precision imitated in float32: what a graph loses by rounding, known without its device."""

from __future__ import annotations

from collections.abc import Set

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .graph import FLOAT, element_types, replace_nodes
from .precision import LOW_TYPES

# Bits of the significand, the hidden one included. TF32 rounds as a half does.
SIGNIFICAND_BITS = {"bf16": 8, "tf32": 11, "fp16": 11}


def float_tensors(model: onnx.ModelProto) -> set[str]:
    """Names of the float32 tensors of a graph, inputs and constants among them."""
    return {name for name, kind in element_types(model).items() if kind == FLOAT}


def low_tensors(model: onnx.ModelProto) -> set[str]:
    """Names of the fp16 and bf16 tensors of a graph."""
    types = element_types(model)
    return {name for name, kind in types.items() if kind in LOW_TYPES.values()}


def with_rounding(model: onnx.ModelProto, names: Set[str], precision: str) -> onnx.ModelProto:
    """Make a float32 graph in which some tensors are rounded to fewer bits.

    With `float_tensors` it imitates a plain low-precision run, in which every tensor is low and
    sums are float32; with `low_tensors` of a graph from `to_precision`, that graph. Rounding is
    Veltkamp's splitting (Dekker 1971, eq. 5.6) in multiplications and subtractions, which, unlike
    a pair of casts, no optimiser removes; ranges are not imitated.

    Parameters
    ----------
    model : onnx.ModelProto
        With the type of every tensor in `graph.value_info`; not changed.
    names : set of str
        The tensors to round.
    precision : str
        A key of `SIGNIFICAND_BITS`.

    Returns
    -------
    onnx.ModelProto
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    factor = np.float32(2 ** (24 - SIGNIFICAND_BITS[precision]) + 1)
    nodes: list[onnx.NodeProto] = []
    for tensor in graph.initializer:
        if tensor.data_type in LOW_TYPES.values() or tensor.name in names:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            spread = (values * factor).astype(np.float32)
            rounded = spread - (spread - values) if tensor.name in names else values
            tensor.CopyFrom(numpy_helper.from_array(rounded.astype(np.float32), tensor.name))
    graph.initializer.append(numpy_helper.from_array(factor, "rounding/factor"))
    for value in graph.input:
        _as_float(value)
        if value.name in names:
            nodes += _rounding(value.name, f"{value.name}/rounded")
    new = {value.name: f"{value.name}/rounded" for value in graph.input if value.name in names}
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = new.get(name, name)
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i in LOW_TYPES.values():
                attribute.i = FLOAT
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name in names:
                node.output[place] = f"{name}/exact"
                nodes += _rounding(f"{name}/exact", name)
    for value in graph.output:
        _as_float(value)
    del graph.value_info[:]
    replace_nodes(made, nodes)
    return made


def _as_float(value: onnx.ValueInfoProto) -> None:
    if value.type.tensor_type.elem_type in LOW_TYPES.values():
        value.type.tensor_type.elem_type = FLOAT


def _rounding(source: str, target: str) -> list[onnx.NodeProto]:
    """Nodes for c - (c - x), where c = factor x."""
    return [
        helper.make_node("Mul", [source, "rounding/factor"], [f"{target}/spread"]),
        helper.make_node("Sub", [f"{target}/spread", source], [f"{target}/rest"]),
        helper.make_node("Sub", [f"{target}/spread", f"{target}/rest"], [target]),
    ]
