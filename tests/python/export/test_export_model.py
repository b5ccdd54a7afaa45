"""The reference model: every part is there, trained, and does what it is named for."""

import numpy as np
import pytest
import torch
from export_fixtures import random_model
from moediff_export.config import EDGE, PAPER, TINY, get_config
from moediff_export.data.batches import Batch
from moediff_export.model import MoEDiffSR, build_model
from moediff_export.model.autoencoder import VectorQuantizer, fine_detail
from moediff_export.model.conditioner import (
    SwinBlock,
    from_windows,
    shuffle_cells,
    to_windows,
)
from moediff_export.model.experts import EdgeEnhancement, NonLocalAttention
from moediff_export.training.step import REPORTED, LossPlan, TrainingStep, draw
from moediff_export.training.variants import apply_variant, arithmetic
from torch.nn import functional as F


def crops(config, count=2, size=None):
    generator = torch.Generator().manual_seed(0)
    size = size or config.tile
    slices = torch.rand(count, config.slices, size, size, generator=generator)
    target = torch.rand(count, 1, size, size, generator=generator)
    maps = 0.1 * torch.rand(count, 2, size, size, generator=generator)
    regions = torch.rand(count, 3, size, size, generator=generator).softmax(1)
    return Batch(target, slices, maps, regions)


def condition(model, slices):
    return model.condition(slices, model.encode_low_field(slices))


@pytest.mark.parametrize("vq_codes", [0, 32])
def test_every_parameter_gets_a_gradient(vq_codes):
    model = random_model(get_config("tiny", vq_codes=vq_codes)).train()
    batch, generator = crops(TINY), torch.Generator().manual_seed(0)
    step = TrainingStep(model, LossPlan())
    encoder = random_model(TINY).encoder.requires_grad_(False)
    draws = draw(TINY, batch, False, generator)
    terms = step(batch, draws, encoder, False, torch.tensor(0.0))
    sum(v for k, v in terms.items() if not k.startswith(REPORTED)).backward()
    silent = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert silent == []


def test_what_a_step_draws():
    batch = crops(TINY, count=400, size=32)
    draws = draw(TINY, batch, False, torch.Generator().manual_seed(0))
    assert draws.noise.shape == (400, TINY.latent_channels, 8, 8)
    assert 0.25 <= draws.way.min() < 0.26 and 0.98 < draws.way.max() <= 1
    assert draws.way.shape == (200, 1, 1, 1)
    assert 0.8 < draws.from_low.float().mean() < 0.9
    assert (draws.t[draws.from_low] == TINY.start_timestep).all()
    others = draws.t[~draws.from_low]
    below = others < TINY.start_timestep
    assert below.float().mean() > 0.6 and (others > TINY.start_timestep).any()
    alone = draw(TINY, batch, True, torch.Generator().manual_seed(0))
    assert alone.way.shape == (400, 1, 1, 1) and len(alone.noise) == 0


@pytest.mark.parametrize(
    ("variant", "alone"),
    [("mixture", False), ("mixture", True), ("single", False), ("unet", False)],
)
def test_a_step_is_one_graph_whatever_the_guidance(variant, alone):
    """A GPU replays it: nothing may ask the host, nor be fixed at what the first step had."""
    config, plan = apply_variant(variant, TINY)
    step = TrainingStep(build_model(config), plan)
    encoder = random_model(TINY).encoder.requires_grad_(False)
    graphs = []

    def keep(graph, example):
        graphs.append(graph)
        return graph.forward

    captured = torch.compile(step, backend=keep, fullgraph=True, dynamic=False)
    for seed, guidance in enumerate((1.0, 0.7, 0.0)):
        batch = crops(TINY)
        draws = draw(config, batch, alone, torch.Generator().manual_seed(seed))
        given = (batch, draws, encoder, alone, torch.tensor(guidance))
        torch.testing.assert_close(captured(*given), step(*given))
    assert len(graphs) == 1


def test_edge_fits_a_small_computer():
    assert arithmetic(EDGE) < 20e9
    assert 2 * sum(p.numel() for p in MoEDiffSR(EDGE).parameters()) < 24e6  # bytes of float16


