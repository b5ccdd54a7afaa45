"""Nobody trains and validates."""

from __future__ import annotations

import numpy as np
import pytest
from moediff_export.data.shards import Pair
from moediff_export.training.split import HELD_OUT, hold_out


def slab(subject=""):
    flat = np.zeros((1, 1, 1), np.float16)
    return Pair(flat, flat, flat, flat, np.zeros((3, 1, 1, 1), np.uint8), subject)


def among(pair, pairs):
    return any(pair is other for other in pairs)


@pytest.mark.parametrize("subjects", [2, 5, 16, 17, 40])
def test_no_subject_trains_and_validates(subjects):
    pairs = [slab(f"sub-{i // 3}") for i in range(3 * subjects)]
    train, held_out = hold_out(pairs)
    assert len(train) + len(held_out) == len(pairs)
    assert not {p.subject for p in train} & {p.subject for p in held_out}
    assert len({p.subject for p in held_out}) == -(-subjects // HELD_OUT)


def test_simulated_slabs_are_held_out_one_by_one():
    pairs = [slab() for _ in range(240)]
    train, held_out = hold_out(pairs)
    assert len(held_out) == 15 and len(train) == 225
    assert all(among(p, held_out) != among(p, train) for p in pairs)


def test_real_subjects_beside_simulated_slabs_stay_whole():
    pairs = [slab(f"sub-{i // 6}") for i in range(30)] + [slab() for _ in range(60)]
    train, held_out = hold_out(pairs)
    assert [p.subject for p in held_out[:6]] == ["sub-0"] * 6
    assert not any(p.subject == "sub-0" for p in train)


def test_slabs_of_one_subject_alone_are_told_apart():
    pairs = [slab("sub-01") for _ in range(6)]
    train, held_out = hold_out(pairs)
    assert held_out == [pairs[0]] and train == pairs[1:]


def test_a_lone_subject_trains_beside_simulated_slabs():
    pairs = [slab("sub-01") for _ in range(6)] + [slab() for _ in range(60)]
    train, held_out = hold_out(pairs)
    assert [p.subject for p in train].count("sub-01") == 5
    assert len(held_out) == 5


def test_a_lone_pair_does_both():
    lone = slab()
    assert hold_out([lone]) == ([lone], [lone])
