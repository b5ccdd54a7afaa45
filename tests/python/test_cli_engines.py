"""The command for engines: what it builds, what it says, what it refuses."""

from __future__ import annotations

import io
import json
import os
import sys
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from moediff_rt import InputError, Session, _core, cli
from moediff_rt.cli_build import BuildLog
from moediff_rt.errors import BackendError


@pytest.fixture
def scan(tmp_path, monkeypatch):
    monkeypatch.setenv("MOEDIFF_RT_CACHE", str(tmp_path.parent / "cache"))
    folder = tmp_path / "work"
    folder.mkdir()
    data = np.random.default_rng(0).integers(200, 900, (16, 18, 20)).astype(np.int16)
    nib.save(nib.Nifti1Image(data, np.diag([2, 2, 2, 1])), folder / "scan.nii.gz")
    return folder / "scan.nii.gz"


@pytest.fixture
def infer(tiny_bundle):
    def run(*args: object) -> int:
        return cli.main(["infer", *map(str, args), "--bundle", str(tiny_bundle), "--threads", "1"])

    return run


class Clock:
    """Seconds that pass when told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def build_log(stream) -> str:
    """What is said of two engines, the first quick, the second of twenty-five seconds."""
    clock = Clock()
    log = BuildLog(stream, 2, clock)
    for module, seconds in (("gate", 1), ("expert_0", 25)):
        for done in range(seconds):
            clock.now += 1
            log.building(module, done / seconds)
        log.done(SimpleNamespace(module=module, cached=False, seconds=seconds))
    return stream.getvalue()


def test_a_long_build_is_told_every_ten_seconds_in_a_file():
    assert build_log(io.StringIO()).splitlines() == [
        "[1/2] gate: built in 1.0 s",
        "[2/2] expert_0: 36 %",
        "[2/2] expert_0: 76 %",
        "[2/2] expert_0: built in 25.0 s",
    ]


def test_a_build_on_a_terminal_keeps_one_line_per_engine():
    lines = build_log(Terminal()).split("\n")
    assert len(lines) == 3 and lines[1].count("\r") == 25
    assert lines[1].split("\r")[-1].rstrip() == "[2/2] expert_0: built in 25.0 s"


def test_build_engines_for_rtx_prints_their_targets_and_that_they_were_not_run(
    tiny_bundle, tmp_path, capsys, monkeypatch
):
    pytest.importorskip("tensorrt_rtx", reason="needs the Python package tensorrt-rtx")
    monkeypatch.setattr("moediff_rt.tensorrt.engines.find_gpu", no_driver)
    command = ["build-engines", "--bundle", str(tiny_bundle), "-o", str(tmp_path / "engines")]
    command += ["--backend", "tensorrt-rtx", "--target", "sm86,sm89", "--precision", "fp16"]
    assert cli.main(command) == 0
    said = capsys.readouterr()
    assert "error (limit)" in said.out and said.out.count("not run") == 7
    assert "sm86+sm89" in said.out and "[7/7] decoder: built in" in said.err
    assert "engines were built but not run: no driver here" in said.err


def no_driver():
    raise BackendError("no driver here")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--backend", "tensorrt-rtx", "--target", "sm90"], "expected targets among"),
        (["--backend", "tensorrt-rtx", "--precision", "int8"], "one of fp32, tf32, fp16, bf16"),
        (["--target", "sm86"], "add --backend tensorrt-rtx"),
        (["--backend", "openvino", "--target", "sm86"], "add --backend tensorrt-rtx"),
    ],
)
def test_build_engines_refuses_what_cannot_be_built(tiny_bundle, tmp_path, capsys, options, words):
    pytest.importorskip("tensorrt_rtx", reason="needs the Python package tensorrt-rtx")
    folder = tmp_path / "engines"
    assert (
        cli.main(["build-engines", "--bundle", str(tiny_bundle), "-o", str(folder), *options]) == 2
    )
    said = capsys.readouterr()
    assert words in said.err and len(said.err.splitlines()) == 1 and not said.out
    assert not list(folder.glob("*"))


def test_an_interrupted_build_says_what_is_kept(tiny_bundle, tmp_path, capsys, monkeypatch):
    def interrupt(log, module, fraction):
        raise KeyboardInterrupt

    pytest.importorskip("tensorrt_rtx", reason="needs the Python package tensorrt-rtx")
    monkeypatch.setattr(BuildLog, "building", interrupt)
    command = ["build-engines", "--bundle", str(tiny_bundle), "-o", str(tmp_path / "engines")]
    assert cli.main([*command, "--backend", "tensorrt-rtx"]) == 130
    assert "interrupted; the engines finished before are kept" in capsys.readouterr().err


def test_build_engines_without_the_package_says_how_to_get_it(
    tiny_bundle, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    command = ["build-engines", "--bundle", str(tiny_bundle), "-o", str(tmp_path / "engines")]
    assert cli.main([*command, "--backend", "tensorrt-rtx"]) == 2
    said = capsys.readouterr()
    assert "pip install 'moediff-rt[tensorrt-rtx]'" in said.err
    assert len(said.err.splitlines()) == 1


def test_backend_auto_says_why_it_is_openvino(tiny_bundle, tmp_path, capsys):
    command = ["build-engines", "--bundle", str(tiny_bundle), "-o", str(tmp_path / "engines")]
    assert cli.main(command) == 0
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("backend ")]
    assert line.startswith("backend openvino; not tensorrt: ") and "; not tensorrt-rtx: " in line


@pytest.mark.parametrize("kept", [0, 3, 7])
@pytest.mark.parametrize("backend", ["openvino", "tensorrt-rtx"])
def test_build_engines_fails_where_one_was_not_kept(
    tiny_bundle, tmp_path, capsys, monkeypatch, backend, kept
):
    modules = [file.name for file in _core.load_bundle(str(tiny_bundle)).modules]
    engines = [engine_report(module, n < kept) for n, module in enumerate(modules)]
    model = SimpleNamespace(backend=backend, engines=engines)
    monkeypatch.setattr(Session, "build", lambda *_args, **_options: model)
    monkeypatch.setattr("moediff_rt.tensorrt.engines.build_engines", lambda *_, **__: engines)
    command = ["build-engines", "--bundle", str(tiny_bundle), "-o", str(tmp_path / "engines")]
    assert cli.main([*command, "--backend", backend]) == (0 if kept == 7 else 2)
    said = capsys.readouterr()
    assert all(module in said.out for module in modules), "the table is printed first"
    assert (f"engines in {tmp_path / 'engines'}" in said.out) == (kept == 7)
    if kept < 7:
        (line,) = said.err.splitlines()
        assert f"keep 7 engines in {tmp_path / 'engines'}, {7 - kept} were not kept" in line
        assert line.endswith(
            ": no space left; free space, check permissions, or choose another folder with -o"
        )


def engine_report(module, kept):
    return SimpleNamespace(
        module=module,
        backend="b",
        device="d",
        precision="p",
        path="somewhere" if kept else "",
        bytes=1 if kept else 0,
        seconds=1.0,
        cached=False,
        reason="not in the cache" if kept else "not kept: no space left",
        error=None,
        limit=None,
        unchecked="",
    )


@pytest.mark.parametrize(
    ("options", "gpu", "told"), [([], False, False), ([], True, True), (["-v"], False, True)]
)
def test_infer_with_backend_auto_says_why_a_gpu_is_not_used(
    scan, infer, capsys, monkeypatch, options, gpu, told
):
    monkeypatch.setattr("moediff_rt.tensorrt.driver.has_gpu", lambda: gpu)
    assert infer(scan, *options) == 0
    assert ("backend openvino; not tensorrt: " in capsys.readouterr().err) == told


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_a_backend_asked_for_never_falls_back(scan, infer, capsys, backend):
    assert infer(scan, "--backend", backend) == 2
    said = capsys.readouterr()
    assert f"{backend}: expected" in said.err and len(said.err.splitlines()) == 1
    assert os.listdir(scan.parent) == [scan.name]


def test_info_says_what_engines_can_be_built(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    assert cli.main(["info", "--json"]) == 0
    backends = {b["name"]: b for b in json.loads(capsys.readouterr().out)["backends"]}
    assert backends["openvino"]["builds"] is None
    assert "pip install" in backends["tensorrt-rtx"]["builds"]["reason"]
    assert cli.main(["info"]) == 0
    assert "Engines to build" in capsys.readouterr().out


def test_info_lists_the_targets_of_the_package(capsys):
    trt = pytest.importorskip("tensorrt_rtx", reason="needs the Python package tensorrt-rtx")
    assert cli.main(["info", "--json"]) == 0
    backends = {b["name"]: b for b in json.loads(capsys.readouterr().out)["backends"]}
    builds = backends["tensorrt-rtx"]["builds"]
    assert builds["version"] == trt.__version__ and "sm86" in builds["targets"]
    assert builds["precisions"] == ["fp32", "tf32", "fp16", "bf16"]


@pytest.fixture
def homeless(monkeypatch):
    """A user of a container: no HOME, and an id that no list of users has."""

    def unknown(_uid: int) -> None:
        raise KeyError("uid not found")

    for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "MOEDIFF_RT_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)


def test_without_a_home_infer_goes_on_and_says_that_engines_are_not_kept(
    scan, infer, homeless, capsys
):
    assert infer(scan) == 0
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "engines" in x]
    assert "found no HOME" in line and "set MOEDIFF_RT_CACHE" in line
    assert infer(scan, "-q", "--overwrite") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("backend", ["openvino", "tensorrt"])
def test_without_a_home_nothing_is_built_that_must_be_kept(tiny_bundle, homeless, capsys, backend):
    command = ["build-engines", "--bundle", str(tiny_bundle), "--backend", backend]
    assert cli.main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "found no HOME" in line and "set MOEDIFF_RT_CACHE" in line
    session = Session(tiny_bundle, "tensorrt")
    with pytest.raises(InputError, match="set MOEDIFF_RT_CACHE"):
        session.build()


def test_without_a_home_info_says_that_there_is_no_cache(homeless, capsys):
    assert cli.main(["info"]) == 0
    assert "found no HOME" in capsys.readouterr().out
    assert cli.main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["cache"]
    assert found["path"] is None and "MOEDIFF_RT_CACHE" in found["error"]


def test_infer_says_once_that_engines_cannot_be_kept(scan, infer, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MOEDIFF_RT_CACHE", str(tmp_path / "file"))
    assert infer(scan) == 0
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "engines" in x]
    assert "expected a folder to keep engines in" in line and "set MOEDIFF_RT_CACHE" in line
    assert str(tmp_path / "file") in line
