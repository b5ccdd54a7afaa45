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
def test_blend_weights_reach_one_between_tiles(axis):
    n, _, _, tile, overlap, _ = axis
    weight = np.zeros(n + 2 * tile)
    for start in (starts := _core.tile_starts(*axis)):
        weight[start : start + tile] += contract_ops.ramp(start, n, tile, overlap)
    inner = slice(starts[0] + overlap, min(n, starts[-1] + tile - overlap))
    assert (weight[inner] >= 1 - 1e-12).all()


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
