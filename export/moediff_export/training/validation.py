"""How a run does on crops of slabs that it does not train on."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.batches import TISSUE_ABOVE, Batch, crop_batch
from ..data.shards import Pair
from ..enhance import default_sampling, sample
from ..model import MoEDiffSR, RegressionUNet
from .step import encoder_input, middle_slice

BATCHES, CROPS = 24, 4  # of fewer crops, which ones were drawn decides between two models


def draw_crops(pairs: list[Pair], seed: int, crop: int, slices: int) -> list[Batch]:
    """Crops of held-out pairs: the same from the same pairs with this seed, size and slices."""
    rng = np.random.default_rng([seed, 3])
    return [crop_batch(rng, pairs, crop, CROPS, slices) for _ in range(BATCHES)]


@torch.inference_mode()
def score(model: MoEDiffSR | RegressionUNet, batches: list[Batch]) -> dict[str, float]:
    """Mean PSNR (dB) of crops: interpolated, enhanced, and reconstructed from clean latents.

    Where a crop shows tissue (above `TISSUE_ABOVE`), for a peak of 1, which is the scan's 99.5th
    percentile; each crop counts alike, however large its errors. And how much the gate gives each
    expert in its own region.

    Parameters
    ----------
    model : MoEDiffSR or RegressionUNet
        In evaluation mode, on the batches' device.
    batches : list of Batch
    """
    errors: dict[str, list[float]] = {}
    own: dict[str, list[tuple[float, float]]] = {}
    for i, batch in enumerate(batches):
        tissue = batch.target > TISSUE_ABOVE
        images = {"interpolated": middle_slice(batch.slices)}
        if isinstance(model, RegressionUNet):
            images["enhanced"] = model(batch.slices)
        else:
            images |= _sampled(model, batch, i)
            _, gates = model.condition(batch.slices, model.encode_low_field(batch.slices))
            regions = F.interpolate(batch.regions, size=gates.shape[-2:], mode="area")
            for k, name in enumerate(model.config.experts):
                sums = (gates[:, k] * regions[:, k]).sum(), regions[:, k].sum()
                own.setdefault(f"gate_{name}", []).append((float(sums[0]), float(sums[1])))
        for name, image in images.items():
            squared = ((image - batch.target).square() * tissue).sum(dim=(1, 2, 3))
            errors.setdefault(name, []).extend(
                (squared / tissue.sum(dim=(1, 2, 3)).clamp_min(1)).tolist()
            )
    scores = {
        k: float(np.mean([-10 * math.log10(e) for e in v if e > 0])) for k, v in errors.items()
    }
    return scores | {
        k: sum(a for a, _ in v) / max(sum(b for _, b in v), 1e-9) for k, v in own.items()
    }


def _sampled(model: MoEDiffSR, batch: Batch, number: int) -> dict[str, Tensor]:
    """The batch enhanced, and reconstructed from its clean latents."""
    config = model.config
    generator = torch.Generator().manual_seed(number)
    size = batch.target.shape[-1] // config.factor
    shape = (len(batch.target), config.latent_channels, size, size)

    def noise_of(_: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(batch.target.device)

    clean = model.encoder(encoder_input(batch.target, torch.zeros_like(batch.maps)))
    return {
        "enhanced": sample(model, batch.slices, default_sampling(config), noise_of),
        "reconstructed": model.decoder(clean, batch.slices),
    }
