"""TensorRT engines on disk: really built, without a GPU, by TensorRT for RTX."""

from __future__ import annotations

import json
import os
import signal
import sys
import types
from pathlib import Path

import pytest
from tiny_bundle import make_bundle

from moediff_rt import _core
from moediff_rt.cache import default_bundle
from moediff_rt.errors import BackendError, BundleError, EngineError
from moediff_rt.tensorrt import check, driver, engines
from moediff_rt.tensorrt.check import Check
from moediff_rt.tensorrt.driver import Gpu
from moediff_rt.tensorrt.engines import BATCHES, build_engines
from moediff_rt.tensorrt.package import choose_targets, find_package
from moediff_rt.tensorrt.precision import low_borders

trt = pytest.importorskip("tensorrt_rtx", reason="needs the Python package tensorrt-rtx")

MODULES = ["encoder", "conditioner", "gate", "expert_0", "expert_1", "expert_2", "decoder"]
TARGETS = "sm86,sm89,sm120"
LOW = {"fp16": "HALF", "bf16": "BF16", "fp32": "FLOAT"}


# Modules of the tiny bundle that the cache's rules are tried on: each build takes its time.
FEW = ["gate", "decoder"]


def few(folder: Path) -> types.SimpleNamespace:
    """A bundle of less than all modules."""
    whole = _core.load_bundle(str(folder))
    modules = [module for module in whole.modules if module.name in FEW]
    sizes = {"tile": whole.tile, "latent": whole.latent, "gate": whole.gate}
    return types.SimpleNamespace(path=whole.path, modules=modules, **sizes)


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return few(tiny_bundle)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    """These tests are about building; on a computer with a GPU, too."""

    def find_none():
        raise BackendError("expected an NVIDIA driver, found none")

    monkeypatch.setattr(engines, "find_gpu", find_none)


def build(bundle, folder, **settings):
    settings = {"precision": "fp32", "targets": "sm86", "batches": (1,)} | settings
    return build_engines(bundle, "tensorrt-rtx", folder, **settings)


def entry_of(folder: Path, module: str) -> Path:
    (path,) = folder.glob(f"{module}-*.engine")
    return path


def manifest_of(path: Path | str) -> dict:
    return json.loads(Path(path).read_bytes().split(b"\n", 1)[0])


def rewrite(path: Path, **members) -> None:
    head, blob = path.read_bytes().split(b"\n", 1)
    path.write_bytes(json.dumps({**json.loads(head), **members}).encode() + b"\n" + blob)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The default bundle's engines in a precision, built once."""
    folder = tmp_path_factory.mktemp("shipped")
    made: dict[str, list] = {}

    def get(precision):
        if precision not in made:
            loaded = _core.load_bundle(str(default_bundle()))
            made[precision] = build_engines(
                loaded, "tensorrt-rtx", folder, precision=precision, targets=TARGETS
            )
        return made[precision]

    return get


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_module_of_the_default_bundle_becomes_an_engine(shipped, precision):
    reports = shipped(precision)
    assert [report.module for report in reports] == MODULES
    for report in reports:
        assert not report.cached and report.reason == "not in the cache"
        assert report.device == "sm86+sm89+sm120" and report.precision == precision
        assert report.error is None and "driver" in report.unchecked
        said = manifest_of(report.path)
        assert said["backend_version"] == trt.__version__
        assert said["details"]["targets"] == TARGETS.split(",")
        assert said["details"]["batches"] == list(BATCHES)
        assert said["bytes"] == report.bytes
        # Weights are in it once, whatever the number of batch sizes.
        assert report.bytes > (default_bundle() / f"{report.module}.onnx").stat().st_size


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_engines_list_the_tensors_that_the_bundle_promises(shipped, precision):
    loaded = _core.load_bundle(str(default_bundle()))
    (height, width, slices), latent, gates = loaded.tile, list(loaded.latent), list(loaded.gate)
    for report in shipped(precision):
        details = manifest_of(report.path)["details"]
        low = low_borders(report.module)
        found = {t["name"]: t for t in details["inputs"] + details["outputs"]}
        for name, tensor in found.items():
            assert tensor["dtype"] == (LOW[precision] if name in low else "FLOAT"), name
        shapes = {name: tensor["shape"] for name, tensor in found.items()}
        if report.module.startswith("expert_"):
            assert [t["name"] for t in details["inputs"]] == ["z_t", "z_c", "t"]
            assert shapes["z_t"] == shapes["z0"] == latent and shapes["t"] == []
        elif report.module == "decoder":
            expected = {"z0": latent, "slices": [slices, height, width]}
            assert shapes == expected | {"image": [1, height, width]}
        elif report.module == "gate":
            assert shapes["gates"] == gates
        elif report.module == "encoder":
            assert shapes == {"image": [3, height, width], "z": latent}


