"""The losses: each is zero where it should be and sees what it is for."""

import math

import pytest
import torch
from export_fixtures import plan
from moediff_export.config import TINY
from moediff_export.model import Encoder
from moediff_export.training import losses
from moediff_export.training.step import LossPlan
from moediff_export.training.trainer import Trainer


def ones(*shape):
    return torch.ones(shape)


def edge_image(at=16, size=32):
    image = torch.zeros(1, 1, size, size)
    image[..., at:] = 1
    return image


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


def test_an_experts_error_counts_in_its_region():
    regions = torch.zeros(1, 3, 8, 8)
    regions[:, 0, :, :4], regions[:, 1, :, 4:] = 1, 1
    weights = losses.region_weights(regions, (8, 8))
    torch.testing.assert_close(weights.mean(dim=(0, 2, 3)), ones(3))
    clean = torch.zeros(1, 2, 8, 8)
    left = clean.clone()
    left[..., :4] = 1
    errors = losses.denoising(left.expand(3, -1, -1, -1, -1), clean, clean + 1, weights)
    assert errors[0] > 0.9 and errors[1] < 0.1 and errors[2] == pytest.approx(0.5, abs=1e-3)


def test_the_denoising_loss_is_the_share_of_the_low_field_error_that_is_left():
    experts, clean = torch.randn(3, 2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    low = clean + torch.randn_like(clean) * torch.tensor([1.0, 10.0])[:, None, None, None]
    errors = losses.denoising(experts, clean, low, ones(2, 3, 8, 8))
    left = (experts - clean).square().mean(dim=(2, 3, 4)) / (low - clean).square().mean((1, 2, 3))
    torch.testing.assert_close(errors, left.mean(1), rtol=5e-3, atol=0)


def test_perceptual_distance_sees_structure_in_the_region_alone():
    encoder = Encoder(TINY).requires_grad_(False)
    maps = torch.zeros(1, 2, 64, 64)
    truth = torch.cat([edge_image(32, 64), maps], 1)
    other = truth.clone()
    other[:, 0, :, 52:] = 0
    left, right = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    left[..., :24], right[..., 40:] = 1, 1
    seen, true = encoder.features(other), encoder.features(truth)
    assert float(losses.perceptual(true, true, ones(1, 1, 64, 64))) == 0
    assert losses.perceptual(seen, true, right) > 0.01
    assert losses.perceptual(seen, true, left) < 1e-6


def test_gradients_are_compared_pixel_by_pixel():
    target = edge_image(16)
    assert float(losses.local_gradients(target, target, ones(1, 1, 32, 32))) == 0
    # A global mean of gradients could not tell the shifted edge from the one in place.
    shifted = losses.local_gradients(edge_image(18), target, ones(1, 1, 32, 32))
    assert float(shifted) == pytest.approx(2 / 31, rel=1e-4)
    brighter = losses.local_gradients(target + 0.3, target, ones(1, 1, 32, 32))
    assert float(brighter) == pytest.approx(0, abs=1e-6)


def test_the_spectrum_sees_phase_and_place():
    target, weights = edge_image(16), ones(1, 1, 32, 32)
    none = float(losses.local_spectrum(target, target, weights))
    assert none < 1e-5
    # A shift by two pixels keeps every modulus of the spectrum and changes the phases.
    shifted = float(losses.local_spectrum(edge_image(18), target, weights))
    assert shifted > 100 * none
    wrong = target.clone()
    wrong[..., :8, :8] += torch.rand(8, 8)
    near, far = weights.clone(), torch.zeros_like(weights)
    far[..., 24:, 24:] = 1
    assert losses.local_spectrum(wrong, target, near) > 1e-3
    assert losses.local_spectrum(wrong, target, far) < 1e-5


def test_the_spectrum_knows_no_direction():
    image, target, weights = (torch.rand(2, 1, 32, 48) for _ in range(3))
    found = losses.local_spectrum(image, target, weights)
    turned = losses.local_spectrum(image.mT, target.mT, weights.mT)
    torch.testing.assert_close(turned, found)


def test_the_spectrum_is_the_mean_of_the_whole_plane():
    image, target = torch.rand(2, 1, 1, 16, 16)
    taper = torch.hann_window(16)
    whole = torch.fft.fft2((image - target)[0, 0] * taper * taper[:, None], norm="ortho").abs()
    at = torch.fft.fftfreq(16)
    expected = (2 * torch.hypot(at[:, None], at) * whole).mean()
    found = losses.local_spectrum(image, target, ones(1, 1, 16, 16))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_the_spectrum_has_a_gradient_where_nothing_differs():
    image = edge_image().requires_grad_()
    losses.local_spectrum(image, edge_image(), ones(1, 1, 32, 32)).backward()
    assert torch.isfinite(image.grad).all()


def test_gate_targets_prefer_the_nearest_expert():
    clean = torch.randn(2, 4, 8, 8)
    experts = torch.stack([clean + 0.1, clean + 1.0, clean + 2.0])
    targets = losses.gate_targets(experts, clean, EVEN[..., :4, :4])
    assert torch.equal(targets.argmax(1), torch.zeros(2, 4, 4, dtype=torch.long))
    torch.testing.assert_close(targets.sum(1), torch.ones(2, 4, 4))


EVEN = torch.full((2, 3, 8, 8), 1 / 3)


def spread_about_one(spread):
    """Three experts whose squared errors of a clean latent lie about 1, ``spread`` apart."""
    clean = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    offset = torch.randn(3, 2, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    return clean + torch.sqrt(1 + spread * offset.clamp(-3, 3)), clean


def test_gate_targets_do_not_know_how_large_the_errors_are():
    experts, clean = spread_about_one(0.1)
    ten_times = clean + 10 * (experts - clean)
    one, two = (losses.gate_targets(e, clean, EVEN) for e in (experts, ten_times))
    torch.testing.assert_close(one, two, atol=1e-4, rtol=0)


def test_the_mad_makes_gate_targets_free_of_how_far_experts_are_apart():
    near, far = spread_about_one(0.01), spread_about_one(0.1)
    one, two = (losses.gate_targets(*pair, EVEN) for pair in (near, far))
    torch.testing.assert_close(one, two, atol=0.03, rtol=0)
    one, two = (losses.gate_targets(*pair, EVEN, 0.1) for pair in (near, far))
    assert (one - two).abs().max() > 0.1


def test_gate_targets_let_no_gradient_through():
    experts = torch.randn(3, 1, 4, 8, 8, requires_grad=True)
    assert not losses.gate_targets(experts, torch.randn(1, 4, 8, 8), EVEN[:1]).requires_grad


def test_gate_targets_of_equal_experts_are_what_anatomy_says():
    regions = torch.zeros(1, 3, 32, 32)
    regions[:, 0, :, :16], regions[:, 1, :, 16:24] = 1, 1
    prior = losses.region_gates(regions, (8, 8))
    torch.testing.assert_close(prior.sum(1), ones(1, 8, 8))
    assert prior[0, 0, :, :4].min() > 0.9 and prior[0, 1, :, 4:6].min() > 0.9
    torch.testing.assert_close(prior[..., 6:], torch.full((1, 3, 8, 2), 1 / 3))
    clean = torch.randn(1, 4, 16, 16)
    targets = losses.gate_targets((clean + 1).expand(3, -1, -1, -1, -1), clean, prior)
    torch.testing.assert_close(targets, prior)


def test_cross_entropy_is_least_at_the_targets():
    targets = torch.tensor([0.7, 0.2, 0.1])[None, :, None, None]
    at, away = (losses.gate_cross_entropy(g, targets) for g in (targets, targets.flip(1)))
    entropy = -sum(p * math.log(p) for p in (0.7, 0.2, 0.1))
    assert float(at) == pytest.approx(entropy, rel=1e-5) and away > at


def test_diversity_is_zero_for_disjoint_gates_and_one_for_equal_ones():
    disjoint = torch.zeros(1, 3, 3, 1)
    for i in range(3):
        disjoint[0, i, i] = 1
    assert float(losses.gate_diversity(disjoint)) == pytest.approx(0, abs=1e-6)
    assert float(losses.gate_diversity(torch.full((1, 3, 4, 4), 1 / 3))) == pytest.approx(1)
    assert float(losses.gate_diversity(ones(1, 1, 4, 4))) == 0


def test_load_balance_is_zero_only_when_even():
    even = torch.full((1, 3, 4, 4), 1 / 3)
    assert float(losses.load_balance(even)) == pytest.approx(0, abs=1e-6)
    assert float(losses.load_balance(torch.tensor([1.0, 0, 0])[None, :, None, None])) == 2


def test_learned_weights_settle_at_each_losss_size():
    terms = torch.tensor([0.02, 3.0])
    log_variances = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_variances], max_iter=60)

    def closure():
        optimizer.zero_grad()
        loss = losses.uncertainty_weighted(terms, log_variances)
        loss.backward()
        return loss

    optimizer.step(closure)
    # d/ds (exp(-s) L + s) = 0 at s = log L: the log term keeps the weight from falling to zero.
    torch.testing.assert_close(log_variances.detach(), terms.log(), atol=1e-2, rtol=0)


def test_learned_weights_begin_as_those_of_a_run_without_them(pairs, tmp_path):
    joint = []
    for uncertainty in (True, False):
        chosen = plan(10, autoencoder_share=0, losses=LossPlan(uncertainty=uncertainty))
        joint.append(float(Trainer(TINY, chosen, pairs, tmp_path).train_step()["joint"]))
    assert joint[0] == pytest.approx(joint[1], rel=1e-5)
