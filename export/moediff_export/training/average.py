"""One model of several that have the same beginning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ..errors import CheckpointError
from ..folders import check_replaceable
from .checkpoint import FORMAT, load_trained, write_checkpoint


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
    check_replaceable(
        folder,
        "checkpoint.json",
        FORMAT,
        kind="checkpoint",
        who="write_average",
        overwrite=overwrite,
    )
    loaded = [load_trained(path) for path in checkpoints]
    config = loaded[0][0].config
    for path, (model, _) in zip(checkpoints, loaded, strict=True):
        if model.config != config:
            raise CheckpointError(
                f"write_average: expected checkpoints of one configuration, found that of {path} "
                f"to differ from that of {checkpoints[0]}; average runs of the same --config and "
                "--variant that began --from the same weights"
            )
    states = [model.state_dict() for model, _ in loaded]
    tensors = {
        f"averaged/{name}": torch.stack([state[name].double() for state in states]).mean(0).half()
        for name in states[0]
    }
    histories = [history for _, history in loaded]
    history = histories[0] if len(loaded) == 1 else {"average_of": histories}
    write_checkpoint(folder, tensors, {"config": config.to_dict(), **history})
