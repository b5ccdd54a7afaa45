"""How time, memory and error grow: with the scan, the steps, the threads, the tiles under way."""

import os
import sysconfig

import numpy as np
import pytest
from head import write_head, write_slab
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
EVERY = 6  # of the whole head's output slices
THREADS = sorted({1, 2, threads()})


def infer(scan):
    """Enhance to half the voxel edge in a process of its own; its peak memory in bytes."""
    # Not `python -m`: the source tree, where the benchmarks are started, has no extension.
    program = os.path.join(sysconfig.get_path("scripts"), "moediff-rt")
    command = [program, "infer", os.fspath(scan), "-q", "--overwrite"]
    child = os.posix_spawn(program, command, os.environ)
    _, status, usage = os.wait4(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return 1024 * usage.ru_maxrss


@pytest.mark.benchmark(group="volume size")
@pytest.mark.parametrize("voxels", SIZES)
def test_infer_grows_with_the_scan(benchmark, record, tmp_path, voxels):
    scan = tmp_path / "scan.nii.gz"
    write_head(scan, voxels)
    rounds = 1 if voxels == SIZES[-1] else 3
    memory = benchmark.pedantic(infer, args=(scan,), rounds=rounds, warmup_rounds=1)
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
    return prepare_scan(case.scan)


def prepare_scan(path):
    """A scan's file as the model reads it, at half its voxel edge."""
    scan = load_scan(path)
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
def whole_head(tmp_path_factory):
    """The whole head, of which every few slices are enhanced: the gate differs from top to base."""
    scan = tmp_path_factory.mktemp("head") / "scan.nii.gz"
    write_slab(scan, 0)
    found = prepare_scan(scan)
    boxes = found.boxes.copy()
    boxes[np.arange(len(boxes)) % EVERY != 0] = 0
    return np.ascontiguousarray(found.volume), boxes


@pytest.fixture(scope="module")
def every_expert(whole_head):
    """The same with no expert left out."""
    return Session().build().enhance(*whole_head, gate_threshold=0.0).volume


@pytest.mark.benchmark(group="gate threshold")
@pytest.mark.parametrize("threshold", [0.0, 0.02, 0.05, 0.1, 0.2, 0.3])
def test_time_and_error_by_gate_threshold(benchmark, whole_head, record, every_expert, threshold):
    model, found = Session().build(), []
    benchmark.pedantic(
        lambda: found.append(model.enhance(*whole_head, gate_threshold=threshold)), rounds=1
    )
    result = found[-1]
    record(
        "growth",
        axis="gate threshold",
        **{"gate threshold": threshold},
        seconds=benchmark.stats.stats.median,
        calls_saved=result.expert_calls_saved / (result.expert_calls + result.expert_calls_saved),
        relative_error=relative_error(result.volume, every_expert),
    )
