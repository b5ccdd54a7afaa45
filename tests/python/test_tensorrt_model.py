"""A model with TensorRT's engines: who is asked for what, and what is refused."""

from types import SimpleNamespace

import pytest

from moediff_rt import Session, _core
from moediff_rt.errors import BackendError, InputError
from moediff_rt.tensorrt import model as opening
from moediff_rt.tensorrt.build import Plan, Tensor
from moediff_rt.tensorrt.driver import Gpu
from moediff_rt.tensorrt.engines import BATCHES, BuiltEngine
from moediff_rt.tensorrt.package import Package

ADA = Gpu("an Ada GPU", (8, 9))


@pytest.fixture
def trt():
    """A package that knows two generations and makes no engines."""
    return SimpleNamespace(
        ComputeCapability=SimpleNamespace(__members__={"SM86": 0, "SM89": 1, "CURRENT": 2}),
        Logger=type("Logger", (), {"INTERNAL_ERROR": 0, "__init__": lambda self, level: None}),
        Runtime=lambda log: None,
    )


@pytest.fixture
def computer(monkeypatch, trt):
    """A computer with a GPU, a build with CUDA and the package; what it was asked is kept."""
    asked = SimpleNamespace(engines=None, model=None)

    def build_engines(bundle, backend, folder, *, precision, force, on_engine):
        asked.engines = (backend, folder, precision, force)
        for file in bundle.modules:
            plan = Plan(b"engine", (Tensor("x", "FLOAT", (1,)),), (), 1)
            on_engine(
                BuiltEngine(
                    module=file.name,
                    backend=backend,
                    device="sm86+sm89",
                    precision="fp16",
                    path="",
                    bytes=6,
                    seconds=0.5,
                    cached=True,
                    reason="",
                    error=1e-4,
                    limit=1e-3,
                    unchecked="",
                    plan=plan,
                )
            )

    def gpu_model(bundle, executor, *, threads, memory_limit):
        asked.model = (executor, threads, memory_limit)
        return "the model"

    monkeypatch.setattr(_core, "cuda_built", lambda: True)
    monkeypatch.setattr(_core, "gpu_model", gpu_model)
    monkeypatch.setattr(opening, "find_gpu", lambda: ADA)
    monkeypatch.setattr(opening, "find_package", lambda backend: Package(backend, "1.7", trt))
    monkeypatch.setattr(opening, "build_engines", build_engines)
    return asked


def test_a_session_gives_its_engines_to_the_scheduler(tiny_bundle, tmp_path, computer):
    told = []
    session = Session(
        tiny_bundle,
        "tensorrt-rtx",
        precision="fp16",
        threads=3,
        engines_dir=tmp_path,
        max_memory=3_000_000_000,
    )
    assert session.build(on_engine=told.append) == "the model"
    assert computer.engines == ("tensorrt-rtx", tmp_path, "fp16", False)
    executor, threads, limit = computer.model
    assert (threads, limit) == (3, 3_000_000_000)
    assert (executor.backend, executor.device) == ("tensorrt-rtx", "sm86+sm89")
    assert (executor.precision, executor.largest_batch) == ("fp16", max(BATCHES))
    assert [report.module for report in told] == [m.name for m in session.bundle.modules]
    assert all(report.cached and report.seconds == 0.5 for report in told)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("cuda", "a build with CUDA"),
        ("gpu", "an NVIDIA driver"),
        ("target", r"a GPU among sm86, sm89, found a Hopper GPU \(sm90\)"),
    ],
)
def test_what_a_computer_lacks_is_named(
    tiny_bundle, tmp_path, computer, monkeypatch, change, words
):
    def no_gpu():
        raise BackendError("expected an NVIDIA driver, found none")

    if change == "cuda":
        monkeypatch.setattr(_core, "cuda_built", lambda: False)
    elif change == "gpu":
        monkeypatch.setattr(opening, "find_gpu", no_gpu)
    else:
        monkeypatch.setattr(opening, "find_gpu", lambda: Gpu("a Hopper GPU", (9, 0)))
    session = Session(tiny_bundle, "tensorrt-rtx", engines_dir=tmp_path)
    with pytest.raises(BackendError, match=f"tensorrt-rtx: expected {words}"):
        session.build()
    assert computer.engines is None and computer.model is None


@pytest.mark.parametrize("device", ["1", "GPU", "banana"])
def test_a_device_that_is_not_the_first_gpu_is_refused(tiny_bundle, tmp_path, computer, device):
    session = Session(tiny_bundle, "tensorrt", device, engines_dir=tmp_path)
    with pytest.raises(BackendError, match=f"auto or 0, found {device}; .*CUDA_VISIBLE_DEVICES"):
        session.build()
    assert computer.engines is None
    assert Session(tiny_bundle, "tensorrt", "0", engines_dir=tmp_path).build() == "the model"


@pytest.mark.parametrize("limit", [-1, float("nan"), float("inf"), "8 GB", None])
def test_a_memory_limit_that_is_none_is_refused(tiny_bundle, limit):
    with pytest.raises(InputError, match="expected a memory limit"):
        Session(tiny_bundle, max_memory=limit)


def test_the_full_package_builds_for_whatever_gpu_is_here(tiny_bundle, tmp_path, computer):
    session = Session(tiny_bundle, "tensorrt", engines_dir=tmp_path)
    assert session.build() == "the model"
    assert computer.engines[0] == "tensorrt"
