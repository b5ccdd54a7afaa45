"""NVIDIA's packages: found or named with the remedy; the targets that they know."""

from __future__ import annotations

import sys
import types

import pytest

from moediff_rt.errors import BackendError
from moediff_rt.tensorrt.package import Package, choose_targets, find_package

trt = pytest.importorskip("tensorrt_rtx", reason="needs the Python package tensorrt-rtx")


@pytest.fixture
def install(monkeypatch):
    """Put a package of some release in the place of tensorrt."""

    def put(version):
        module = types.ModuleType("tensorrt")
        module.__version__ = version
        monkeypatch.setitem(sys.modules, "tensorrt", module)

    return put


@pytest.mark.parametrize("version", ["8.6.1", "10.1.0", "12.0", "unknown"])
def test_an_unknown_release_is_refused(install, version):
    install(version)
    words = f"from 10.2 to before 12 of .*, found {version}; .*pip install"
    with pytest.raises(BackendError, match=words):
        find_package("tensorrt")


@pytest.mark.parametrize("version", ["10.2.0", "10.13.3", "11.1.0"])
def test_a_release_that_the_code_knows_is_taken(install, version):
    install(version)
    assert find_package("tensorrt").version == version


@pytest.mark.parametrize("missing", ["tensorrt_rtx", "onnx", "ml_dtypes"])
def test_a_missing_package_is_named_with_how_to_get_it(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(BackendError, match=rf"{missing}, found none; .*moediff-rt\[tensorrt-rtx\]"):
        find_package("tensorrt-rtx")


def test_a_package_that_does_not_load_says_why(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10: cannot open')")
    with pytest.raises(BackendError, match=r"tensorrt to load, found libnvinfer\.so\.10: cannot"):
        find_package("tensorrt")


def test_targets_are_those_that_the_package_knows():
    package = find_package("tensorrt-rtx")
    assert {"sm86", "sm89", "sm120"} <= set(package.targets)
    assert choose_targets(package, None, "fp16") == package.targets
    assert choose_targets(package, None, "bf16") == package.targets[1:]


@pytest.mark.parametrize("wanted", ["sm90", "sm86,sm90", "", "sm86,", "turing"])
def test_an_unknown_target_is_refused_with_the_known_ones(wanted):
    package = find_package("tensorrt-rtx")
    with pytest.raises(BackendError, match=r"expected targets among .*sm86, sm89, sm120.*found"):
        choose_targets(package, wanted, "fp32")


def test_turing_takes_halves_alone():
    package = Package("tensorrt-rtx", trt.__version__, trt)
    assert choose_targets(package, "sm75", "fp16") == ("sm75",)
    with pytest.raises(BackendError, match="in bf16, found 'sm75'"):
        choose_targets(package, "sm75", "bf16")
