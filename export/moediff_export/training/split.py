"""Which pairs train, and which validate."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from ..data.shards import Pair

HELD_OUT = 16  # one subject in this many validates


def hold_out(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Split pairs into those that train and those that validate.

    The first subject and every 16th after it validate; no subject that pairs name is in both. A
    subject that is the only one named trains, too: then single pairs are held out. Simulated slabs
    name none, and single ones are held out: slabs drawn from the same source head share its
    anatomy, and both parts have some of it. What is held out of those says whether a run goes well,
    not how it does on a head that it never saw.

    Returns
    -------
    train, held_out : list of Pair
        In the order given; a lone pair is in both.
    """
    owners: list[Hashable] = list(range(len(pairs)))
    if len({pair.subject for pair in pairs if pair.subject}) > 1:
        owners = [pair.subject or i for i, pair in enumerate(pairs)]
    held = set(list(dict.fromkeys(owners))[::HELD_OUT])
    train = [p for p, owner in zip(pairs, owners, strict=True) if owner not in held]
    held_out = [p for p, owner in zip(pairs, owners, strict=True) if owner in held]
    return train or list(pairs), held_out
