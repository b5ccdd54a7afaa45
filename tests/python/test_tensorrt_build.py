"""One engine from one graph: really built, without a GPU, by TensorRT for RTX."""

from __future__ import annotations

import pytest

from moediff_rt import _core
from moediff_rt.cache import default_bundle
from moediff_rt.errors import EngineError
from moediff_rt.tensorrt.build import Builder, Phases, Recipe
from moediff_rt.tensorrt.graph import load_graph
from moediff_rt.tensorrt.package import find_package
from moediff_rt.tensorrt.precision import to_precision

pytest.importorskip("tensorrt_rtx", reason="needs the Python package tensorrt-rtx")


def shipped(module):
    raw = (default_bundle() / f"{module}.onnx").read_bytes()
    return load_graph(raw, module, _core.load_bundle(str(default_bundle())))


def test_phases_of_a_build_add_up_and_never_fall():
    phases = Phases()
    phases.start("build", None, 2)
    phases.start("tactics", "build", 2)
    assert phases.step("tactics", 0) == 0.25
    phases.finish("tactics")
    phases.start("tactics", "build", 4)
    assert phases.step("tactics", 0) == 0.25
    assert phases.step("build", 0) == 0.5
    assert phases.step("unheard of", 3) == 0.5
    assert phases.step("build", 1) == 1.0


def test_what_the_parser_refuses_is_named():
    builder = Builder(find_package("tensorrt-rtx"), Recipe("fp32", (1,), ("sm86",)))
    raw = (default_bundle() / "expert_0.onnx").read_bytes()
    with pytest.raises(EngineError, match=r"parse the graph of expert_0 in fp32, found: .*Split"):
        builder.build("expert_0", raw, lambda fraction: None)


def test_what_is_built_is_what_the_graph_says():
    builder = Builder(find_package("tensorrt-rtx"), Recipe("fp32", (1, 4), ("sm86",)))
    plan = builder.build("gate", shipped("gate").SerializeToString(), lambda _: None)
    assert [(t.name, t.dtype, t.shape) for t in plan.inputs] == [("tokens", "FLOAT", (64, 64, 32))]
    assert [(t.name, t.dtype) for t in plan.outputs] == [("gates", "FLOAT")]
    assert plan.layers > 0 and builder.timing == b""


def test_no_module_has_several_filters_a_channel():
    # TensorRT for RTX 1.7.1 keeps zeros as large as what such a convolution gives in its engine,
    # for each tile of each batch size, in half precision.
    for file in _core.load_bundle(str(default_bundle())).modules:
        model = shipped(file.name)
        weights = {t.name: t.dims for t in model.graph.initializer}
        for node in model.graph.node:
            group = next((a.i for a in node.attribute if a.name == "group"), 1)
            assert group == 1 or weights[node.input[1]][0] == group, file.name


def test_an_engine_for_turing_holds_no_zeros_as_large_as_its_tensors():
    graph = to_precision(shipped("expert_0"), "expert_0", "fp16").SerializeToString()
    package = find_package("tensorrt-rtx")
    sizes = [
        len(Builder(package, Recipe("fp16", (batch,), ("sm75",))).build("expert_0", graph, id).blob)
        for batch in (1, 4)
    ]
    assert sizes[1] < 1.5 * sizes[0]
