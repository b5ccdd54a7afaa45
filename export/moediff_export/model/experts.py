"""The three denoisers: one conditional UNet each, with the speciality of its region.

Each predicts the clean latent ``z0`` from ``z_t``, ``z_c`` and ``t`` (Wang et al. 2025).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import ModelConfig
from .blocks import LATENT_GAIN, TimeEmbedding, TimeResBlock, conv1, conv3, upsample

SMALLEST_NORM = 1e-6


class EdgeEnhancement(nn.Module):
    """Adds what learned derivative filters see: faint edges in flat deep white matter.

    Depthwise 3 x 3 filters start as Sobel (both directions) and Laplacian; a 1 x 1 convolution
    weighs them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
        laplace = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]) / 4
        kernels = torch.stack([sobel, sobel.t(), laplace])[:, None]
        self.filters = nn.Conv2d(channels, 3 * channels, 3, padding=1, groups=channels, bias=False)
        with torch.no_grad():
            self.filters.weight.copy_(kernels.repeat(channels, 1, 1, 1))
        self.mix = nn.Conv2d(3 * channels, channels, 1)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same shape.

        Both layers are linear: one full convolution with their product is faster than the two.
        """
        channels = x.shape[1]
        seen = self.filters.weight.reshape(1, channels, 3, 3, 3)
        share = self.mix.weight.reshape(channels, channels, 3, 1, 1)
        return x + F.conv2d(x, (share * seen).sum(2), self.mix.bias, padding=1)


class HighFrequencyAttention(nn.Module):
    """Scales features where their high-pass part is strong: the folded cortical ribbon."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same shape; starts as the identity."""
        high = x - F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        return x * (2 * torch.sigmoid(self.score(high.abs())))


