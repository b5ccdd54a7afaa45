"""A model as the modules of a bundle, each with the names and an example of its inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .model import MoEDiffSR


@dataclass(frozen=True)
class ModuleExport:
    """One module with the names and an example of its inputs."""

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]


@torch.inference_mode()
def list_modules(model: MoEDiffSR, batch: int = 2, seed: int = 0) -> list[ModuleExport]:
    """The modules of a bundle, in the order of a denoising loop, with random example inputs."""
    config = model.config
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.rand(batch, *shape, generator=generator)

    slices = random(config.slices, config.tile, config.tile)
    image = random(3, config.tile, config.tile)
    latent = (config.latent_channels, config.latent_size, config.latent_size)
    z_t = torch.randn(batch, *latent, generator=generator)
    z_low = torch.randn(batch, *latent, generator=generator)
    z_c, tokens = model.conditioner(slices, z_low)
    t = torch.linspace(1, config.start_timestep, batch)
    experts = [
        ModuleExport(f"expert_{i}", expert, {"z_t": z_t, "z_c": z_c, "t": t}, ("z0",))
        for i, expert in enumerate(model.experts)
    ]
    return [
        ModuleExport("encoder", model.encoder, {"image": image}, ("z",)),
        ModuleExport(
            "conditioner",
            model.conditioner,
            {"slices": slices, "z_low": z_low},
            ("z_c", "tokens"),
        ),
        ModuleExport("gate", model.gate, {"tokens": tokens}, ("gates",)),
        *experts,
        ModuleExport("decoder", model.decoder, {"z0": z_t, "slices": slices}, ("image",)),
    ]
