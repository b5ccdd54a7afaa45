"""Building blocks that the autoencoder and the experts share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Latents are details brought up to size: what is added to them learns as fast as an image would.
LATENT_GAIN = 8.0


def conv3(in_channels: int, out_channels: int, stride: int = 1, gain: float = 1.0) -> nn.Conv2d:
    """A 3 x 3 convolution; He initialisation (He et al. 2015) times ``gain``.

    Without normalisation layers it is this that keeps signals alive through the depth.
    """
    conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    with torch.no_grad():
        conv.weight.mul_(gain)
    nn.init.zeros_(conv.bias)
    return conv


def conv1(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A 1 x 1 convolution that starts by keeping the variance."""
    conv = nn.Conv2d(in_channels, out_channels, 1)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")
    nn.init.zeros_(conv.bias)
    return conv


def upsample(x: Tensor, factor: int = 2) -> Tensor:
    """Nearest-neighbour upsampling of (N, C, H, W) by an integer factor."""
    return F.interpolate(x, scale_factor=float(factor), mode="nearest")


class ResBlock(nn.Module):
    """Residual block without normalisation: absolute intensities stay visible to every layer.

    The second convolution starts small, so that a deep stack starts as the identity
    (Zhang et al. 2019, Fixup; normalisation-free as in EDSR, Lim et al. 2017). ReLU bends small
    signals as sharply as large ones; a smooth activation is nearly linear for intensities below 1.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = conv3(in_channels, out_channels)
        self.conv2 = conv3(out_channels, out_channels, gain=0.1)
        same = in_channels == out_channels
        self.skip = nn.Identity() if same else conv1(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W)."""
        return self.skip(x) + self.conv2(F.relu(self.conv1(F.relu(x))))


class TimeResBlock(ResBlock):
    """Residual block with SiLU, modulated by the timestep (FiLM, Perez et al. 2018)."""

    def __init__(self, in_channels: int, out_channels: int, time_dim: int) -> None:
        super().__init__(in_channels, out_channels)
        self.film = nn.Linear(time_dim, 2 * out_channels)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:  # type: ignore[override]
        """Map (N, in_channels, H, W) and (N, time_dim) to (N, out_channels, H, W)."""
        scale, shift = self.film(embedding)[:, :, None, None].chunk(2, dim=1)
        hidden = self.conv1(F.silu(x)) * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.silu(hidden))


class TimeEmbedding(nn.Module):
    """Sinusoidal timestep embedding (Vaswani et al. 2017), then two linear layers."""

    def __init__(self, dim: int, max_period: float = 10000.0) -> None:
        super().__init__()
        half = dim // 2
        frequencies = torch.exp(-math.log(max_period) * torch.arange(half) / half)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.mlp = nn.Sequential(nn.Linear(2 * half, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, t: Tensor) -> Tensor:
        """Map timesteps (N,) to embeddings (N, dim)."""
        angles = t[:, None] * self.frequencies[None, :]
        return F.silu(self.mlp(torch.cat([torch.cos(angles), torch.sin(angles)], dim=1)))