class NonLocalAttention(nn.Module):
    """Self-attention over the whole grid: the grey-white boundary continues far away.

    Source: non-local networks (Wang et al. 2018), embedded Gaussian form. With ``cosines`` of
    queries and keys in place of their products (query-key normalisation, Henry et al. 2020): in
    long runs products grew until each cell looked at a single other one.
    """

    def __init__(self, channels: int, cosines: bool = False) -> None:
        super().__init__()
        inner = channels // 2
        self.cosines = cosines
        self.scale = inner**0.5 if cosines else inner**-0.5
        self.qkv = nn.Conv2d(channels, 3 * inner, 1)
        self.out = nn.Conv2d(inner, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same shape; starts as the identity."""
        h, w = x.shape[2], x.shape[3]
        q, k, v = self.qkv(x).flatten(2).chunk(3, dim=1)
        if self.cosines:
            q, k = (a / a.norm(dim=1, keepdim=True).clamp_min(SMALLEST_NORM) for a in (q, k))
        weights = (q.transpose(1, 2) @ k * self.scale).softmax(-1)
        mixed = v @ weights.transpose(1, 2)
        return x + self.out(mixed.reshape(-1, v.shape[1], h, w))


class Expert(nn.Module):
    """Conditional UNet; a subclass puts its speciality at the levels where it belongs.

    This class itself has none. It predicts the clean latent as the first of ``z_c`` plus a change.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = [config.expert_base * m for m in config.expert_mults]
        time_dim = 2 * config.expert_base
        blocks = config.expert_blocks
        self.time = TimeEmbedding(time_dim)
        self.stem = conv3(config.latent_channels + config.z_c_channels, widths[0])
        self.down_blocks = nn.ModuleList()
        self.down = nn.ModuleList()
        for i, width in enumerate(widths[:-1]):
            self.down_blocks.append(
                nn.ModuleList(TimeResBlock(width, width, time_dim) for _ in range(blocks - 1))
            )
            self.down.append(conv3(width, widths[i + 1], stride=2))
        self.middle = nn.ModuleList(
            TimeResBlock(widths[-1], widths[-1], time_dim) for _ in range(blocks)
        )
        self.speciality = self.make_speciality(config, widths)
        self.up = nn.ModuleList()
        self.up_blocks = nn.ModuleList()
        for i in range(len(widths) - 2, -1, -1):
            self.up.append(conv1(widths[i + 1], widths[i]))
            self.up_blocks.append(
                nn.ModuleList(TimeResBlock(widths[i], widths[i], time_dim) for _ in range(blocks))
            )
        self.out = conv3(widths[0], config.latent_channels, gain=0.02)

    def make_speciality(self, config: ModelConfig, widths: list[int]) -> nn.ModuleDict:
        """Modules keyed by UNet level (0 = finest), applied on the way up; (N, C, h, w) each."""
        return nn.ModuleDict()

    def specialise(self, level: int, x: Tensor) -> Tensor:
        """Apply the speciality of this level, where there is one."""
        key = str(level)
        return self.speciality[key](x) if key in self.speciality else x

    def forward(self, z_t: Tensor, z_c: Tensor, t: Tensor) -> Tensor:
        """Predict the clean latent.

        Parameters
        ----------
        z_t : Tensor, (N, C, h, w), the noisy latent
        z_c : Tensor, (N, h, w, C + condition_channels), the low-field latent first
        t : Tensor, (N,), timesteps as floats

        Returns
        -------
        Tensor, (N, C, h, w), the predicted ``z0``.
        """
        embedding = self.time(t)
        x = self.read(z_t, z_c)
        skips = []
        for blocks, down in zip(self.down_blocks, self.down, strict=True):
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, embedding)
            skips.append(x)
            x = down(x)
        for block in self.middle:
            x = block(x, embedding)
        level = len(self.down)
        x = self.specialise(level, x)
        for up, blocks in zip(self.up, self.up_blocks, strict=True):
            level -= 1
            x = upsample(up(x)) + skips.pop()
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, embedding)
            x = self.specialise(level, x)
        z_low = z_c[..., : z_t.shape[1]].permute(0, 3, 1, 2)
        return z_low + LATENT_GAIN * self.out(F.silu(x))

    def read(self, z_t: Tensor, z_c: Tensor) -> Tensor:
        """The stem on ``z_t`` and ``z_c``, (N, expert_base, h, w).

        Each has its part of the weights, so that the two need not be brought together in memory.
        The sum is in ``z_t``'s order: PyTorch's convolutions that follow are faster in one order.
        """
        weight, latent = self.stem.weight, z_t.shape[1]
        seen = F.conv2d(z_c.permute(0, 3, 1, 2), weight[:, latent:], self.stem.bias, padding=1)
        return F.conv2d(z_t, weight[:, :latent], padding=1) + seen.contiguous()


class CentrumSemiovaleExpert(Expert):
    """Deep white matter: edge enhancement at the finest level."""

    def make_speciality(self, config: ModelConfig, widths: list[int]) -> nn.ModuleDict:
        """Edge enhancement on the finest grid."""
        return nn.ModuleDict({"0": EdgeEnhancement(widths[0])})


class CortexExpert(Expert):
    """Sulci and gyri: high-frequency attention at every level of the way up."""

    def make_speciality(self, config: ModelConfig, widths: list[int]) -> nn.ModuleDict:
        """High-frequency attention on every grid but the coarsest."""
        return nn.ModuleDict(
            {str(i): HighFrequencyAttention(width) for i, width in enumerate(widths[:-1])}
        )


class JunctionExpert(Expert):
    """Grey-white matter junction: non-local attention at the coarsest level."""

    def make_speciality(self, config: ModelConfig, widths: list[int]) -> nn.ModuleDict:
        """Non-local attention on the coarsest grid."""
        return nn.ModuleDict(
            {str(len(widths) - 1): NonLocalAttention(widths[-1], config.cosine_attention)}
        )


EXPERTS: dict[str, type[Expert]] = {
    "centrum_semiovale": CentrumSemiovaleExpert,
    "cortex": CortexExpert,
    "junction": JunctionExpert,
    "single": Expert,
}
