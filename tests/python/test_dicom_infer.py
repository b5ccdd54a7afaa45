"""`moediff-rt infer` on DICOM: what it writes, what it replaces, and what it keeps to itself."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import dicom_series as made
import nibabel as nib
import numpy as np
import pytest

from moediff_rt import cli, cli_infer_dicom, dicom
from moediff_rt.cli_infer_dicom import default_folder

pytest.importorskip("pydicom", reason="pydicom is not installed: pip install '.[dicom]'")


@pytest.fixture
def infer(tiny_bundle, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MOEDIFF_RT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))

    def run(*args: object) -> int:
        options = ["--bundle", str(tiny_bundle), "--threads", "1"]
        return cli.main(["infer", *map(str, args), *options])

    return run


def test_infer_writes_a_folder_its_record_and_maps(tmp_path, infer, capsys):
    source = made.save(tmp_path / "t1", made.classic(), shuffled=True)
    picture = tmp_path / "look.png"
    assert infer(source, "--save-gates", "--samples", 2, "--figure", picture, "--seed", 5) == 0
    out = default_folder(source)
    assert capsys.readouterr().out.split() == [
        str(out),
        str(tmp_path / "t1_desc-moediffsr.json"),
        str(tmp_path / "t1_desc-moediffsr_gates.nii.gz"),
        str(tmp_path / "t1_desc-moediffsr_uncertainty.nii.gz"),
        str(picture),
    ]
    assert len(os.listdir(out)) == 52 and len(os.listdir(tmp_path)) == 6
    record = json.loads((tmp_path / "t1_desc-moediffsr.json").read_text())
    assert record["Settings"]["Seed"] == 5 and record["InputShape"] == [28, 30, 26]
    assert record["Dicom"]["Instances"] == 52
    assert str(tmp_path) not in json.dumps(record)
    grid = dicom.load_series(source).scan.grid.resized((56, 60, 52))
    for name, shape in (("gates", (56, 60, 52, 3)), ("uncertainty", (56, 60, 52))):
        image = nib.load(tmp_path / f"t1_desc-moediffsr_{name}.nii.gz")
        assert image.shape == shape
        np.testing.assert_allclose(image.affine, grid.affine, atol=1e-4)


@pytest.mark.parametrize("named", ["folder", "file"])
def test_the_result_of_a_link_lies_beside_the_link(tmp_path, infer, named):
    folder = made.save(tmp_path / "archive" / "t1", made.enhanced())
    source = tmp_path / "links" / "s"
    source.parent.mkdir()
    source.symlink_to(folder if named == "folder" else folder / "0001.dcm")
    assert infer(source, "-q") == 0
    assert sorted(os.listdir(source.parent)) == ["s", "s_desc-moediffsr", "s_desc-moediffsr.json"]
    assert sorted((tmp_path / "archive").rglob("*")) == [folder, folder / "0001.dcm"]


def test_no_result_goes_through_a_link_into_the_input(tmp_path, infer, capsys):
    folder = made.save(tmp_path / "t1", made.enhanced())
    inside, outside = folder / "inside", tmp_path / "outside"
    inside.symlink_to(folder)
    outside.symlink_to(folder)
    for options in ([inside], [outside, "-o", folder / "out"], [folder, "-o", outside / "out"]):
        assert infer(*options, "-q") == 2
        assert "never replaced nor added to" in capsys.readouterr().err
    assert sorted(os.listdir(folder)) == ["0001.dcm", "inside"]


@pytest.mark.parametrize("named", [".", "deeper/.."])
def test_a_folder_without_a_name_of_its_own_is_called_as_it_is(tmp_path, monkeypatch, named):
    (tmp_path / "t1" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "t1")
    assert default_folder(Path(named)) == tmp_path / "t1_desc-moediffsr"


@pytest.mark.parametrize("named", ["folder", "file", "dot"])
def test_the_record_names_the_source_by_its_uid_alone(tmp_path, infer, monkeypatch, named):
    folder = tmp_path / "DOE^JOHN_19700101"
    source = made.save(folder, made.enhanced())
    if named == "file":
        source = (folder / "0001.dcm").rename(folder / "DOE^JOHN.dcm")
    if named == "dot":
        monkeypatch.chdir(source)
    assert infer("." if named == "dot" else source, "-q", "-o", tmp_path / "out") == 0
    record = json.loads((tmp_path / "out.json").read_text())
    (said,) = record["Sources"]
    assert list(said) == ["SHA256"] and len(said["SHA256"]) == 64
    assert record["Dicom"]["SourceSeriesInstanceUID"] == made.enhanced().SeriesInstanceUID
    assert "DOE" not in json.dumps(record)


def test_an_output_that_exists_is_replaced_only_when_asked(tmp_path, infer, capsys):
    source = made.save(tmp_path / "in", made.classic())
    out = tmp_path / "out"
    out.mkdir()
    assert infer(source, "-q", "-o", out) == 0, "an empty folder is as good as none"
    first = made.read(out)[0].SeriesInstanceUID
    assert infer(source, "-q", "-o", out, "--seed", 3) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert made.read(out)[0].SeriesInstanceUID == first
    assert infer(source, "-q", "-o", out, "--seed", 3, "--overwrite") == 0
    assert made.read(out)[0].SeriesInstanceUID != first
    (out / "thesis.tex").write_text("mine")
    assert infer(source, "-q", "-o", out, "--overwrite") == 2
    assert "found thesis.tex" in capsys.readouterr().err
    assert len(os.listdir(out)) == 53


@pytest.mark.parametrize("during", ["run_scan", "write_whole"])
def test_what_comes_into_a_result_s_folder_during_the_run_is_kept(
    tmp_path, infer, monkeypatch, capsys, during
):
    source, out = made.save(tmp_path / "in", made.classic()), tmp_path / "out"
    assert infer(source, "-q", "-o", out) == 0
    before = sorted(path.read_bytes() for path in out.iterdir())
    real = getattr(cli_infer_dicom, during)

    def late(*args, **options):
        (out / "notes.txt").write_text("mine")
        return real(*args, **options)

    monkeypatch.setattr(cli_infer_dicom, during, late)
    assert infer(source, "-q", "-o", out, "--seed", 3, "--overwrite") == 2
    assert "found notes.txt" in capsys.readouterr().err
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").unlink()
    assert sorted(path.read_bytes() for path in out.iterdir()) == before
    assert sorted(os.listdir(tmp_path)) == ["in", "out", "out.json"]


def test_a_folder_of_scans_is_none_of_an_earlier_result(tmp_path, infer, capsys):
    source, out = made.save(tmp_path / "in", made.classic()), tmp_path / "out"
    assert infer(source, "-q", "-o", out) == 0
    made.classic()[0].save_as(out / "00099.dcm")
    (out / "00100.dcm").write_text("no image")
    for name in ("00099.dcm", "00100.dcm"):
        assert infer(source, "-q", "-o", out, "--overwrite") == 2
        assert f"found {name}" in capsys.readouterr().err
        (out / name).unlink()
    assert infer(source, "-q", "-o", out, "--overwrite") == 0


@pytest.mark.parametrize("call", [1, 20, 53])
def test_a_signal_while_writing_leaves_nothing(tmp_path, infer, monkeypatch, call):
    from moediff_rt import atomic

    source = made.save(tmp_path / "in", made.classic())
    real, calls = os.fsync, 0

    def fsync(handle: int) -> None:
        nonlocal calls
        calls += 1
        real(handle)
        if calls == call:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    assert infer(source, "-q", "-o", tmp_path / "out") == 128 + signal.SIGTERM
    assert os.listdir(tmp_path) == ["in"]


def test_the_result_is_no_scan_to_enhance_again(tmp_path, infer, capsys):
    source = made.save(tmp_path / "in" / "t1", made.classic())
    assert infer(source, "-q") == 0
    (result,) = {image.SeriesInstanceUID for image in made.read(default_folder(source))}
    assert infer(tmp_path / "in", "-q", "-o", tmp_path / "out") == 0, "the scan is the only choice"
    for options in (
        [tmp_path / "out"],
        [tmp_path / "in", "-o", tmp_path / "no", "--series", result],
    ):
        assert infer(*options, "-q") == 2
        assert "a result of moediff-rt" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["in", "out", "out.json"]


def test_nothing_of_the_patient_is_said(tmp_path, infer, capfd):
    images = made.classic()
    for image in images:
        image.StudyTime = "not a time"  # pydicom warns of it, with the value
    source = made.save(tmp_path / "in", images)
    capfd.readouterr()
    assert infer(source, "-v") == 0
    said = capfd.readouterr()
    assert "ller" not in said.err + said.out and "not a time" not in said.err
