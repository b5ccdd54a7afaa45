"""A bundle on a GPU through an executor, as far as a computer without one can tell."""

from types import SimpleNamespace

import pytest

from moediff_rt import _core
from moediff_rt.errors import BackendError

EXECUTOR = SimpleNamespace(
    backend="pytorch",
    device="a GPU",
    precision="fp32",
    largest_batch=4,
    captures=False,
    concurrent=True,
)


def test_without_a_gpu_the_refusal_says_what_is_missing(tiny_bundle):
    bundle = _core.load_bundle(str(tiny_bundle))
    try:
        _core.gpu_model(bundle, EXECUTOR, index=10_000)
    except BackendError as error:
        reasons = ("an NVIDIA driver", "a build with CUDA", "a GPU number from 0 to")
        assert any(f"expected {reason}" in str(error) for reason in reasons)
        assert "openvino" in str(error)
    else:
        pytest.fail("GPU number 10000 was opened")


def test_a_report_is_made_by_whoever_made_the_engine():
    report = _core.EngineReport(
        module="gate", backend="pytorch", device="a GPU", precision="bf16", seconds=1.5
    )
    assert (report.module, report.seconds, report.cached, report.path) == ("gate", 1.5, False, "")
