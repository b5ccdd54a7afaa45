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


def image_loss(image: Tensor, batch: Batch) -> Tensor:
    """Loss of an image (N, 1, H, W) decoded for the first N samples of a batch."""
    count = len(image)
    target, middle = batch.target[:count], batch.slices[:count, 1:2]
    relative = losses.relative_squared_error(image, target, middle)
    return losses.charbonnier(image, target) + 0.02 * relative


def partly_sharp(clean: Tensor, low: Tensor, generator: torch.Generator) -> Tensor:
    """Latents (N, C, h, w) on the way from the low-field to the clean ones, most of it at random.

    A predicted latent is never all the way there: the decoder must learn on such ones to weigh the
    latent against what the slices show.
    """
    way = 0.25 + 0.75 * torch.rand(len(clean), 1, 1, 1, generator=generator)
    return low + way * (clean - low)


def autoencoder_losses(
    model: MoEDiffSR, batch: Batch, generator: torch.Generator
) -> dict[str, Tensor]:
    """Reconstruct the sharp image from its latent, or from one that is partly there."""
    clean = model.encoder(encoder_input(batch.target, batch.maps))
    low = model.encode_low_field(batch.slices)
    z = partly_sharp(clean, low, generator)
    _, codebook = model.decoder.quantize(z)
    return {
        "reconstruction": image_loss(model.decoder(z, batch.slices), batch),
        "moments": 0.02 * losses.latent_moments(clean),
        "codebook": codebook,
    }


def draw_timesteps(
    count: int, start_timestep: int, total: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Timesteps (N,) and whether each sample starts from the low-field latent (N,).

    Most samples stand at the truncated start, noised from the low-field latent as the sampler
    does; the others come from the clean latent, two thirds of them on the way down from there.
    """
    kind = torch.rand(count, generator=generator)
    low = kind < 0.7
    upper = torch.where(kind < 0.9, start_timestep, total - 1)
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
    z = partly_sharp(clean[:half], low[:half], generator)
    _, codebook = model.decoder.quantize(z)
    decoded = model.decoder(
        torch.cat([z, prediction.z0]), torch.cat([batch.slices[:half], batch.slices])
    )
    targets = losses.gate_targets(prediction.experts, clean, gates.shape[-2:])
    return {
        "reconstruction": 0.3 * image_loss(decoded[:half], batch),
        "image": image_loss(decoded[half:], batch),
        "latent": 0.03 * losses.mixture(prediction.z0, prediction.experts, clean.detach()),
        "gate": 0.002 * losses.gate_cross_entropy(gates, targets),
        "balance": 0.01 * losses.load_balance(gates),
        "moments": 0.02 * losses.latent_moments(clean),
        "codebook": codebook,
    }
