"""Filters per channel and their mix made one convolution."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from moediff_rt import _core
from moediff_rt.cache import default_bundle
from moediff_rt.tensorrt.accuracy import error_limit, random_inputs, relative_error, run_float32
from moediff_rt.tensorrt.build import Builder, Recipe
from moediff_rt.tensorrt.graph import load_graph
from moediff_rt.tensorrt.merge import merge_filters
from moediff_rt.tensorrt.package import find_package
from moediff_rt.tensorrt.precision import to_precision
from moediff_rt.tensorrt.rounding import low_tensors, with_rounding

RNG = np.random.default_rng(0)


def pair(filters, mix, biases=(True, True), how=None, mix_how=None, outputs=("y",)):
    """A graph of per-channel filters (6 of 2 channels by default) and a 1 x 1 mix of them."""
    weights = {"w": filters, "m": mix}
    inputs = [["x", "w"], ["h", "m"]]
    for at, (name, has) in enumerate(zip("bc", biases, strict=True)):
        if has:
            weights[name] = RNG.standard_normal(len((filters, mix)[at])).astype(np.float32)
            inputs[at].append(name)
    nodes = [
        helper.make_node("Conv", inputs[0], ["h"], **({"group": 2, "pads": [1] * 4} | (how or {}))),
        helper.make_node("Conv", inputs[1], ["y"], **(mix_how or {})),
    ]
    graph = helper.make_graph(
        nodes,
        "pair",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 9, 8])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "c", "h", "w"])
            for name in outputs
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return load_graph(model.SerializeToString(), "pair")


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("biases", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("how", [{}, {"strides": [2, 1]}, {"dilations": [2, 2], "pads": [2] * 4}])
def test_one_convolution_gives_what_the_two_gave(biases, how):
    model = pair(normal(6, 1, 3, 3), normal(5, 6, 1, 1), biases, how)
    merged = merge_filters(model)
    assert [node.op_type for node in merged.graph.node] == ["Conv"]
    onnx.checker.check_model(merged, full_check=True)
    x = normal(2, 2, 9, 8)
    (found,), (expected,) = (ReferenceEvaluator(m).run(None, {"x": x}) for m in (merged, model))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        pair(normal(2, 1, 3, 3), normal(5, 2, 1, 1)),
        pair(normal(6, 2, 3, 3), normal(5, 6, 1, 1), how={"group": 1}),
        pair(normal(6, 1, 3, 3), normal(5, 6, 3, 3)),
        pair(normal(6, 1, 3, 3), normal(6, 3, 1, 1), mix_how={"group": 2}),
        pair(normal(6, 1, 3, 3), normal(5, 6, 1, 1), mix_how={"strides": [2, 2]}),
        pair(normal(6, 1, 3, 3), normal(5, 6, 1, 1), mix_how={"pads": [1] * 4}),
        pair(normal(6, 1, 3, 3), normal(5, 6, 1, 1), outputs=("y", "h")),
    ],
    ids=[
        "one filter",
        "no groups",
        "wide mix",
        "mix of groups",
        "strided mix",
        "padded mix",
        "read",
    ],
)
def test_what_is_no_such_pair_is_left(model):
    assert merge_filters(model) is model


def shipped(module):
    bundle = _core.load_bundle(str(default_bundle()))
    return load_graph((default_bundle() / f"{module}.onnx").read_bytes(), module, bundle)


def test_the_default_bundle_has_one_such_pair():
    merged = {}
    for module in ("encoder", "conditioner", "gate", "expert_0", "expert_1", "expert_2", "decoder"):
        model = shipped(module)
        merged[module] = merge_filters(model) is not model
    assert [module for module, changed in merged.items() if changed] == ["expert_0"]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_merged_expert_is_within_the_limit_of_its_precision(precision):
    model = shipped("expert_0")
    inputs = random_inputs(model)
    reference = run_float32(model, inputs)
    typed = to_precision(merge_filters(model), "expert_0", precision)
    if precision != "fp32":
        typed = with_rounding(typed, low_tensors(typed), precision)
    error = relative_error(run_float32(typed, inputs), reference)
    assert 0 < error <= error_limit(model, inputs, reference, precision)


def test_an_engine_for_turing_holds_no_zeros_as_large_as_its_tensors():
    module = "expert_0"
    model = shipped(module)
    typed = to_precision(merge_filters(model), module, "fp16").SerializeToString()
    package = find_package("tensorrt-rtx")
    sizes = [
        len(Builder(package, Recipe("fp16", (batch,), ("sm75",))).build(module, typed, id).blob)
        for batch in (1, 4)
    ]
    assert sizes[1] < 1.5 * sizes[0]
