"""A run's checkpoint: a folder of safetensors files and one JSON, no pickle."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from moediff_rt.signals import HeldSignals

from ..config import config_from_dict
from ..errors import CheckpointError
from ..model import MoEDiffSR, RegressionUNet, build_model

PART_BYTES = 15_000_000  # so that a file travels where 16 MiB may, unless one tensor is larger
FORMAT = "moediff-checkpoint"
# What a checkpoint's record says of how its weights came about.
HISTORY = ("steps", "minutes", "plan", "machine", "started_from", "average_of")


def write_checkpoint(folder: Path, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    """Write a checkpoint whole, or leave the old one.

    Parameters
    ----------
    folder : Path
        Replaced if it is there.
    tensors : dict
        In files of at most `PART_BYTES`; a larger one has a file of its own.
    record : dict
        JSON-ready values.
    """
    new, old = _beside(folder, "new"), _beside(folder, "old")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        _fill(new, tensors, record)
        with HeldSignals(f"{folder} is written") as held:
            held.hold()
            if folder.exists():
                shutil.rmtree(old, ignore_errors=True)
                folder.rename(old)
            new.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _fill(new: Path, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if parts[-1] and size + tensor.nbytes > PART_BYTES:
            parts.append({})
            size = 0
        parts[-1][name] = tensor.detach().cpu().contiguous()
        size += tensor.nbytes
    for i, part in enumerate(parts):
        # save_file() lets nobody else read what it writes.
        (new / f"part-{i:02d}.safetensors").write_bytes(save(part))
    text = json.dumps({"format": FORMAT, "parts": len(parts), **record}, indent=1)
    (new / "checkpoint.json").write_text(text + "\n")
    for path in new.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def has_checkpoint(folder: Path) -> bool:
    """Whether there is one to read, be it the one that an interrupted save put aside."""
    return folder.exists() or _beside(folder, "old").exists()


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and record of a checkpoint.

    Raises
    ------
    FileNotFoundError
        If there is none.
    CheckpointError
        If it is none of :func:`write_checkpoint`, or damaged.
    """
    if not has_checkpoint(folder):
        raise FileNotFoundError(
            f"read_checkpoint: expected a run's checkpoint folder at {folder}, found none; "
            "start the run with moediff-export train"
        )
    if not folder.exists():
        folder = _beside(folder, "old")  # killed between the two renames of a save
    try:
        record = json.loads((folder / "checkpoint.json").read_text())
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']!r}")
        tensors: dict[str, Tensor] = {}
        for i in range(record["parts"]):
            tensors |= load_file(folder / f"part-{i:02d}.safetensors")
    except Exception as error:
        raise CheckpointError(
            f"read_checkpoint: expected a checkpoint of moediff-export train, found {folder} that "
            f"cannot be read as one ({type(error).__name__}: {error}); give a run's checkpoint "
            "folder"
        ) from error
    return tensors, record


def load_trained(folder: Path) -> tuple[MoEDiffSR | RegressionUNet, dict[str, Any]]:
    """The averaged (EMA) model of a checkpoint, in evaluation mode, and how it was trained.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    CheckpointError
        If it is no checkpoint.
    """
    tensors, record = read_checkpoint(folder)
    try:
        model = build_model(config_from_dict(record["config"]))
        model.load_state_dict(under(tensors, "averaged/"))
        progress = {key: record[key] for key in HISTORY if key in record}
        if not progress.keys() & {"steps", "average_of"}:
            raise KeyError("steps")
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"load_trained: expected the weights of the configuration in {folder}, found others "
            f"({error}); was it written by another release?"
        ) from error
    return model.eval(), progress


def pack(tree: Any, prefix: str, tensors: dict[str, Tensor]) -> Any:
    """Put the tensors of nested dicts and lists into ``tensors``; returns the rest, JSON-ready.

    Keys, which JSON would turn into text, are kept beside their values, and strides beside each
    tensor's name: sums of the same numbers round otherwise in another layout. See :func:`unpack`.
    """
    if isinstance(tree, Tensor):
        tensors[prefix] = tree
        return {"tensor": prefix, "strides": tree.stride()}
    if isinstance(tree, dict):
        return {"items": [[k, pack(v, f"{prefix}/{k}", tensors)] for k, v in tree.items()]}
    if isinstance(tree, list | tuple):
        return [pack(v, f"{prefix}/{i}", tensors) for i, v in enumerate(tree)]
    return tree


def unpack(packed: Any, tensors: dict[str, Tensor]) -> Any:
    """What :func:`pack` was given, tuples as lists."""
    if isinstance(packed, list):
        return [unpack(v, tensors) for v in packed]
    if isinstance(packed, dict):
        if "tensor" in packed:
            tensor = tensors[packed["tensor"]]
            strided = torch.empty_strided(tensor.shape, packed["strides"], dtype=tensor.dtype)
            return strided.copy_(tensor)
        return {k: unpack(v, tensors) for k, v in packed["items"]}
    return packed


def under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with a prefix, by the rest of their names."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _beside(folder: Path, suffix: str) -> Path:
    """Where a checkpoint is made, or put aside: a name that nobody keeps anything under."""
    return folder.with_name(f".{folder.name}.moediff-{suffix}")
