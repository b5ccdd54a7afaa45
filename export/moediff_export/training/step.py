"""One training step: from a batch of crops to a loss."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.pairs import Batch
from ..diffusion import diffuse
from ..model import MoEDiffSR
from . import losses


def encoder_input(image: Tensor, maps: Tensor) -> Tensor:
    """Image (N, 1, H, W) and its two maps (N, 2, H, W) as the encoder takes them."""
    return torch.cat([image, maps], dim=1)


def autoencoder_losses(model: MoEDiffSR, batch: Batch) -> dict[str, Tensor]:
    """Reconstruct from the sharp image's latent, and from the low-field slice's own."""
    middle = batch.slices[:, 1:2]
    images = torch.cat([encoder_input(batch.target, batch.maps), encoder_input(middle, batch.maps)])
    z = model.encoder(images)
    clean, _ = z.chunk(2)
    _, codebook = model.decoder.quantize(z)
    decoded = model.decoder(z, batch.slices.repeat(2, 1, 1, 1))
    sharp, low = decoded.chunk(2)
    return {
        "reconstruction": losses.charbonnier(sharp, batch.target),
        "image": losses.charbonnier(low, batch.target),
        "moments": 0.02 * losses.latent_moments(clean),
        "codebook": codebook,
    }


def draw_timesteps(
    count: int, start_timestep: int, total: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Timesteps (N,) and whether each sample starts from the low-field latent (N,).

    Half the samples stand at the truncated start, noised from the low-field latent as the sampler
    does; the others come from the clean latent, most of them on the way down from there.
    """
    kind = torch.rand(count, generator=generator)
    low = kind < 0.5
    upper = torch.where(kind < 0.85, start_timestep, total - 1)
    t = (torch.rand(count, generator=generator) * upper).long()
    return torch.where(low, start_timestep, t), low


def joint_losses(
    model: MoEDiffSR, batch: Batch, alphas_cumprod: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Everything at once: autoencoder, experts, gate, and the image their latent decodes to."""
    count = len(batch.target)
    clean = model.encoder(encoder_input(batch.target, batch.maps))
    low = model.encode_low_field(batch.slices).detach()
    t, from_low = draw_timesteps(count, model.config.start_timestep, len(alphas_cumprod), generator)
    noise = torch.randn(clean.shape, generator=generator)
    source = torch.where(from_low[:, None, None, None], low, clean.detach())
    z_t = diffuse(source, noise, alphas_cumprod[t])
    z_c, gates = model.condition(batch.slices, low)
    prediction = model.predict(z_t, z_c, gates, t.float())

    half = max(count // 2, 1)  # reconstruction needs fewer samples than prediction
    _, codebook = model.decoder.quantize(clean[:half])
    decoded = model.decoder(
        torch.cat([clean[:half], prediction.z0]), torch.cat([batch.slices[:half], batch.slices])
    )
    targets = losses.gate_targets(prediction.experts, clean, gates.shape[-2:])
    return {
        "reconstruction": 0.2 * losses.charbonnier(decoded[:half], batch.target[:half]),
        "image": losses.charbonnier(decoded[half:], batch.target),
        "latent": 0.03 * losses.mixture(prediction.z0, prediction.experts, clean.detach()),
        "gate": 0.002 * losses.gate_cross_entropy(gates, targets),
        "balance": 0.01 * losses.load_balance(gates),
        "moments": 0.02 * losses.latent_moments(clean),
        "codebook": codebook,
    }
