"""What the tests of the reference share."""

import numpy as np
import torch
from moediff_export.model import MoEDiffSR
from moediff_export.onnx import round_weights
from moediff_export.training.checkpoint import write_checkpoint
from moediff_export.training.plan import TrainingPlan
from scipy import ndimage


def random_model(config, seed=0):
    """A model whose every parameter matters: zero-initialised ones too are random."""
    torch.manual_seed(seed)
    model = MoEDiffSR(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
    return round_weights(model)


def card():
    return {"description": "random weights", "license": "Apache-2.0", "training": {}, "metrics": {}}


def save_run(model, folder):
    """A run's checkpoint that ended with the weights of a model."""
    weights = {f"averaged/{name}": value for name, value in model.state_dict().items()}
    record = {"config": model.config.to_dict(), "steps": 1, "minutes": 0, "plan": {}}
    write_checkpoint(folder, weights, {**record, "machine": "here"})
    return folder


def volume_and_boxes(shape, seed=0):
    """A smooth random volume (nz, ny, nx) and foreground boxes, some of them empty."""
    rng = np.random.default_rng(seed)
    volume = ndimage.gaussian_filter(rng.random(shape), 1.5).astype(np.float32)
    volume = (volume - volume.min()) / np.ptp(volume)
    nz, ny, nx = shape
    boxes = np.tile(np.array([3, ny - 2, 5, nx - 4], np.int32), (nz, 1))
    boxes[0] = 0
    boxes[-1] = [ny // 2, ny // 2 + 8, 4, 20]
    return volume, boxes


def plan(steps, **changes):
    """A short training at the tiny size."""
    chosen = {"crop": 64, "batch": 2, "warmup_steps": 5, "autoencoder_share": 0.3} | changes
    return TrainingPlan(1000.0, steps, **chosen)
