"""Export: what is written computes what PyTorch computes, and the bundle says all about it."""

import hashlib
import json
import re
import shutil
import signal
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from export_fixtures import card, random_model, save_run
from moediff_export.bundle import check_measured, load_reference, metrics_of, write_bundle
from moediff_export.cli import main
from moediff_export.config import TINY, get_config
from moediff_export.evaluation.provenance import modules_sha256
from moediff_export.modules import ModuleExport, list_modules
from moediff_export.onnx import ExportError, check_module, export_module, relative_error


def test_bundle_lists_every_file_with_its_hash(tiny_bundle):
    bundle = json.loads((tiny_bundle / "bundle.json").read_text())
    listed = {entry["file"] for entry in bundle["modules"].values()}
    assert listed | {"bundle.json"} == {path.name for path in tiny_bundle.iterdir()}
    for entry in bundle["modules"].values():
        data = (tiny_bundle / entry["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])
    assert len(bundle["schedule"]["alphas_cumprod"]) == TINY.timesteps


def test_weights_are_stored_as_half_and_what_half_would_change_is_not(tmp_path):
    model = random_model(get_config("tiny", expert_base=16))
    item = next(m for m in list_modules(model) if m.name == "expert_0")
    export_module(item, tmp_path / "expert.onnx")
    graph = onnx.load(tmp_path / "expert.onnx")
    kinds = {i.name.removesuffix(".half"): i.data_type for i in graph.graph.initializer}
    assert kinds["stem.weight"] == onnx.TensorProto.FLOAT16
    assert kinds["time.frequencies"] == onnx.TensorProto.FLOAT
    assert graph.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_no_path_of_the_exporting_machine_is_written(tiny_bundle):
    for path in tiny_bundle.iterdir():
        assert (
            b"site-packages" not in path.read_bytes()
            and b"moediff_export/" not in path.read_bytes()
        )


def test_the_exporters_notes_which_differ_from_run_to_run_are_not_written(tiny_bundle):
    for path in tiny_bundle.glob("*.onnx"):
        graph = onnx.load(path).graph
        assert not graph.metadata_props
        assert not any(node.metadata_props or node.doc_string for node in graph.node)


def test_batch_and_tile_are_free(tiny_bundle):
    slices = onnx.load(tiny_bundle / "decoder.onnx").graph.input[1]
    kinds = [bool(dim.dim_param) for dim in slices.type.tensor_type.shape.dim]
    assert slices.name == "slices" and kinds == [True, False, True, True]


def test_a_module_computes_in_any_tile_what_pytorch_computes(tiny_model, tiny_bundle):
    for item in list_modules(tiny_model):
        session = onnxruntime.InferenceSession(tiny_bundle / f"{item.name}.onnx")
        for height, width in ((32, 48), (64, 32), (48, 48)):
            inputs = item.cut(2, height, width)
            with torch.inference_mode():
                truth = item.module(*inputs.values())
            found = session.run(None, {name: value.numpy() for name, value in inputs.items()})
            for ours, theirs in zip(found, truth if len(found) > 1 else [truth], strict=True):
                assert relative_error(ours, theirs.numpy()) <= 3e-6, (item.name, height, width)


def test_attention_of_cosines_is_exported_and_read_back(tmp_path):
    model = random_model(get_config("tiny", cosine_attention=True))
    write_bundle(model, tmp_path / "bundle", card())  # holds each module against PyTorch
    again = load_reference(tmp_path / "bundle")
    assert again.config == model.config
    assert next(iter(again.experts[2].speciality.values())).cosines


def test_windows_that_do_not_fit_go_on_past_the_edge_with_its_tokens(tmp_path):
    model = random_model(get_config("tiny", swin_window=8, smallest_tile=48))
    item = next(m for m in list_modules(model) if m.name == "conditioner")
    export_module(item, tmp_path / "conditioner.onnx")  # holds it against PyTorch
    seen = []
    model.conditioner.blocks.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.inference_mode():
        _, tokens = item.module(*item.cut(1, 48, 64).values())
    (windows,) = seen
    assert windows.shape[1:3] == (16, 16) and tokens.shape[1:3] == (12, 16)
    assert torch.equal(windows[:, 12:], windows[:, 11:12].expand(-1, 4, -1, -1))


def test_a_model_of_one_tile_size_is_exported_for_it_alone(tmp_path):
    item = list_modules(random_model(get_config("tiny", smallest_tile=64)))[0]
    export_module(item, tmp_path / "encoder.onnx")
    image = onnx.load(tmp_path / "encoder.onnx").graph.input[0]
    assert [dim.dim_value for dim in image.type.tensor_type.shape.dim][1:] == [3, 64, 64]


@pytest.mark.parametrize("sizes", [{"smallest_tile": 128}, {"smallest_tile": 40}, {"tile": 72}])
def test_tiles_that_the_networks_grids_do_not_fit_are_refused(sizes):
    with pytest.raises(ValueError, match=r"multiples of 16 pixels.*change them"):
        get_config("tiny", **sizes)


def test_another_models_file_is_refused(tiny_bundle):
    item = next(m for m in list_modules(random_model(TINY, seed=1)) if m.name == "expert_0")
    with pytest.raises(ExportError, match="expert_0 within"):
        check_module(item, tiny_bundle / "expert_0.onnx")


class Cancelling(torch.nn.Module):
    """What float32 cannot hold: a thousandth of the image is lost."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (image + 1e4) - 1e4


def test_a_module_that_float32_cannot_hold_is_told_from_a_wrong_operator(tmp_path):
    image = torch.rand(2, 1, TINY.tile, TINY.tile, generator=torch.Generator().manual_seed(0))
    item = ModuleExport("blown", TINY, Cancelling(), {"image": image}, {"image": 1}, ("y",))
    with pytest.raises(ExportError, match="training has blown the weights up") as caught:
        export_module(item, tmp_path / "blown.onnx")
    worst, own = re.findall(r"\d\.\d+e-\d+", str(caught.value))
    assert worst == own


def test_a_module_whose_weights_overflow_is_refused(tmp_path):
    item = next(m for m in list_modules(random_model(TINY)) if m.name == "expert_0")
    with torch.no_grad():
        item.module.out.weight[0, 0, 0, 0] = float("inf")
    with pytest.raises(ExportError, match="a relative error of nan"):
        export_module(item, tmp_path / "expert_0.onnx")


def test_an_existing_bundle_is_not_overwritten(tiny_model, tiny_bundle):
    before = (tiny_bundle / "bundle.json").read_bytes()
    with pytest.raises(FileExistsError, match="--overwrite"):
        write_bundle(tiny_model, tiny_bundle, card())
    assert (tiny_bundle / "bundle.json").read_bytes() == before


def test_a_signal_while_a_bundle_is_replaced_waits_until_it_is(tiny_model, tmp_path, monkeypatch):
    run, folder = save_run(tiny_model, tmp_path / "run"), tmp_path / "made/bundle"
    command = ["onnx", str(run), "-o", str(folder), "--overwrite"]
    assert main(command) == 0
    before = (folder / "bundle.json").stat().st_ino
    real = Path.rename

    def rename(path, target):
        signal.raise_signal(signal.SIGTERM)
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    assert main(command) == 143
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]
    assert (folder / "bundle.json").stat().st_ino != before
    load_reference(folder)


def test_a_missing_checkpoint_is_one_line_and_exit_2(tmp_path, capsys):
    assert main(["onnx", str(tmp_path / "no.pt"), "-o", str(tmp_path / "b")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_bundles_defaults_may_be_others_than_the_runs(tiny_model, tiny_bundle, tmp_path):
    save_run(tiny_model, tmp_path / "run")
    other = ["-o", str(tmp_path / "other"), "--steps", "3", "--planes", "2"]
    assert main(["onnx", str(tmp_path / "run"), *other]) == 0
    found = []
    for folder in (tiny_bundle, tmp_path / "other"):
        sampler = json.loads((folder / "bundle.json").read_text())["sampler"]
        found.append((sampler["steps"], sampler["planes"]))
    assert found == [(TINY.steps, TINY.planes), (3, 2)]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"quick": True, "steps": None}, "whole heads"),
        ({"quick": False, "steps": 4}, "--steps 4"),
    ],
)
def test_what_is_measured_otherwise_is_not_the_bundles_own(settings, words):
    report = {"provenance": {"settings": settings}, "scores": []}
    with pytest.raises(ValueError, match=words):
        metrics_of(report)


def save_report(path, **bundle):
    """A report of a bundle: that of `TINY`'s steps and planes, but for what is given."""
    place = {"subject": "sharp", "condition": "x2, 1 % noise"}
    rows = [
        {**place, "method": method, "masks": {"brain": {"psnr": psnr, "ssim": 0.9}}}
        for method, psnr in (("moediff-rt", 33.0), ("cubic B-spline", 30.0))
    ]
    source = {
        "bundle": {"name": "tiny", "steps": TINY.steps, "planes": TINY.planes, **bundle},
        "settings": {"quick": False, "steps": None},
    }
    path.write_text(json.dumps({"provenance": source, "scores": rows}))
    return path


def test_a_report_gives_the_bundle_that_it_is_of_its_metrics(tiny_model, tiny_bundle, tmp_path):
    run = save_run(tiny_model, tmp_path / "run")
    report = save_report(tmp_path / "report.json", modules_sha256=modules_sha256(tiny_bundle))
    bundle = tmp_path / "bundle"
    assert main(["onnx", str(run), "-o", str(bundle), "--report", str(report)]) == 0
    (metrics,) = json.loads((bundle / "bundle.json").read_text())["metrics"]
    assert metrics["psnr_model"] == 33 and metrics["psnr_spline"] == 30


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"modules_sha256": "0" * 64}, "found one of tiny, modules_sha256 0000"),
        ({"steps": 7}, f"steps {TINY.steps}, found one of tiny, steps 7"),
        ({"planes": 2}, f"planes {TINY.planes}, found one of tiny, planes 2"),
    ],
)
def test_a_report_of_another_bundle_is_refused(tiny_bundle, tmp_path, other, words):
    own = {"modules_sha256": modules_sha256(tiny_bundle)}
    report = json.loads(save_report(tmp_path / "report.json", **own | other).read_text())
    with pytest.raises(ValueError, match=words):
        check_measured(report, tiny_bundle, TINY)


