"""The examples in the docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import moediff_rt

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(moediff_rt.__path__, "moediff_rt.")
    if module.name not in ("moediff_rt.__main__", "moediff_rt._core")
)


@pytest.mark.parametrize("name", ["moediff_rt", *MODULES])
def test_examples_give_what_they_say(name):
    failed, _tried = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name))]
    assert sum(len(test.examples) for test in found) >= 10
