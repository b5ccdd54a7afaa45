"""The runtime against its oracle: the same bundle, seed and steps give the same volume."""

import json
import shutil

import numpy as np
import pytest
from export_fixtures import card, random_model, volume_and_boxes
from moediff_export.bundle import write_bundle
from moediff_export.config import PAPER, get_config
from moediff_export.diffusion import (
    Sampling,
    cosine_alphas_cumprod,
    step_coefficients,
    timesteps,
)
from moediff_export.enhance import choose_planes, default_sampling, enhance_volume
from moediff_export.noise import normal
from moediff_export.onnx import relative_error
from moediff_export.tiles import tile_starts

from moediff_rt import _core

TOLERANCE = 1e-3


def run(bundle, engines, volume, boxes, sampling, seed=0, **options):
    model = _core.Model(
        _core.load_bundle(str(bundle)), precision="fp32", engines_dir=str(engines), threads=2
    )
    return model.enhance(
        volume,
        boxes,
        steps=sampling.steps,
        seed=seed,
        method=sampling.method,
        start=sampling.start,
        start_timestep=sampling.start_timestep,
        gate_threshold=sampling.gate_threshold,
        **options,
    )


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling("dpmpp_2m", 1, "low_field", 400),
        Sampling("dpmpp_2m", 4, "low_field", 400),
        Sampling("dpmpp_2m", 3, "noise", 999),
        Sampling("ddim", 3, "low_field", 250),
        Sampling("dpmpp_2m", 2, "low_field", 400, gate_threshold=0.3),
    ],
    ids=str,
)
def test_whole_volume_matches_enhance_volume(tiny_model, tiny_bundle, tmp_path_factory, sampling):
    volume, boxes = volume_and_boxes((4, 110, 90))
    engines = tmp_path_factory.getbasetemp() / "engines"
    result = run(tiny_bundle, engines, volume, boxes, sampling, seed=12)
    truth = enhance_volume(tiny_model, volume, boxes, sampling, seed=12)
    change = relative_error(truth, volume)
    assert change > 10 * TOLERANCE, "the model must do something for this to say anything"
    assert relative_error(result.volume, truth) <= TOLERANCE


def test_a_slice_without_neighbours_matches(tmp_path):
    config = get_config("tiny", slices=1)  # five: the default bundle's
    model = random_model(config)
    write_bundle(model, tmp_path / "tiny", card())
    volume, boxes = volume_and_boxes((6, 80, 90))
    sampling = default_sampling(config)
    result = run(tmp_path / "tiny", tmp_path / "engines", volume, boxes, sampling)
    truth = enhance_volume(model, volume, boxes, sampling)
    assert relative_error(truth, volume) > 10 * TOLERANCE, "the model must do something"
    assert relative_error(result.volume, truth) <= TOLERANCE


@pytest.fixture(scope="module")
def three_planes(tiny_bundle, tmp_path_factory):
    """A model on a bundle whose scans are seen in three planes, and its configuration."""
    folder = tmp_path_factory.mktemp("planes")
    config = get_config("tiny", planes=3)
    shutil.copytree(tiny_bundle, folder / "tiny")
    manifest = json.loads((tiny_bundle / "bundle.json").read_text())
    manifest["sampler"]["planes"] = config.planes
    (folder / "tiny" / "bundle.json").write_text(json.dumps(manifest))
    bundle = _core.load_bundle(str(folder / "tiny"))
    assert bundle.sampler.planes == 3
    engines = str(folder / "engines")
    return _core.Model(bundle, precision="fp32", engines_dir=engines, threads=2), config


@pytest.mark.parametrize("asked", [None, 2])
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((16, 20, 24), (2.0, 2.01, 2.0)),
        ((16, 20, 24), (2.0, 2.0, 2.2)),
        ((16, 20, 24), (2.0, 2.5, 2.0)),
        ((8, 20, 24), (1.5, 1.5, 1.5)),
        ((20, 8, 24), (1.5, 1.5, 1.5)),
    ],
)
def test_the_same_planes_are_chosen(three_planes, shape, spacing, asked):
    model, config = three_planes
    scan = np.random.default_rng(0).random(shape, np.float32)
    found = model.enhance_scan(scan, spacing, output_spacing=1.0, planes=asked or 0)
    assert list(found.planes) == choose_planes(config, spacing, found.volume.shape, asked)


def test_papers_shapes_run_by_the_same_runtime(tmp_path):
    """The paper's grids (256 x 256, latent 512 x 8 x 8, 1024 codes) with thinner networks."""
    config = get_config(
        "paper",
        autoencoder_widths=(16, 16, 16, 32, 32),
        autoencoder_blocks=1,
        token_dim=24,
        swin_blocks=2,
        expert_base=16,
        expert_blocks=1,
        steps=2,
    )
    assert (config.latent_channels, config.latent_size) == (512, 8) and PAPER.tile == config.tile
    model = random_model(config)
    write_bundle(model, tmp_path / "paper", card())
    volume, boxes = volume_and_boxes((3, 270, 200))
    sampling = default_sampling(config)
    result = run(tmp_path / "paper", tmp_path / "engines", volume, boxes, sampling)
    truth = enhance_volume(model, volume, boxes, sampling)
    assert relative_error(result.volume, truth) <= TOLERANCE


@pytest.mark.parametrize("method", ["ddim", "dpmpp_2m"])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_coefficients_match(method, steps):
    ab = cosine_alphas_cumprod(1000)
    ours = _core.step_coefficients(method, ab.tolist(), steps, 400, 0.5)
    truth = step_coefficients(Sampling(method, steps, "low_field", 400, eta=0.5), ab)
    np.testing.assert_allclose(ours, truth, rtol=1e-9, atol=1e-12)
    assert list(_core.timesteps(steps, 400)) == timesteps(steps, 400)


def test_noise_matches():
    ours = _core.normal(2**63 + 5, 3, (4, 7, 9), (6, 16, 16))
    np.testing.assert_allclose(ours, normal(2**63 + 5, 3, (4, 7, 9), (6, 16, 16)), atol=2e-6)


@pytest.mark.parametrize("n, lo, hi", [(50, 0, 50), (256, 3, 250), (700, 90, 640), (401, 10, 401)])
def test_tile_starts_match(n, lo, hi):
    assert list(_core.tile_starts(n, lo, hi, 256, 32, 4)) == tile_starts(n, lo, hi, 256, 32, 4)
