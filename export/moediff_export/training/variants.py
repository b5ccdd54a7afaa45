"""What the model is compared with: each variant changes one thing and trains on the same data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..config import ModelConfig
from ..model import MoEDiffSR, RegressionUNet
from .step import LossPlan

UNET_LEVELS, UNET_BLOCKS = 2, 3
UNET_WIDENING = 1.55  # of each level over the one before


@dataclass(frozen=True)
class Variant:
    """One change: fields of the configuration, or parts of the losses left out."""

    description: str
    config: dict[str, Any] = field(default_factory=dict)
    losses: dict[str, bool] = field(default_factory=dict)


VARIANTS = {
    "mixture": Variant("the model as it is"),
    "single": Variant("one expert with all the parameters", {"experts": ("single",)}),
    "unet": Variant("plain regression U-Net with the same arithmetic", {"experts": ()}),
    "uniform_gate": Variant("without the gate: experts weighed evenly", {"gated": False}),
    "no_mad": Variant("gate targets at temperature 1, not the MAD's", losses={"mad": False}),
    "no_diversity": Variant("without the gate's diversity term", losses={"diversity": False}),
    "no_uncertainty": Variant(
        "experts' and gate's losses simply averaged", losses={"uncertainty": False}
    ),
    "no_regions": Variant("experts' losses not weighed by region", losses={"regions": False}),
    "one_slice": Variant("without the neighbouring slices (2-D)", {"slices": 1}),
    "blind_decoder": Variant(
        "without the scan as the decoder's input", {"decoder_sees_scan": False}
    ),
}


def apply_variant(name: str, config: ModelConfig) -> tuple[ModelConfig, LossPlan]:
    """The configuration and losses of a variant of a configuration.

    Raises
    ------
    ValueError
        If there is no such variant.
    """
    if name not in VARIANTS:
        raise ValueError(f"apply_variant: expected one of {sorted(VARIANTS)}, got {name!r}")
    variant = VARIANTS[name]
    changed = replace(config, **variant.config)
    if name == "single":
        changed = replace(changed, expert_base=same_parameters_base(config))
    elif name == "unet":
        changed = replace(
            changed,
            autoencoder_widths=same_arithmetic_widths(config),
            autoencoder_blocks=UNET_BLOCKS,
        )
    if name != "mixture":
        changed = replace(changed, name=f"{config.name}-{name}")
    return changed, LossPlan(**variant.losses)


def same_parameters_base(config: ModelConfig) -> int:
    """Width of one plain expert with about as many parameters as the configuration's together."""

    def parameters(config: ModelConfig) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in MoEDiffSR(config).experts.parameters())

    wanted = parameters(config)
    widths = range(config.expert_base, 3 * config.expert_base, 2)
    singles = (replace(config, experts=("single",), expert_base=width) for width in widths)
    return min(singles, key=lambda single: abs(parameters(single) - wanted)).expert_base


def same_arithmetic_widths(config: ModelConfig) -> tuple[int, ...]:
    """Widths of a regression U-Net with about the arithmetic of one evaluation of the model."""
    wanted = arithmetic(config)
    unet = replace(config, experts=(), autoencoder_blocks=UNET_BLOCKS)
    levels = range(UNET_LEVELS)
    best: tuple[int, ...] = ()
    distance = float("inf")
    for first in count(8, 8):
        widths = tuple(round(first * UNET_WIDENING**level / 8) * 8 for level in levels)
        off = abs(arithmetic(replace(unet, autoencoder_widths=widths)) - wanted)
        if off > distance:
            return best
        best, distance = widths, off
    raise AssertionError("count() does not end")


def arithmetic(config: ModelConfig) -> int:
    """Floating-point operations for one tile, with one evaluation of every expert."""
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.no_grad(), counter:
        slices = torch.empty(1, config.slices, config.tile, config.tile)
        if not config.experts:
            RegressionUNet(config)(slices)
        else:
            model = MoEDiffSR(config)
            z_low = model.encode_low_field(slices)
            z_c, gates = model.condition(slices, z_low)
            prediction = model.predict(z_low, z_c, gates, torch.empty(1))
            model.decoder(prediction.z0, slices)
    return int(counter.get_total_flops())
