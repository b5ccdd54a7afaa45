"""Wrong input ends with exit code 2, one line on stderr, and no output file."""

from __future__ import annotations

import builtins
import errno
import json
import os
import shutil

import nibabel as nib
import numpy as np
import pytest

from moediff_rt import cli


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MOEDIFF_RT_CACHE", str(tmp_path.parent / "cache"))
    data = np.random.default_rng(0).integers(200, 900, (16, 18, 20)).astype(np.int16)
    work = tmp_path / "work"
    work.mkdir()
    nib.save(nib.Nifti1Image(data, np.diag([2, 2, 2, 1])), work / "scan.nii.gz")
    return work


def refused(capsys, folder, *args: object) -> str:
    before = sorted(os.listdir(folder))
    try:
        code = cli.main(["infer", *map(str, args)])
    except SystemExit as stop:  # argparse
        code = stop.code
    said = capsys.readouterr()
    assert code == 2, said.err
    assert said.out == ""
    assert len(said.err.splitlines()) == 1, said.err
    assert said.err.startswith("moediff-rt")
    assert sorted(os.listdir(folder)) == before
    return said.err


def test_a_missing_scan(capsys, folder):
    assert "found nothing" in refused(capsys, folder, folder / "none.nii.gz")


def test_a_time_series(capsys, folder):
    nib.save(nib.Nifti1Image(np.ones((16, 18, 20, 5), np.int16), np.eye(4)), folder / "bold.nii")
    assert "(16, 18, 20, 5)" in refused(capsys, folder, folder / "bold.nii")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--spacing", "9"], "output spacing"),
        (["--spacing", "0"], "output spacing"),
        (["--spacing", "nan"], "output spacing"),
        (["--spacing", "wide"], "--spacing"),
        (["--steps", "0"], "steps"),
        (["--steps", "41"], "from 1 to 40 steps"),
        (["--steps", "41", "-v"], "from 1 to 40 steps"),
        (["--seed", "-1"], "seed"),
        (["--max-memory", "-1"], "--max-memory: expected from 0 (no limit) to 1,000,000 GB, got"),
        (["--max-memory", "8e9"], "got '8e9'; the unit is GB, not bytes"),
        (["--max-memory", "8GB"], "got '8GB'; the unit is GB"),
        (["--max-memory", "nan"], "got 'nan'; the unit is GB"),
        (["--threads", "-2"], "threads"),
        (["--threads", "99999999999"], "threads"),
        (["--backend", "abacus"], "abacus"),
        (["--device", "TOASTER"], "TOASTER"),
        (["--precision", "f3"], "f3"),
        (["-o", "result.mgz"], ".nii"),
        (["-o", "/nowhere/at/all.nii"], "folder"),
        (["--figure", "look.jpg"], ".png"),
        (["-q", "-v"], "not allowed"),
        (["--colour", "red"], "--colour"),
    ],
)
def test_a_wrong_option(capsys, folder, tiny_bundle, options, words):
    said = refused(capsys, folder, folder / "scan.nii.gz", "--bundle", tiny_bundle, *options)
    assert words in said


def test_an_output_that_is_the_input(capsys, folder, tiny_bundle):
    path = folder / "scan.nii.gz"
    options = ("-o", path, "--overwrite", "--bundle", tiny_bundle)
    assert "never replaced" in refused(capsys, folder, path, *options)


def test_an_output_whose_sidecar_is_the_input_s(capsys, folder, tiny_bundle):
    path = folder / "scan.nii.gz"
    (folder / "scan.json").write_text('{"MRAcquisitionType": "3D"}')
    options = ("-o", folder / "scan.nii", "--overwrite", "--bundle", tiny_bundle)
    assert "sidecar is not the input's" in refused(capsys, folder, path, *options)
    assert json.loads((folder / "scan.json").read_text()) == {"MRAcquisitionType": "3D"}


@pytest.mark.parametrize(
    "taken", ["scan_desc-moediffsr_T1w.nii.gz", "scan_desc-moediffsr_T1w.json"]
)
def test_an_output_that_exists(capsys, folder, tiny_bundle, taken):
    (folder / taken).write_text("mine")
    said = refused(capsys, folder, folder / "scan.nii.gz", "--bundle", tiny_bundle)
    assert "--overwrite" in said
    assert (folder / taken).read_text() == "mine"


def no_manifest(bundle):
    (bundle / "bundle.json").unlink()


def bad_json(bundle):
    (bundle / "bundle.json").write_text("{")


def unknown_version(bundle):
    manifest = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps(manifest | {"format_version": 99}))


def missing_module(bundle):
    (bundle / "decoder.onnx").unlink()


