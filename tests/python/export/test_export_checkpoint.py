"""A checkpoint's folder: whole or the old one, in small files, refused by name when damaged."""

import json

import pytest
import torch
from moediff_export.errors import CheckpointError
from moediff_export.training.checkpoint import read_checkpoint, write_checkpoint


def test_checkpoints_are_whole_or_the_old_ones(tmp_path):
    folder = tmp_path / "checkpoint"
    write_checkpoint(folder, {"a": torch.arange(3.0)}, {"steps": 1})
    with pytest.raises(TypeError):
        write_checkpoint(folder, {"a": torch.arange(4.0)}, {"steps": {1, 2}})
    assert read_checkpoint(folder)[1]["steps"] == 1
    folder.rename(tmp_path / ".checkpoint.moediff-old")  # as a kill between two renames leaves it
    assert torch.equal(read_checkpoint(folder)[0]["a"], torch.arange(3.0))


def test_nothing_beside_a_checkpoint_is_lost(tmp_path):
    for name in ("run.old", "run.new", "run"):
        write_checkpoint(tmp_path / name, {"a": torch.ones(1)}, {"steps": 1})
    write_checkpoint(tmp_path / "run", {"a": torch.ones(1)}, {"steps": 2})
    found = {p.name: read_checkpoint(p)[1]["steps"] for p in tmp_path.iterdir()}
    assert found == {"run": 2, "run.old": 1, "run.new": 1}


def test_checkpoint_files_stay_small_enough_to_travel(tmp_path, monkeypatch):
    monkeypatch.setattr("moediff_export.training.checkpoint.PART_BYTES", 4096)
    tensors = {f"t{i}": torch.full((500,), float(i)) for i in range(9)}
    write_checkpoint(tmp_path / "c", tensors, {})
    parts = sorted((tmp_path / "c").glob("*.safetensors"))
    assert len(parts) > 1 and max(p.stat().st_size for p in parts) < 4096 + 1000
    read, _ = read_checkpoint(tmp_path / "c")
    assert all(torch.equal(read[k], v) for k, v in tensors.items())


def test_all_files_of_a_checkpoint_are_for_the_same_readers(tmp_path):
    write_checkpoint(tmp_path / "c", {"a": torch.ones(1)}, {})
    assert len({path.stat().st_mode for path in (tmp_path / "c").iterdir()}) == 1


def test_damaged_checkpoints_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="moediff-export train"):
        read_checkpoint(tmp_path / "none")
    folder = tmp_path / "damaged"
    write_checkpoint(folder, {"a": torch.ones(2)}, {})
    (folder / "part-00.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(folder)
    other = tmp_path / "other"
    other.mkdir()
    (other / "checkpoint.json").write_text(json.dumps({"format": "else"}))
    with pytest.raises(CheckpointError, match="else"):
        read_checkpoint(other)
