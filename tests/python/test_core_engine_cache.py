"""Engines on disk: reused when they fit, rebuilt with a reason when they do not."""

import json
import re

import numpy as np
import pytest
from tiny_bundle import make_bundle

from moediff_rt import _core

MODULES = ["encoder", "conditioner", "gate", "expert_0", "expert_1", "expert_2", "decoder"]


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return _core.load_bundle(str(tiny_bundle))


@pytest.fixture
def engines(tmp_path):
    return tmp_path / "cache" / "engines"


def load(bundle, engines, **settings):
    return _core.Model(bundle, engines_dir=str(engines), **settings)


def output(model):
    volume = np.random.default_rng(0).random((2, 40, 40), dtype=np.float32)
    return model.enhance(volume, np.array([[0, 40, 0, 40]] * 2, np.int32)).volume


def manifest_of(engines, module):
    (path,) = engines.glob(f"{module}-*.json")
    return path


def test_the_second_load_comes_from_the_cache_and_gives_the_same_bits(bundle, engines):
    first = load(bundle, engines)
    assert [e.module for e in first.engines] == MODULES
    assert not any(e.cached for e in first.engines)
    assert {e.reason for e in first.engines} == {"not in the cache"}
    second = load(bundle, engines)
    assert all(e.cached and e.reason == "" for e in second.engines)
    assert [e.bytes for e in second.engines] == [e.bytes for e in first.engines]
    assert [e.path for e in second.engines] == [e.path for e in first.engines]
    np.testing.assert_array_equal(output(first), output(second))


def test_a_cached_engine_serves_any_thread_count(bundle, engines):
    one = load(bundle, engines, threads=1)
    two = load(bundle, engines, threads=2)
    assert all(e.cached for e in two.engines)
    np.testing.assert_array_equal(output(one), output(two))


def test_names_tell_module_hash_backend_device_precision_and_profile(bundle, engines):
    load(bundle, engines)
    sha256 = {m.name: m.sha256[:16] for m in bundle.modules}
    assert (
        sorted(p.name for p in engines.glob("*.blob"))
        == sorted(f"{name}-{sha256[name]}-openvino-CPU-fp32-b1.blob" for name in MODULES)
        or "bf16" in next(engines.glob("*.blob")).name
    )
    assert len(list(engines.iterdir())) == 2 * len(MODULES)


def test_each_engine_is_told_as_it_is_loaded(bundle, engines):
    told = []
    model = load(bundle, engines, on_engine=lambda report: told.append(report.module))
    assert told == [e.module for e in model.engines] == MODULES


def test_an_error_in_on_engine_comes_back_as_it_was(bundle, engines):
    def refuse(report):
        raise KeyError(report.module)

    with pytest.raises(KeyError, match="encoder"):
        load(bundle, engines, on_engine=refuse)


def test_force_builds_again(bundle, engines):
    load(bundle, engines)
    assert {e.reason for e in load(bundle, engines, force=True).engines} == {"forced"}


@pytest.mark.parametrize(
    ("member", "old", "reason"),
    [
        ("backend_version", "2026.3", "openvino 2026.3 -> 2026."),
        ("device_name", "Old CPU", "device Old CPU -> "),
        ("onnx_sha256", "0" * 64, "onnx_sha256 0000"),
        ("precision", "int8", "precision int8 -> "),
    ],
)
def test_a_stale_entry_is_rebuilt_and_says_what_differs(bundle, engines, member, old, reason):
    load(bundle, engines)
    path = manifest_of(engines, "gate")
    path.write_text(json.dumps({**json.loads(path.read_text()), member: old}))
    reports = {e.module: e for e in load(bundle, engines).engines}
    assert not reports["gate"].cached
    assert reports["gate"].reason.startswith(reason)
    assert reports["encoder"].cached
    assert all(e.cached for e in load(bundle, engines).engines)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda blob, manifest: blob.write_bytes(blob.read_bytes()[:-1]), "damaged: .* bytes"),
        (lambda blob, manifest: flip(blob), "damaged: its SHA-256"),
        (lambda blob, manifest: blob.unlink(), "unreadable: .*No such file"),
        (lambda blob, manifest: manifest.write_text("{"), "damaged: its manifest"),
        (lambda blob, manifest: manifest.write_text("{}"), "module unknown -> "),
        (lambda blob, manifest: manifest.unlink(), "not in the cache"),
    ],
)
def test_a_damaged_entry_is_rebuilt(bundle, engines, damage, reason):
    load(bundle, engines)
    manifest = manifest_of(engines, "expert_1")
    damage(manifest.with_suffix(".blob"), manifest)
    reports = {e.module: e for e in load(bundle, engines).engines}
    assert not reports["expert_1"].cached
    assert re.match(reason, reports["expert_1"].reason)
    assert sum(e.cached for e in reports.values()) == len(MODULES) - 1
    assert all(e.cached for e in load(bundle, engines).engines)


def test_two_models_of_one_architecture_never_share(bundle, engines, tmp_path):
    load(bundle, engines)
    other = _core.load_bundle(str(make_bundle(tmp_path / "other", seed=1)))
    second = load(other, engines)
    assert not any(e.cached for e in second.engines)
    assert not np.array_equal(output(load(bundle, engines)), output(load(other, engines)))


def test_a_cache_that_cannot_be_written_is_no_failure(bundle, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    model = load(bundle, blocker / "engines")
    assert all(e.reason.startswith("not kept: ") and e.path == "" for e in model.engines)
    assert np.isfinite(output(model)).all()


def test_without_a_folder_nothing_is_kept(bundle):
    model = _core.Model(bundle)
    assert {e.reason for e in model.engines} == {"not kept: no engines folder was given"}


def test_no_temporary_file_is_left(bundle, engines):
    load(bundle, engines)
    assert {p.suffix for p in engines.iterdir()} == {".blob", ".json"}
