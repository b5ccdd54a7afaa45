"""What the C++ core refuses before any engine is loaded."""

import hashlib
import json
import shutil

import numpy as np
import onnx
import pytest
from tiny_bundle import write_card

from moediff_rt import _core
from moediff_rt.errors import BundleError


@pytest.fixture
def folder(tiny_bundle, tmp_path):
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def edit(folder, **changes):
    """Set dotted keys of the card; a value of `...` deletes the key."""
    content = json.loads((folder / "bundle.json").read_text())
    for key, value in changes.items():
        at = content
        *parents, last = key.split("__")
        for parent in parents:
            at = at[parent]
        if value is ...:
            del at[last]
        else:
            at[last] = value
    write_card(folder, content)


def test_a_bundle_says_what_its_card_says(folder):
    bundle = _core.load_bundle(str(folder))
    content = json.loads(bundle.json)
    assert bundle.path == str(folder)
    assert bundle.name == "tiny"
    assert bundle.format_version == 3
    assert bundle.hash == hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    assert bundle.tile == (32, 32, 3)
    assert (bundle.smallest_tile, bundle.tile_pitch) == ((16, 16), (8, 8))
    assert bundle.latent == (2, 8, 8)
    assert bundle.gate == (3, 4, 4)
    assert bundle.expert_names == ["a", "b", "c"]
    np.testing.assert_array_equal(bundle.alphas_cumprod, content["schedule"]["alphas_cumprod"])
    sampler = bundle.sampler
    assert (sampler.method, sampler.start) == ("dpmpp_2m", "low_field")
    assert (sampler.steps, sampler.start_timestep, sampler.eta) == (2, 40, 0.0)
    assert sampler.planes == 1, "where a bundle does not say"
    assert (bundle.percentile, bundle.intensity_value) == (99.5, 1.0)
    assert (bundle.gate_threshold, bundle.tile_overlap) == (0.05, 8)
    assert (bundle.output_min_mm, bundle.output_max_mm) == (0.5, 1.25)
    assert (bundle.input_min_mm, bundle.input_max_mm) == (0.5, 5.0)
    assert [m.name for m in bundle.modules] == list(content["modules"])
    assert all(m.sha256 == content["modules"][m.name]["sha256"] for m in bundle.modules)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(BundleError, match="found nothing"):
        _core.load_bundle(str(tmp_path / "none"))


def test_a_file_is_refused(folder):
    with pytest.raises(BundleError, match="found a file"):
        _core.load_bundle(str(folder / "gate.onnx"))


def test_a_folder_without_a_card_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"expected bundle\.json"):
        _core.load_bundle(str(tmp_path))


@pytest.mark.parametrize(
    "text", ["", "{", "[1, 2]", '{"format": NaN}', '{"a": 1, "a": 2}', "[" * 10000, "\x00\xff{}"]
)
def test_a_card_that_is_no_json_object_is_refused(folder, text):
    (folder / "bundle.json").write_text(text)
    with pytest.raises(BundleError, match=r"bundle\.json"):
        _core.load_bundle(str(folder))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, '"moediff-bundle" for format'),
        ({"format_version": 4}, "format_version 3 .*found 4.*newer.*update"),
        ({"format_version": 2}, "format_version 3 .*found 2.*older.*export it again"),
        ({"format_version": 1.5}, "whole number"),
        ({"name": ...}, "no such key"),
        ({"tile__height": "32"}, "found a string"),
        ({"tile__height": 1e9}, "from 1 to"),
        ({"tile__slices": 0}, "from 1 to 15"),
        ({"tile__slices": 4}, "an odd number for tile.slices, found 4"),
        ({"tile__slices": 17}, "from 1 to 15"),
        ({"latent__height": 7}, "divide the tile"),
        ({"tile__smallest": ...}, r"tile\.smallest\.height, found no such key"),
        ({"tile__smallest__width": 40}, "from 1 to 32 for tile.smallest.width"),
        ({"tile__smallest__width": 20}, "divisor .* tile.pitch.width, found 8 for 20 to 32"),
        ({"tile__pitch__height": 24}, "from 1 to 16 for tile.pitch.height"),
        ({"tile__pitch__height": 5}, "divisor .* tile.pitch.height, found 5 for 16 to 32"),
        ({"tile__pitch__height": 4}, "whole latent and gate cells .* tile.pitch.height, found 4"),
        ({"tile__pitch__height": 0}, "from 1 to 16"),
        ({"gate__experts": 9}, "from 1 to 8"),
        ({"gate__names": ["a"]}, "3 names"),
        ({"schedule__prediction": "eps"}, '"x0"'),
        ({"sampler__planes": 4}, "from 1 to 3 for sampler.planes, found 4"),
        ({"sampler__planes": 1.5}, "whole number for sampler.planes"),
        ({"schedule__alphas_cumprod": []}, "at least one"),
        ({"schedule__alphas_cumprod": [0.9, 0.95]}, "never rise"),
        ({"schedule__alphas_cumprod": [0.9, "x"]}, "array of numbers"),
        ({"sampler__method": "euler"}, "ddim or dpmpp_2m"),
        ({"sampler__start": "middle"}, "low_field or noise"),
        ({"sampler__start_timestep": 100}, "from 0 to 99"),
        ({"sampler__steps": 41}, "from 1 to 40"),
        ({"dispatch__gate_threshold": 0.34}, "less than 1/3"),
        ({"dispatch__tile_overlap": 6}, "multiple of 4"),
        ({"dispatch__tile_overlap": 12}, "from 0 to 8"),
        ({"spacing_mm__output_max": 0.1}, "output_max"),
        ({"modules__gate": ...}, r"modules\.gate\.file"),
        ({"modules__gate__file": "../gate.onnx"}, "inside the bundle"),
        ({"modules__gate__file": "/etc/passwd"}, "inside the bundle"),
        ({"modules__gate__file": "a/../../gate.onnx"}, "inside the bundle"),
        ({"modules__gate__file": "none.onnx"}, "found none"),
        ({"modules__gate__sha256": "AB"}, "64 lower-case hex"),
        ({"modules__gate__sha256": "0" * 64}, "SHA-256 0000"),
        ({"modules__gate__bytes": 1}, "expected 1 bytes"),
    ],
)
def test_a_wrong_card_is_refused_with_the_reason(folder, change, words):
    edit(folder, **change)
    with pytest.raises(BundleError, match=words):
        _core.load_bundle(str(folder))


