"""Two convolutions that are one: filters per channel, and the 1 x 1 mix that alone reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from .graph import constants, drop_unused, replace_nodes, with_types

Weights = Mapping[str, npt.NDArray[Any]]


def merge_filters(model: onnx.ModelProto) -> onnx.ModelProto:
    """Make one convolution of several filters per channel and the 1 x 1 mix of what they give.

    It computes the same but for the rounding of the merged weights. For several filters per channel
    in half precision, TensorRT for RTX 1.7.1 keeps zeros as large as what the filters give in its
    engine, for each tile of each batch size; the merged one has none, and reads and writes less.

    Parameters
    ----------
    model : onnx.ModelProto
        In float32, from `load_graph`.

    Returns
    -------
    onnx.ModelProto
        A copy; the model itself where there is nothing to merge.

    Examples
    --------
    >>> x = helper.make_tensor_value_info("x", 1, ["n", 2, 8, 8])
    >>> y = helper.make_tensor_value_info("y", 1, ["n", 3, 8, 8])
    >>> filters = np.ones((6, 1, 3, 3), np.float32)
    >>> mix = np.ones((3, 6, 1, 1), np.float32)
    >>> nodes = [
    ...     helper.make_node("Conv", ["x", "filters"], ["h"], group=2, pads=[1, 1, 1, 1]),
    ...     helper.make_node("Conv", ["h", "mix"], ["y"]),
    ... ]
    >>> weights = [
    ...     numpy_helper.from_array(filters, "filters"),
    ...     numpy_helper.from_array(mix, "mix"),
    ... ]
    >>> merged = merge_filters(helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights)))
    >>> [node.op_type for node in merged.graph.node]
    ['Conv']
    """
    weights = {name: numpy_helper.to_array(tensor) for name, tensor in constants(model).items()}
    pairs = [
        (node, mix)
        for node in model.graph.node
        if _has_filters(node, weights)
        and (mix := _only_reader(model, node.output[0])) is not None
        and _is_mix(mix, weights)
    ]
    if not pairs:
        return model
    merged = onnx.ModelProto()
    merged.CopyFrom(model)
    replaced = {node.output[0] for node, _ in pairs}
    made = {mix.output[0]: _merged(node, mix, weights, merged.graph) for node, mix in pairs}
    replace_nodes(
        merged,
        [
            made.get(node.output[0], node)
            for node in model.graph.node
            if node.output[0] not in replaced
        ],
    )
    drop_unused(merged)
    return with_types(merged)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _fixed(node: onnx.NodeProto, weights: Weights) -> bool:
    return node.op_type == "Conv" and all(name in weights for name in node.input[1:] if name)


def _has_filters(node: onnx.NodeProto, weights: Weights) -> bool:
    """Whether it has more than one filter for each channel, and no other channel in them."""
    if not _fixed(node, weights):
        return False
    shape, group = weights[node.input[1]].shape, _attributes(node).get("group", 1)
    return bool(group > 1 and shape[1] == 1 and shape[0] > group)


def _is_mix(node: onnx.NodeProto, weights: Weights) -> bool:
    if not _fixed(node, weights):
        return False
    known = _attributes(node)
    return (
        set(weights[node.input[1]].shape[2:]) == {1}
        and known.get("group", 1) == 1
        and set(known.get("strides", [1])) == {1}
        and set(known.get("pads", [0])) == {0}
    )


def _only_reader(model: onnx.ModelProto, name: str) -> onnx.NodeProto | None:
    if name in {output.name for output in model.graph.output}:
        return None
    readers = [node for node in model.graph.node if name in node.input]
    return readers[0] if len(readers) == 1 and readers[0].input[0] == name else None


def _bias(node: onnx.NodeProto, weights: Weights) -> npt.NDArray[np.float64]:
    if len(node.input) > 2 and node.input[2]:
        return weights[node.input[2]].astype(np.float64)
    return np.zeros(len(weights[node.input[1]]))


def _merged(
    node: onnx.NodeProto, mix: onnx.NodeProto, weights: Weights, graph: onnx.GraphProto
) -> onnx.NodeProto:
    """The one convolution; its weights are put into the graph."""
    filters = weights[node.input[1]].astype(np.float64)
    shares = weights[mix.input[1]].astype(np.float64).reshape(len(weights[mix.input[1]]), -1)
    channels = _attributes(node)["group"]
    by_channel = filters.reshape(channels, -1, *filters.shape[2:])
    kernels = np.einsum("ocf,cf...->oc...", shares.reshape(len(shares), channels, -1), by_channel)
    bias = _bias(mix, weights) + shares @ _bias(node, weights)
    names = [f"{mix.output[0]}/kernels", f"{mix.output[0]}/bias"]
    for name, value in zip(names, (kernels, bias), strict=True):
        graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    how = {name: value for name, value in _attributes(node).items() if name != "group"}
    return helper.make_node("Conv", [node.input[0], *names], list(mix.output), mix.name, **how)