def test_a_bundle_stays_where_the_report_is_anothers(
    tiny_model, tiny_bundle, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(
        "moediff_export.bundle.export_module",
        lambda item, path: shutil.copy(tiny_bundle / path.name, path),
    )
    run = save_run(tiny_model, tmp_path / "run")
    report = save_report(tmp_path / "report.json", modules_sha256="0" * 64)
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    shutil.copy(tiny_bundle / "bundle.json", bundle)
    command = ["onnx", str(run), "-o", str(bundle), "--report", str(report), "--overwrite"]
    assert main(command) == 2 and "evaluate this bundle" in capsys.readouterr().err
    assert [path.name for path in bundle.iterdir()] == ["bundle.json"]


def test_the_reference_is_read_back_from_the_bundle(tiny_model, tiny_bundle):
    again = load_reference(tiny_bundle)
    assert again.config == tiny_model.config
    for name, parameter in tiny_model.named_parameters():
        assert torch.equal(parameter, again.get_parameter(name)), name


def test_the_reference_has_the_tiles_of_its_bundle(tiny_bundle, tmp_path):
    shutil.copytree(tiny_bundle, tmp_path / "older")
    values = json.loads((tmp_path / "older/bundle.json").read_text())
    values["tile"]["pitch"] = {"height": 32, "width": 32}
    (tmp_path / "older/bundle.json").write_text(json.dumps(values))
    assert load_reference(tmp_path / "older").config.tile_pitch == 32
    assert load_reference(tiny_bundle).config == TINY


def test_only_a_bundle_is_overwritten(tiny_model, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "scan.nii").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="something else"):
        write_bundle(tiny_model, tmp_path / "data", card(), overwrite=True)
    assert (tmp_path / "data" / "scan.nii").read_bytes() == b"precious"


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 truncated"])
def test_a_damaged_checkpoint_is_one_line_and_exit_2(tmp_path, capsys, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    assert main(["onnx", str(tmp_path / "checkpoint.pt"), "-o", str(tmp_path / "b")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "b").exists()
