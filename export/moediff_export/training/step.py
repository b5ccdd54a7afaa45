"""One training step: from a batch of crops to named losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import EXPERT_NAMES, ModelConfig
from ..data.batches import Batch
from ..diffusion import diffuse, schedule_tensor
from ..model import Encoder, MoEDiffSR, RegressionUNet
from . import losses

# How much each group of losses counts beside the image's.
RECONSTRUCTION, JOINT, MOMENTS = 0.3, 0.2, 0.02
# Within the experts' and the gate's losses.
SPECIALITY, DIVERSITY, BALANCE = 0.1, 0.1, 0.5
REPORTED = "part/"  # prefix of what is logged beside the losses that are summed
SPECIALITY_SHARE = 4  # one sample in four is decoded from each expert alone


@dataclass(frozen=True)
class LossPlan:
    """Which parts of the losses are on: all, but for an ablation.

    Attributes
    ----------
    regions : bool
        Each expert learns its region: its losses are weighed by it, and the gate knows it before.
    mad : bool
        Gate targets at the temperature of the MAD; otherwise at 1.
    diversity, uncertainty : bool
        The gate's diversity term; learned weights of experts' and gate's losses, otherwise a
        half each.
    """

    regions: bool = True
    mad: bool = True
    diversity: bool = True
    uncertainty: bool = True


def encoder_input(image: Tensor, maps: Tensor) -> Tensor:
    """Image (N, 1, H, W) and its two maps (N, 2, H, W) as the encoder takes them."""
    return torch.cat([image, maps], dim=1)


def middle_slice(slices: Tensor) -> Tensor:
    """The slice to enhance, (N, 1, H, W), of slices (N, S, H, W)."""
    middle = slices.shape[1] // 2
    return slices[:, middle : middle + 1]


def image_loss(image: Tensor, batch: Batch) -> Tensor:
    """Loss of an image (N, 1, H, W) made for the first N samples of a batch."""
    target, plain = batch.target[: len(image)], middle_slice(batch.slices[: len(image)])
    image = image.float()
    relative = losses.relative_squared_error(image, target, plain)
    return losses.charbonnier(image, target) + 0.1 * relative


class Draws(NamedTuple):
    """What a step leaves to chance.

    Most samples stand at the truncated start, noised from the low-field latent as the sampler
    does; the others come from the clean latent, two thirds of them on the way down from there.

    Attributes
    ----------
    way : Tensor, (M, 1, 1, 1)
        How far the latents that are only decoded are on the way from low-field to clean ones. A
        predicted latent is never all the way there: the decoder must learn on such ones to weigh
        the latent against what the slices show.
    t : Tensor, (N,), long
        Timesteps.
    from_low : Tensor, (N,), bool
        Whether each sample starts from the low-field latent.
    noise : Tensor, (N, C, h, w)
    """

    way: Tensor
    t: Tensor
    from_low: Tensor
    noise: Tensor

    def to(self, device: torch.device) -> Draws:
        """The same on a device."""
        return Draws(*(t.to(device) for t in self))


def draw(config: ModelConfig, batch: Batch, alone: bool, generator: torch.Generator) -> Draws:
    """Draw a step's part of chance on the generator's device, the CPU: the same for any other.

    Of the autoencoder ``alone`` every latent is only decoded, later half of them.
    """
    n, _, height, width = batch.target.shape
    if alone:
        n = 0
    kind = torch.rand(n, generator=generator)
    low = kind < 0.85
    upper = torch.where(kind < 0.95, config.start_timestep, config.timesteps - 1)
    t = (torch.rand(n, generator=generator) * upper).long()
    grid = height // config.factor, width // config.factor
    noise = torch.randn(n, config.latent_channels, *grid, generator=generator)
    decoded = len(batch.target) if alone else max(n // 2, 1)
    way = 0.25 + 0.75 * torch.rand(decoded, 1, 1, 1, generator=generator)
    return Draws(way, torch.where(low, config.start_timestep, t), low, noise)


class TrainingStep(nn.Module):
    """The model, the weights learned beside it, and what is asked of them."""

    def __init__(self, model: MoEDiffSR | RegressionUNet, plan: LossPlan) -> None:
        super().__init__()
        self.model, self.plan = model, plan
        # Experts' and gate's losses; see `losses.uncertainty_weighted`.
        self.log_variances = nn.Parameter(torch.zeros(2))
        schedule = schedule_tensor(model.config.timesteps)
        self.register_buffer("alphas_cumprod", schedule, persistent=False)

    def forward(
        self,
        batch: Batch,
        draws: Draws,
        encoder: Encoder | None,
        alone: bool,
        guidance: Tensor,
    ) -> dict[str, Tensor]:
        """Losses by name; their sum is what to minimise, those in `REPORTED` are for the log.

        Parameters
        ----------
        batch : Batch
        draws : Draws
        encoder : Encoder
            Fixed weights for the perceptual loss; None for a plain regression.
        alone : bool
            Train the autoencoder without the rest.
        guidance : Tensor, ()
            How much of the mixture's weights comes from anatomy instead of the gate, 0 to 1: while
            the gate knows little, each expert learns its own region.
        """
        if isinstance(self.model, RegressionUNet):
            return {"image": image_loss(self.model(batch.slices), batch)}
        assert encoder is not None
        if alone:
            return self._autoencoder(self.model, batch, draws)
        return self._joint(self.model, batch, draws, encoder, guidance)

    def _autoencoder(self, model: MoEDiffSR, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Reconstruct the sharp image from its latent, or from one that is partly there."""
        clean = model.encoder(encoder_input(batch.target, batch.maps))
        low = model.encode_low_field(batch.slices)
        z = low + draws.way * (clean - low)
        _, codebook = model.decoder.quantize(z)
        return {
            "reconstruction": image_loss(model.decoder(z, batch.slices), batch),
            "moments": MOMENTS * losses.latent_moments(clean.float()),
            "codebook": codebook,
        }

    def _joint(
        self,
        model: MoEDiffSR,
        batch: Batch,
        draws: Draws,
        encoder: Encoder,
        guidance: Tensor,
    ) -> dict[str, Tensor]:
        """Everything at once: autoencoder, experts, gate, and the image their latent decodes to."""
        count, device = len(batch.target), batch.target.device
        clean = model.encoder(encoder_input(batch.target, batch.maps))
        low = model.encode_low_field(batch.slices).detach()
        source = torch.where(draws.from_low[:, None, None, None], low, clean.detach())
        z_t = diffuse(source, draws.noise, self.alphas_cumprod[draws.t])
        z_c, gates = model.condition(batch.slices, low)
        prior = self._prior(batch, gates)
        mixing = gates
        if model.config.gated:
            mixing = torch.lerp(gates, prior.to(gates), guidance.to(gates))
        prediction = model.predict(z_t, z_c, mixing, draws.t.float())

        # One call decodes it all: partly sharp latents (fewer suffice), the gated sum, the experts.
        half, few = max(count // 2, 1), max(count // SPECIALITY_SHARE, 1)
        own = prediction.experts[:, :few].flatten(0, 1)
        z = low[:half] + draws.way * (clean[:half] - low[:half])
        _, codebook = model.decoder.quantize(z)
        experts = len(prediction.experts)
        slices = [batch.slices[:half], batch.slices, batch.slices[:few].repeat(experts, 1, 1, 1)]
        decoded = model.decoder(torch.cat([z, prediction.z0, own]), torch.cat(slices)).float()
        reconstructed, image, alone = decoded.split([half, count, experts * few])

        weights = self._region_weights(batch, experts)
        special = self._specialities(alone.unflatten(0, (experts, few)), batch, weights, encoder)
        with torch.autocast(device.type, enabled=False):
            predicted, truth = prediction.experts.float(), clean.detach().float()
            grid = F.interpolate(weights, size=truth.shape[-2:], mode="area")
            denoised = losses.denoising(predicted, truth, low.float(), grid)
            everywhere = torch.ones_like(grid[:, :1])
            mixture = prediction.z0.float()[None]
            mixed = losses.denoising(mixture, truth, low.float(), everywhere)[0]
            gates = gates.float()
            temperature = None if self.plan.mad else 1.0
            targets = losses.gate_targets(predicted, truth, prior, temperature)
            cross_entropy = losses.gate_cross_entropy(gates, targets)
            diversity = losses.gate_diversity(gates)
            balance = losses.load_balance(gates)
            expert_loss = mixed + denoised.mean() + SPECIALITY * special.mean()
            gate_loss = cross_entropy + BALANCE * balance
            if self.plan.diversity:
                gate_loss = gate_loss + DIVERSITY * diversity
            both = torch.stack([expert_loss, gate_loss])
            # As they begin, learned weights are a half each.
            weighted = both.sum() / 2
            if self.plan.uncertainty:
                weighted = losses.uncertainty_weighted(both, self.log_variances)
            terms = {
                "reconstruction": RECONSTRUCTION * image_loss(reconstructed, batch),
                "image": image_loss(image, batch),
                "joint": JOINT * weighted,
                "moments": MOMENTS * losses.latent_moments(clean.float()),
                "codebook": codebook,
            }
            parts = {
                "latent_mixture": mixed,
                "gate_cross_entropy": cross_entropy,
                "gate_diversity": diversity,
                "gate_balance": balance,
                "expert_log_variance": self.log_variances[0],
                "gate_log_variance": self.log_variances[1],
            }
            for name, latent, own_loss in zip(model.config.experts, denoised, special, strict=True):
                parts |= {f"latent_{name}": latent, f"speciality_{name}": own_loss}
            return terms | {f"{REPORTED}{k}": v.detach() for k, v in parts.items()}

    def _prior(self, batch: Batch, gates: Tensor) -> Tensor:
        """What anatomy says of the gates, in their shape: (N, experts, gh, gw), sum 1."""
        if gates.shape[1] == len(EXPERT_NAMES) and self.plan.regions:
            return losses.region_gates(batch.regions, gates.shape[-2:])
        return torch.full_like(gates, 1 / gates.shape[1], dtype=torch.float32)

    def _region_weights(self, batch: Batch, experts: int) -> Tensor:
        """Weights (N, experts, H, W) of each expert's losses at every pixel."""
        if experts == len(EXPERT_NAMES) and self.plan.regions:
            return losses.region_weights(batch.regions, batch.target.shape[-2:])
        return torch.ones_like(batch.target).expand(-1, experts, -1, -1)

    def _specialities(
        self, images: Tensor, batch: Batch, weights: Tensor, encoder: Encoder
    ) -> Tensor:
        """Each expert's speciality, (experts,), over that of interpolation.

        ``images`` (experts, N, 1, H, W) are decoded from each expert's latent alone.
        """
        few = images.shape[1]
        target, maps = batch.target[:few], batch.maps[:few]
        plain = middle_slice(batch.slices[:few])
        terms = []
        for i, name in enumerate(self.model.config.experts):
            w = weights[:few, i : i + 1]
            pair = []
            for image in (images[i], plain):
                if name == "cortex":
                    value = losses.local_gradients(image, target, w)
                elif name == "junction":
                    with torch.autocast(image.device.type, enabled=False):
                        value = losses.local_spectrum(image, target, w)
                else:
                    seen = [f.float() for f in encoder.features(encoder_input(image, maps))]
                    with torch.no_grad():
                        true = [f.float() for f in encoder.features(encoder_input(target, maps))]
                    value = losses.perceptual(seen, true, w)
                pair.append(value)
            terms.append(pair[0] / (pair[1].detach() + losses.SMALLEST))
        return torch.stack(terms)
