"""A bundle's ONNX graph as TensorRT can read it: constants folded, sequences made splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ..errors import EngineError
from .tile import set_tile

if TYPE_CHECKING:
    from .._core import Bundle

FLOAT = onnx.TensorProto.FLOAT


def load_graph(data: bytes, module: str, bundle: Bundle | None = None) -> onnx.ModelProto:
    """Read a module and put its graph into a form that every TensorRT package can parse.

    What it computes does not change, not by a bit: parts that depend on no input, or only on the
    sizes of the tile, are replaced by their value (exporters store weights as halves and cast them
    back), and a tensor that is cut with SplitToSequence, which TensorRT lacks, is cut with Split.

    Parameters
    ----------
    data : bytes
        The ONNX file.
    module : str
        Its name, for the error.
    bundle : Bundle, optional
        Whose largest tile the graph is for; without, its inputs' sizes stay free where they are.

    Returns
    -------
    onnx.ModelProto
        With the shape and type of every tensor in `graph.value_info`.

    Raises
    ------
    EngineError
        The file is not a valid ONNX graph, or has subgraphs (If, Loop, Scan).
    """
    try:
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model)
        if bundle is not None:
            set_tile(model, bundle)
        model = with_types(model)
    except Exception as error:
        raise EngineError(
            f"expected a valid ONNX graph in {module}, found {' '.join(str(error).split())}; "
            "the export is probably of another ONNX release; export the bundle again"
        ) from error
    for node in model.graph.node:
        branches = any(attribute.type in _SUBGRAPHS for attribute in node.attribute)
        if branches or node.domain not in ("", "ai.onnx"):
            raise EngineError(
                f"expected ONNX's own operators without branches and loops in {module}, found "
                f"{node.domain or 'ai.onnx'}.{node.op_type}; probably control flow or a custom "
                "operator in the model; export it without"
            )
    _cast_like_to_cast(model)
    model = _fold(model)
    _sequences_to_splits(model)
    drop_unused(model)
    return with_types(model)


def with_types(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with the type and shape of each tensor in `graph.value_info`."""
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """ONNX element type of each tensor whose type is known."""
    graph = model.graph
    values = [*graph.input, *graph.output, *graph.value_info]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types.update({tensor.name: tensor.data_type for tensor in graph.initializer})
    return types


def constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """The graph's initializers by name."""
    return {tensor.name: tensor for tensor in model.graph.initializer}


