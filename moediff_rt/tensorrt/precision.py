"""A graph's precision: which tensors are low, which stay float32, and the casts between them.

TensorRT's networks are strongly typed: each layer computes in the type of its tensors. So the
precision of an engine is what its graph says, and this is where it is said.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from .graph import (
    FLOAT,
    constants,
    drop_unused,
    element_types,
    replace_nodes,
    with_types,
)

# Precisions whose graphs have tensors of a type other than float32.
LOW_TYPES = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}

# Their sums stay in range and gain from tensor cores: low, whatever they read.
LOW_OPERATORS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

# Statistics, sums over many values, and functions that leave the range of a half or lose its
# bits near their poles. What is in neither set is low where all that it reads is low.
FLOAT32_OPERATORS = frozenset(
    {
        *("BatchNormalization", "GroupNormalization", "InstanceNormalization"),
        *("LayerNormalization", "LpNormalization", "RMSNormalization", "LRN"),
        *("Softmax", "LogSoftmax", "CumSum", "Einsum", "AveragePool", "GlobalAveragePool"),
        *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceProd"),
        *("ReduceSum", "ReduceSumSquare", "Cos", "Div", "Erf", "Exp", "Log", "Pow"),
        *("Reciprocal", "Sin", "Softplus", "Sqrt", "Tan"),
    }
)

# The first opset whose convolutions know bfloat16.
BF16_OPSET = 22


def low_borders(module: str) -> frozenset[str]:
    """Inputs and outputs of a module that are in the low precision; the others stay float32.

    The experts run once per step: they read and write what the fused step reads and writes, with
    no cast between. The sampler's state, the timesteps, the gates and the images are float32.

    Examples
    --------
    >>> sorted(low_borders("expert_2"))
    ['z0', 'z_c', 'z_t']
    >>> sorted(low_borders("decoder"))
    []
    """
    if module.startswith("expert_"):
        return frozenset({"z_t", "z_c", "z0"})
    return frozenset({"conditioner": {"z_c", "tokens"}, "gate": {"tokens"}}.get(module, set()))


def to_precision(model: onnx.ModelProto, module: str, precision: str) -> onnx.ModelProto:
    """Give a graph's tensors the types of a precision.

    Convolutions and matrix products are low and so is what only reads low tensors: activations,
    residual sums, moves of data. Norms, softmax and other statistics are float32, and so is
    what mixes float32 and low tensors. A constant that the low type cannot hold keeps its
    reader in float32.

    Parameters
    ----------
    model : onnx.ModelProto
        From `load_graph`; not changed.
    module : str
        Decides the types of inputs and outputs: `low_borders`.
    precision : str
        "fp32" and "tf32" leave the graph as it is (tf32 is a setting of the builder); "fp16" and
        "bf16" make a new one.

    Returns
    -------
    onnx.ModelProto
    """
    if precision not in LOW_TYPES:
        return model
    low = LOW_TYPES[precision]
    if precision == "bf16" and _opset(model) < BF16_OPSET:
        model = onnx.version_converter.convert_version(model, BF16_OPSET)
        model = with_types(model)
    return _Casting(model, low, low_borders(module)).run()


def _opset(model: onnx.ModelProto) -> int:
    versions = {entry.domain: int(entry.version) for entry in model.opset_import}
    return versions.get("", versions.get("ai.onnx", 0))


class _Casting:
    """One walk through a graph in its order, which decides the type of each tensor once."""

    def __init__(self, model: onnx.ModelProto, low: int, borders: frozenset[str]) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.low = low
        self.borders = borders
        self.opset = _opset(model)
        self.known = element_types(model)
        self.constants = constants(self.model)
        self.types: dict[str, int] = {}  # of float tensors, in the new graph
        self.nodes: list[onnx.NodeProto] = []
        self.casts: dict[tuple[str, int], str] = {}

    def run(self) -> onnx.ModelProto:
        graph = self.model.graph
        for value in graph.input:
            if self.known[value.name] == FLOAT:
                self.types[value.name] = self._border(value)
        inner = {value.name: f"{value.name}/inner" for value in graph.output}
        self.known.update({inner[name]: self.known[name] for name in inner})
        for node in graph.node:
            _rename(node.input, inner)
            _rename(node.output, inner)
            self._convert(node)
        for value in graph.output:
            source = inner[value.name]
            if source in self.types:
                source = self._cast(source, self._border(value))
            self.nodes.append(helper.make_node("Identity", [source], [value.name]))
        del graph.value_info[:]
        replace_nodes(self.model, self.nodes)
        drop_unused(self.model)
        return with_types(self.model)

    def _border(self, value: onnx.ValueInfoProto) -> int:
        """Type of an input or output, noted in the graph."""
        if value.name in self.borders:
            value.type.tensor_type.elem_type = self.low
        return int(value.type.tensor_type.elem_type)

    def _convert(self, node: onnx.NodeProto) -> None:
        """Cast what a node reads to the type it computes in, and note the type it writes."""
        schema = onnx.defs.get_schema(node.op_type, self.opset, node.domain)
        reads = [] if node.op_type == "Cast" else self._castable(node.input, schema, "inputs")
        wanted = self._wanted(node, [node.input[place] for place in reads])
        for place, name in enumerate(node.input):
            if place in reads:
                node.input[place] = self._cast(name, wanted)
            elif name in self.types and node.op_type != "Cast":
                node.input[place] = self._cast(name, FLOAT)
        self.nodes.append(node)
        for place in self._castable(node.output, schema, "outputs"):
            self.types[node.output[place]] = wanted if reads else FLOAT

    def _castable(self, names: Sequence[str], schema: onnx.defs.OpSchema, side: str) -> list[int]:
        """Places of the float tensors among `names` that the operator also takes in the low type.

        A type parameter may allow it; a fixed type, such as that of Resize's scales, does not.
        """
        low = "tensor(float16)" if self.low == onnx.TensorProto.FLOAT16 else "tensor(bfloat16)"
        allowed = {
            constraint.type_param_str: low in constraint.allowed_type_strs
            for constraint in schema.type_constraints
        }
        formals = getattr(schema, side)
        return [
            place
            for place, name in enumerate(names)
            if name
            and self.known.get(name) == FLOAT
            and allowed.get(formals[min(place, len(formals) - 1)].type_str, False)
        ]

    def _wanted(self, node: onnx.NodeProto, reads: Sequence[str]) -> int:
        fixed = [self.constants[name] for name in reads if name in self.constants]
        if node.op_type in FLOAT32_OPERATORS or not all(map(self._held, fixed)):
            return int(FLOAT)
        if node.op_type in LOW_OPERATORS:
            return self.low
        types = {self.types[name] for name in reads if name not in self.constants}
        return self.low if types == {self.low} else int(FLOAT)

    def _held(self, tensor: onnx.TensorProto) -> bool:
        """Whether the low type holds a constant: no value too large, no lone one lost."""
        values = numpy_helper.to_array(tensor)
        lowered = self._lowered(values)
        overflows = bool(np.any(np.isfinite(values) & ~np.isfinite(lowered)))
        lost = values.size == 1 and bool(np.any((values != 0) & (lowered == 0)))
        return not overflows and not lost

    def _lowered(self, values: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        kind = np.float16 if self.low == onnx.TensorProto.FLOAT16 else ml_dtypes.bfloat16
        with np.errstate(over="ignore"):
            return values.astype(kind)

    def _cast(self, name: str, to: int) -> str:
        """Name of the tensor `name` in the type `to`; the cast is made where it is first needed."""
        if self.types.get(name, FLOAT) == to:
            return name
        if (name, to) not in self.casts:
            made = f"{name}/{onnx.TensorProto.DataType.Name(to).lower()}"
            self.casts[name, to] = made
            if name in self.constants:
                values = self._lowered(numpy_helper.to_array(self.constants[name]))
                self.model.graph.initializer.append(numpy_helper.from_array(values, made))
            else:
                self.nodes.append(helper.make_node("Cast", [name], [made], to=to))
        return self.casts[name, to]


def _rename(names: MutableSequence[str], new: Mapping[str, str]) -> None:
    for place, name in enumerate(names):
        names[place] = new.get(name, name)
