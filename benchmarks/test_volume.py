"""End to end, from a scan's voxels to the enhanced volume: the runtime against the PyTorch loop.

Same scan, same tiles, same seed, same threads, in one run; `make bench` ends with the ratios.
"""

import numpy as np
import pytest


@pytest.mark.benchmark(group="volume")
def test_enhance_volume(benchmark, path, truth, rounds):
    result = benchmark.pedantic(path, rounds=rounds, warmup_rounds=1)
    error = np.linalg.norm(result - truth) / np.linalg.norm(truth)
    benchmark.extra_info["relative_error_to_float32"] = float(error)
