"""Where the C++ core puts tiles."""

import itertools

import contract_loop
import contract_ops
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moediff_rt import _core
from moediff_rt.errors import InputError


@st.composite
def axes(draw):
    align = draw(st.sampled_from([1, 2, 4, 8, 32]))
    tile = align * draw(st.integers(2, 64))
    overlap = align * draw(st.integers(0, tile // 2 // align))
    n = draw(st.integers(1, 2000))
    lo = draw(st.integers(0, n - 1))
    hi = draw(st.integers(lo + 1, n))
    return n, lo, hi, tile, overlap, align


@given(axes())
def test_tiles_cover_the_region_and_overlap_enough(axis):
    n, lo, hi, tile, overlap, align = axis
    starts = _core.tile_starts(*axis)
    assert starts[0] <= lo
    assert starts[-1] + tile >= hi
    assert all(start % align == 0 and start >= 0 for start in starts)
    assert all(a < b <= a + tile - overlap for a, b in itertools.pairwise(starts))
    assert starts[-1] < n
    assert starts[-1] <= max(0, n - tile + align - 1)


@given(axes())
def test_tile_starts_match_the_plain_rule(axis):
    assert _core.tile_starts(*axis) == contract_loop.tile_starts(*axis)


@given(axes())
def test_blend_weights_reach_one_over_the_whole_region(axis):
    n, lo, hi, tile, overlap, _ = axis
    weight = np.zeros(n + 2 * tile)
    for start in (starts := _core.tile_starts(*axis)):
        ends = contract_loop.ends(start, starts, n, tile, overlap)
        weight[start : start + tile] += contract_ops.ramp(tile, *ends)
    edge = contract_loop.EDGE
    inner = range(lo + edge if starts[0] else lo, hi - edge if starts[-1] + tile < n else hi)
    assert all(weight[i] >= 1 - 1e-12 for i in inner)


@st.composite
def foregrounds(draw):
    nz, ny, nx = (draw(st.integers(1, most)) for most in (4, 300, 300))
    boxes = np.zeros((nz, 4), np.int32)
    for z in range(nz):
        boxes[z, :2] = sorted(draw(st.tuples(st.integers(0, ny), st.integers(0, ny))))
        boxes[z, 2:] = sorted(draw(st.tuples(st.integers(0, nx), st.integers(0, nx))))
    pitch = draw(st.sampled_from([8, 24]))
    smallest = [pitch * draw(st.integers(2, 4)) for _ in "yx"]
    largest = [size + pitch * draw(st.integers(0, 4)) for size in smallest]
    overlap = draw(st.sampled_from([0, 4, 8]))
    # Of many slices some may have tiles of their own size.
    boxes = np.repeat(boxes, draw(st.sampled_from([1, 40])), axis=0)
    return (len(boxes), ny, nx), boxes, tuple(smallest), tuple(largest), (pitch, pitch), overlap


def fit(shape, boxes, smallest, largest, pitch, overlap):
    return _core.fit_tiles(
        shape,
        boxes,
        smallest=smallest,
        largest=largest,
        pitch=pitch,
        overlap=overlap,
        align=(4, 4),
    )


@given(foregrounds())
def test_the_tiles_that_fit_take_the_fewest_pixels(foreground):
    found = fit(*foreground)
    best, pixels = contract_loop.fit_tiles(*foreground, (4, 4))
    assert found == best
    spent = sum(pixels[size][z] for z, size in enumerate(found))
    assert spent <= min(map(sum, pixels.values()))


def test_one_tile_holds_each_box_where_that_takes_the_fewest_pixels():
    boxes = np.array([[100, 160, 40, 80], [0, 0, 0, 0], [90, 150, 30, 100]], np.int32)
    assert fit((3, 400, 400), boxes, (16, 16), (256, 256), (8, 8), 8) == [(64, 72)] * 3


def test_many_slices_with_a_smaller_box_have_a_smaller_tile():
    boxes = np.array([[0, 128, 0, 128]] * 90 + [[40, 72, 60, 92]] * 60, np.int32)
    sizes = fit((150, 400, 400), boxes, (32, 32), (128, 128), (32, 32), 8)
    assert sizes == [(128, 128)] * 90 + [(32, 32)] * 60


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"boxes": np.array([[0, 9, 0, 401]], np.int32)}, "region is probably not of this volume"),
        ({"boxes": np.zeros((2, 4), np.int32)}, r"boxes .*\(1, 4\)"),
        ({"pitch": (0, 8)}, "pitch of 1 or more"),
        ({"smallest": (16, 72)}, "no larger than the largest"),
        ({"overlap": 12}, "half the tile"),
    ],
)
def test_a_wrong_foreground_is_refused(change, words):
    call = {
        "boxes": np.array([[0, 9, 0, 9]], np.int32),
        "smallest": (16, 16),
        "largest": (64, 64),
        "pitch": (8, 8),
        "overlap": 8,
        **change,
    }
    with pytest.raises(InputError, match=words):
        fit((1, 400, 400), **call)


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        ((100, 50, 50, 32, 8, 4), "lo < hi"),
        ((100, -1, 50, 32, 8, 4), "lo < hi"),
        ((100, 0, 101, 32, 8, 4), "lo < hi"),
        ((100, 0, 50, 32, 20, 4), "half the tile"),
        ((100, 0, 50, 32, 6, 4), "multiple of align"),
        ((100, 0, 50, 30, 8, 4), "multiple of align"),
    ],
)
def test_impossible_axes_are_refused(axis, words):
    with pytest.raises(InputError, match=words):
        _core.tile_starts(*axis)
