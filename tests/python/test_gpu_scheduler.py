"""The scheduler on a real GPU, with PyTorch's modules, against PyTorch's plain loop.

Needs the extension, NumPy and PyTorch: no ONNX, no runtime beside CUDA's.
"""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from moediff_export.config import TINY
from moediff_export.diffusion import cosine_alphas_cumprod
from moediff_export.enhance import default_sampling, enhance_volume
from moediff_export.model import MoEDiffSR
from moediff_export.torch_executor import TorchExecutor

from moediff_rt import _core

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch can use"),
]
SHAPE = (9, 150, 130)
SAMPLING = replace(default_sampling(TINY), steps=3, gate_threshold=0.0)
LARGEST = (TINY.tile, TINY.tile)  # what a GPU runs
MODULES = ("encoder", "conditioner", "gate", "expert_0", "expert_1", "expert_2", "decoder")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    model = MoEDiffSR(TINY).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
        model.gate.queries.mul_(30)  # so that plain tiles do without an expert
    return model


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """What the scheduler must know of the model; its modules' files are not read."""
    folder = tmp_path_factory.mktemp("bundle")
    empty = {"sha256": hashlib.sha256(b"-").hexdigest(), "bytes": 1}
    for name in MODULES:
        (folder / f"{name}.onnx").write_bytes(b"-")
    card = {
        "format": "moediff-bundle",
        "format_version": 3,
        "name": "tiny",
        "description": "made by a test",
        "license": "Apache-2.0",
        "created": "2026-01-01T00:00:00Z",
        "producer": "tests",
        "tile": {
            "height": TINY.tile,
            "width": TINY.tile,
            "slices": TINY.slices,
            "smallest": {"height": TINY.smallest_tile, "width": TINY.smallest_tile},
            "pitch": {"height": TINY.tile_pitch, "width": TINY.tile_pitch},
        },
        "latent": {
            "channels": TINY.latent_channels,
            "height": TINY.latent_size,
            "width": TINY.latent_size,
        },
        "condition": {"channels": TINY.z_c_channels},
        "gate": {
            "experts": 3,
            "height": TINY.gate_size,
            "width": TINY.gate_size,
            "names": list(TINY.experts),
        },
        "schedule": {
            "prediction": "x0",
            "alphas_cumprod": [float(a) for a in cosine_alphas_cumprod(TINY.timesteps)],
        },
        "sampler": {
            "method": TINY.sampler,
            "steps": 3,
            "start": TINY.start,
            "start_timestep": TINY.start_timestep,
            "eta": 0.0,
        },
        "intensity": {"percentile": 99.5, "value": 1.0},
        "dispatch": {"gate_threshold": 0.0, "tile_overlap": TINY.tile_overlap},
        "spacing_mm": {
            "output_min": 0.5,
            "output_max": 1.25,
            "input_min": 0.5,
            "input_max": 5.0,
        },
        "modules": {name: {"file": f"{name}.onnx", **empty} for name in MODULES},
        "training": {},
        "metrics": {},
    }
    (folder / "bundle.json").write_text(json.dumps(card))
    return _core.load_bundle(str(folder))


@pytest.fixture(scope="module")
def volume():
    rng = np.random.default_rng()
    volume = rng.random(SHAPE, dtype=np.float32)
    # Tokens of plain slices are alike: some expert counts little in all of them.
    volume[:5] = rng.random((5, 1, 1), dtype=np.float32)
    return volume


@pytest.fixture(scope="module")
def boxes():
    return np.tile(np.array([3, SHAPE[1], 0, SHAPE[2] - 2], np.int32), (SHAPE[0], 1))


@pytest.fixture(scope="module")
def truth(model, volume, boxes):
    return enhance_volume(model.cpu(), volume, boxes, SAMPLING, seed=5, size=LARGEST)


@pytest.mark.parametrize("largest_batch", [1, 4, 16])
def test_the_scheduler_gives_what_the_plain_loop_gives(
    model, bundle, volume, boxes, truth, largest_batch
):
    executor = TorchExecutor(model, largest_batch=largest_batch)
    run = _core.gpu_model(bundle, executor).enhance(volume, boxes, seed=5)
    assert np.linalg.norm(run.volume - truth) <= 1e-3 * np.linalg.norm(truth)


def test_low_precision_is_no_further_from_the_truth_than_pytorchs_own(
    model, bundle, volume, boxes, truth
):
    with torch.autocast("cuda", torch.bfloat16):
        plain = enhance_volume(model.cuda(), volume, boxes, SAMPLING, seed=5, size=LARGEST)
    run = _core.gpu_model(bundle, TorchExecutor(model, "bf16")).enhance(volume, boxes, seed=5)
    assert np.linalg.norm(run.volume - truth) <= 2 * np.linalg.norm(plain - truth)


def test_sparse_experts_change_little_and_are_counted(model, bundle, volume, boxes, truth):
    compiled = _core.gpu_model(bundle, TorchExecutor(model))
    run = compiled.enhance(volume, boxes, seed=5, gate_threshold=0.3)
    assert run.expert_calls_saved > 0
    assert np.linalg.norm(run.volume - truth) <= 0.2 * np.linalg.norm(truth)


def test_experts_in_turn_give_the_bits_of_experts_side_by_side(model, bundle, volume, boxes):
    executor = TorchExecutor(model)
    together = _core.gpu_model(bundle, executor).enhance(volume, boxes, seed=5).volume
    executor.concurrent = False
    in_turn = _core.gpu_model(bundle, executor).enhance(volume, boxes, seed=5).volume
    assert np.array_equal(in_turn, together)


def test_the_host_has_the_threads_asked_for(model, bundle):
    assert _core.gpu_model(bundle, TorchExecutor(model), threads=3).threads == 3


def test_a_result_is_repeated_bit_for_bit(model, bundle, volume, boxes):
    compiled = _core.gpu_model(bundle, TorchExecutor(model))
    one, two = (compiled.enhance(volume, boxes, seed=5).volume for _ in range(2))
    assert np.array_equal(one, two)
