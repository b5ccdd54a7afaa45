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
        self.out = conv3(channels, config.latent_channels, gain=0.5)
        self.detail = conv1(config.factor**2, config.latent_channels)

    def forward(self, image: Tensor) -> Tensor:
        """Encode (N, 3, H, W) [image, log bias map, log Jacobian map] to ``z`` (N, C, h, w)."""
        middle, pad = image[:, :1], DETAIL_WINDOW // 2
        mean = F.avg_pool2d(middle, DETAIL_WINDOW, stride=1, padding=pad, count_include_pad=False)
        detail = DETAIL_GAIN * (middle - mean)
        x = F.relu(self.stem(F.pixel_unshuffle(torch.cat([image, detail], dim=1), 2)))
        z = self.out(F.relu(self.levels(x)))
        return z + self.detail(F.pixel_unshuffle(detail, self.factor))


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


class Decoder(nn.Module):
    """Latent and interpolated low-field slices -> enhanced slice.

    A U-shaped network on 2 x 2 pixel blocks: the slices go down to the latent grid, meet the
    latent there, and come up again. Its output is added to the middle low-field slice.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths, blocks = config.autoencoder_widths, config.autoencoder_blocks
        self.middle = config.slices // 2
        codes, channels = config.vq_codes, config.latent_channels
        self.quantizer = VectorQuantizer(codes, channels) if codes else None
        self.stem = conv3(4 * config.slices, widths[0])
        self.down = nn.ModuleList(conv3(a, b, stride=2) for a, b in pairwise(widths))
        self.latent_in = conv3(channels, widths[-1])
        self.bottom = nn.Sequential(*(ResBlock(widths[-1], widths[-1]) for _ in range(blocks)))
        self.up = nn.ModuleList(
            conv1(b, 4 * a) for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.merge = nn.ModuleList(
            nn.Sequential(*(ResBlock(a, a) for _ in range(blocks))) for a in widths[-2::-1]
        )
        self.out = conv3(widths[0], 4, gain=0.1)

    def quantize(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The latent as the decoder reads it, and the codebook loss (0 if continuous)."""
        if self.quantizer is None:
            return z, z.new_zeros(())
        quantized, loss = self.quantizer(z)
        return quantized, loss

    def forward(self, z0: Tensor, slices: Tensor) -> Tensor:
        """Decode ``z0`` (N, C, h, w) beside ``slices`` (N, S, H, W) to an image (N, 1, H, W)."""
        z0, _ = self.quantize(z0)
        x = self.stem(F.pixel_unshuffle(slices, 2))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(F.relu(x))
        x = self.bottom(x + self.latent_in(z0))
        for up, merge in zip(self.up, self.merge, strict=True):
            # Sub-pixel upsampling: one latent cell can place detail anywhere in its pixels.
            x = merge(F.pixel_shuffle(up(x), 2) + skips.pop())
        residual = F.pixel_shuffle(self.out(F.relu(x)), 2)
        return slices[:, self.middle : self.middle + 1] + residual
