"""`moediff-export data`: what it refuses, and that its shards appear together."""

import signal
from pathlib import Path

import pytest
from moediff_export.cli import main
from moediff_export.data.shards import read_shards, whole_folder, write_shards


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--pairs", "1", "--n4"], "--n4 with --real alone"),
        (["--scan", "brain.nii.gz"], "--scan with simulated slabs alone"),
        (["--painted", "0"], "--painted with"),
        (["--extracted", "1"], "--extracted with"),
        (["--pairs", "1", "--extracted", "30"], "0 to 1 for --extracted, got 30"),
        (["--gradients", "coil.grad"], "--gradients with"),
        (["--templates", "here"], "--templates with"),
        (["--painted", "1", "--seed", "0"], "--painted, --seed with"),
    ],
)
def test_what_would_be_ignored_is_refused(tmp_path, capsys, given, words):
    real = [] if "--pairs" in given else ["--pairs", "0", "--real", str(tmp_path)]
    assert main(["data", "-o", str(tmp_path / "shards"), *real, *given]) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.splitlines()) == 1
    assert not (tmp_path / "shards").exists()


def test_shards_appear_when_all_are_made(pairs, tmp_path, monkeypatch):
    folder = tmp_path / "shards"
    seen = []

    def slabs(low, target, *, n4):
        seen.append([path.name for path in folder.glob("*.npz")])
        return pairs[:1]

    monkeypatch.setattr("moediff_export.data.shards.SHARD_BYTES", 1)
    monkeypatch.setattr("moediff_export.data.bids.load_real_pair", slabs)
    monkeypatch.setattr("moediff_export.data.bids.find_pairs", lambda root: [("a", "b")] * 3)
    command = ["data", "-o", str(folder), "--real", str(tmp_path), "--pairs", "0"]
    assert main(command) == 0
    assert seen == [[], [], []]  # what a kill would have left to train on
    assert sorted(path.name for path in folder.iterdir()) == [f"real-000{i}.npz" for i in range(3)]


@pytest.mark.parametrize(
    ("sent", "code", "words"),
    [
        (signal.SIGTERM, 143, "stopped by SIGTERM"),
        (signal.SIGHUP, 129, "stopped by SIGHUP"),
        (signal.SIGINT, 130, "interrupted"),
    ],
)
def test_a_signal_leaves_nothing_behind(pairs, tmp_path, monkeypatch, capsys, sent, code, words):
    def slabs(low, target, *, n4):
        if made:
            signal.raise_signal(sent)
        made.append(low)
        return pairs[:1]

    made = []
    monkeypatch.setattr("moediff_export.data.shards.SHARD_BYTES", 1)
    monkeypatch.setattr("moediff_export.data.bids.load_real_pair", slabs)
    monkeypatch.setattr("moediff_export.data.bids.find_pairs", lambda root: [("a", "b")] * 3)
    folder = tmp_path / "shards"
    assert main(["data", "-o", str(folder), "--real", str(tmp_path), "--pairs", "0"]) == code
    assert made and not (folder.exists() and list(folder.iterdir()))
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"moediff-export data: {words}; nothing was written"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_while_shards_move_in_waits_for_the_last(pairs, tmp_path, monkeypatch, capsys):
    real = Path.replace

    def replace(path, target):
        signal.raise_signal(signal.SIGTERM)
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr("moediff_export.data.shards.SHARD_BYTES", 1)
    monkeypatch.setattr("moediff_export.data.bids.load_real_pair", lambda *a, n4: pairs[:1])
    monkeypatch.setattr("moediff_export.data.bids.find_pairs", lambda root: [("a", "b")] * 3)
    folder = tmp_path / "shards"
    assert main(["data", "-o", str(folder), "--real", str(tmp_path), "--pairs", "0"]) == 143
    assert sorted(path.name for path in folder.iterdir()) == [f"real-000{i}.npz" for i in range(3)]
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"moediff-export data: stopped by SIGTERM; all shards are in {folder}"


def test_what_a_kill_left_is_not_taken_up(pairs, tmp_path):
    with whole_folder(tmp_path) as making:
        place = making
    place.mkdir()
    write_shards(pairs, place, prefix="killed")
    with pytest.raises(FileNotFoundError):
        read_shards(tmp_path, tmp_path)
    with whole_folder(tmp_path) as making:
        write_shards(pairs[:1], making)
    assert [path.name for path in tmp_path.iterdir()] == ["shard-0000.npz"]
