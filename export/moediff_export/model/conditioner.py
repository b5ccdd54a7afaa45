"""The conditioner: multi-scale patch embedding, shifted-window Swin blocks, tokens and ``z_c``.

Source: MoEDiff-SR (Wang et al. 2025), patches of 64, 32 and 16 pixels on a 256 x 256 slice;
Swin blocks as in Liu et al. 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import ModelConfig
from .blocks import ResBlock, conv3


def to_windows(x: Tensor, window: int) -> Tensor:
    """Cut (N, H, W, C) into (N * H/window * W/window, window**2, C)."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // window, window, w // window, window, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, window * window, c)


def from_windows(x: Tensor, window: int, h: int, w: int) -> Tensor:
    """Inverse of :func:`to_windows`: back to (N, H, W, C)."""
    x = x.reshape(-1, h // window, w // window, window, window, x.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, h, w, x.shape[-1])


def shifted_window_mask(x: Tensor, window: int, shift: int) -> Tensor:
    """Mask to add in windows of a rolled ``x`` (N, H, W, C), (windows, window**2, window**2).

    -100 where the roll brought cells together. From the grid's size alone, in operators that an
    exported graph has: one graph serves every tile.
    """

    def bands(size: int) -> Tensor:
        at = torch.arange(size, device=x.device)
        return (at >= size - window).to(x) + (at >= size - shift).to(x)

    region = 3 * bands(x.shape[1])[:, None] + bands(x.shape[2])[None, :]
    cells = to_windows(region[None, :, :, None], window).squeeze(-1)
    return -100 * (cells[:, None, :] != cells[:, :, None]).to(x)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a learned relative position bias."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        cells = torch.stack(
            torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
        ).flatten(1)
        offset = cells[:, :, None] - cells[:, None, :] + window - 1
        self.register_buffer("index", offset[0] * (2 * window - 1) + offset[1], persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attend in windows ``x`` (windows, cells, dim); ``mask`` is (windows/N, cells, cells)."""
        b, cells, dim = x.shape
        qkv = self.qkv(x).reshape(b, cells, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q * (dim // self.heads) ** -0.5) @ k.transpose(-2, -1)
        scores = scores + self.bias[self.index].permute(2, 0, 1)[None]
        if mask is not None:
            scores = scores.reshape(-1, mask.shape[0], self.heads, cells, cells)
            scores = (scores + mask[None, :, None]).reshape(b, self.heads, cells, cells)
        x = scores.softmax(-1) @ v
        return self.out(x.transpose(1, 2).reshape(b, cells, dim))


class SwinBlock(nn.Module):
    """Pre-norm Swin block; every second one has its windows shifted by half a window."""

    def __init__(self, dim: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = WindowAttention(dim, heads, window)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens on their grid (N, H, W, dim) to the same shape."""
        h, w = x.shape[1], x.shape[2]
        window = self.window
        # A grid of a single window has nothing to shift against.
        shift = self.shift if min(h, w) > window else 0
        hidden = self.norm1(x)
        if shift:
            hidden = torch.roll(hidden, (-shift, -shift), dims=(1, 2))
        mask = shifted_window_mask(hidden, window, shift) if shift else None
        hidden = self.attention(to_windows(hidden, window), mask)
        hidden = from_windows(hidden, window, h, w)
        if shift:
            hidden = torch.roll(hidden, (shift, shift), dims=(1, 2))
        x = x + hidden
        return x + self.mlp(self.norm2(x))


class Trunk(nn.Module):
    """What the slices say of every latent cell: residual blocks from half the tile's grid down.

    One level a halving, the first on 2 x 2 blocks of pixels as channels.
    """

    def __init__(self, config: ModelConfig, channels: int) -> None:
        super().__init__()
        widths, blocks = config.trunk_widths, config.trunk_blocks
        assert 2 ** len(widths) == config.factor, "one trunk width for each halving of the tile"
        levels: list[nn.Module] = [conv3(4 * config.slices, widths[0])]
        for i, width in enumerate(widths):
            if i:
                levels += [nn.ReLU(), conv3(widths[i - 1], width, stride=2)]
            levels += [ResBlock(width, width) for _ in range(blocks)]
        self.levels = nn.Sequential(*levels, nn.ReLU())
        self.out = conv3(widths[-1], channels)

    def forward(self, slices: Tensor) -> Tensor:
        """Map (N, S, H, W) to (N, channels, h, w)."""
        return self.out(self.levels(F.pixel_unshuffle(slices, 2)))


def shuffle_cells(x: Tensor, cells: int) -> Tensor:
    """Channels to space, channels last: (N, H, W, C * cells**2) to (N, H * cells, W * cells, C)."""
    n, h, w, channels = x.shape
    channels //= cells**2
    x = x.reshape(n, h, w, channels, cells, cells).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(n, h * cells, w * cells, channels)


class Conditioner(nn.Module):
    """Low-field slices and latent -> tokens (one a finest patch) and conditional latent ``z_c``.

    ``z_c`` starts with the low-field latent, which the experts improve on. Of the rest, half comes
    from the tokens and half from the convolutional trunk, as single patches are too coarse to say
    where in them an edge lies. Both results have their channels last: convolutions want them so in
    memory, and every expert reads ``z_c``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, slices, factor = config.token_dim, config.slices, config.factor
        self.patch_sizes = config.patch_sizes
        self.embed = nn.ModuleList(nn.Conv2d(slices, dim, p, stride=p) for p in config.patch_sizes)
        self.window = window = config.swin_window
        self.blocks = nn.Sequential(
            *(
                SwinBlock(dim, config.swin_heads, window, shift=(i % 2) * (window // 2))
                for i in range(config.swin_blocks)
            )
        )
        self.norm = nn.LayerNorm(dim)
        half = config.condition_channels // 2
        self.cells = max(config.patch_sizes[-1] // factor, 1)  # latent cells per token, per axis
        self.pool = max(factor // config.patch_sizes[-1], 1)  # or tokens per latent cell
        self.to_latent = nn.Linear(dim, half * self.cells**2)
        self.trunk = Trunk(config, half)

    def forward(self, slices: Tensor, z_low: Tensor) -> tuple[Tensor, Tensor]:
        """Condition on ``slices`` (N, S, H, W) and their encoded middle ``z_low`` (N, C, h, w).

        Returns
        -------
        z_c : Tensor, (N, h, w, C + condition_channels)
        tokens : Tensor, (N, H/p, W/p, token_dim); p is the finest patch
        """
        finest = self.patch_sizes[-1]
        grid = sum(
            F.interpolate(embed(slices), scale_factor=float(size // finest), mode="nearest")
            if size != finest
            else embed(slices)
            for size, embed in zip(self.patch_sizes, self.embed, strict=True)
        )
        assert isinstance(grid, Tensor)
        h, w = grid.shape[2], grid.shape[3]
        # Windows that do not fit go on past the edge with its last tokens.
        grid = F.pad(grid, (0, -w % self.window, 0, -h % self.window), mode="replicate")
        grid = self.norm(self.blocks(grid.permute(0, 2, 3, 1))[:, :h, :w])
        semantic = shuffle_cells(self.to_latent(grid), self.cells)
        if self.pool > 1:
            semantic = F.avg_pool2d(semantic.permute(0, 3, 1, 2), self.pool).permute(0, 2, 3, 1)
        z_low, local = (x.permute(0, 2, 3, 1) for x in (z_low, self.trunk(slices)))
        return torch.cat([z_low, semantic, local], dim=-1), grid
