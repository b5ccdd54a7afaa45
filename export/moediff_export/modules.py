"""A model as the modules of a bundle, each with the names and an example of its inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .config import ModelConfig
from .model import MoEDiffSR

ROWS = {"tokens": 1, "z_c": 1}  # first axis of a tensor's grid; 2 where channels come first


@dataclass(frozen=True)
class ModuleExport:
    """One module with the names and an example of its inputs, for the largest tile.

    `cells` gives pixels per cell of each input that lies on the tile's grid.
    """

    name: str
    config: ModelConfig
    module: nn.Module
    inputs: dict[str, Tensor]
    cells: dict[str, int]
    outputs: tuple[str, ...]

    def cut(self, batch: int, height: int, width: int) -> dict[str, Tensor]:
        """The first rows of the example, for tiles of (height, width) pixels."""
        given = {}
        for name, tensor in self.inputs.items():
            given[name] = tensor[:batch]
            if cell := self.cells.get(name):
                rows = ROWS.get(name, 2)
                part = given[name].narrow(rows, 0, height // cell)
                given[name] = part.narrow(rows + 1, 0, width // cell).contiguous()
        return given


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
    pixel, token = 1, config.patch_sizes[-1]
    cells = {"image": pixel, "slices": pixel, "tokens": token}
    cells.update(dict.fromkeys(("z_t", "z_c", "z_low", "z0"), config.factor))

    def item(name: str, module: nn.Module, outputs: str, **inputs: Tensor) -> ModuleExport:
        on_grid = {key: cells[key] for key in inputs if key in cells}
        return ModuleExport(name, config, module, inputs, on_grid, tuple(outputs.split()))

    return [
        item("encoder", model.encoder, "z", image=image),
        item("conditioner", model.conditioner, "z_c tokens", slices=slices, z_low=z_low),
        item("gate", model.gate, "gates", tokens=tokens),
        *(
            item(f"expert_{i}", expert, "z0", z_t=z_t, z_c=z_c, t=t)
            for i, expert in enumerate(model.experts)
        ),
        item("decoder", model.decoder, "image", z0=z_t, slices=slices),
    ]
