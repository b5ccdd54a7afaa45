"""How long it takes until something happens: the import, the command, the first tile."""

import os
import subprocess
import sys
import time

import pytest

# Says when the first tile is done, in the parent's clock, and goes.
FIRST_TILE = """
import os, sys, time
import moediff_rt

def progress(done, total):
    if done:
        print(time.clock_gettime(time.CLOCK_MONOTONIC), flush=True)
        os._exit(0)

moediff_rt.Session().infer(sys.argv[1], progress=progress)
"""
ROUNDS = 5
# The source tree, where the benchmarks are started, has a moediff_rt without its extension.
ELSEWHERE = os.path.dirname(sys.executable)


def now():
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=ELSEWHERE, capture_output=True, text=True, check=True
    ).stdout


STARTS = {
    "python alone": ["-c", "pass"],
    "import moediff_rt": ["-c", "import moediff_rt"],
    "moediff_rt.Session": ["-c", "import moediff_rt; moediff_rt.Session()"],
    "moediff-rt --version": ["-m", "moediff_rt", "--version"],
    "moediff-rt infer --help": ["-m", "moediff_rt", "infer", "--help"],
}


@pytest.mark.benchmark(group="start-up")
@pytest.mark.parametrize("name", STARTS)
def test_start(benchmark, record, name):
    benchmark.pedantic(python, args=STARTS[name], rounds=ROUNDS, warmup_rounds=1)
    record("start", what=name, seconds=benchmark.stats.stats.median)


@pytest.mark.benchmark(group="start-up")
def test_infer_to_first_tile_with_kept_engines(benchmark, record, case):
    python("-c", FIRST_TILE, str(case.scan.resolve()))
    spent = []

    def first_tile():
        begin = now()
        spent.append(float(python("-c", FIRST_TILE, str(case.scan.resolve()))) - begin)

    benchmark.pedantic(first_tile, rounds=ROUNDS)
    record("start", what="infer, to the first tile", seconds=sorted(spent)[len(spent) // 2])
