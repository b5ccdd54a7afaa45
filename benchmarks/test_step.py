"""The fused denoising step on the CPU against a copy, both on one thread, beyond every cache."""

import json
import os
import subprocess
import sys

import pytest

# In a process whose allocator keeps its memory, so that no page is new while the clock runs.
MEASURE = """
import ctypes, json, sys, time
libc = ctypes.CDLL(None)
libc.mallopt(-4, 0)           # M_MMAP_MAX: everything from the heap
libc.mallopt(-1, 2**31 - 1)   # M_TRIM_THRESHOLD: and kept there
import numpy as np
from moediff_rt import _core
size, rounds = int(sys.argv[1]), 5
shape = (4, size, size)
rng = np.random.default_rng(0)
z, *experts = (rng.standard_normal(shape, dtype=np.float32) for _ in range(4))
gates = rng.random((3, size // 2, size // 2), dtype=np.float32)

def step():
    _core.gated_step(z, experts, gates, None, 0.3, 0.9, 0.0, 0.0, 0, (0, 0, 0), 1)

def best(work):
    work()
    spent = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begin)
    return min(spent)

moved = 6 * z.nbytes + gates.nbytes   # z_t, three experts, z_s, z0
source = rng.standard_normal(moved // 8, dtype=np.float32)
spent, copied = best(step), best(source.copy)
print(json.dumps({
    "gigabytes": moved / 1e9,
    "seconds": spent,
    "gb_per_second": moved / spent / 1e9,
    "copy_gb_per_second": 2 * source.nbytes / copied / 1e9,
    "share_of_copy": moved / spent / (2 * source.nbytes / copied),
}))
"""


@pytest.mark.full
@pytest.mark.parametrize("size", [128, 1024, 4096])
def test_gated_step_against_a_copy(record, size):
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(size)],
        cwd=os.path.dirname(sys.executable),  # the source tree has no extension
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(ran.stdout)
    record("gated_step", latent=f"4 x {size} x {size}", **found)
    assert found["seconds"] > 0
