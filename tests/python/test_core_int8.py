"""Precision int8: a bundle's own files for it, and who gets them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import write_card

from moediff_rt import _core
from moediff_rt.errors import BackendError, BundleError


def name_another(folder, tmp_path, key):
    """A copy of the bundle in which the first expert's file, or int8 file, is the second's."""
    copy = shutil.copytree(folder, tmp_path / key)
    content = json.loads((copy / "bundle.json").read_text())
    modules = content["modules"]
    other = {k: modules["expert_1"][k] for k in ("file", "sha256", "bytes")}
    if key == "int8":
        modules["expert_0"]["int8"] = other
    else:
        modules["expert_0"] = other
    write_card(copy, content)
    return _core.load_bundle(str(copy))


@pytest.fixture
def plain(tiny_bundle):
    return _core.load_bundle(str(tiny_bundle))


@pytest.fixture
def with_int8(tiny_bundle, tmp_path):
    return name_another(tiny_bundle, tmp_path, "int8")


def enhance(bundle, **settings):
    volume = np.random.default_rng(0).random((3, 30, 30), np.float32)
    boxes = np.tile(np.array([0, 30, 0, 30], np.int32), (3, 1))
    model = _core.Model(bundle, threads=1, **settings)
    return model.precision, model.enhance(volume, boxes, gate_threshold=0.0).volume


def test_a_bundle_says_which_modules_have_a_file_for_it(plain, with_int8):
    assert plain.int8_modules == []
    assert [(m.name, m.file) for m in with_int8.int8_modules] == [("expert_0", "expert_1.onnx")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"file": "none.onnx"}, "found none"),
        ({"file": "../expert_1.onnx"}, r"modules\.expert_0\.int8\.file"),
        ({"sha256": "0" * 64}, "SHA-256 0000"),
        ({"bytes": 1}, "expected 1 bytes"),
    ],
)
def test_its_files_are_verified_as_all_others(with_int8, change, words):
    content = json.loads(with_int8.json)
    content["modules"]["expert_0"]["int8"].update(change)
    with open(f"{with_int8.path}/bundle.json", "w") as card:
        json.dump(content, card)
    with pytest.raises(BundleError, match=words):
        _core.load_bundle(with_int8.path)


@pytest.mark.usefixtures("int8_processor")
def test_it_runs_its_own_files_and_the_others_of_the_usual_precision(
    tiny_bundle, plain, with_int8, tmp_path
):
    usual, truth = enhance(name_another(tiny_bundle, tmp_path, "replaced"))
    assert usual in ("fp32", "bf16")
    precision, found = enhance(with_int8, precision="int8")
    assert precision == f"int8+{usual}"
    np.testing.assert_array_equal(found, truth)
    assert not np.array_equal(enhance(plain)[1], truth)


def test_another_precision_runs_the_float_files(plain, with_int8):
    np.testing.assert_array_equal(
        enhance(with_int8, precision="fp32")[1], enhance(plain, precision="fp32")[1]
    )


def test_it_is_chosen_by_none_but_a_bundle_that_has_it(plain, with_int8):
    usual = enhance(plain)[0]
    told = Path("/proc/cpuinfo").read_text()
    flags = told.partition("flags")[2].partition("\n")[0].split()  # none on aarch64
    faster = "avx512_vnni" in flags and "amx_bf16" not in flags
    assert usual in ("fp32", "bf16")
    assert enhance(with_int8)[0] == (f"int8+{usual}" if faster else usual)


def test_asked_of_a_bundle_without_it_is_refused(plain):
    (openvino,) = (info for info in _core.backends() if info.name == "openvino")
    there = "int8" in openvino.precisions
    words = "bundle with 8-bit modules" if there else "no instructions for it"
    with pytest.raises(BackendError, match=words):
        _core.Model(plain, precision="int8")


@pytest.mark.usefixtures("int8_processor")
def test_its_engines_are_kept_apart_and_all_others_shared(with_int8, tmp_path):
    usual = _core.Model(with_int8, precision="int8").engines[0].precision
    first = _core.Model(with_int8, precision=usual, engines_dir=str(tmp_path / "engines"))
    second = _core.Model(with_int8, precision="int8", engines_dir=str(tmp_path / "engines"))
    assert {engine.precision for engine in first.engines} == {usual}
    built = [(e.module, e.precision) for e in second.engines if not e.cached]
    assert built == [("expert_0", f"int8+{usual}")]