def test_the_second_build_comes_from_the_cache(bundle, tmp_path):
    first = build(bundle, tmp_path)
    second = build(bundle, tmp_path)
    assert all(e.cached and e.reason == "" for e in second)
    assert [(e.path, e.bytes) for e in first] == [(e.path, e.bytes) for e in second]
    assert {path.suffix for path in tmp_path.iterdir()} == {".engine"}


def test_force_builds_again(bundle, tmp_path):
    build(bundle, tmp_path)
    assert {e.reason for e in build(bundle, tmp_path, force=True)} == {"forced"}


def test_two_models_of_one_architecture_never_share(bundle, tmp_path):
    build(bundle, tmp_path / "engines")
    other = few(make_bundle(tmp_path / "other", seed=1))
    assert not any(e.cached for e in build(other, tmp_path / "engines"))
    assert len(list((tmp_path / "engines").iterdir())) == 2 * len(FEW)


@pytest.mark.parametrize(
    ("first", "then", "reason"),
    [
        ({}, {"targets": "sm86,sm120"}, "device sm86 -> sm86+sm120"),
        ({}, {"precision": "fp16"}, "not in the cache"),
        ({}, {"batches": (1, 2)}, "not in the cache"),
    ],
)
def test_each_setting_has_engines_of_its_own(bundle, tmp_path, first, then, reason):
    build(bundle, tmp_path, **first)
    assert {e.reason for e in build(bundle, tmp_path, **then)} == {reason}
    assert all(e.cached for e in build(bundle, tmp_path, **first))
    assert all(e.cached for e in build(bundle, tmp_path, **then))


def test_targets_are_a_set(bundle, tmp_path):
    build(bundle, tmp_path, targets="sm120, SM86")
    assert all(e.cached for e in build(bundle, tmp_path, targets="sm86,sm120,sm86"))


def test_an_engine_of_another_release_is_rebuilt_and_names_both(bundle, tmp_path):
    build(bundle, tmp_path)
    path = entry_of(tmp_path, "gate")
    rewrite(path, backend_version="1.6.0.1")
    path.rename(path.with_name(path.name[:-15] + "0" * 8 + ".engine"))
    reports = {e.module: e for e in build(bundle, tmp_path)}
    assert reports["gate"].reason == f"tensorrt-rtx 1.6.0.1 -> {trt.__version__}"
    assert reports["decoder"].cached
    assert all(e.cached for e in build(bundle, tmp_path))


@pytest.mark.parametrize("details", [{}, {"inputs": [{"colour": "red"}]}, None, "none"])
def test_an_engine_whose_manifest_lacks_its_tensors_is_rebuilt(bundle, tmp_path, details):
    build(bundle, tmp_path)
    rewrite(entry_of(tmp_path, "decoder"), details=details)
    reports = {e.module: e for e in build(bundle, tmp_path)}
    assert reports["decoder"].reason == "damaged: its manifest is incomplete"
    assert all(e.cached for e in build(bundle, tmp_path))


def test_a_damaged_engine_is_rebuilt(bundle, tmp_path):
    build(bundle, tmp_path)
    path = entry_of(tmp_path, "gate")
    path.write_bytes(path.read_bytes()[:-1])
    reports = {e.module: e for e in build(bundle, tmp_path)}
    assert reports["gate"].reason.startswith("damaged: ")


def test_a_folder_that_cannot_be_written_is_no_failure(bundle, tmp_path):
    (tmp_path / "file").touch()
    reports = build(bundle, tmp_path / "file" / "engines")
    assert all(e.reason.startswith("not kept: ") and e.path == "" for e in reports)


def test_a_module_replaced_since_the_bundle_was_loaded_is_refused(tmp_path):
    folder = make_bundle(tmp_path / "replaced")
    loaded = few(folder)
    other = make_bundle(tmp_path / "other", seed=1)
    (folder / "gate.onnx").write_bytes((other / "gate.onnx").read_bytes())
    with pytest.raises(BundleError, match=r"expected SHA-256 .*load the bundle again"):
        build(loaded, tmp_path / "engines")
    (folder / "gate.onnx").unlink()
    with pytest.raises(BundleError, match=r"expected a readable module, found No such file"):
        build(loaded, tmp_path / "engines")
    assert not list((tmp_path / "engines").glob("gate-*"))


