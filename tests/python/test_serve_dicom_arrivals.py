"""Which series are whole: after a quiet time, and later where the sender may come back."""

from __future__ import annotations

import pytest

from moediff_rt.serve.dicom.arrivals import Arrivals


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock():
    return Clock()


def test_a_series_is_whole_when_it_was_quiet_after_the_release(clock):
    arrivals = Arrivals(10, 600, now=clock)
    arrivals.came("s", 1)
    clock.time = 100
    assert arrivals.take_whole() == [], "the association is open"
    arrivals.ended(1, released=True)
    clock.time = 109
    assert arrivals.take_whole() == []
    clock.time = 110
    assert arrivals.take_whole() == ["s"]
    assert arrivals.take_whole() == [], "it is handed over once"


def test_at_the_release_where_there_is_no_quiet_time(clock):
    arrivals = Arrivals(0, 600, now=clock)
    arrivals.came("s", 1)
    assert arrivals.take_whole() == []
    arrivals.ended(1, released=True)
    assert arrivals.take_whole() == ["s"]


def test_another_association_with_the_series_goes_on_with_it(clock):
    arrivals = Arrivals(10, 600, now=clock)
    arrivals.came("s", 1)
    arrivals.came("s", 2)
    arrivals.came("other", 2)
    arrivals.ended(1, released=True)
    clock.time = 50
    assert arrivals.take_whole() == []
    arrivals.ended(2, released=True)
    clock.time = 55
    arrivals.came("s", 3)
    arrivals.ended(3, released=True)
    clock.time = 60
    assert arrivals.take_whole() == ["other"]
    clock.time = 65
    assert arrivals.take_whole() == ["s"]


@pytest.mark.parametrize("what", ["broken off", "never ended", "found at the start"])
def test_a_series_that_may_lack_its_end_waits_longer(clock, what):
    arrivals = Arrivals(10, 600, now=clock)
    if what == "found at the start":
        arrivals.found("s")
    else:
        arrivals.came("s", 1)
    if what == "broken off":
        arrivals.ended(1, released=False)
        arrivals.ended(1, released=True)
    clock.time = 599
    assert arrivals.take_whole() == []
    clock.time = 600
    assert arrivals.take_whole() == ["s"]


def test_the_rest_after_a_break_makes_it_whole(clock):
    arrivals = Arrivals(10, 600, now=clock)
    arrivals.came("s", 1)
    arrivals.ended(1, released=False)
    clock.time = 20
    arrivals.came("s", 2)
    arrivals.ended(2, released=True)
    clock.time = 30
    assert arrivals.take_whole() == ["s"]
