"""Model configurations: every size of MoEDiff-SR in one frozen dataclass."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

EXPERT_NAMES = ("centrum_semiovale", "cortex", "junction")


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of one MoEDiff-SR model.

    Attributes
    ----------
    name : str
        Name of the configuration and of the bundle made from it.
    tile : int
        Edge of the largest image tile, a square, in pixels.
    smallest_tile : int
        Smallest edge of a tile: a tile may have any height and width from here to `tile` that are
        multiples of `tile_pitch`.
    pitch : int, optional
        `tile_pitch` as an older bundle states it; default: the least that every grid fits.
    slices : int
        Neighbouring slices that come in as channels (2.5-D), odd; the middle one is enhanced.
    latent_channels, latent_size : int
        Shape of the largest tile's latent: (latent_channels, latent_size, latent_size).
    vq_codes : int
        Codes in the vector-quantised autoencoder's codebook; 0 is the continuous autoencoder.
    autoencoder_widths : tuple of int
        Channels of the autoencoder at 1/2, 1/4, ... of the tile, down to the latent grid.
    autoencoder_blocks : int
        Residual blocks per level of the autoencoder.
    patch_sizes : tuple of int
        Patch edges of the conditioner's multi-scale embedding, coarse to fine, in pixels.
    token_dim, swin_blocks, swin_heads, swin_window : int
        Width, depth, attention heads and window edge (in tokens) of the Swin encoder.
    condition_channels : int
        Learned channels of the conditional latent ``z_c``; the low-field latent comes before them.
    trunk_widths, trunk_blocks
        The conditioner's convolutional trunk: channels at 1/2, 1/4, ... of the tile, down to the
        latent grid, and residual blocks at each.
    expert_base : int
        Channels of an expert's first UNet level.
    expert_mults : tuple of int
        Channel multiple of each UNet level; each level halves the grid.
    expert_blocks : int
        Residual blocks per UNet level on the way down, and again on the way up.
    timesteps : int
        Length T of the noise schedule.
    sampler, steps, start, start_timestep
        The default sampling: method, expert evaluations, where it starts ("low_field" or "noise")
        and the timestep of a low-field start.
    experts : tuple of str
        Names of the experts: those of the paper, or one plain denoiser, "single". Without any, the
        model is a plain regression U-Net of the decoder's form.
    gated : bool
        Whether the gate weighs the experts token by token; otherwise evenly.
    decoder_sees_scan : bool
        Whether the decoder gets the slices beside the latent.
    cosine_attention : bool
        Whether the junction expert's attention scores are cosines instead of products.
    gate_threshold : float
        An expert whose gate stays below this over a whole tile is not run for that tile.
    planes : int
        In how many planes slices are enhanced, and the results averaged, where a scan's edges are
        alike: axial ones, coronal ones, sagittal ones.
    tile_overlap : int
        Smallest overlap of neighbouring tiles, in pixels.
    """

    name: str
    tile: int = 256
    smallest_tile: int = 128
    pitch: int | None = None
    slices: int = 3
    latent_channels: int = 8
    latent_size: int = 64
    vq_codes: int = 0
    autoencoder_widths: tuple[int, ...] = (48, 80)
    autoencoder_blocks: int = 2
    patch_sizes: tuple[int, ...] = (64, 32, 16)
    token_dim: int = 80
    swin_blocks: int = 4
    swin_heads: int = 4
    swin_window: int = 4
    condition_channels: int = 32
    trunk_widths: tuple[int, ...] = (32, 64)
    trunk_blocks: int = 2
    expert_base: int = 64
    expert_mults: tuple[int, ...] = (1, 2, 3)
    expert_blocks: int = 2
    timesteps: int = 1000
    sampler: str = "dpmpp_2m"
    steps: int = 2
    start: str = "low_field"
    start_timestep: int = 400
    gate_threshold: float = 0.02
    planes: int = 1
    tile_overlap: int = 32
    experts: tuple[str, ...] = EXPERT_NAMES
    gated: bool = True
    decoder_sees_scan: bool = True
    cosine_attention: bool = False

    def __post_init__(self) -> None:
        if self.smallest_tile > self.tile or any(
            size % self.tile_pitch for size in (self.tile, self.smallest_tile)
        ):
            raise ValueError(
                f"ModelConfig: expected a tile and a smallest tile, no larger, in multiples of "
                f"{self.tile_pitch} pixels, found {self.tile} and {self.smallest_tile}; the "
                "networks' grids would not fit; change them, or the patches"
            )

    @property
    def factor(self) -> int:
        """Pixels of the tile per latent cell, along each axis."""
        return self.tile // self.latent_size

    @property
    def tile_pitch(self) -> int:
        """What a tile's edges are multiples of, pixels: whole patches and cells of every level."""
        experts = self.factor * 2 ** (len(self.expert_mults) - 1)
        return self.pitch or math.lcm(self.patch_sizes[0], experts)

    @property
    def z_c_channels(self) -> int:
        """Channels of ``z_c``: the low-field latent and the learned ones."""
        return self.latent_channels + self.condition_channels

    @property
    def gate_size(self) -> int:
        """Edge of the largest tile's token grid: one token per finest patch."""
        return self.tile // self.patch_sizes[-1]

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON-ready values."""
        return asdict(self)


# A latent cell is 2 x 2 pixels with a channel each: what bounds the result is the experts and not
# the autoencoder, and coarser cells learn several times slower (each of their pixels needs filters
# of its own). Tokens of 4 x 4 pixels can tell cortex from junction. With little noise on its start,
# one step learns faster. Two planes bring most of what three do: docs/training/README.md.
EDGE = ModelConfig(
    name="edge",
    slices=5,
    latent_channels=4,
    latent_size=128,
    autoencoder_widths=(32,),
    autoencoder_blocks=1,
    patch_sizes=(16, 8, 4),
    token_dim=32,
    swin_blocks=2,
    swin_heads=2,
    swin_window=8,
    condition_channels=64,
    trunk_widths=(64,),
    trunk_blocks=3,
    expert_base=32,
    expert_mults=(1, 2, 2),
    expert_blocks=1,
    steps=1,
    start_timestep=150,
    planes=2,
    cosine_attention=True,
)

# The paper's sizes: 1024 codes of length 512 on an 8 x 8 grid, base width 128, T = 1000.
PAPER = ModelConfig(
    name="paper",
    smallest_tile=256,
    latent_channels=512,
    latent_size=8,
    vq_codes=1024,
    autoencoder_widths=(128, 128, 256, 256, 512),
    autoencoder_blocks=2,
    token_dim=192,
    swin_blocks=6,
    swin_heads=6,
    condition_channels=512,
    trunk_widths=(64, 64, 128, 128, 256),
    expert_base=128,
    expert_mults=(1, 2, 4),
    steps=4,
    start_timestep=600,
)

# Small enough to export and run in a test; every part of the model is in it.
TINY = ModelConfig(
    name="tiny",
    tile=64,
    smallest_tile=32,
    latent_channels=4,
    latent_size=16,
    autoencoder_widths=(8, 16),
    autoencoder_blocks=1,
    patch_sizes=(16, 8, 4),
    token_dim=16,
    swin_blocks=2,
    swin_heads=2,
    condition_channels=8,
    trunk_widths=(8, 16),
    trunk_blocks=1,
    expert_base=8,
    expert_mults=(1, 2),
    expert_blocks=1,
    tile_overlap=16,
)

# `edge` at about a third of its arithmetic: to compare variants in less time.
SMALL = replace(
    EDGE,
    name="small",
    autoencoder_widths=(16,),
    condition_channels=32,
    trunk_widths=(32,),
    expert_base=16,
)

CONFIGS = {config.name: config for config in (EDGE, PAPER, SMALL, TINY)}


def get_config(name: str, **changes: Any) -> ModelConfig:
    """Look a configuration up by name, with optional changes to its fields.

    Raises
    ------
    KeyError
        If no configuration has this name.
    """
    if name not in CONFIGS:
        raise KeyError(f"get_config: expected one of {sorted(CONFIGS)}, got {name!r}")
    return replace(CONFIGS[name], **changes)


def config_from_dict(values: dict[str, Any]) -> ModelConfig:
    """Rebuild a configuration from :meth:`ModelConfig.to_dict` after a trip through JSON."""
    return ModelConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
