"""End to end, from a scan's voxels to the enhanced volume: the runtime against the PyTorch loop.

Same scan, same tiles, same seed, same threads, in one run; `make bench` ends with the ratios.
"""

import numpy as np
import pytest

RESULTS: dict[str, np.ndarray] = {}


@pytest.mark.benchmark(group="volume")
def test_enhance_volume(benchmark, path, path_name, rounds):
    RESULTS[path_name] = benchmark.pedantic(path, rounds=rounds, warmup_rounds=1)
    truth = RESULTS["PyTorch eager"]
    error = np.linalg.norm(RESULTS[path_name] - truth) / np.linalg.norm(truth)
    benchmark.extra_info["relative_error_to_eager"] = float(error)
