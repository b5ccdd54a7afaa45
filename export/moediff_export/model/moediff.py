"""MoEDiff-SR assembled from its parts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import ModelConfig
from .autoencoder import Decoder, Encoder
from .conditioner import Conditioner
from .experts import EXPERTS
from .gate import Gate


@dataclass(frozen=True)
class Prediction:
    """One evaluation of the mixture.

    Attributes
    ----------
    z0 : Tensor, (N, C, h, w)
        The gated sum of the experts' predictions.
    experts : Tensor, (experts, N, C, h, w)
        What each expert predicts.
    gates : Tensor, (N, experts, h, w)
        The gate's weights, bilinear on the latent grid.
    """

    z0: Tensor
    experts: Tensor
    gates: Tensor


class MoEDiffSR(nn.Module):
    """The whole model: ``encoder``, ``conditioner``, ``gate``, ``experts`` and ``decoder``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.conditioner = Conditioner(config)
        self.gate = Gate(config)
        self.experts = nn.ModuleList(EXPERTS[name](config) for name in config.experts)
        self.decoder = Decoder(config)

    def encode_low_field(self, slices: Tensor) -> Tensor:
        """The middle one of slices (N, S, H, W) as a latent (N, C, h, w), no maps being known."""
        middle = slices[:, slices.shape[1] // 2]
        none = torch.zeros_like(middle)
        return self.encoder(torch.stack([middle, none, none], dim=1))

    def condition(self, slices: Tensor, z_low: Tensor) -> tuple[Tensor, Tensor]:
        """``z_c`` and gate map (N, experts, gh, gw) of slices (N, S, H, W) and their latent."""
        z_c, tokens = self.conditioner(slices, z_low)
        return z_c, self.gate(tokens)

    def predict(self, z_t: Tensor, z_c: Tensor, gates: Tensor, t: Tensor) -> Prediction:
        """Run every expert and sum what they predict, weighted by the gate.

        Parameters
        ----------
        z_t : Tensor, (N, C, h, w)
        z_c : Tensor, (N, h, w, C + condition_channels)
        gates : Tensor, (N, experts, gh, gw)
        t : Tensor, (N,)
        """
        weights = on_latent_grid(gates, z_t.shape[-2:])
        predictions = torch.stack([expert(z_t, z_c, t) for expert in self.experts])
        z0 = (weights.transpose(0, 1).unsqueeze(2) * predictions).sum(0)
        return Prediction(z0, predictions, weights)


def on_latent_grid(gates: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Gate maps (N, experts, gh, gw) on the latent grid (h, w): bilinear, half-pixel centres."""
    return F.interpolate(gates, size=tuple(size), mode="bilinear", align_corners=False)
