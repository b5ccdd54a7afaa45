"""The autoencoder: image and acquisition maps to a latent, and latent plus low-field slices back.

MoEDiff-SR (Wang et al. 2025) encodes the image together with its bias-field and
gradient-nonlinearity maps. Here the decoder also sees the interpolated low-field slices and
predicts what must be added to the middle one, so the latent never has to carry what the scan
already shows.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import ModelConfig
from .blocks import ResBlock, conv1, conv3

ENCODER_INPUTS = 3  # image, log bias field, log Jacobian of the gradient nonlinearity
# What a scan lacks is in its finest detail, an eighth or so of its contrast: brought up to size
# before the first layer, or the latent is spent on what the decoder sees in the slices anyway.
DETAIL_GAIN = 8.0
DETAIL_WINDOW = 5  # pixels


def fine_detail(image: Tensor) -> Tensor:
    """What an image (N, 1, H, W) has beyond its local mean, amplified."""
    mean = image
    for window in ((DETAIL_WINDOW, 1), (1, DETAIL_WINDOW)):  # 10 values a pixel instead of 25
        pad = (window[0] // 2, window[1] // 2)
        mean = F.avg_pool2d(mean, window, stride=1, padding=pad, count_include_pad=False)
    return DETAIL_GAIN * (image - mean)


def carry(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A 1 x 1 convolution that starts as the identity, as far as the channels go."""
    conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
    nn.init.dirac_(conv.weight)
    return conv


class Encoder(nn.Module):
    """Image and its two acquisition maps -> latent.

    The first level works on 2 x 2 blocks of pixels as channels, each further level halves the grid.
    The image's fine detail comes in beside it, and once more through a linear path of its own.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = config.autoencoder_widths
        self.factor = config.factor
        self.stem = conv3(4 * (ENCODER_INPUTS + 1), widths[0] // 2)
        levels: list[nn.Module] = []
        channels = widths[0] // 2
        for width in widths[1:]:
            levels.append(conv3(channels, width, stride=2))
            levels.extend(ResBlock(width, width) for _ in range(config.autoencoder_blocks))
            channels = width
        self.levels = nn.Sequential(*levels)
        self.out = conv3(channels, config.latent_channels, gain=0.1)
        self.detail = carry(config.factor**2, config.latent_channels)

    def forward(self, image: Tensor) -> Tensor:
        """Encode (N, 3, H, W) [image, log bias map, log Jacobian map] to ``z`` (N, C, h, w)."""
        detail = F.pixel_unshuffle(fine_detail(image[:, :1]), self.factor)
        return self.out(self.features(image)[-1]) + self.detail(detail)

    def features(self, image: Tensor) -> list[Tensor]:
        """What each of its levels sees in (N, 3, H, W), fine to coarse, (N, C, h, w) each."""
        seen = (image, fine_detail(image[:, :1]))
        x = F.relu(self.stem(torch.cat([F.pixel_unshuffle(part, 2) for part in seen], dim=1)))
        return [x, F.relu(self.levels(x))] if len(self.levels) else [x]


class VectorQuantizer(nn.Module):
    """Nearest code of a learned codebook, with a straight-through gradient.

    Source: van den Oord et al. 2017 (VQ-VAE), equations 2 and 3.
    """

    def __init__(self, codes: int, dim: int) -> None:
        super().__init__()
        self.codebook = nn.Parameter(torch.empty(codes, dim).uniform_(-1.0, 1.0))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Quantise ``z`` (N, C, h, w); returns it quantised, and the codebook loss (a scalar)."""
        n, c, h, w = z.shape
        flat = z.permute(0, 2, 3, 1).reshape(-1, c)
        distance = (
            flat.square().sum(1, keepdim=True)
            - 2 * flat @ self.codebook.t()
            + self.codebook.square().sum(1)[None, :]
        )
        nearest = self.codebook[distance.argmin(dim=1)].reshape(n, h, w, c).permute(0, 3, 1, 2)
        loss = F.mse_loss(nearest, z.detach()) + 0.25 * F.mse_loss(z, nearest.detach())
        return z + (nearest - z).detach(), loss


class UShape(nn.Module):
    """Slices -> enhanced slice: a U-shaped network on 2 x 2 pixel blocks.

    The slices go down to the latent grid and come up again; the output is added to the middle one.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths, blocks = config.autoencoder_widths, config.autoencoder_blocks
        self.config = config
        self.middle = config.slices // 2
        self.stem = conv3(4 * config.slices, widths[0])
        self.down = nn.ModuleList(conv3(a, b, stride=2) for a, b in pairwise(widths))
        self.bottom = nn.Sequential(*(ResBlock(widths[-1], widths[-1]) for _ in range(blocks)))
        self.up = nn.ModuleList(
            conv1(b, 4 * a) for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.merge = nn.ModuleList(
            nn.Sequential(*(ResBlock(a, a) for _ in range(blocks))) for a in widths[-2::-1]
        )
        self.out = conv3(widths[0], 4, gain=0.1)

    def enhance(self, slices: Tensor, at_bottom: Tensor | None) -> Tensor:
        """Slices (N, S, H, W) -> (N, 1, H, W); features (N, C, h, w) to add at the bottom."""
        x = self.stem(F.pixel_unshuffle(slices, 2))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(F.relu(x))
        x = self.bottom(x if at_bottom is None else x + at_bottom)
        for up, merge in zip(self.up, self.merge, strict=True):
            # Sub-pixel upsampling: one latent cell can place detail anywhere in its pixels.
            x = merge(F.pixel_shuffle(up(x), 2) + skips.pop())
        residual = F.pixel_shuffle(self.out(F.relu(x)), 2)
        return slices[:, self.middle : self.middle + 1] + residual


class RegressionUNet(UShape):
    """What a plain regression gets from the same slices: the yardstick, with no diffusion in it."""

    def forward(self, slices: Tensor) -> Tensor:
        """Map (N, S, H, W) to the enhanced middle slice (N, 1, H, W)."""
        return self.enhance(slices, None)


class Decoder(UShape):
    """Latent and interpolated low-field slices -> enhanced slice: they meet on the latent grid.

    Beside the network, the latent's own detail takes the place of the slice's: with a channel a
    pixel both halves of the autoencoder start as the identity, and learn what is better than that.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        codes, channels = config.vq_codes, config.latent_channels
        self.quantizer = VectorQuantizer(codes, channels) if codes else None
        self.latent_in = conv3(channels, config.autoencoder_widths[-1], gain=0.1)
        self.detail = carry(channels, config.factor**2)

    def quantize(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The latent as the decoder reads it, and the codebook loss (0 if continuous)."""
        if self.quantizer is None:
            return z, z.new_zeros(())
        quantized, loss = self.quantizer(z)
        return quantized, loss

    def forward(self, z0: Tensor, slices: Tensor) -> Tensor:
        """Decode ``z0`` (N, C, h, w) beside ``slices`` (N, S, H, W) to an image (N, 1, H, W)."""
        z0, _ = self.quantize(z0)
        if not self.config.decoder_sees_scan:
            slices = torch.zeros_like(slices)
        detail = F.pixel_shuffle(self.detail(z0), self.config.factor)
        seen = fine_detail(slices[:, self.middle : self.middle + 1])
        return self.enhance(slices, self.latent_in(z0)) + (detail - seen) / DETAIL_GAIN
