"""8-bit modules: whose convolutions they are, how near they come, what is refused."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from export_fixtures import card, save_run, volume_and_boxes
from moediff_export.bundle import write_bundle
from moediff_export.cli import main
from moediff_export.config import TINY
from moediff_export.data.shards import write_shards
from moediff_export.errors import ExportError
from moediff_export.evaluation.provenance import modules_sha256
from moediff_export.int8 import KEPT_FLOAT, export_int8, in_int8, record_inputs
from moediff_export.modules import list_modules
from moediff_export.onnx import export_module, relative_error

from moediff_rt import _core

EXPERTS = ["expert_0", "expert_1", "expert_2"]


@pytest.fixture(scope="module", autouse=True)
def few_crops():
    """One in six of what a real export looks at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moediff_export.int8.CROPS", 8)
        yield


@pytest.fixture(scope="module")
def shards(pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    write_shards(pairs, folder)
    return folder


@pytest.fixture(scope="module")
def folder(tiny_model, shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8") / "bundle"
    write_bundle(tiny_model, folder, card(), calibration=shards)
    return folder


def test_conditioner_and_experts_have_a_file_more_and_the_rest_is_as_it_was(folder, tiny_bundle):
    bundle, plain = (_core.load_bundle(str(place)) for place in (folder, tiny_bundle))
    assert [m.name for m in bundle.int8_modules] == ["conditioner", *EXPERTS]
    assert [m.sha256 for m in bundle.modules] == [m.sha256 for m in plain.modules]


@pytest.mark.parametrize("name", ["conditioner", *EXPERTS])
def test_every_convolution_has_8_bit_operands_but_those_kept_in_float(folder, name):
    graph = onnx.load(folder / f"{name}.int8.onnx").graph
    weights = {tensor.name.removesuffix(".half") for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    stored = {tensor.name: tensor.data_type for tensor in graph.initializer}
    low, kept = 0, []
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        operands = [makers.get(operand) for operand in node.input[:2]]
        if not all(maker and maker.op_type == "DequantizeLinear" for maker in operands):
            kept.append(node.input[1].removesuffix(".half"))
            continue
        low += 1
        assert stored[operands[1].input[0]] == onnx.TensorProto.INT8
    assert low >= 5
    biases = {weight for weight in weights if weight.endswith("bias")}
    assert set(kept) == {w for w in weights - biases if w.startswith(KEPT_FLOAT)} != set()


def test_no_note_of_the_exporting_machine_is_written(folder):
    for path in folder.glob("*.int8.onnx"):
        assert b"site-packages" not in path.read_bytes()
        graph = onnx.load(path)
        assert not graph.metadata_props and not graph.doc_string


@pytest.mark.usefixtures("int8_processor")
def test_the_runtime_is_near_float32_with_them(folder):
    bundle = _core.load_bundle(str(folder))
    volume, boxes = volume_and_boxes((4, 110, 90))
    truth, found = (
        _core.Model(bundle, precision=precision, threads=2).enhance(volume, boxes, seed=1).volume
        for precision in ("fp32", "int8")
    )
    changed = relative_error(truth, volume)
    assert 0 < relative_error(found, truth) < 0.1 * changed


def test_what_is_recorded_is_what_the_modules_are_given(tiny_model, pairs):
    items = list_modules(tiny_model)
    seen = record_inputs(tiny_model, items, pairs)
    assert set(seen) == {item.name for item in items if in_int8(item.name)}
    conditioner, expert = seen["conditioner"][0], seen["expert_0"][0]
    with torch.inference_mode():
        z_c, _ = tiny_model.conditioner(*(torch.from_numpy(a) for a in conditioner.values()))
    assert list(conditioner) == ["slices", "z_low"] and list(expert) == ["z_t", "z_c", "t"]
    np.testing.assert_array_equal(expert["z_c"], z_c.numpy())
    timesteps = {float(given["t"][0]) for given in seen["expert_0"]}
    assert TINY.start_timestep in timesteps and len(timesteps) > TINY.steps


@pytest.fixture(scope="module")
def expert(tiny_model, pairs, tmp_path_factory):
    """An expert, its file, and a little to calibrate it on."""
    item = next(m for m in list_modules(tiny_model) if m.name == "expert_0")
    path = tmp_path_factory.mktemp("expert") / "expert_0.onnx"
    export_module(item, path)
    return item, path, record_inputs(tiny_model, [item], pairs)["expert_0"][:2]


def test_the_same_inputs_give_the_same_file(expert, tmp_path):
    for name in ("one", "two"):
        export_int8(*expert, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_module_that_is_too_far_from_float32_is_refused(expert, tmp_path, monkeypatch):
    monkeypatch.setattr("moediff_export.int8.WORST_ERROR", 1e-6)
    with pytest.raises(ExportError, match="expected expert_0 in 8 bits within 1e-06"):
        export_int8(*expert, tmp_path / "expert_0.int8.onnx")


def test_without_nncf_the_remedy_is_told(tiny_model, shards, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ExportError, match=r"pip install 'moediff-export\[int8\]'"):
        write_bundle(tiny_model, tmp_path / "bundle", card(), calibration=shards)
    assert list(tmp_path.iterdir()) == []


def test_its_tools_do_not_report_home(expert, tmp_path):
    _, path, seen = expert
    given = tmp_path / "given.npz"
    np.savez(given, **seen[0])
    program = (
        "import sys, pathlib, numpy as np; from moediff_export.int8 import fold, quantise;"
        "quantise(fold(pathlib.Path(sys.argv[1])), [dict(np.load(sys.argv[2]))])"
    )
    home = {**os.environ, "HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, "-c", program, path, given], env=home, check=True)
    assert not (tmp_path / "home" / "intel").exists()


def test_slabs_that_are_too_small_are_refused(tiny_model, pairs):
    small = [replace(pair, target=pair.target[:, :8]) for pair in pairs]
    with pytest.raises(ValueError, match="found one whose edge is 8"):
        record_inputs(tiny_model, list_modules(tiny_model), small)


@pytest.fixture
def run(tiny_model, tmp_path):
    return save_run(tiny_model, tmp_path / "run")


def test_the_command_calibrates_on_shards(run, shards, folder, tmp_path, capsys):
    command = ["onnx", str(run), "-o", str(tmp_path / "bundle"), "--int8", str(shards)]
    assert main(command) == 0
    assert modules_sha256(tmp_path / "bundle") == modules_sha256(folder), "the same slabs"
    assert "expert_2 int8    relative error against float32" in capsys.readouterr().out
    modules = json.loads((tmp_path / "bundle" / "bundle.json").read_text())["modules"]
    assert modules["conditioner"]["int8"]["file"] == "conditioner.int8.onnx"


def test_a_folder_without_shards_is_one_line_and_exit_2(run, tmp_path, capsys):
    shards = ["--int8", str(tmp_path / "none")]
    assert main(["onnx", str(run), "-o", str(tmp_path / "bundle"), *shards]) == 2
    assert "expected shards (*.npz)" in capsys.readouterr().err
