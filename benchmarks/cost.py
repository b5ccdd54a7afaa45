"""What a bundle's modules must compute and move: the floor under every engine's time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from engines import read_modules

from moediff_rt import _core

FLOAT = 4  # bytes


@dataclass(frozen=True)
class Cost:
    """Of one tile in one module.

    Attributes
    ----------
    flops : float
        Two for each multiply-add of convolutions and matrix products; nothing else is counted.
    bytes : float
        Inputs, outputs and weights once, in float32: what even a perfect engine moves.
    """

    flops: float
    bytes: float


def module_costs(bundle: _core.Bundle, tile: tuple[int, int] | None = None) -> dict[str, Cost]:
    """Each module's cost for a tile of (height, width) pixels; the bundle's largest by default."""
    import openvino as ov

    models = read_modules(ov.Core(), bundle, 1, tile or bundle.tile[:2])
    return {name: graph_cost(model) for name, model in models.items()}


def graph_cost(model: Any) -> Cost:
    """Cost of an OpenVINO model whose shapes are fixed."""
    flops, weights = 0.0, 0.0
    for node in model.get_ops():
        flops += node_flops(node)
        if node.get_type_name() == "Constant":
            weights += math.prod(node.output(0).shape)
    ends = sum(math.prod(port.shape) for port in (*model.inputs, *model.outputs))
    return Cost(flops, FLOAT * (weights + ends))


def node_flops(node: Any) -> float:
    """Two for each multiply-add of one node."""
    kind = node.get_type_name()
    if kind not in ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul"):
        return 0.0
    left, right = (list(node.input(i).get_shape()) for i in (0, 1))
    made = math.prod(node.output(0).shape)
    if kind == "Convolution":
        return 2.0 * made * math.prod(right[1:])
    if kind == "GroupConvolution":
        return 2.0 * made * math.prod(right[2:])
    if kind == "ConvolutionBackpropData":
        return 2.0 * math.prod(left) * math.prod(right[1:])
    return 2.0 * made * left[-2 if node.get_attributes()["transpose_a"] else -1]


def volume_flops(costs: dict[str, Cost], tiles: int, expert_calls: int) -> float:
    """Of a run: an expert for each call (a tile's step), everything else once a tile."""
    experts = [cost.flops for name, cost in costs.items() if name.startswith("expert_")]
    once = sum(cost.flops for name, cost in costs.items() if not name.startswith("expert_"))
    return tiles * once + expert_calls * sum(experts) / len(experts)