def test_paper_has_the_papers_shapes():
    with torch.device("meta"):
        model = MoEDiffSR(PAPER)
    assert model.decoder.quantizer.codebook.shape == (1024, 512)
    slices = torch.empty(1, 3, 256, 256, device="meta")
    assert model.encoder(slices).shape == (1, 512, 8, 8)
    assert PAPER.timesteps == 1000 and PAPER.expert_base == 128


def test_gate_weighs_per_token_and_sums_to_one(tiny_model):
    _, gates = condition(tiny_model, crops(TINY).slices)
    assert gates.shape == (2, 3, TINY.gate_size, TINY.gate_size)
    torch.testing.assert_close(gates.sum(1), torch.ones_like(gates[:, 0]))
    assert gates.std(dim=(2, 3)).min() > 0


def test_gated_sum_is_the_weighted_sum_of_the_experts(tiny_model):
    z_c, gates = condition(tiny_model, crops(TINY).slices)
    z_t = torch.randn(2, *(TINY.latent_channels, TINY.latent_size, TINY.latent_size))
    result = tiny_model.predict(z_t, z_c, gates, torch.tensor([10.0, 300.0]))
    total = sum(result.gates[:, i : i + 1] * result.experts[i] for i in range(3))
    torch.testing.assert_close(result.z0, total)


@pytest.mark.parametrize("changed", ["z_t", "z_c", "t"])
def test_experts_depend_on_each_input(tiny_model, changed):
    shape = (1, TINY.latent_channels, TINY.latent_size, TINY.latent_size)
    inputs = {
        "z_t": torch.randn(shape),
        "z_c": torch.randn(1, TINY.latent_size, TINY.latent_size, TINY.z_c_channels),
        "t": torch.tensor([50.0]),
    }
    other = {**inputs, changed: inputs[changed] + 1}
    for expert in tiny_model.experts:
        assert (expert(**inputs) - expert(**other)).abs().max() > 1e-5


def test_the_decoder_adds_to_the_low_field_slice(tiny_model):
    slices = crops(TINY).slices
    z0 = torch.zeros(2, TINY.latent_channels, TINY.latent_size, TINY.latent_size)
    with torch.no_grad():
        brighter = tiny_model.decoder(z0, slices + 100.0)
    # Far outside the trained range only the residual path keeps the slice's own level.
    assert abs(float((brighter - slices[:, 1:2]).mean()) - 100.0) < 50.0


def test_fine_detail_is_what_exceeds_the_mean_of_the_5_x_5_pixels_that_there_are():
    image = torch.rand(2, 1, 12, 20, dtype=torch.float64)
    mean = F.avg_pool2d(image, 5, stride=1, padding=2, count_include_pad=False)
    torch.testing.assert_close(fine_detail(image), 8 * (image - mean))


def test_the_latent_sees_fine_detail(tiny_model):
    image = crops(TINY).target.repeat(1, 3, 1, 1) * 0.2
    checks = image.clone()
    checks[:, :1] += 0.04 * (torch.arange(TINY.tile) % 2 - 0.5)  # every other column
    with torch.no_grad():
        smooth, detailed = tiny_model.encoder(image), tiny_model.encoder(checks)
    assert (detailed - smooth).std() > 0.05 * smooth.std()


def test_neighbouring_slices_are_seen(tiny_model):
    slices = crops(TINY).slices
    other = slices.clone()
    other[:, 0] = 0
    change = condition(tiny_model, slices)[0] - condition(tiny_model, other)[0]
    assert change.abs().max() > 1e-4


def test_experts_improve_on_the_low_field_latent(tiny_model):
    slices = crops(TINY).slices
    z_low = tiny_model.encode_low_field(slices)
    z_c, _ = tiny_model.condition(slices, z_low)
    silent = random_model(TINY, seed=2)
    with torch.no_grad():
        for expert in silent.experts:
            expert.out.weight.zero_()
            expert.out.bias.zero_()
            assert torch.equal(expert(torch.randn_like(z_low), z_c, torch.ones(2)), z_low)


