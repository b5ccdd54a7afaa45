"""Engines on disk: reused when they fit, rebuilt with a reason when they do not."""

import json
import os
import platform
import re
import subprocess
import sys

import numpy as np
import pytest
from tiny_bundle import make_bundle

from moediff_rt import _core
from moediff_rt.errors import BundleError

MODULES = ["encoder", "conditioner", "gate", "expert_0", "expert_1", "expert_2", "decoder"]
SHAPES = {
    "encoder": "-3x32x32",
    "conditioner": "-3x32x32-2x8x8",
    "gate": "-4x4x4",
    **dict.fromkeys(("expert_0", "expert_1", "expert_2"), "-2x8x8-8x8x3"),
    "decoder": "-2x8x8-3x32x32",
}


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


def entry_of(engines, module):
    (path,) = engines.glob(f"{module}-*.engine")
    return path


def rewrite(path, edit):
    """Put what ``edit(manifest, blob)`` returns in place of an entry's two parts."""
    manifest, blob = path.read_bytes().split(b"\n", 1)
    path.write_bytes(b"\n".join(edit(manifest, blob)))


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


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the variable is of x86-64")
def test_a_cpu_of_the_same_name_with_fewer_instructions_has_entries_of_its_own(
    bundle, engines, tiny_bundle
):
    first = load(bundle, engines, precision="fp32")
    code = (
        "import sys; from moediff_rt import _core; "
        "engines = _core.Model(_core.load_bundle(sys.argv[1]), engines_dir=sys.argv[2], "
        "precision='fp32').engines; assert not any(e.cached for e in engines); "
        "print(engines[0].reason)"
    )
    old = subprocess.run(
        [sys.executable, "-c", code, str(tiny_bundle), str(engines)],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "SSE41"},
        cwd=engines,  # not the checkout, whose package has no extension
        check=True,
        capture_output=True,
        text=True,
    )
    assert re.fullmatch(r"device (.*) \(.+\) -> \1 \(.+\)\n", old.stdout)
    assert len(list(engines.iterdir())) == 2 * len(MODULES)
    again = load(bundle, engines, precision="fp32")
    assert [e.path for e in again.engines if e.cached] == [e.path for e in first.engines]


def test_names_tell_module_hash_backend_device_precision_and_profile(bundle, engines):
    load(bundle, engines, precision="fp32")
    assert len(list(engines.iterdir())) == len(MODULES)
    for module in bundle.modules:
        stem = f"{module.name}-{module.sha256[:16]}-openvino-CPU-fp32-b1{SHAPES[module.name]}-"
        assert re.fullmatch(stem + "[0-9a-f]{8}.engine", entry_of(engines, module.name).name)


def test_engines_of_a_fitted_tile_are_kept_beside_those_of_the_largest(bundle, engines):
    volume = np.zeros((1, 40, 40), np.float32)
    box = np.array([[2, 14, 0, 22]], np.int32)
    first = load(bundle, engines, precision="fp32").enhance(volume, box)
    assert first.tile_sizes == [(16, 24)]
    assert len(list(engines.iterdir())) == 2 * len(MODULES)
    assert len(list(engines.glob("decoder-*-b1-2x4x6-3x16x24-*.engine"))) == 1
    before = {path: path.stat().st_mtime_ns for path in engines.iterdir()}
    again = load(bundle, engines, precision="fp32").enhance(volume, box)
    np.testing.assert_array_equal(again.volume, first.volume)
    assert {path: path.stat().st_mtime_ns for path in engines.iterdir()} == before


def test_each_engine_is_told_as_it_is_loaded(bundle, engines):
    told = []
    model = load(bundle, engines, on_engine=lambda report: told.append(report.module))
    assert sorted(told) == sorted(MODULES)  # as they are ready
    assert [e.module for e in model.engines] == MODULES


def test_an_error_in_on_engine_comes_back_as_it_was(bundle, engines):
    def refuse(report):
        raise KeyError(report.module)

    with pytest.raises(KeyError) as stop:
        load(bundle, engines, on_engine=refuse)
    assert stop.value.args[0] in MODULES


def test_force_builds_again(bundle, engines):
    load(bundle, engines)
    assert {e.reason for e in load(bundle, engines, force=True).engines} == {"forced"}


def stale(manifest, member, old):
    return json.dumps({**json.loads(manifest), member: old}).encode()


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
    path = entry_of(engines, "gate")
    rewrite(path, lambda text, blob: (stale(text, member, old), blob))
    if member in ("backend_version", "device_name"):  # each has an entry of its own
        path.rename(path.with_name(path.name[:-15] + "0" * 8 + ".engine"))
    reports = {e.module: e for e in load(bundle, engines).engines}
    assert not reports["gate"].cached
    assert reports["gate"].reason.startswith(reason)
    assert reports["encoder"].cached
    assert all(e.cached for e in load(bundle, engines).engines)


def flip(blob):
    data = bytearray(blob)
    data[len(data) // 2] ^= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda manifest, blob: (manifest, blob[:-1]), "damaged: .* bytes"),
        (lambda manifest, blob: (manifest, flip(blob)), "damaged: its SHA-256"),
        (lambda manifest, blob: (manifest,), "damaged: .* bytes"),
        (lambda manifest, blob: (b"{", blob), "damaged: its manifest"),
        (lambda manifest, blob: (b"{}", blob), "module unknown -> "),
        (lambda manifest, blob: (), "damaged: its manifest"),
    ],
)
def test_a_damaged_entry_is_rebuilt(bundle, engines, damage, reason):
    load(bundle, engines)
    rewrite(entry_of(engines, "expert_1"), damage)
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
    assert {p.suffix for p in engines.iterdir()} == {".engine"}


def test_a_module_replaced_since_the_bundle_was_loaded_is_refused(engines, tmp_path):
    folder = make_bundle(tmp_path / "replaced")
    loaded = _core.load_bundle(str(folder))
    other = make_bundle(tmp_path / "other", seed=1)
    (folder / "gate.onnx").write_bytes((other / "gate.onnx").read_bytes())
    with pytest.raises(BundleError, match=r"expected SHA-256 .*, found .*load the bundle again"):
        load(loaded, engines)
    assert not list(engines.glob("gate-*"))
