"""The bundle that ships: whole, equal to its reference, and better than interpolation."""

import numpy as np
import pytest
from moediff_export.bundle import load_reference
from moediff_export.data.held_out import load_subject, simulate_scan
from moediff_export.data.scanner import interpolate
from moediff_export.enhance import enhance_volume
from moediff_export.evaluation.metrics import psnr, ssim
from moediff_export.int8 import compare, record_inputs
from moediff_export.modules import list_modules
from moediff_export.onnx import relative_error

from moediff_rt import Session, _core
from moediff_rt.cache import default_bundle
from moediff_rt.preprocess import prepare

SLICES = slice(36, 46)  # of the simulated scan, through the middle of the head


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    with Session(precision="fp32", engines_dir=tmp_path_factory.mktemp("engines")) as session:
        yield session


def test_it_is_small_enough_to_ship():
    size = sum(path.stat().st_size for path in default_bundle().iterdir())
    assert size <= 24e6


def test_its_card_says_what_it_was_trained_on_and_how_good_it_is():
    card = _core.load_bundle(str(default_bundle())).json
    assert "Colin27" in card and "psnr_model" in card and "MNI152" in card


def test_the_runtime_equals_the_reference_on_it(session):
    scan = simulate_scan(load_subject("mni152"), noise_percent=1.0)
    low = np.asarray(scan.dataobj, dtype=np.float32)[:, :, 40:42]
    bundle = session.bundle
    prepared = prepare(
        low,
        (2.0, 2.0, 2.0),
        (2 * low.shape[0], 2 * low.shape[1], 4),
        percentile=bundle.percentile,
        value=bundle.intensity_value,
    )
    result = session.model.enhance(prepared.volume, prepared.boxes, seed=3)
    truth = enhance_volume(
        load_reference(default_bundle()), prepared.volume, prepared.boxes, seed=3
    )
    assert relative_error(truth, prepared.volume) > 1e-2
    assert relative_error(result.volume, truth) <= 1e-3


def test_its_conditioner_and_experts_have_8_bit_forms_that_compute_the_same(pairs, monkeypatch):
    monkeypatch.setattr("moediff_export.int8.CROPS", 4)
    bundle = _core.load_bundle(str(default_bundle()))
    forms = {module.name: default_bundle() / module.file for module in bundle.int8_modules}
    assert list(forms) == ["conditioner", "expert_0", "expert_1", "expert_2"]
    model = load_reference(default_bundle())
    items = {item.name: item for item in list_modules(model)}
    for name, seen in record_inputs(model, list(items.values()), pairs).items():
        plain, outputs = default_bundle() / f"{name}.onnx", list(items[name].outputs)
        assert 0 < compare(plain, forms[name], outputs, seen) < 0.15, name


@pytest.mark.usefixtures("int8_processor")
@pytest.mark.parametrize("noise_percent", [1.0, 3.0])
def test_its_8_bit_modules_cost_at_most_a_tenth_of_a_decibel(session, tmp_path, noise_percent):
    held_out = load_subject("mni152")
    low = np.asarray(simulate_scan(held_out, noise_percent).dataobj, dtype=np.float32)
    inside = slice(2 * SLICES.start, 2 * SLICES.stop)
    truth, brain = held_out.truth[:, :, inside], held_out.brain[:, :, inside]
    with Session(precision="int8", engines_dir=tmp_path) as low_precision:
        scores = [
            psnr(one.enhance(low[:, :, SLICES], 2.0, output_spacing=1.0), truth, brain)
            for one in (session, low_precision)
        ]
    assert scores[0] != scores[1], "int8 must do something for this to say anything"
    assert scores[0] - scores[1] <= 0.1


@pytest.mark.parametrize(("noise_percent", "gain_db"), [(1.0, 2.0), (3.0, 1.9)])
def test_it_beats_interpolation_on_an_unseen_head(session, noise_percent, gain_db):
    held_out = load_subject("mni152")
    low = np.asarray(simulate_scan(held_out, noise_percent).dataobj, dtype=np.float32)
    inside = slice(2 * SLICES.start, 2 * SLICES.stop)
    truth, brain = held_out.truth[:, :, inside], held_out.brain[:, :, inside]
    spline = interpolate(low, held_out.truth.shape)[:, :, inside]
    enhanced = session.enhance(low[:, :, SLICES], 2.0, output_spacing=1.0)
    keep = np.zeros_like(brain)
    keep[:, :, 4:-4] = brain[:, :, 4:-4]  # the slab's own ends are no part of the claim
    assert psnr(enhanced, truth, keep) > psnr(spline, truth, keep) + gain_db
    assert ssim(enhanced, truth, keep) > ssim(spline, truth, keep)
