"""The command: what it writes, what it says, how it ends."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cli_scan import SHAPE
from tiny_bundle import make_bundle

import moediff_rt
from moediff_rt import cli
from moediff_rt.cli_infer import default_output, output_paths
from moediff_rt.io import load_scan


@pytest.fixture
def infer(tiny_bundle):
    def run(*args: object) -> int:
        return cli.main(["infer", *map(str, args), "--bundle", str(tiny_bundle), "--threads", "1"])

    return run


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x_T1w.nii.gz", "x_desc-moediffsr_T1w.nii.gz"),
        ("x_T1w.nii", "x_desc-moediffsr_T1w.nii.gz"),
        ("scan.nii", "scan_desc-moediffsr_T1w.nii.gz"),
        ("scan.nii.gz", "scan_desc-moediffsr_T1w.nii.gz"),
        ("x_T2w.nii.gz", "x_desc-moediffsr_T2w.nii.gz"),
        ("x_desc-preproc_T1w.nii.gz", "x_desc-moediffsr_T1w.nii.gz"),
        ("a.b.nii.gz", "a.b_desc-moediffsr_T1w.nii.gz"),
    ],
)
def test_the_default_output_is_named_as_bids_derivatives_are(name, expected):
    assert default_output(Path("/data") / name) == Path("/data") / expected


THIN = {"MRAcquisitionType": "2D", "SliceThickness": 2.4}


@pytest.mark.parametrize(
    ("options", "beside", "acquisition", "thickness", "profile"),
    [
        ([], None, None, None, 0),
        ([], {"MRAcquisitionType": "2D"}, "2D", None, 1),
        ([], THIN, "2D", 2.4, 0.8),
        (["--acquisition", "2D"], None, "2D", None, 1),
        (["--acquisition", "2D"], THIN, "2D", 2.4, 0.8),
        (["--acquisition", "2D"], THIN | {"MRAcquisitionType": "3D"}, "2D", None, 1),
        (["--acquisition", "3D"], THIN, "3D", None, 0),
        (["--slice-thickness", 2.4], THIN | {"SliceThickness": 3}, "2D", 2.4, 0.8),
        (["--acquisition", "2D", "--slice-thickness", 2.4], None, "2D", 2.4, 0.8),
    ],
)
def test_the_caller_or_the_sidecar_says_how_a_scan_was_acquired(
    scan, infer, tmp_path, options, beside, acquisition, thickness, profile
):
    thick = tmp_path / "thick_T1w.nii.gz"
    image = nib.load(scan)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), np.diag([1, 1, 3, 1])), thick)
    if beside:
        thick.with_name("thick_T1w.json").write_text(json.dumps(beside))
    assert infer(thick, *options) == 0
    record = json.loads((tmp_path / "thick_desc-moediffsr_T1w.json").read_text())
    assert record["Settings"]["Acquisition"] == acquisition
    assert record["Settings"]["SliceThickness"] == thickness
    assert record["SliceProfile"] == pytest.approx(profile)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--slice-thickness", 2], "got it of a scan that does not say so; slices that were"),
        (["--acquisition", "3D", "--slice-thickness", 2], "got it of 3D"),
        (["--acquisition", "2D", "--slice-thickness", -2], "in mm above 0, got -2.0"),
        (["--acquisition", "2D", "--slice-thickness", "nan"], "in mm above 0, got nan"),
        (["--acquisition", "2D", "--slice-thickness", 2], "got voxels of 2 x 2 x 2 mm"),
        (["--acquisition", "2D", "--slice-thickness", 0.2], "(2.0 mm), got 0.2 mm"),
        (["--acquisition", "4D"], "expected 2D or 3D for acquisition, got '4D'"),
    ],
)
def test_an_acquisition_that_cannot_be_is_one_line(scan, infer, capsys, options, words):
    assert infer(scan, *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_infer_writes_a_scan_and_its_record(scan, infer, tiny_bundle, capsys):
    assert infer(scan, "--seed", 5, "--steps", 1) == 0
    output = scan.with_name("sub-01_desc-moediffsr_T1w.nii.gz")
    assert capsys.readouterr().out.split() == [
        str(output),
        str(output.with_name("sub-01_desc-moediffsr_T1w.json")),
    ]
    image = nib.load(output)
    assert image.shape == tuple(2 * n for n in SHAPE)
    assert image.get_data_dtype() == np.int16
    record = json.loads((scan.parent / "sub-01_desc-moediffsr_T1w.json").read_text())
    assert record["Settings"]["Seed"] == 5 and record["Settings"]["Steps"] == 1
    assert record["Sources"] == [
        {"Name": scan.name, "SHA256": hashlib.sha256(scan.read_bytes()).hexdigest()}
    ]
    manifest = (Path(tiny_bundle) / "bundle.json").read_bytes()
    assert record["Bundle"]["SHA256"] == hashlib.sha256(manifest).hexdigest()
    assert record["GeneratedBy"] == [{"Name": "moediff-rt", "Version": moediff_rt.__version__}]
    assert "not a medical device" in record["Notice"]
    assert str(scan.parent) not in json.dumps(record), "no path travels with the result"


def test_infer_averages_samples_and_writes_how_far_they_differ(scan, infer, tiny_bundle):
    assert infer(scan, "--samples", 3, "--seed", 5, "-q", "--no-data-consistency") == 0
    mean = nib.load(scan.with_name("sub-01_desc-moediffsr_T1w.nii.gz"))
    spread = nib.load(scan.with_name("sub-01_desc-uncertainty_T1w.nii.gz"))
    record = json.loads(scan.with_name("sub-01_desc-moediffsr_T1w.json").read_text())
    assert record["Settings"]["Samples"] == 3
    session = moediff_rt.Session(tiny_bundle, threads=1)
    found, one = (
        session.infer_scan(load_scan(scan), seed=5, samples=samples, data_consistency=False)
        for samples in (3, 1)
    )
    np.testing.assert_array_equal(mean.get_fdata(), found.image.get_fdata())
    assert np.abs(mean.get_fdata() - one.image.get_fdata()).max() > 5
    assert spread.get_data_dtype() == np.float32 and spread.get_fdata().max() > 5
    np.testing.assert_array_equal(spread.get_fdata(), found.deviation.get_fdata())


def test_infer_refuses_an_absurd_number_of_samples(scan, infer, capsys):
    for samples in (0, -3, 10**6):
        assert infer(scan, "--samples", samples) == 2
        assert f"samples, got {samples}" in capsys.readouterr().err


def test_infer_averages_planes_and_says_so(scan, infer):
    result = scan.with_name("sub-01_desc-moediffsr_T1w.nii.gz")
    found = {}
    for planes in (1, 2, 3):
        assert infer(scan, "--planes", planes, "-q", "--overwrite") == 0
        record = json.loads(scan.with_name("sub-01_desc-moediffsr_T1w.json").read_text())
        assert record["Settings"]["Planes"] == ["axial", "coronal", "sagittal"][:planes]
        found[planes] = nib.load(result).get_fdata()
    assert np.abs(found[2] - found[1]).max() > 5 and np.abs(found[3] - found[2]).max() > 5
    assert infer(scan, "-q", "--overwrite") == 0
    np.testing.assert_array_equal(nib.load(result).get_fdata(), found[1])


def test_infer_refuses_a_fourth_plane(scan, infer, capsys):
    for planes in (0, 4):
        assert infer(scan, "--planes", planes) == 2
        assert f"from 1 to 3 planes, got {planes}" in capsys.readouterr().err


def test_infer_writes_gates_and_a_figure_when_asked(scan, infer, tmp_path):
    assert infer(scan, "--save-gates", "--figure", tmp_path / "look.png", "-q") == 0
    gates = nib.load(scan.with_name("sub-01_desc-gates_probseg.nii.gz"))
    assert gates.get_data_dtype() == np.uint8
    assert gates.shape[:3] == tuple(2 * n for n in SHAPE)
    total = gates.get_fdata()[28, 30, 20].sum()
    assert total == pytest.approx(1, abs=0.02)
    record = json.loads((scan.parent / "sub-01_desc-moediffsr_T1w.json").read_text())
    assert record["Experts"] == ["a", "b", "c"], "in the order of the gate image's volumes"
    from PIL import Image

    with Image.open(tmp_path / "look.png") as picture:
        assert picture.format == "PNG"


def test_json_is_one_object_on_stdout(scan, infer, capsys):
    assert infer(scan, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["output"] == str(scan.with_name("sub-01_desc-moediffsr_T1w.nii.gz"))
    assert said["provenance"]["InputShape"] == list(SHAPE)


def test_progress_is_plain_lines_off_a_terminal_and_nothing_when_quiet(scan, infer, capsys):
    assert infer(scan) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("100 %")
    assert infer(scan, "-q", "--overwrite") == 0
    assert capsys.readouterr() == ("", "")


def test_the_same_command_gives_the_same_bytes(scan, infer, tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        assert infer(scan, "-q", "-o", tmp_path / name, "--precision", "fp32") == 0
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_outputs_are_not_overwritten_unless_asked(scan, infer, capsys):
    assert infer(scan, "-q") == 0
    output = scan.with_name("sub-01_desc-moediffsr_T1w.nii.gz")
    output.write_bytes(b"mine")
    assert infer(scan, "-q") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert output.read_bytes() == b"mine"
    assert infer(scan, "-q", "--overwrite") == 0
    assert nib.load(output).shape == tuple(2 * n for n in SHAPE)


def test_the_input_is_never_the_output(scan):
    with pytest.raises(moediff_rt.InputError, match="never replaced"):
        output_paths(scan, str(scan), save_gates=False, save_deviation=False, figure=None)


def test_an_unexpected_error_is_one_line_and_a_hint(scan, infer, capsys, monkeypatch):
    def broken(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("a bug\nof ours")

    monkeypatch.setattr("moediff_rt.session.choose_output_shape", broken)
    assert infer(scan) == 1
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "moediff-rt infer: unexpected RuntimeError: a bug of ours; -v shows the traceback"
    ]
    assert infer(scan, "-v") == 1
    assert "Traceback" in capsys.readouterr().err
    assert os.listdir(scan.parent) == [scan.name]


@pytest.mark.parametrize("where", ["session.Enhanced", "cli_infer.write_whole"])
def test_an_interrupt_leaves_nothing(scan, infer, capsys, monkeypatch, where):
    def interrupted(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"moediff_rt.{where}", interrupted)
    assert infer(scan, "-q") == 130
    assert capsys.readouterr().err == "moediff-rt infer: interrupted; nothing was written\n"
    assert os.listdir(scan.parent) == [scan.name]


def test_an_interrupt_while_the_command_is_imported_is_one_line(tmp_path):
    program = (
        "import runpy, sys\n"
        "class Interrupted:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'moediff_rt.cli': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted)\n"
        "runpy.run_module('moediff_rt', run_name='__main__')"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (130, b"moediff-rt: interrupted\n")


@pytest.mark.parametrize(
    ("sent", "code", "words"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "SIGTERM"),
        (signal.SIGHUP, 129, "SIGHUP"),
    ],
)
def test_a_signal_stops_a_running_command_and_nothing_is_left(tmp_path, sent, code, words):
    bundle = make_bundle(tmp_path / "slow", expert_layers=12)
    data = np.zeros((64, 64, 64), np.int16)
    data[8:56, 8:56, 8:56] = 700 + np.random.default_rng(0).integers(0, 99, (48, 48, 48))
    folder = tmp_path / "scans"
    folder.mkdir()
    nib.save(nib.Nifti1Image(data, np.eye(4)), folder / "scan.nii.gz")
    command = [sys.executable, "-m", "moediff_rt", "infer", str(folder / "scan.nii.gz")]
    command += ["--bundle", str(bundle), "--threads", "1", "--steps", "20"]
    environment = os.environ | {"MOEDIFF_RT_CACHE": str(tmp_path.parent / "cache")}
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=tmp_path,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "%" in first, first
        process.send_signal(sent)
        said = process.stderr.read()
        ended = process.wait(timeout=30)
    assert ended == code, said
    assert words in said
    assert os.listdir(folder) == ["scan.nii.gz"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_writing_leaves_nothing(scan, infer, monkeypatch, sent):
    from moediff_rt import atomic

    real = os.fsync

    def fsync(handle: int) -> None:
        real(handle)
        assert signal.getsignal(sent) is not signal.SIG_DFL, "it would end the tests, too"
        os.kill(os.getpid(), sent)

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    assert infer(scan, "-q") == 128 + sent
    assert os.listdir(scan.parent) == [scan.name]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_build_engines_prints_a_table_and_finds_its_cache(tiny_bundle, tmp_path, capsys):
    command = ["build-engines", "--bundle", str(tiny_bundle), "-o", str(tmp_path / "engines")]
    assert cli.main(command) == 0
    first = capsys.readouterr()
    assert "expert_0" in first.out and "built" in first.out
    assert "[7/7]" in first.err
    assert cli.main(command) == 0
    assert "built" not in capsys.readouterr().out
    assert cli.main([*command, "--force"]) == 0
    assert "built" in capsys.readouterr().out


def test_engines_are_not_built_where_they_cannot_be_kept(tiny_bundle, tmp_path, capsys):
    (tmp_path / "file").touch()
    command = ["build-engines", "--bundle", str(tiny_bundle), "-o", str(tmp_path / "file")]
    assert cli.main(command) == 2
    said = capsys.readouterr()
    assert "expected a folder for the engines" in said.err and not said.out


def test_importing_the_package_loads_nothing_heavy():
    program = (
        "import sys, moediff_rt, moediff_rt.cli; moediff_rt.cli._get_parser();"
        "print(sorted({'numpy', 'scipy', 'nibabel', 'torch'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_a_whole_run_never_imports_torch(scan, tiny_bundle):
    program = (
        "import sys; from moediff_rt.cli import main; code = main(sys.argv[1:]);"
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    subprocess.run(
        [sys.executable, "-c", program, "infer", str(scan), "-q", "--bundle", str(tiny_bundle)],
        check=True,
        cwd=scan.parent,
    )
