"""Training: simulated pairs are what they claim, and the loop can be stopped and resumed."""

import numpy as np
import pytest
import torch
from moediff_export.config import TINY, get_config
from moediff_export.data import scanner
from moediff_export.data.pairs import SLAB, crop_batch, make_pair
from moediff_export.data.sources import load_source
from moediff_export.errors import CheckpointError
from moediff_export.training import losses
from moediff_export.training.step import partly_sharp
from moediff_export.training.trainer import Trainer, TrainingPlan, load_trained
from scipy import ndimage


def test_truncation_keeps_what_the_low_field_matrix_encodes():
    rng = np.random.default_rng(0)
    low = rng.random((6, 8, 10)).astype(np.float32)
    high = scanner.truncate_kspace(low, low.shape)
    np.testing.assert_allclose(high, low, atol=1e-6)
    smooth = ndimage.gaussian_filter(rng.random((24, 32, 40)), 4).astype(np.float32)
    half = scanner.truncate_kspace(smooth, (12, 16, 20))
    averaged = smooth.reshape(12, 2, 16, 2, 20, 2).mean((1, 3, 5))
    np.testing.assert_allclose(half, averaged, atol=5e-3)


def test_noise_is_rician():
    rng = np.random.default_rng(0)
    flat = np.full((40, 40, 40), 10.0, np.float32)
    assert scanner.rician_noise(rng, flat, 0.5).std() == pytest.approx(0.5, rel=0.02)
    nothing = scanner.rician_noise(rng, 0 * flat, 0.5)
    assert nothing.mean() == pytest.approx(0.5 * np.sqrt(np.pi / 2), rel=0.02)


def test_slice_profile_has_its_width_and_keeps_the_sum():
    line = np.zeros((61, 3, 3), np.float32)
    line[30] = 1
    seen = scanner.slice_profile(line, 6.0, axis=0)[:, 1, 1]
    assert seen.sum() == pytest.approx(1, abs=1e-3)
    assert seen[33] == pytest.approx(seen[30] / 2, rel=0.02)


def test_scan_and_target_of_a_pair_are_registered(phantom):
    pair = make_pair(np.random.default_rng(1), [phantom])
    target, low = (v.astype(np.float32) for v in (pair.target, pair.low))
    assert target.shape[1:] == SLAB[1:]
    shifts = {
        (dy, dx): np.mean((np.roll(low, (dy, dx), (1, 2)) - target)[:, 4:-4, 4:-4] ** 2)
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    }
    assert min(shifts, key=shifts.get) == (0, 0)


def test_same_seed_same_pair(phantom):
    one, two = (make_pair(np.random.default_rng(3), [phantom]) for _ in range(2))
    assert np.array_equal(one.target, two.target) and np.array_equal(one.low, two.low)


def test_crops_are_windows_of_the_pair(phantom):
    pair = make_pair(np.random.default_rng(0), [phantom])
    batch = crop_batch(np.random.default_rng(0), [pair], 64, 3)
    assert batch.slices.shape == (3, 3, 64, 64) and batch.maps.shape == (3, 2, 64, 64)
    assert batch.target.dtype == torch.float32


def test_missing_training_volume_names_the_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match="mricron-data"):
        load_source(tmp_path / "ch2.nii.gz", 1.0, (0.0, 1.0))


def plan(minutes):
    return TrainingPlan(minutes=minutes, crop=64, batch=2, warmup_steps=1, autoencoder_share=0.3)


def test_training_lowers_the_loss_on_what_it_sees(phantom, tmp_path):
    trainer = Trainer(TINY, plan(1000.0), [phantom], tmp_path)
    trainer.plan = TrainingPlan(
        minutes=1000.0, crop=64, batch=4, warmup_steps=5, autoencoder_share=0, learning_rate=3e-3
    )
    for _ in range(2):
        trainer.add_pair()
    images = [trainer.train_step()["image"] for _ in range(60)]
    assert np.mean(images[-15:]) < 0.9 * np.mean(images[:5])


def test_a_run_resumes_where_it_stopped(phantom, tmp_path):
    trainer = Trainer(TINY, plan(1000.0), [phantom], tmp_path)
    trainer.add_pair()
    for _ in range(3):
        trainer.train_step()
    trainer.elapsed = 12.5
    trainer.save()
    again = Trainer(TINY, plan(1000.0), [phantom], tmp_path)
    again.resume()
    assert (again.step, again.elapsed, again.pairs_made) == (3, 12.5, 1)
    again.pairs = trainer.pairs
    assert again.train_step() == trainer.train_step()
    for a, b in zip(again.model.parameters(), trainer.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_another_configurations_run_is_not_resumed(phantom, tmp_path):
    Trainer(TINY, plan(1.0), [phantom], tmp_path).save()
    wider = Trainer(get_config("tiny", expert_base=16), plan(1.0), [phantom], tmp_path)
    with pytest.raises(CheckpointError, match="configuration"):
        wider.resume()


def test_a_run_ends_with_its_budget_and_leaves_a_checkpoint(phantom, tmp_path):
    trainer = Trainer(TINY, plan(0.02), [phantom], tmp_path / "run")
    trainer.run(log_every=1)
    model, progress = load_trained(tmp_path / "run" / "checkpoint.pt")
    assert progress["steps"] == trainer.step > 0
    assert (tmp_path / "run" / "validation.csv").exists()
    assert model.config == TINY


def test_every_sample_counts_by_its_own_interpolation_error():
    target = torch.rand(2, 1, 32, 32)
    # The second scan's interpolation is ten times nearer to the truth than the first one's.
    interpolated = target + torch.tensor([0.3, 0.03])[:, None, None, None]
    halved = (target + interpolated) / 2
    assert float(losses.relative_squared_error(target, target, interpolated)) == 0
    one = losses.relative_squared_error(interpolated, target, interpolated)
    assert float(one) == pytest.approx(1, abs=0.01)
    for better in ([0], [1]):
        image = interpolated.clone()
        image[better] = halved[better]
        relative = losses.relative_squared_error(image, target, interpolated)
        assert float(relative) == pytest.approx((1 + 0.25) / 2, abs=0.01)


def test_partly_sharp_latents_lie_on_the_way():
    low, clean = torch.zeros(64, 2, 4, 4), torch.ones(64, 2, 4, 4)
    z = partly_sharp(clean, low, torch.Generator().manual_seed(0))
    each = z[:, 0, 0, 0]
    assert torch.equal(z, each[:, None, None, None].expand_as(z))
    assert 0.25 <= each.min() < 0.35 and 0.9 < each.max() <= 1


def test_gate_targets_prefer_the_nearest_expert():
    clean = torch.randn(2, 4, 8, 8)
    experts = torch.stack([clean + 0.1, clean + 1.0, clean + 2.0])
    targets = losses.gate_targets(experts, clean, (4, 4))
    assert torch.equal(targets.argmax(1), torch.zeros(2, 4, 4, dtype=torch.long))
    torch.testing.assert_close(targets.sum(1), torch.ones(2, 4, 4))


def test_load_balance_is_zero_only_when_even():
    even = torch.full((1, 3, 4, 4), 1 / 3)
    assert float(losses.load_balance(even)) == pytest.approx(0, abs=1e-6)
    assert float(losses.load_balance(torch.tensor([1.0, 0, 0])[None, :, None, None])) == 2