def test_each_engine_and_the_builds_progress_are_told(bundle, tmp_path):
    told: list = []
    reports = build(
        bundle,
        tmp_path,
        on_engine=lambda e: told.append((e.module, "done")),
        on_building=lambda module, fraction: told.append((module, fraction)),
    )
    assert [module for module, what in told if what == "done"] == [e.module for e in reports]
    fractions = [what for module, what in told if module == "gate" and what != "done"]
    assert len(fractions) > 3 and fractions == sorted(fractions) and 0.5 < fractions[-1] <= 1


def test_what_progress_raises_ends_the_build_and_keeps_nothing(bundle, tmp_path):
    def interrupt(module, fraction):
        if module == "decoder":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(bundle, tmp_path, on_building=interrupt)
    assert sorted(p.name.split("-")[0] for p in tmp_path.iterdir()) == ["gate"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_build_and_keeps_nothing_of_it(bundle, tmp_path, sent):
    class Ended(BaseException):
        pass

    def end(number, frame):
        raise Ended

    def send(module, fraction):
        if module == "decoder" and not sent_once:
            sent_once.append(fraction)
            os.kill(os.getpid(), sent)

    sent_once: list[float] = []
    kept = signal.signal(sent, end)
    try:
        with pytest.raises(Ended):
            build(bundle, tmp_path, on_building=send)
    finally:
        signal.signal(sent, kept)
    assert sent_once and sorted(p.name.split("-")[0] for p in tmp_path.iterdir()) == ["gate"]


# A GPU on which nothing runs: what is done with the checks of engines, not the checks.


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that some targets fit, and the modules that were run on it."""
    ran: list[str] = []

    def run(self, module, plan, model):
        ran.append(module)
        return Check(1e-4, 2e-4, self.gpu)

    monkeypatch.setattr(engines, "find_gpu", lambda: Gpu("Some GPU", (8, 9)))
    monkeypatch.setattr(check.Checker, "check", run)
    return ran


def test_on_a_gpu_each_engine_is_run_and_its_error_kept(bundle, tmp_path, gpu):
    reports = build(bundle, tmp_path, targets="sm89")
    assert gpu == FEW
    assert {(e.error, e.limit, e.unchecked) for e in reports} == {(1e-4, 2e-4, "")}
    said = manifest_of(reports[0].path)["details"]["check"]
    assert said == {"error": 1e-4, "limit": 2e-4, "gpu": "Some GPU"}
    again = build(bundle, tmp_path, targets="sm89")
    assert gpu == FEW, "known already"
    assert all(e.cached and e.error == 1e-4 for e in again)


def test_engines_built_without_a_gpu_are_run_when_there_is_one(bundle, tmp_path, gpu, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(engines, "find_gpu", lambda: Gpu("Old GPU", (7, 0)))
        first = build(bundle, tmp_path, targets="sm89")
    assert gpu == [] and first[0].unchecked == "Old GPU is sm70, not one of the targets"
    second = build(bundle, tmp_path, targets="sm89")
    assert gpu == FEW and all(e.cached and e.error == 1e-4 for e in second)
    kept = manifest_of(second[0].path)
    assert kept["build_seconds"] == pytest.approx(manifest_of(first[0].path)["build_seconds"])
    monkeypatch.setattr(engines, "find_gpu", lambda: Gpu("Another GPU", (8, 9)))
    build(bundle, tmp_path, targets="sm89")
    assert gpu == FEW * 2, "another GPU's check is not this one's"


def test_an_engine_above_its_limit_is_not_kept(bundle, tmp_path, gpu, monkeypatch):
    def refuse(self, module, plan, model):
        raise EngineError("too far")

    monkeypatch.setattr(check.Checker, "check", refuse)
    with pytest.raises(EngineError, match="too far"):
        build(bundle, tmp_path, targets="sm89")
    assert not list(tmp_path.iterdir())


# Full TensorRT cannot be had here: its interface is played by TensorRT for RTX, nearly the same.


# There a timing cache does nothing, and says that it is deprecated.
stands_in = pytest.mark.filterwarnings("ignore:.*Timing cache:DeprecationWarning")


@pytest.fixture
def full(monkeypatch):
    module = types.ModuleType("tensorrt")
    for name in ("ILogger", "IProgressMonitor", "Builder", "OnnxParser", "BuilderFlag"):
        setattr(module, name, getattr(trt, name))
    module.NetworkDefinitionCreationFlag = trt.NetworkDefinitionCreationFlag
    module.__version__ = "10.13.3.9"
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    return module


@stands_in
def test_full_tensorrt_builds_for_the_gpu_here(bundle, tmp_path, full, gpu):
    reports = build_engines(bundle, "tensorrt", tmp_path, precision="fp16", batches=(1, 2))
    assert {e.device for e in reports} == {"Some GPU (sm89)"} and gpu == FEW
    assert {e.backend for e in reports} == {"tensorrt"}
    assert manifest_of(reports[0].path)["details"]["targets"] == []
    assert [p.suffix for p in tmp_path.iterdir()].count(".timing") == 1
    again = build_engines(bundle, "tensorrt", tmp_path, precision="fp16", batches=(1, 2))
    assert all(e.cached for e in again)


@stands_in
def test_full_tensorrt_rebuilds_for_another_gpu_and_names_both(
    bundle, tmp_path, full, gpu, monkeypatch
):
    build_engines(bundle, "tensorrt", tmp_path, precision="fp32", batches=(1,))
    monkeypatch.setattr(engines, "find_gpu", lambda: Gpu("Big GPU", (9, 0)))
    reports = build_engines(bundle, "tensorrt", tmp_path, precision="fp32", batches=(1,))
    assert {e.reason for e in reports} == {"device Some GPU (sm89) -> Big GPU (sm90)"}


@stands_in
def test_a_damaged_timing_cache_only_costs_time(bundle, tmp_path, full, gpu):
    build_engines(bundle, "tensorrt", tmp_path, precision="fp32", batches=(1,))
    (timing,) = tmp_path.glob("*.timing")
    timing.write_bytes(b"nonsense")
    build_engines(bundle, "tensorrt", tmp_path, precision="fp32", batches=(1,), force=True)
    assert timing.read_bytes() != b"nonsense"


def test_full_tensorrt_needs_a_driver(bundle, tmp_path, full):
    with pytest.raises(BackendError, match=r"^tensorrt: expected an NVIDIA driver"):
        build_engines(bundle, "tensorrt", tmp_path)


def test_full_tensorrt_takes_no_target(bundle, tmp_path, full, gpu):
    with pytest.raises(BackendError, match="expected no --target, found sm89"):
        build_engines(bundle, "tensorrt", tmp_path, targets="sm89")


def test_an_unknown_precision_is_refused(bundle, tmp_path):
    with pytest.raises(BackendError, match="one of fp32, tf32, fp16, bf16, found int8"):
        build(bundle, tmp_path, precision="int8")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
@pytest.mark.parametrize("backend", ["tensorrt-rtx", "tensorrt"])
def test_engines_of_the_default_bundle_run_on_this_gpu(backend, precision, tmp_path, monkeypatch):
    try:
        gpu = driver.find_gpu()
        package = find_package(backend)
    except BackendError as error:
        pytest.skip(str(error))
    if package.targets and gpu.target not in choose_targets(package, None, precision):
        pytest.skip(f"{backend} {package.version} does not run on {gpu.target} in {precision}")
    monkeypatch.setattr(engines, "find_gpu", driver.find_gpu)
    loaded = _core.load_bundle(str(default_bundle()))
    reports = build_engines(loaded, backend, tmp_path, precision=precision)
    assert all(e.error is not None and e.error <= e.limit for e in reports)


def test_the_graph_format_is_part_of_the_key(bundle, tmp_path, monkeypatch):
    build(bundle, tmp_path)
    monkeypatch.setattr(_core, "TENSORRT_GRAPH_VERSION", _core.TENSORRT_GRAPH_VERSION + 1)
    assert not any(e.cached for e in build(bundle, tmp_path))


def test_the_tile_is_part_of_the_key(bundle, tmp_path):
    """A file may leave its size free: an engine for other tiles has another shape."""
    halved = {
        "tile": (*(n // 2 for n in bundle.tile[:2]), bundle.tile[2]),
        "latent": (bundle.latent[0], *(n // 2 for n in bundle.latent[1:])),
        "gate": (bundle.gate[0], *(n // 2 for n in bundle.gate[1:])),
    }
    build(bundle, tmp_path)
    other = types.SimpleNamespace(**vars(bundle) | halved)
    assert not any(engine.cached for engine in build(other, tmp_path))
    assert all(engine.cached for engine in build(bundle, tmp_path))
