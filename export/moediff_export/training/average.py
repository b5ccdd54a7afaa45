"""One model of several that have the same beginning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from .checkpoint import is_checkpoint, load_trained, read_checkpoint, write_checkpoint


def write_average(checkpoints: Sequence[Path], folder: Path, *, overwrite: bool = False) -> None:
    """Write the mean of trained models' weights as a checkpoint, in float16 as a bundle has them.

    Runs that go on from one model, each with a seed or data of its own, and that model itself lie
    around the same optimum: what their last steps left to chance averages out (Wortsman et al.
    2022, "Model soups"). The mean of runs from scratch is no model. The optimizer's state and the
    weights of the last step stay behind: to export or to begin with, not to resume. Of one
    checkpoint it is that one's averaged weights.

    Parameters
    ----------
    checkpoints : sequence of Path
        At least one.
    folder : Path
    overwrite : bool
        Replace a checkpoint that is there.

    Raises
    ------
    FileNotFoundError
        If one of them is not there.
    FileExistsError
        If the folder is there and ``overwrite`` is off, or it is no checkpoint.
    CheckpointError
        If one is no checkpoint, or of another configuration than the first.
    """
    if folder.exists() and not overwrite:
        raise FileExistsError(
            f"write_average: {folder} is there already; pass --overwrite to replace it"
        )
    if folder.exists() and not is_checkpoint(folder):
        raise FileExistsError(
            f"write_average: expected a checkpoint at {folder} to replace, found something else; "
            "give another folder, or remove it yourself"
        )
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
