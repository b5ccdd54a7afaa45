"""One call makes the whole report, from a bundle, on a slab."""

import argparse
import json
import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch
from moediff_export.cli import main
from moediff_export.config import EXPERT_NAMES
from moediff_export.data.held_out import load_subject, simulate_scan
from moediff_export.evaluation import claims, run
from moediff_export.evaluation.command import add_arguments, named_checkpoint
from moediff_export.evaluation.compare import simulated
from moediff_export.evaluation.conditions import CONDITIONS, conditions_of
from moediff_export.evaluation.consistency import scan_residual
from moediff_export.evaluation.experts import gates_by_region, one_expert
from moediff_export.evaluation.markdown import to_markdown
from moediff_export.evaluation.methods import (
    CUBIC,
    NON_LOCAL_MEANS,
    ONE_PLANE,
    OURS,
    bundle_method,
    checkpoint_methods,
    enhance_with_model,
    interpolation_methods,
    read_scan,
)
from moediff_export.evaluation.provenance import sha256
from moediff_export.evaluation.report import check_report, rounded
from moediff_export.training.checkpoint import write_checkpoint

from moediff_rt import Acquisition, Session
from moediff_rt.errors import OutputError


@pytest.fixture(scope="module")
def slab():
    return load_subject("mni152").slab(96, 112)


@pytest.fixture(scope="module")
def report(tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "SLICES", 16)  # as thin as it can be
        results = run.evaluate(
            tiny_bundle, folder, ("mni152",), CONDITIONS[:1], quick=True, threads=1
        )
    return folder, results


