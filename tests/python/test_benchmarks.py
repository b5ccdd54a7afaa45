"""What the benchmarks report is what was measured; what they compare with does the same work."""

from __future__ import annotations

import json
import math

import numpy as np
import plots
import pytest
import report
from contract_loop import ContractLoop
from measure import median_run
from plain_loop import PlainLoop, starts, stretch

from moediff_rt import _core


def volume_record(way: str, seconds: float, **fields) -> dict:
    short = "" if way == report.OURS else way.lower()
    return {
        "kind": "volume",
        "way": way,
        "short": short,
        "how": "fp32",
        "seconds": seconds,
        "images_per_second": 8 / seconds,
        "gflops": 10.0,
        "share_of_peak": 0.5,
        "peak_memory_mb": 100.0,
        "setup_seconds": 1.0,
        "relative_error": 0.001,
        "psnr_loss_db": 0.0,
        "stages": {"save": 0.5, "load": 0.25},
        **fields,
    }


WAYS = [volume_record("Eager", 6.0), volume_record(report.OURS, 1.5, psnr_loss_db=0.0125)]


def test_the_line_of_ratios_is_theirs_over_ours():
    assert report.ratios_line(WAYS) == "ratios: eager=4.00 psnr_loss_db=0.013"


def test_the_line_of_ratios_says_that_there_is_no_truth():
    ways = [WAYS[0], volume_record(report.OURS, 1.5, psnr_loss_db=None)]
    assert report.ratios_line(ways).endswith(f"psnr_loss_db={math.nan}")


@pytest.mark.parametrize(("seconds", "run"), [([3], 0), ([2, 1], 1), ([2, 9, 3], 2)])
def test_stages_are_those_of_the_median_run(seconds, run):
    assert median_run(seconds, range(len(seconds))) == run


@pytest.mark.parametrize(
    ("stages", "share"),
    [
        ({"experts": 0.5, "conditioner": 0.25, "decoder": 0.25, "save": 0.1}, "50.0 %"),
        ({"expert_0": 0.5, "expert_1": 1.0, "gate": 0.1}, "25.0 %"),
        ({"save": 0.1}, ""),
    ],
)
def test_what_no_large_network_has_is_counted(stages, share):
    assert report.share_of_rest(volume_record("any", 2.0, stages=stages)) == share


def test_no_ratio_is_made_up_without_our_own_figure():
    with pytest.raises(ValueError, match="expected a record of moediff-rt"):
        report.ratios_line(WAYS[:1])


def test_the_page_is_made_from_the_json_alone(tmp_path):
    records = [
        *WAYS,
        {"kind": "start", "what": "import", "seconds": 0.0321},
        {"kind": "growth", "axis": "steps", "steps": 50, "seconds": 12.0, "peak_memory_mb": 3.0},
    ]
    kept, page = report.write_report(tmp_path / "new", "full", {"threads": 2}, records)
    text = page.read_text()
    assert report.markdown(json.loads(kept.read_text())) == text
    assert "| threads | 2 |" in text
    assert "| Eager | fp32 | 6 | 4 |" in text
    assert "| load | 0.25 | 0.25 |\n| save | 0.5 | 0.5 |" in text
    assert "| import | 0.0321 |" in text
    assert "| steps | seconds | peak_memory_mb |" in text


def test_what_grows_is_drawn_and_nothing_else(tmp_path):
    assert plots.draw_growth(tmp_path / "none.png", WAYS) is None
    records = [
        {"kind": "growth", "axis": "steps", "steps": n, "seconds": 0.5 * n, "peak_memory_mb": 3.0}
        for n in (1, 10, 50)
    ]
    path = plots.draw_growth(tmp_path / "steps.png", records)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("size", [100, 256, 300, 511])
@pytest.mark.parametrize("tile", [32, 64, 256])
def test_plain_tiles_cover_the_box(size, tile):
    for lo, hi in ((0, size), (3, size - 5), (size // 3, size // 2)):
        at = starts(lo, hi, size, tile, overlap=8, pitch=4)
        assert all(start % 4 == 0 for start in at)
        covered = np.zeros(size + 2 * tile, bool)
        for start in at:
            covered[start : start + tile] = True
        assert covered[lo:hi].all()


def test_stretched_gates_stay_shares(rng):
    gates = rng.random((2, 3, 5, 4)).astype(np.float32)
    gates /= gates.sum(1, keepdims=True)
    maps = stretch(stretch(gates, 10, 2), 12, 3)
    assert maps.shape == (2, 3, 10, 12)
    np.testing.assert_allclose(maps.sum(1), 1, rtol=1e-6)


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def modules(request, tiny_bundle):
    from engines import CompiledModules, OnnxRuntimeModules, read_modules

    bundle = _core.load_bundle(str(tiny_bundle))
    if request.param == "onnxruntime":
        return lambda batch, workers: OnnxRuntimeModules(bundle, int8=False, threads=1)
    openvino = pytest.importorskip("openvino", reason="needs the Python package openvino")
    core, (height, width, _) = openvino.Core(), bundle.tile
    return lambda batch, workers: CompiledModules(
        read_modules(core, bundle, batch, (height, width)), "fp32", 2, batch, workers
    )


@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (3, 1), (1, 2)])
def test_a_plain_loop_gives_the_volume_of_the_reference(tiny_bundle, modules, batch, workers, rng):
    volume = rng.random((5, 32, 32)).astype(np.float32)
    boxes = np.tile([0, 32, 0, 32], (5, 1))
    boxes[2] = 0  # no head in this slice, so no tile
    bundle = _core.load_bundle(str(tiny_bundle))
    loop = PlainLoop(bundle, modules(batch, workers), batch, workers)
    found, seconds, counts = loop(volume, boxes.astype(np.int32), seed=3)
    expected, _, _ = ContractLoop(tiny_bundle).enhance(volume, boxes, seed=3)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert counts["tiles"] == 4
    assert {"encoder", "expert_0", "decoder", "blend"} <= seconds.keys()


def test_convolutions_and_products_are_counted_twice_per_multiply_add(tmp_path):
    pytest.importorskip("openvino", reason="needs the Python package openvino")
    import onnx
    import openvino
    from cost import graph_cost
    from onnx import TensorProto, helper, numpy_helper

    def value(name, *dims):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)

    weights = {
        "w": np.ones((6, 4, 3, 3), np.float32),
        "g": np.ones((6, 1, 3, 3), np.float32),
        "m": np.ones((8, 5), np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
            helper.make_node("Conv", ["a", "g"], ["b"], pads=[1, 1, 1, 1], group=6),
            helper.make_node("MatMul", ["b", "m"], ["y"]),
        ],
        "counted",
        [value("x", 1, 4, 7, 8)],
        [value("y", 1, 6, 7, 5)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "counted.onnx")
    cost = graph_cost(openvino.Core().read_model(str(tmp_path / "counted.onnx")))
    pixels = 7 * 8
    assert cost.flops == 2 * (6 * 4 * 9 * pixels + 6 * 9 * pixels + 6 * 7 * 8 * 5)
    least = 4 * (4 * pixels + 6 * 7 * 5 + sum(array.size for array in weights.values()))
    assert least <= cost.bytes <= least + 4 * 64
