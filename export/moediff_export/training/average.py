"""One model of several that went on from the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from .checkpoint import load_trained, read_checkpoint, write_checkpoint


def write_average(checkpoints: Sequence[Path], folder: Path) -> None:
    """Write the mean of trained models' weights as a checkpoint, in float16 as a bundle has them.

    Runs that go on from one model, each with a seed of its own, end around the same optimum: what
    their last steps left to chance averages out (Wortsman et al. 2022, "Model soups"). The mean of
    runs from scratch is no model. Without optimizer and raw weights: to export or to begin with,
    not to resume; of one checkpoint it is what is worth keeping.

    Parameters
    ----------
    checkpoints : sequence of Path
        At least one.
    folder : Path
        Replaced if it is there.

    Raises
    ------
    FileNotFoundError
        If one of them is not there.
    CheckpointError
        If one is no checkpoint, or of another configuration than the first.
    """
    records: list[dict[str, Any]] = []
    sums: dict[str, Tensor] = {}
    config: dict[str, Any] = {}
    for path in checkpoints:
        model, progress = load_trained(path)
        own = read_checkpoint(path)[1]["config"]
        config = config or own
        if own != config:
            raise CheckpointError(
                f"write_average: expected checkpoints of one configuration, found that of {path} "
                f"to differ from that of {checkpoints[0]}; average runs of the same --config and "
                "--variant that began --from the same weights"
            )
        records.append(progress)
        for name, value in model.state_dict().items():
            sums[name] = sums.get(name, torch.zeros(())) + value.double()
    tensors = {f"averaged/{name}": (v / len(records)).half() for name, v in sums.items()}
    history = records[0] if len(records) == 1 else {"average_of": records}
    write_checkpoint(folder, tensors, {"config": config, **history})
