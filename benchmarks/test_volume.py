"""From a scan's file to the result's file: the runtime against five other ways to do the same.

Same scan, same files, same scaling, same seed, every core, in one run; each way must give the
same volume before its time counts.
"""

import pytest
from cost import volume_flops
from measure import LOW_PRECISION_ERROR, PeakMemory, median_run, relative_error
from ways import WAYS

from moediff_rt import _core
from moediff_rt.cache import default_bundle

# Float32 in another order of additions, through the whole loop.
FLOAT32_ERROR = 1e-3
SLOW = 60  # seconds; a way that takes longer is timed once: bf16 where a CPU has none takes minutes


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.benchmark(group="volume")
def test_enhance_volume(
    benchmark, name, case, request, record, rounds, costs, peak, opened, tmp_path
):
    reference, here = opened("PyTorch eager").done, opened(name)
    first, how = here.done, here.how
    same = reference
    if first.counts and first.counts["tile_sizes"] != reference.counts["tile_sizes"]:
        # Tiles of another size meet the background elsewhere: another result.
        same = request.getfixturevalue("in_full_tiles")
        assert first.counts["tile_sizes"] == same.counts["tile_sizes"]
    error = relative_error(first.volume, same.volume)
    precision = how.split(",")[0]
    limit = FLOAT32_ERROR if precision == "fp32" else LOW_PRECISION_ERROR
    if precision.startswith("bf16"):  # nor more than twice as far off as PyTorch's own run
        limit = min(2 * request.getfixturevalue("low_precision_error"), limit)
    assert error <= limit, f"{name} ({how}) gives another volume"
    psnr = case.truth.psnr if case.truth else None

    runs, output = [], tmp_path / "out.nii.gz"
    # Compiled PyTorch compiles in its first run.
    rounds = 1 if here.first_seconds > SLOW and name != "PyTorch compile" else rounds
    with PeakMemory() as memory:
        benchmark.pedantic(lambda: runs.append(here.way(case.scan, output)), rounds=rounds)
    seconds = benchmark.stats.stats.median
    middle = median_run(benchmark.stats.stats.data, runs)
    images = middle.volume.shape[2]
    counts = middle.counts or reference.counts
    flops = spent_flops(counts, costs)
    gflops = None if flops is None else flops / seconds / 1e9
    # What 8-bit products this machine could do at most is not measured.
    top = None if "int8" in how else peak[f"peak_gflops_{precision[:4]}"]
    benchmark.extra_info["relative_error_to_float32"] = error
    record(
        "volume",
        way=name,
        short=WAYS[name],
        how=how,
        seconds=seconds,
        rounds=rounds,
        images_per_second=images / seconds,
        gflops=gflops,
        share_of_peak=None if gflops is None or top is None else gflops / top,
        peak_memory_mb=memory.bytes / 1e6,
        setup_seconds=here.setup_seconds,
        relative_error=error,
        psnr_loss_db=psnr(reference.volume) - psnr(middle.volume) if psnr else None,
        stages=middle.seconds,
        counts=counts,
    )


def spent_flops(counts, costs):
    """What a way computed: its tiles, and the experts that it called; None of several sizes.

    How many tiles have which size is not told.
    """
    if len(counts["tile_sizes"]) > 1:
        return None
    bundle = _core.load_bundle(str(default_bundle()))
    height, width = counts["tile_sizes"][0]
    share = height * width / (bundle.tile[0] * bundle.tile[1])
    return share * volume_flops(costs, counts["tiles"], counts["expert_calls"])


def test_floor_of_each_module(record, costs, peak):
    for name, cost in costs.items():
        by_arithmetic = cost.flops / peak["peak_gflops_bf16"] / 1e6
        by_memory = cost.bytes / peak["copy_gb_per_second"] / 1e6
        record(
            "module",
            module=name,
            gflop=cost.flops / 1e9,
            megabytes=cost.bytes / 1e6,
            ms_at_peak_bf16=by_arithmetic,
            ms_at_peak_fp32=cost.flops / peak["peak_gflops_fp32"] / 1e6,
            ms_at_copy_rate=by_memory,
        )
        assert cost.flops > 0