@pytest.fixture(scope="module")
def session(tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines")
    with Session(tiny_bundle, precision="fp32", threads=1, engines_dir=folder) as session:
        yield session


def test_the_json_holds_every_table(report):
    folder, results = report
    values = json.loads((folder / "report.json").read_text())
    assert {row["method"] for row in values["scores"]} == {
        "trilinear", CUBIC, "zero-filling", "non-local means", OURS,
    }  # fmt: skip
    for row in values["scores"]:
        assert set(row["masks"]) == {"head", "brain", "inner_brain", *EXPERT_NAMES}
        assert all(np.isfinite(list(m.values())).all() for m in row["masks"].values())
    assert [row["steps"] for row in values["steps"]] == [1, 2, 4]
    gates = values["gates"][0]
    assert np.allclose(np.sum(gates["mean"], axis=1), 1, atol=0.02)
    assert list(gates["psnr"]) == ["mixture", *EXPERT_NAMES] and gates["slices"] == 12
    assert np.isfinite(list(gates["psnr"].values())).all()
    assert {"truth", claims.SCAN_RESOLUTION, CUBIC, OURS} <= {
        row["method"] for row in values["lesions"]
    }
    assert len(values["claims"]) == len(results["claims"]) > 0


def test_the_json_says_where_it_comes_from(report, tiny_bundle):
    source = json.loads((report[0] / "report.json").read_text())["provenance"]
    assert len(source["bundle"]["sha256"]) == 64
    listed = "sha256sum *.onnx | sha256sum"
    found = subprocess.run(listed, shell=True, cwd=tiny_bundle, capture_output=True, check=True)
    assert found.stdout.decode().split()[0] == source["bundle"]["modules_sha256"]
    assert source["settings"]["quick"] and source["settings"]["seed"] == 0
    assert source["versions"]["torch"] == torch.__version__
    assert source["command"] and source["date"] and source["machine"]["cores"] >= 1


def test_the_page_needs_no_other_file(report):
    folder, _ = report
    text = (folder / "report.html").read_text()
    assert text.startswith("<!doctype html>") and text.rstrip().endswith("</html>")
    assert "http" not in text and "<script" not in text and 'src="data:image/png;base64,' in text
    assert "not figures to quote" in text
    listed = json.loads((folder / "report.json").read_text())["figures"]
    assert len(listed) == text.count("<img ")
    assert all((folder / f["file"]).read_bytes().startswith(b"\x89PNG") for f in listed)


def cells(table):
    return [line.strip("| ").split(" | ") for line in table.splitlines()]


def tables_of(text):
    """The head, and each table's cells by its heading."""
    head, *parts = text.split("\n## ")
    return head, {name: cells(table) for name, table in (part.split("\n\n", 1) for part in parts)}


def test_the_tables_are_markdown(report):
    folder, results = report
    head, tables = tables_of((folder / "report.md").read_text())
    assert "Bundle tiny" in head and "not figures to quote" in head
    assert not any(name.startswith("Against") for name in tables)
    peaks = tables["PSNR in the brain"]
    psnr = {row["method"]: row["masks"]["brain"]["psnr"] for row in results["scores"]}
    assert peaks[0][1:-1] == list(psnr)
    found = [float(cell.strip("*")) for cell in peaks[2][1:-1]]
    assert np.allclose(found, list(psnr.values()), atol=0.006)
    assert peaks[2][np.argmax(found) + 1].startswith("**")
    assert peaks[2][-1] == f"{psnr[OURS] - psnr[CUBIC]:+.2f} dB"
    assert [row[1] for row in tables["Other measures, and PSNR by region"][2:]] == list(psnr)
    expected = [list(row) for row in zip(*results["gates"][0]["psnr"].values(), strict=True)]
    found = [[float(cell) for cell in row[2:]] for row in tables["Each expert alone"][2:]]
    assert np.allclose(found, expected, atol=0.006)
    lesions = tables["Lesions"][2:]
    assert [row[1] for row in lesions] == [row["method"] for row in results["lesions"]]
    kept = [row["relative_contrast_small"] for row in results["lesions"]]
    assert np.allclose([float(row[3]) for row in lesions], kept, atol=6e-4, equal_nan=True)
    # Bars within a cell, those of a norm, are no borders.
    asked = tables["What was asked"]
    assert len(asked) == 2 + len(results["claims"]) and {len(row) for row in asked[2:]} == {4}


def test_trained_models_have_a_table_of_their_own(report):
    _, results = report
    ours = next(row for row in results["scores"] if row["method"] == OURS)
    masks = {name: {**m, "psnr": m["psnr"] - 0.25} for name, m in ours["masks"].items()}
    results = {
        **results,
        "scores": [*results["scores"], {**ours, "method": "other", "masks": masks}],
        "provenance": {**results["provenance"], "comparators": {"other": {}}},
        "gates": [],
        "lesions": [],
    }
    _, tables = tables_of(to_markdown(results))
    assert "other" not in tables["PSNR in the brain"][0]
    row = tables["Against other"][2]
    assert float(row[1]) - float(row[2]) == pytest.approx(0.25, abs=0.011)
    assert row[3:] == ["+0.25"] * 4
    assert "Each expert alone" not in tables and "Lesions" not in tables


def test_the_result_keeps_to_the_scan(report, session):
    _, results = report
    ours = next(row for row in results["consistency"] if row["method"] == OURS)
    scanned = simulated(load_subject("mni152").middle(16), CONDITIONS[0], 0)
    scan = read_scan(scanned.scan)
    result = session.enhance(scan, 2.0, output_spacing=1.0)

    def left(volume):
        return scan_residual(scanned.see(volume), scan, scanned.sigma)["rms"]

    assert left(result) <= 1
    # An image is a magnitude: what this untrained model rings below zero it lacks.
    assert ours["rms"] == pytest.approx(left(np.maximum(result, 0)), rel=0.01)


def test_a_report_is_not_overwritten_unasked(report, tiny_bundle):
    with pytest.raises(OutputError, match="exists already"):
        run.evaluate(tiny_bundle, report[0], ("mni152",), CONDITIONS[:1], quick=True)


def test_a_figure_is_not_overwritten_unasked_either(report, tmp_path):
    figures = sorted(report[0].glob("*.png"))
    assert len(figures) > 2
    for figure in figures:
        folder = tmp_path / figure.stem
        folder.mkdir()
        (folder / figure.name).write_bytes(b"another's")
        with pytest.raises(OutputError, match=f"{figure.name} exists already"):
            check_report(folder, overwrite=False)
        check_report(folder, overwrite=True)


@pytest.mark.parametrize(
    "name",
    [
        OURS,
        ONE_PLANE,
        CUBIC,
        "trilinear",
        "Zero-filling",
        NON_LOCAL_MEANS,
        "truth",
        claims.SCAN_RESOLUTION,
    ],
)
def test_a_comparator_does_not_take_the_name_of_another_method(tiny_bundle, tmp_path, name):
    with pytest.raises(ValueError, match=f"a name of its own, got {re.escape(repr(name))}"):
        run.evaluate(tiny_bundle, tmp_path / "report", comparators={name: tmp_path / "run"})


@pytest.mark.parametrize("condition", CONDITIONS[1:], ids=lambda c: c.name)
def test_every_method_gives_the_truths_grid(session, condition):
    thin = load_subject("mni152").slab(96, 120 if condition.plane == "coronal" else 112)
    scan = simulate_scan(thin, condition.noise_percent, condition.factors)
    for method in [*interpolation_methods()[:3], bundle_method(session)]:
        volume = method.upsample(scan, thin.grid, None)
        assert volume.shape == thin.truth.shape and volume.dtype == np.float32


@pytest.mark.parametrize("planes", [1, 3])
def test_a_model_in_pytorch_gives_what_its_bundle_gives(
    session, tiny_model, slab, monkeypatch, planes
):
    monkeypatch.setattr(tiny_model, "config", replace(tiny_model.config, planes=planes))
    scan = simulate_scan(slab, 1.0)
    deployed = bundle_method(session, seed=5, planes=planes).upsample(scan, slab.grid, None)
    reference = enhance_with_model(tiny_model, scan, slab.grid, seed=5)
    assert np.abs(deployed - reference).max() <= 1e-3 * reference.max()


def test_what_is_known_of_an_acquisition_reaches_every_way_that_asks(session, tiny_model, slab):
    scan = simulate_scan(slab, 1.0, (1.0, 1.0, 2.0))
    gaps = Acquisition("2D", slice_thickness=1.0)
    deployed, non_local_means = bundle_method(session, seed=5), interpolation_methods()[3]
    for method in (deployed, non_local_means):
        known, unknown = (method.upsample(scan, slab.grid, said) for said in (gaps, None))
        assert np.abs(known - unknown).max() > 0.01 * known.max()
    reference = enhance_with_model(tiny_model, scan, slab.grid, gaps, seed=5)
    known = deployed.upsample(scan, slab.grid, gaps)
    assert np.abs(known - reference).max() <= 1e-3 * reference.max()


def test_a_checkpoint_is_a_method_of_its_own_name(tiny_model, slab, tmp_path):
    weights = {f"averaged/{name}": value for name, value in tiny_model.state_dict().items()}
    record = {"config": tiny_model.config.to_dict(), "steps": 1, "minutes": 0, "plan": {}}
    write_checkpoint(tmp_path / "run", weights, {**record, "machine": "here"})
    (method,) = checkpoint_methods({"single expert": tmp_path / "run"}, seed=5)
    assert method.name == claims.SINGLE_EXPERT
    scan = simulate_scan(slab, 1.0)
    expected = enhance_with_model(tiny_model, scan, slab.grid, seed=5)
    assert np.array_equal(method.upsample(scan, slab.grid, None), expected)
    fingerprint = sha256(tmp_path / "run")
    (tmp_path / "run" / "checkpoint.json").write_text("{}")
    assert len(fingerprint) == 64 and sha256(tmp_path / "run") != fingerprint


def test_one_expert_has_all_the_weight_within_the_block_alone(tiny_model):
    config = tiny_model.config
    tokens = torch.randn(2, config.gate_size, config.gate_size, config.token_dim)
    before = tiny_model.gate(tokens)
    with one_expert(tiny_model, 1):
        only = tiny_model.gate(tokens)
    assert (only[:, 1] == 1).all() and (only[:, [0, 2]] == 0).all()
    assert torch.equal(tiny_model.gate(tokens), before)


def test_gates_by_region_are_weighted_means():
    gates = np.zeros((2, 1, 1, 3), np.float32)
    gates[0, 0, 0], gates[1, 0, 0] = (1, 0, 0), (0, 0.5, 0.5)
    regions = np.array([1, 0, 0.5, 0.5, 1, 3], np.float32).reshape(3, 2, 1, 1)
    expected = [[1, 0, 0], [0.5, 0.25, 0.25], [0.25, 0.375, 0.375]]
    assert np.allclose(gates_by_region(gates, regions), expected)


def scores(psnr_ours, psnr_cubic, psnr_single):
    def row(method, psnr):
        masks = {
            name: {"psnr": psnr, "ssim": psnr / 100, "haarpsi": psnr / 100}
            for name in ("brain", "cortex", "junction")
        }
        return {"subject": "sharp", "condition": "x2, 1 % noise", "method": method, "masks": masks}

    return [row(OURS, psnr_ours), row(CUBIC, psnr_cubic), row(claims.SINGLE_EXPERT, psnr_single)]


@pytest.mark.parametrize(("ours", "met"), [(33.1, True), (32.9, False), (29.0, False)])
def test_a_claim_is_met_by_what_was_measured(ours, met):
    tables = {"gates": [], "lesions": [], "consistency": [], "steps": []}
    checked = claims.check_claims({"scores": scores(ours, 30.0, ours - 0.3), **tables})
    gain = next(c for c in checked if c.what.startswith("PSNR over cubic"))
    assert gain.met is met and gain.measured == f"{ours - 30:+.2f} dB"
    mixture = [c for c in checked if "single expert" in c.what]
    assert len(mixture) == 2 and all(c.met for c in mixture)


def lesion_row(method, contrast, false):
    each = [
        {"small": small, "relative_contrast": contrast + step}
        for small in (False, True)
        for step in (-0.1, 0.1)
    ]
    kinds = dict.fromkeys(("relative_contrast", "relative_contrast_small"), contrast)
    counts = dict.fromkeys(("false_lesions", "false_lesions_beside"), false)
    place = {"subject": "sharp", "condition": "x2, 1 % noise"}
    return {**place, "method": method, "each": each, **kinds, **counts}


@pytest.mark.parametrize("met", [True, False])
def test_each_kind_of_claim_may_be_met_or_not(met):
    sign = 1 if met else -1
    own, other = 0.4 + 0.2 * sign, 0.3 - 0.1 * sign
    mean = [[own if i == j else other for j in range(3)] for i in range(3)]
    scan = lesion_row(claims.SCAN_RESOLUTION, 0.7, 0)
    ours = lesion_row(OURS, 0.7 + 0.2 * sign, 2 - 2 * sign)
    results = {
        "scores": scores(40.0, 30.0, 40.0 - 0.3 * sign),
        "gates": [{"subject": "sharp", "mean": mean}],
        "lesions": [ours, lesion_row(CUBIC, 0.5, 1), scan],
        "consistency": [{"method": OURS, "rms": 1 - 0.5 * sign}],
        "steps": [
            {"steps": 1, "default": 1, "psnr": 40.0},
            {"steps": 50, "default": 1, "psnr": 40.1 - 0.2 * sign},
        ],
    }
    checked = [c for c in claims.check_claims(results) if "cubic, brain" not in c.what]
    checked = [c for c in checked if not c.what.startswith(("SSIM", "HaarPSI"))]
    assert len(checked) == 2 + 3 + 4 + 1 + 1
    assert {c.met for c in checked} == {met}, [c for c in checked if c.met != met]
    contrast = next(c for c in checked if c.what.startswith("lesion contrast"))
    assert f"{0.2 * sign:+.3f}, standard error 0.000" in contrast.measured


def test_blurred_subjects_are_scanned_once():
    assert conditions_of("sharp_blur04", CONDITIONS) == CONDITIONS[:1]
    assert conditions_of("sharp", CONDITIONS) == CONDITIONS


def test_json_numbers_are_short_and_finite():
    assert rounded({"a": [1.23456789, float("inf"), 3], "b": "x"}) == {
        "a": [1.2346, None, 3],
        "b": "x",
    }


def test_a_comparator_needs_a_name_and_a_file():
    assert named_checkpoint("single expert=runs/a=b.pt")[0] == "single expert"
    for text in ("runs/a.pt", "=a.pt", "name="):
        with pytest.raises(Exception, match="NAME=CHECKPOINT"):
            named_checkpoint(text)


def test_subjects_are_named_together_or_one_by_one():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(
        ["-o", "x", "--subject", "sharp", "--subject", "mni152", "sharp_blur04"]
    )
    assert args.subject == ["sharp", "mni152", "sharp_blur04"]


def test_the_command_refuses_a_folder_that_holds_no_bundle(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path), "-o", str(tmp_path / "report")]) == 2
    assert "moediff-export evaluate:" in capsys.readouterr().err