def changed_module(bundle):
    raw = bytearray((bundle / "gate.onnx").read_bytes())
    raw[len(raw) // 2] ^= 1
    (bundle / "gate.onnx").write_bytes(raw)


@pytest.mark.parametrize(
    "damage", [no_manifest, bad_json, unknown_version, missing_module, changed_module]
)
def test_a_damaged_bundle(capsys, folder, tiny_bundle, tmp_path, damage):
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    damage(bundle)
    refused(capsys, folder, folder / "scan.nii.gz", "--bundle", bundle)


def test_no_bundle(capsys, folder, tmp_path):
    said = refused(capsys, folder, folder / "scan.nii.gz", "--bundle", tmp_path / "none")
    assert "none" in said


@pytest.fixture
def closed(folder, monkeypatch):
    """A folder in which nobody may search, for root neither."""
    inside = folder / "closed"
    inside.mkdir()
    (inside / "scan.nii.gz").write_bytes((folder / "scan.nii.gz").read_bytes())
    stat = os.stat

    def refuse(path, **options):
        found = str(path)
        if os.path.islink(found):
            found = os.readlink(found)
        if found.startswith(f"{inside}/"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    return inside


def test_a_scan_in_a_folder_that_may_not_be_searched(capsys, folder, closed):
    for name in ("scan.nii.gz", "scan.dcm", "folder"):
        assert "permission" in refused(capsys, folder, closed / name)


def test_a_tree_with_a_link_into_such_a_folder(capsys, folder, closed):
    (folder / "tree").mkdir()
    (folder / "tree" / "0001.dcm").symlink_to(closed / "scan.nii.gz")
    said = refused(capsys, folder, folder / "tree")
    assert "Permission denied" in said and "0001.dcm" in said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.dcm", "expected a DICOM folder or file, found nothing at"),
        ("cut.DCM", "found 12 bytes in cut.DCM; it was probably cut short"),
        ("cut.ima", "found 12 bytes in cut.ima; it was probably cut short"),
        ("shut.dcm", "shut.dcm cannot be read: Permission denied"),
        ("shut", "shut cannot be read: Permission denied"),
    ],
)
def test_a_dicom_file_that_cannot_be_read_has_no_wrong_name(
    capsys, folder, monkeypatch, name, words
):
    path = folder / name
    if not name.startswith("none"):
        path.write_bytes(b"twelve bytes")
    real = builtins.open

    def refuse(file, *args, **options):
        if str(file) == str(path) and name.startswith("shut"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(file, *args, **options)

    monkeypatch.setattr(builtins, "open", refuse)
    said = refused(capsys, folder, path)
    assert words in said and "NIfTI" not in said


@pytest.mark.parametrize("ending", [".nii.gz", ".dcm", ""])
def test_a_name_too_long(capsys, folder, ending):
    assert "too long" in refused(capsys, folder, folder / f"{'a' * 300}{ending}")


@pytest.mark.parametrize("name", ["SMALL.NII", "small.NII.GZ"])
def test_an_ending_in_capitals_is_to_be_renamed(capsys, folder, name):
    shutil.copy(folder / "scan.nii.gz", folder / name)
    said = refused(capsys, folder, folder / name)
    assert "rename it with its ending in small letters" in said and "convert" not in said


def test_an_output_named_from_a_folder_that_was_removed(
    capsys, folder, tiny_bundle, tmp_path, monkeypatch
):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    options = ("-o", "result.nii.gz", "--bundle", tiny_bundle)
    said = refused(capsys, folder, folder / "scan.nii.gz", *options)
    assert "the folder this was started in is gone" in said


def test_an_output_that_is_a_link_to_itself(capsys, folder, tiny_bundle):
    (folder / "loop.nii").symlink_to("loop.nii")
    options = ("-o", folder / "loop.nii", "--bundle", tiny_bundle)
    assert "exists already" in refused(capsys, folder, folder / "scan.nii.gz", *options)


def test_a_bundle_or_a_cache_whose_path_is_not_utf8(
    capsys, folder, tiny_bundle, tmp_path, monkeypatch
):
    named = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(tiny_bundle, named)
    scan = folder / "scan.nii.gz"
    assert "a bundle folder whose path is UTF-8" in refused(capsys, folder, scan, "--bundle", named)
    monkeypatch.setenv("MOEDIFF_RT_CACHE", str(named))
    said = refused(capsys, folder, scan, "--bundle", tiny_bundle)
    assert "an engine folder (MOEDIFF_RT_CACHE) whose path is UTF-8" in said
    for backend in ("auto", "tensorrt"):
        command = ["build-engines", "--backend", backend, "--bundle", str(named)]
        assert cli.main([*command, "-o", str(tmp_path)]) == 2
        assert "a bundle folder whose path is UTF-8" in capsys.readouterr().err
        assert cli.main([*command[:-1], str(tiny_bundle), "-o", str(named)]) == 2
        assert "an engine folder (MOEDIFF_RT_CACHE) whose path is UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", ["-o", "--bundle", "--series", "--figure", "--gradients", "--backend", "--spacing"]
)
def test_an_option_that_is_empty_is_not_its_default(capsys, folder, tiny_bundle, option):
    options = ("--bundle", tiny_bundle, option, "")
    said = refused(capsys, folder, folder / "scan.nii.gz", *options)
    assert option in said and ("empty" in said or "invalid float" in said)


def test_an_empty_input_is_not_the_folder_one_is_in(capsys, folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert "argument INPUT: expected a value, got an empty one" in refused(capsys, folder, "")


@pytest.mark.parametrize(
    "command",
    [
        ["build-engines", "-o"],
        ["build-engines", "--target"],
        ["serve", "mrd", "--host"],
        ["serve", "dicom", "--send-to", "a:1:P", "--spool"],
        ["serve", "dicom", "--send-to", "a:1:P", "--accept-aet"],
    ],
    ids=" ".join,
)
def test_an_empty_option_of_another_command(capsys, command):
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, ""])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert command[-1] in line and "got an empty one" in line