@pytest.mark.parametrize("slices", [1, 3, 5, 15])
def test_a_card_may_name_any_odd_number_of_slices(folder, slices):
    edit(folder, tile__slices=slices)
    assert _core.load_bundle(str(folder)).tile == (32, 32, slices)


def test_a_damaged_module_is_refused(folder):
    path = folder / "expert_1.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"SHA-256 .*expert_1\.onnx.*copy the bundle again"):
        _core.load_bundle(str(folder))


def test_a_truncated_module_is_refused(folder):
    path = folder / "decoder.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match="cut short"):
        _core.load_bundle(str(folder))


def swap(folder, module, other):
    """Let ``module`` be a copy of ``other``, with a card that agrees."""
    data = (folder / f"{other}.onnx").read_bytes()
    (folder / f"{module}.onnx").write_bytes(data)
    edit(
        folder,
        **{
            f"modules__{module}__sha256": hashlib.sha256(data).hexdigest(),
            f"modules__{module}__bytes": len(data),
        },
    )


def test_modules_that_contradict_the_card_are_refused(folder):
    swap(folder, "gate", "encoder")
    with pytest.raises(BundleError, match=r"expected inputs tokens of gate, found image"):
        _core.Model(_core.load_bundle(str(folder)))


def test_a_card_that_contradicts_the_modules_is_refused(folder):
    edit(folder, latent__channels=4)
    with pytest.raises(BundleError, match=r"z \(N, 4, 8, 8\).*found z \(N, 2, 8, 8\)"):
        _core.Model(_core.load_bundle(str(folder)))


def test_a_card_with_other_slices_than_the_modules_is_refused(folder):
    edit(folder, tile__slices=5)
    with pytest.raises(
        BundleError, match=r"slices \(N, 5, 32, 32\).*found slices \(N, 3, 32, 32\)"
    ):
        _core.Model(_core.load_bundle(str(folder)))


def test_inputs_in_another_order_are_found_by_name(folder, tiny_bundle):
    for i in range(3):
        path = folder / f"expert_{i}.onnx"
        onnx_model = onnx.load(path)
        first = onnx_model.graph.input.pop(0)
        onnx_model.graph.input.append(first)
        onnx.save(onnx_model, path)
        swap(folder, f"expert_{i}", f"expert_{i}")
    volume = np.random.default_rng(0).random((1, 32, 32), dtype=np.float32)
    boxes = np.array([[0, 32, 0, 32]], np.int32)
    found, expected = (
        _core.Model(_core.load_bundle(str(f))).enhance(volume, boxes).volume
        for f in (folder, tiny_bundle)
    )
    np.testing.assert_array_equal(found, expected)
