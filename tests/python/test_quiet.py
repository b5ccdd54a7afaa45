"""Libraries are quiet while someone is inside, and as before when all are outside."""

from __future__ import annotations

import logging
import warnings

import pytest

from moediff_rt.quiet import quieted

NAMES = ("moediff_rt.test_a", "moediff_rt.test_b")


@pytest.fixture(autouse=True)
def levels():
    for name in NAMES:
        logging.getLogger(name).setLevel(logging.INFO)


def is_quiet(name: str) -> bool:
    return not logging.getLogger(name).isEnabledFor(logging.CRITICAL)


def warns() -> bool:
    with warnings.catch_warnings(record=True) as told:
        warnings.warn("said", stacklevel=1)
    return bool(told)


@pytest.mark.parametrize("other", NAMES, ids=["one logger", "two loggers"])
@pytest.mark.parametrize("first_out", [0, 1])
def test_whoever_leaves_first_the_last_one_leaves_all_as_before(other, first_out):
    names = (NAMES[0], other)
    filters = list(warnings.filters)
    assert warns()
    inside = [quieted(name) for name in names]
    for context in inside:
        context.__enter__()
    inside[first_out].__exit__(None, None, None)
    assert is_quiet(names[1 - first_out]) and not warns()
    assert other == NAMES[0] or not is_quiet(names[first_out])
    inside[1 - first_out].__exit__(None, None, None)
    assert not any(map(is_quiet, names)) and warns()
    assert warnings.filters == filters
    assert {logging.getLogger(name).level for name in names} == {logging.INFO}


def test_an_error_inside_leaves_all_as_before():
    with pytest.raises(ZeroDivisionError), quieted(NAMES[0]):
        assert is_quiet(NAMES[0]) and not warns()
        raise ZeroDivisionError
    assert not is_quiet(NAMES[0]) and warns()
