"""Shards on disk, and the crops that are cut from them."""

import numpy as np
import pytest
import torch
from moediff_export.cli import main
from moediff_export.data.batches import crop_batch
from moediff_export.data.shards import Pair, read_shards, write_shards


def small_pair(seed=0, shape=(6, 40, 48), subject=""):
    rng = np.random.default_rng(seed)
    images = [rng.random(shape).astype(np.float16) for _ in range(2)]
    maps = [np.full(shape, value, np.float16) for value in (0.125, -0.0625)]
    regions = rng.integers(0, 256, (3, *shape), dtype=np.uint8)
    return Pair(*images, *maps, regions, subject)


def test_shards_keep_their_pairs_and_their_size(tmp_path, monkeypatch):
    pairs = [small_pair(i, subject=f"sub-0{i}" if i % 2 else "") for i in range(5)]
    monkeypatch.setattr("moediff_export.data.shards.SHARD_BYTES", 3 * pairs[0].target.nbytes * 2)
    paths = write_shards(pairs, tmp_path)
    assert [p.name for p in paths] == [f"shard-{i:04d}.npz" for i in range(len(paths))]
    assert len(paths) > 1
    scratch = tmp_path / "runs" / "mine"
    for written, read in zip(pairs, read_shards(tmp_path, scratch), strict=True):
        for a, b in zip(vars(written).values(), vars(read).values(), strict=True):
            np.testing.assert_array_equal(a, b)
    assert not list(scratch.iterdir())


def test_what_is_read_of_shards_is_mapped_not_held(tmp_path):
    write_shards([small_pair(shape=(3, 41, 47)), small_pair(1, shape=(8, 40, 40))], tmp_path)
    for pair in read_shards(tmp_path, tmp_path):
        arrays = [value for value in vars(pair).values() if isinstance(value, np.ndarray)]
        assert len(arrays) == 5
        assert all(isinstance(a.base, np.memmap) and not a.flags.owndata for a in arrays)
        assert all(a.ctypes.data % a.itemsize == 0 for a in arrays)


def test_a_scratch_folder_that_cannot_be_made_is_refused(tmp_path):
    write_shards([small_pair()], tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        read_shards(tmp_path, tmp_path / "file")


def test_another_programs_arrays_are_no_shard(tmp_path):
    np.savez(tmp_path / "other.npz", one=np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz.*1 arrays"):
        read_shards(tmp_path, tmp_path)


def test_missing_and_damaged_shards_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="moediff-export data"):
        read_shards(tmp_path, tmp_path)
    (tmp_path / "shard-0000.npz").write_bytes(b"no zip")
    with pytest.raises(ValueError, match="shard-0000"):
        read_shards(tmp_path, tmp_path)


@pytest.mark.parametrize("slices", [1, 3, 5])
def test_crops_are_windows_of_the_pair(slices):
    pair = small_pair()
    batch = crop_batch(np.random.default_rng(0), [pair], 32, 3, slices)
    assert batch.slices.shape == (3, slices, 32, 32) and batch.maps.shape == (3, 2, 32, 32)
    assert all(t.dtype == torch.float32 for t in batch)
    whole = pair.target.astype(np.float32)
    found = batch.target[0, 0].numpy()
    windows = [
        v
        for z in range(6)
        for y in range(9)
        for x in range(17)
        for w in [whole[z, y : y + 32, x : x + 32]]
        for v in (w, w[::-1], w[:, ::-1], w[::-1, ::-1], w.T, w[::-1].T, w[:, ::-1].T)
    ]
    windows += [
        whole[z, y : y + 32, x : x + 32][::-1, ::-1].T
        for z in range(6)
        for y in range(9)
        for x in range(17)
    ]
    assert any(np.array_equal(found, w) for w in windows)


def test_slices_come_in_either_order():
    pair = small_pair()
    pair.low[:] = np.arange(len(pair.low))[:, None, None]
    pair.regions[:] = np.arange(3)[:, None, None, None]
    batch = crop_batch(np.random.default_rng(0), [pair], 32, 16, 3)
    steps = batch.slices.diff(dim=1).mean(dim=(1, 2, 3))
    assert set(steps.tolist()) == {1.0, -1.0}
    # Bias field and Jacobian, and the experts' regions, do not change places.
    assert set(batch.maps.flatten(2).mean(2)[:, 0].tolist()) == {0.0, 0.125}
    assert (batch.regions.diff(dim=1) > 0).all()


def test_data_that_end_in_an_error_leave_no_shards(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "moediff_export.data.bids.find_pairs", lambda root: [("a", "b"), ("c", "d")]
    )

    def slabs(low, target, *, n4):
        if low == "c":
            raise ValueError("not registered")
        return [small_pair()]

    monkeypatch.setattr("moediff_export.data.bids.load_real_pair", slabs)
    command = ["data", "-o", str(tmp_path / "shards"), "--real", str(tmp_path), "--pairs", "0"]
    assert main(command) == 2 and "not registered" in capsys.readouterr().err
    assert not list((tmp_path / "shards").glob("*"))