def replace_nodes(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Give the graph these nodes, in this order."""
    kept = list(nodes)
    del model.graph.node[:]
    model.graph.node.extend(kept)


_SUBGRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    found = [attribute.i for attribute in node.attribute if attribute.name == name]
    return int(found[0]) if found else default


def _cast_like_to_cast(model: onnx.ModelProto) -> None:
    """Say the type instead of pointing at a tensor that has it: then constants can be folded."""
    types = element_types(model)
    for node in model.graph.node:
        if node.op_type == "CastLike" and types.get(node.input[1]):
            to = types[node.input[1]]
            node.CopyFrom(
                helper.make_node("Cast", [node.input[0]], list(node.output), node.name, to=to)
            )


def _fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants, the sizes that they make known, and what these make constant, to the end."""
    while True:
        before = len(model.graph.node)
        _sizes_to_constants(model)
        _fold_constants(model)
        if len(model.graph.node) == before:
            return model
        model = with_types(model)


def _sizes_to_constants(model: onnx.ModelProto) -> None:
    """Replace each Shape whose sizes are known by them."""
    graph = model.graph
    dims = {v.name: v.type.tensor_type.shape.dim for v in (*graph.input, *graph.value_info)}
    kept = []
    for node in graph.node:
        known = dims.get(node.input[0]) if node.op_type == "Shape" else None
        end = _attribute(node, "end", len(known or ()))
        sizes = None if known is None else known[_attribute(node, "start", 0) : end]
        if not sizes or not all(dim.HasField("dim_value") for dim in sizes):
            kept.append(node)
            continue
        values = np.array([dim.dim_value for dim in sizes], np.int64)
        graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
    replace_nodes(model, kept)


def _fold_constants(model: onnx.ModelProto) -> None:
    """Replace the nodes that depend on no input by the values they give."""
    graph = model.graph
    fixed = {tensor.name for tensor in graph.initializer} | {""}
    folded, kept = [], []
    for node in graph.node:
        known = node.op_type == "Constant" or (node.input and fixed.issuperset(node.input))
        if known and node.op_type != "SplitToSequence":
            folded.append(node)
            fixed.update(node.output)
        else:
            kept.append(node)
    outputs = {name for node in folded for name in node.output}
    wanted = {name for node in kept for name in node.input} | {out.name for out in graph.output}
    names = sorted(outputs & wanted)
    if not names:
        return
    values = helper.make_graph(
        folded,
        "constants",
        [],
        [helper.make_empty_tensor_value_info(name) for name in names],
        list(graph.initializer),
    )
    evaluated = ReferenceEvaluator(
        helper.make_model(values, opset_imports=model.opset_import, ir_version=model.ir_version)
    ).run(None, {})
    for name, value in zip(names, evaluated, strict=True):
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    replace_nodes(model, kept)


def _sequences_to_splits(model: onnx.ModelProto) -> None:
    """Replace SplitToSequence and the SequenceAt that read it by one Split each.

    Only where the pieces' sizes and indices are constants; TensorRT's parser names the others.
    """
    graph = model.graph
    fixed = {name: numpy_helper.to_array(tensor) for name, tensor in constants(model).items()}
    shapes = {value.name: value.type.tensor_type.shape.dim for value in graph.value_info}
    shapes.update({value.name: value.type.tensor_type.shape.dim for value in graph.input})
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    made: list[onnx.NodeProto] = []
    replaced: set[str] = set()
    for node in graph.node:
        if node.output and node.output[0] in replaced:
            continue
        pieces = readers.get(node.output[0], []) if node.op_type == "SplitToSequence" else []
        sizes = _piece_sizes(node, fixed, shapes) if pieces else None
        if sizes is None or not all(
            piece.op_type == "SequenceAt" and piece.input[1] in fixed for piece in pieces
        ):
            made.append(node)
            continue
        graph.initializer.append(numpy_helper.from_array(sizes, f"{node.output[0]}/sizes"))
        names = [f"{node.output[0]}/{number}" for number in range(len(sizes))]
        axis = _attribute(node, "axis", 0)
        made.append(
            helper.make_node("Split", [node.input[0], f"{node.output[0]}/sizes"], names, axis=axis)
        )
        for piece in pieces:
            name = names[int(fixed[piece.input[1]])]
            made.append(helper.make_node("Identity", [name], list(piece.output)))
            replaced.add(piece.output[0])
    replace_nodes(model, made)


def _piece_sizes(
    node: onnx.NodeProto, fixed: Mapping[str, npt.NDArray[Any]], shapes: Mapping[str, Sequence[Any]]
) -> npt.NDArray[np.int64] | None:
    """Sizes of the pieces of a SplitToSequence, int64; None where they are not constant."""
    split = fixed.get(node.input[1]) if len(node.input) > 1 else None
    if split is None or split.ndim:
        return None if split is None else split.astype(np.int64)
    dims = shapes.get(node.input[0], [])
    axis = _attribute(node, "axis", 0)
    if not dims or not dims[axis].dim_value:
        return None
    whole, rest = divmod(dims[axis].dim_value, int(split))
    return np.array([int(split)] * whole + [rest] * (rest > 0), np.int64)


def drop_unused(model: onnx.ModelProto) -> None:
    """Leave out the constants that nothing reads."""
    graph = model.graph
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(output.name for output in graph.output)
    kept = [tensor for tensor in graph.initializer if uses[tensor.name]]
    del graph.initializer[:]
    graph.initializer.extend(kept)
