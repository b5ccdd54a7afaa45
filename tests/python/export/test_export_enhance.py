"""The plain whole-volume loop."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from export_fixtures import volume_and_boxes
from hypothesis import given, settings
from hypothesis import strategies as st
from moediff_export.config import TINY
from moediff_export.diffusion import Sampling
from moediff_export.enhance import default_sampling, dispatch, enhance_volume
from moediff_export.noise import normal, philox
from moediff_export.tiles import EDGE_RAMP, Blend, Tile, fit_tiles, plan_tiles, tile_starts

from moediff_rt import _core


def test_philox_matches_its_published_answers():
    """Known-answer vectors of Random123's Philox 4x32-10."""
    answers = {
        ((0, 0, 0, 0), 0): (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
        ((0xFFFFFFFF,) * 4, 2**64 - 1): (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            0x299F31D0A4093822,
        ): (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    }
    for (counter, seed), words in answers.items():
        result = philox([np.array(c, np.uint64) for c in counter], seed)
        assert tuple(int(w) for w in result) == words


def test_noise_is_standard_normal_and_fixed_in_place():
    drawn = normal(7, 0, (0, 0, 0), (8, 64, 64))
    assert abs(drawn.mean()) < 0.02 and abs(drawn.std() - 1) < 0.02
    shifted = normal(7, 0, (16, 8, 0), (8, 32, 32))
    assert np.array_equal(shifted, drawn[:, 8:40, 16:48])
    for other in (normal(8, 0, (0, 0, 0), (8, 64, 64)), normal(7, 1, (0, 0, 0), (8, 64, 64))):
        assert abs(np.corrcoef(drawn.ravel(), other.ravel())[0, 1]) < 0.02


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_tiles_cover_the_region_with_the_promised_overlap(data):
    align = data.draw(st.sampled_from([1, 4, 32]))
    tile = align * data.draw(st.integers(4, 16))
    overlap = align * data.draw(st.integers(0, tile // align // 2))
    n = data.draw(st.integers(1, 6 * tile))
    lo = data.draw(st.integers(0, n - 1))
    hi = data.draw(st.integers(lo + 1, n))
    starts = tile_starts(n, lo, hi, tile, overlap, align)
    assert starts[0] <= lo and hi <= starts[-1] + tile
    assert all(s % align == 0 and s >= 0 for s in starts)
    assert all(b - a <= tile - overlap for a, b in pairwise(starts))
    assert starts[-1] + tile < max(n, tile) + align


def test_slices_without_foreground_get_no_tile():
    _, boxes = volume_and_boxes((5, 100, 150))
    plan = plan_tiles((5, 100, 150), boxes, [(64, 48)] * 5, 16, 4)
    assert {at.z for at in plan} == {1, 2, 3, 4}
    last = [at for at in plan if at.z == 4]
    assert last and all(at.x < 20 for at in last)


def test_blending_one_constant_gives_it_back_inside():
    volume = np.zeros((1, 100, 150), np.float32)
    boxes = np.array([[0, 100, 0, 150]], np.int32)
    blend = Blend(volume)
    for at in plan_tiles(volume.shape, boxes, [(64, 48)] * len(boxes), 16, 4):
        blend.add(at, np.ones((64, 48), np.float32))
    np.testing.assert_allclose(blend.result(), 1.0, atol=1e-6)


def test_blending_fades_to_the_input_over_the_edge_ramp_of_an_outer_border():
    volume = np.zeros((1, 256, 256), np.float32)
    boxes = np.array([[64, 220, 70, 120]], np.int32)
    plan = plan_tiles(volume.shape, boxes, [(64, 64)] * len(boxes), 16, 4)
    assert len(plan) > 1
    blend = Blend(volume)
    for at in plan:
        blend.add(at, np.ones((64, 64), np.float32))
    result = blend.result()[0]
    top, left, inside = plan[0].y, plan[0].x, result[64 + EDGE_RAMP : 220 - EDGE_RAMP, 74:116]
    np.testing.assert_allclose(inside, 1.0, atol=1e-6)
    assert result[0, 0] == 0.0
    assert 0 < result[top, 100] < result[top + EDGE_RAMP - 1, 100] < 1.0
    assert 0 < result[100, left] < result[100, left + EDGE_RAMP - 1] < 1.0


def test_a_tile_that_ends_with_the_volume_does_not_fade():
    volume = np.zeros((1, 64, 64), np.float32)
    box = np.array([[0, 64, 0, 64]], np.int32)
    (at,) = plan_tiles(volume.shape, box, [(64, 64)], 16, 4)
    assert at == Tile(0, 0, 0, (64, 64))
    blend = Blend(volume)
    blend.add(at, np.ones((64, 64), np.float32))
    np.testing.assert_array_equal(blend.result(), 1.0)


def test_seams_stay_small_beside_what_the_model_does(tiny_model):
    """Slices in several tiles against the same slices in one."""
    volume, boxes = volume_and_boxes((3, 128, 120))
    boxes[:] = [0, 128, 0, 120]
    one = enhance_volume(tiny_model, volume, boxes, size=(128, 128))
    many = enhance_volume(tiny_model, volume, boxes, size=(64, 64))
    assert len(plan_tiles(volume.shape, boxes, [(64, 64)] * len(boxes), 16, 4)) > 3 * 3
    assert np.linalg.norm(many - one) < 0.1 * np.linalg.norm(one - volume)


def test_the_fitted_tile_is_no_larger_than_the_boxes_need():
    boxes = np.array([[40, 100, 60, 90], [0, 0, 0, 0], [50, 95, 61, 89]], np.int32)
    assert fit_tiles((3, 200, 200), boxes, 32, 128, 16, 16, 4) == [(64, 32)] * 3
    assert fit_tiles((3, 200, 200), 0 * boxes, 32, 128, 16, 16, 4) == [(128, 128)] * 3


def test_many_slices_that_need_less_have_smaller_tiles(tiny_model):
    boxes = np.array([[0, 64, 0, 64]] * 30 + [[8, 36, 12, 40]] * 45, np.int32)
    sizes = fit_tiles((75, 64, 64), boxes, 32, 64, 16, 16, 4)
    assert sizes == [(64, 64)] * 30 + [(32, 32)] * 45
    volume = volume_and_boxes((75, 64, 64))[0]
    found = enhance_volume(tiny_model, volume, boxes)
    for size in set(sizes):
        alone = np.where([[of == size] for of in sizes], boxes, 0).astype(np.int32)
        kept = enhance_volume(tiny_model, volume, alone, size=size)
        at = [of == size for of in sizes]
        np.testing.assert_allclose(found[at], kept[at], atol=1e-5)


def test_dispatch_drops_weak_experts_and_renormalises():
    gates = torch.tensor([0.6, 0.39, 0.01])[None, :, None, None].expand(1, 3, 4, 4)
    kept = dispatch(gates, 0.02)
    assert float(kept[:, 2].max()) == 0.0
    torch.testing.assert_close(kept.sum(1), torch.ones(1, 4, 4))
    assert torch.equal(dispatch(gates, 0.0), gates)


def test_result_does_not_depend_on_the_batch(tiny_model):
    volume, boxes = volume_and_boxes((4, 90, 110))
    one = enhance_volume(tiny_model, volume, boxes, batch=1)
    many = enhance_volume(tiny_model, volume, boxes, batch=7)
    np.testing.assert_allclose(one, many, atol=1e-5)


def test_same_seed_same_volume_other_seed_other_volume(tiny_model):
    volume, boxes = volume_and_boxes((3, 64, 64))
    sampling = Sampling("ddim", 2, "noise", 0, eta=1.0)
    first = enhance_volume(tiny_model, volume, boxes, sampling, seed=1)
    assert np.array_equal(first, enhance_volume(tiny_model, volume, boxes, sampling, seed=1))
    assert not np.allclose(first, enhance_volume(tiny_model, volume, boxes, sampling, seed=2))


def test_the_runtime_may_draw_the_noise(tiny_model):
    volume, boxes = volume_and_boxes((3, 64, 64))
    sampling, drawn = Sampling("ddim", 2, "noise", 0, eta=1.0), []

    def normal(*at):
        drawn.append(at)
        return _core.normal(*at)

    found = enhance_volume(tiny_model, volume, boxes, sampling, seed=1, normal=normal)
    expected = enhance_volume(tiny_model, volume, boxes, sampling, seed=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert {at[1] for at in drawn} == {0, 1}


def test_empty_foreground_returns_the_input(tiny_model):
    volume, boxes = volume_and_boxes((3, 64, 64))
    result = enhance_volume(tiny_model, volume, np.zeros_like(boxes))
    assert np.array_equal(result, volume)


@pytest.mark.parametrize("start", ["low_field", "noise"])
@pytest.mark.parametrize("method", ["ddim", "dpmpp_2m"])
def test_every_sampler_and_start_gives_finite_volumes(tiny_model, method, start):
    volume, boxes = volume_and_boxes((3, 70, 70))
    sampling = Sampling(method, 3, start, TINY.start_timestep)
    result = enhance_volume(tiny_model, volume, boxes, sampling)
    assert np.isfinite(result).all() and not np.array_equal(result, volume)


def test_progress_counts_tiles(tiny_model):
    volume, boxes = volume_and_boxes((3, 70, 70))
    seen = []
    sampling = default_sampling(TINY)
    enhance_volume(tiny_model, volume, boxes, sampling, progress=lambda *at: seen.append(at))
    sizes = fit_tiles(volume.shape, boxes, 32, 64, 16, 16, 4)
    assert seen[-1][0] == seen[-1][1] == len(plan_tiles(volume.shape, boxes, sizes, 16, 4))