def test_with_a_channel_a_pixel_the_autoencoder_starts_as_the_identity():
    torch.manual_seed(0)
    config = get_config("tiny", latent_channels=16)
    model = MoEDiffSR(config)
    with torch.no_grad():
        for conv in (model.encoder.out, model.decoder.out):
            conv.weight.zero_()
        target = crops(config).target
        slices = torch.nn.functional.avg_pool2d(target, 3, 1, 1).repeat(1, 3, 1, 1)
        maps = torch.zeros(2, 2, config.tile, config.tile)
        low = model.decoder(model.encode_low_field(slices), slices)
        clean = model.decoder(model.encoder(torch.cat([target, maps], 1)), slices)
    torch.testing.assert_close(low, slices[:, 1:2])
    inner = (slice(None), slice(None), slice(4, -4), slice(4, -4))
    before, after = ((image - target)[inner].std() for image in (slices[:, 1:2], clean))
    assert after < 0.4 * before


def test_edge_filters_and_their_mix_are_one_convolution():
    torch.manual_seed(0)
    edges, x = EdgeEnhancement(5), torch.randn(2, 5, 9, 7)
    with torch.no_grad():
        edges.mix.weight.normal_()
        edges.mix.bias.normal_()
        torch.testing.assert_close(edges(x), x + edges.mix(edges.filters(x)))


@pytest.mark.parametrize("cosines", [False, True])
def test_cosines_leave_attention_as_it_is_however_large_queries_grow(cosines):
    attention, x = NonLocalAttention(8, cosines), torch.randn(2, 8, 5, 6)
    assert torch.equal(attention(x), x)  # starts as the identity
    torch.nn.init.normal_(attention.out.weight)
    before = attention(x)
    with torch.no_grad():
        for part in (attention.qkv.weight, attention.qkv.bias):
            part[:8] *= 1000  # queries and keys
    assert torch.allclose(attention(x), before, atol=1e-4) == cosines


def test_the_stem_reads_both_latents_as_if_they_were_one():
    expert = random_model(TINY).experts[0]
    z_t = torch.randn(2, TINY.latent_channels, 8, 12)
    z_c = torch.randn(2, 8, 12, TINY.z_c_channels)
    with torch.no_grad():
        together = expert.stem(torch.cat([z_t, z_c.permute(0, 3, 1, 2)], dim=1))
        torch.testing.assert_close(expert.read(z_t, z_c), together)


def test_channels_become_cells_as_pixel_shuffle_has_them():
    x = torch.randn(2, 3, 4, 3 * 4)
    shuffled = torch.nn.functional.pixel_shuffle(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    assert torch.equal(shuffle_cells(x, 2), shuffled)


def test_windows_come_back_in_place():
    x = torch.arange(2 * 8 * 12 * 3.0).reshape(2, 8, 12, 3)
    assert torch.equal(from_windows(to_windows(x, 4), 4, 8, 12), x)


def test_shifted_windows_do_not_see_across_the_border():
    torch.manual_seed(0)
    block = SwinBlock(8, 2, 4, shift=2).eval()
    x = torch.randn(1, 8, 8, 8)
    other = x.clone()
    other[:, 0, 0] += 1.0  # the far corner, rolled into the same window as the last rows
    moved = (block(x) - block(other)).abs().amax(-1)[0]
    assert moved[0, 0] > 0 and moved[6:, 6:].max() == 0


def test_quantizer_takes_the_nearest_code():
    quantizer = VectorQuantizer(16, 4)
    z = torch.randn(2, 4, 5, 5)
    quantized, _ = quantizer(z)
    distance = (z.permute(0, 2, 3, 1)[..., None, :] - quantizer.codebook).norm(dim=-1)
    nearest = quantizer.codebook[distance.argmin(-1)].permute(0, 3, 1, 2)
    torch.testing.assert_close(quantized, nearest)


def test_models_are_convolutional_beyond_the_tile(tiny_model):
    batch = crops(TINY, size=2 * TINY.tile)
    z_c, gates = condition(tiny_model, batch.slices)
    assert z_c.shape[2] == 2 * TINY.latent_size and gates.shape[-1] == 2 * TINY.gate_size
    assert np.isfinite(z_c.detach().numpy()).all()
