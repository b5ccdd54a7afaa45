"""How time, memory and error grow: with the scan, the steps, the threads, the tiles under way."""

import os
import sys

import pytest
from head import write_head
from machine import threads
from measure import PeakMemory, relative_error

from moediff_rt import Session
from moediff_rt.grid import AxisOrder
from moediff_rt.io import load_scan
from moediff_rt.preprocess import prepare
from moediff_rt.spacing import choose_output_shape

pytestmark = pytest.mark.full

# Along each axis of a cubic field of view: 1, 2, 4 and 8 times the voxels.
SIZES = [128, 161, 203, 256]
MOST_MEMORY = 4e9  # bytes
FEW_SLICES = 4  # of the output, where each step costs as much as a whole run
THREADS = sorted({1, 2, threads()})


def infer(scan):
    """Enhance to half the voxel edge in a process of its own; its peak memory in bytes."""
    command = [sys.executable, "-m", "moediff_rt", "infer", os.fspath(scan), "-q", "--overwrite"]
    child = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return 1024 * usage.ru_maxrss


@pytest.mark.benchmark(group="volume size")
@pytest.mark.parametrize("voxels", SIZES)
def test_infer_grows_with_the_scan(benchmark, record, tmp_path, voxels):
    scan = tmp_path / "scan.nii.gz"
    write_head(scan, voxels)
    memory = benchmark.pedantic(infer, args=(scan,), rounds=1)
    seconds, output = benchmark.stats.stats.median, (2 * voxels) ** 3
    record(
        "growth",
        axis="volume",
        **{"output voxels": output},
        seconds=seconds,
        peak_memory_mb=memory / 1e6,
        nanoseconds_per_voxel=1e9 * seconds / output,
    )
    assert memory < MOST_MEMORY


@pytest.fixture(scope="module")
def prepared(case):
    """The case's scan as the model reads it."""
    scan = load_scan(case.scan)
    axes = AxisOrder.nearest_ras(scan.affine)
    data, spacing = axes.to_ras(scan.data), axes.spacing_to_ras(scan.grid.spacing)
    bundle = Session().bundle
    return prepare(
        data,
        spacing,
        choose_output_shape(data.shape, spacing, None, bundle),
        percentile=bundle.percentile,
        value=bundle.intensity_value,
    )


@pytest.fixture(scope="module")
def enhance(prepared, rounds):
    """Run the model on part of the scan, and keep what it took under an axis of growth."""

    def run(benchmark, axis, value, slices=None, most=None, threads=0, **settings):
        model = Session(threads=threads).build()
        middle = len(prepared.volume) // 2
        half = (slices or len(prepared.volume)) // 2
        part = slice(middle - half, middle + half)
        given = prepared.volume[part].copy(), prepared.boxes[part].copy()
        found = []
        with PeakMemory() as memory:
            benchmark.pedantic(
                lambda: found.append(model.enhance(*given, **settings)),
                rounds=most or rounds,
                warmup_rounds=1,
            )
        return found[-1], {
            "axis": axis,
            axis: value,
            "seconds": benchmark.stats.stats.median,
            "peak_memory_mb": memory.bytes / 1e6,
        }

    return run


@pytest.mark.benchmark(group="steps")
@pytest.mark.parametrize("steps", [1, 2, 5, 10, 20, 50])
def test_time_by_steps(benchmark, enhance, record, steps):
    _, found = enhance(benchmark, "steps", steps, slices=FEW_SLICES, most=1, steps=steps)
    record("growth", **found)


@pytest.mark.benchmark(group="threads")
@pytest.mark.parametrize("count", THREADS)
def test_time_by_threads(benchmark, enhance, record, count):
    _, found = enhance(benchmark, "threads", count, threads=count)
    record("growth", **found)


@pytest.mark.benchmark(group="tiles under way")
@pytest.mark.parametrize("batch", [1, 2, 4, 8, 16])
def test_time_by_tiles_under_way(benchmark, enhance, record, batch):
    _, found = enhance(benchmark, "tiles under way", batch, batch=batch)
    record("growth", **found)


@pytest.fixture(scope="module")
def every_expert(prepared):
    """The volume with no expert left out."""
    return Session().build().enhance(prepared.volume, prepared.boxes, gate_threshold=0.0).volume


@pytest.mark.benchmark(group="gate threshold")
@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3])
def test_time_and_error_by_gate_threshold(benchmark, enhance, record, every_expert, threshold):
    result, found = enhance(benchmark, "gate threshold", threshold, gate_threshold=threshold)
    calls = result.expert_calls + result.expert_calls_saved
    record(
        "growth",
        **found,
        calls_saved=result.expert_calls_saved / calls,
        relative_error=relative_error(result.volume, every_expert),
    )
