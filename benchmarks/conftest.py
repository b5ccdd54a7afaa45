"""What the benchmarks share: one scan, the ways to run it, and where figures go."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import machine
import plots
import pytest
import report
import torch
from cost import module_costs
from head import Truth, write_part, write_slab
from measure import relative_error, timed
from ways import Done, Way, open_torch, open_way

from moediff_rt import _core
from moediff_rt.cache import default_bundle

ROOT = Path(__file__).resolve().parent.parent
QUICK, FULL = "quick", "full"
# Input slices and rounds: what fits into 3 and 20 minutes on two cores with AVX2.
SIZES = {QUICK: (8, 2), FULL: (24, 3)}
FIGURES = pytest.StashKey[list[dict[str, Any]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--scan", type=Path, help="a scan of your own; without one, a simulated head")
    parser.addoption("--slices", type=int, help="input slices, from the middle; 0: all")
    parser.addoption("--rounds", type=int, help="rounds of each benchmark")
    parser.addoption("--results", type=Path, help="folder for the JSON, the table and the plots")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []
    config.addinivalue_line("markers", "full: left out where BENCH=quick")


def mode() -> str:
    """How much is run: BENCH in the environment, "full" by default."""
    chosen = os.environ.get("BENCH") or FULL
    if chosen not in SIZES:
        raise pytest.UsageError(
            f"expected BENCH {QUICK} or {FULL}, got {chosen!r}; leave it out for all"
        )
    return chosen


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if mode() == QUICK:
        left = [item for item in items if item.get_closest_marker("full")]
        items[:] = [item for item in items if not item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left)


@pytest.fixture(scope="session")
def slices(request: pytest.FixtureRequest) -> int:
    given = request.config.getoption("--slices")
    return SIZES[mode()][0] if given is None else given


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--rounds") or SIZES[mode()][1]


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Keeps a figure: its kind, and what that kind has."""

    def keep(kind: str, **fields: Any) -> None:
        request.config.stash[FIGURES].append({"kind": kind, **fields})

    return keep


@dataclass(frozen=True)
class Case:
    """The scan that every way enhances, and what its result should be."""

    scan: Path
    truth: Truth | None


@pytest.fixture(scope="session")
def case(
    request: pytest.FixtureRequest, slices: int, tmp_path_factory: pytest.TempPathFactory
) -> Case:
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    if given := request.config.getoption("--scan"):
        write_part(path, given, slices)
        return Case(path, None)
    return Case(path, write_slab(path, slices))


@dataclass(frozen=True)
class Opened:
    """A way, ready and run once."""

    way: Way
    how: str
    setup_seconds: float
    done: Done
    first_seconds: float


Opener = Callable[[str], Opened]


@pytest.fixture(scope="session")
def opened(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Opener:
    """Opens a way by its name and runs it; the reference and the last way are kept."""

    @lru_cache(maxsize=2)
    def open_and_run(name: str) -> Opened:
        setup, (way, how) = timed(lambda: open_way(name, case.scan))
        output = tmp_path_factory.mktemp("first") / "out.nii.gz"
        seconds, done = timed(lambda: way(case.scan, output))
        return Opened(way, how, setup, done, seconds)

    return open_and_run


@pytest.fixture(scope="session")
def in_full_tiles(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The float32 reference in tiles of the largest size, as the plain loops have them."""
    way, _how = open_torch("PyTorch eager", full_tiles=True)
    return way(case.scan, tmp_path_factory.mktemp("full-tiles") / "out.nii.gz")


@pytest.fixture(scope="session")
def low_precision_error(opened: Opener) -> float:
    """How far PyTorch's own bf16 run is from float32: the measure for everybody's."""
    return relative_error(opened("PyTorch bf16").done.volume, opened("PyTorch eager").done.volume)


@pytest.fixture(scope="session")
def costs() -> dict[str, Any]:
    """Floating-point operations and bytes of each module, one tile of the largest size."""
    return module_costs(_core.load_bundle(str(default_bundle())))


@pytest.fixture(scope="session")
def peak(request: pytest.FixtureRequest) -> dict[str, float]:
    """What this machine could do at most, measured now."""
    found = {
        "peak_gflops_fp32": machine.peak_flops(torch.float32) / 1e9,
        "peak_gflops_bf16": machine.peak_flops(torch.bfloat16) / 1e9,
        "copy_gb_per_second": machine.copy_rate() / 1e9,
    }
    request.config.stash[FIGURES].append({"kind": "peak", **found})
    return found


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Write JSON, table and plots; the line of ratios is the last that the run says."""
    yield
    records = session.config.stash[FIGURES]
    if not records:
        return
    folder = session.config.getoption("--results")
    if folder is None:
        folder = ROOT / ("benchmarks/results" if mode() == FULL else "build/benchmarks")
    found = {**machine.describe(), "mode": mode()}
    for peaks in report.of_kind(records, "peak"):
        found |= {key: value for key, value in peaks.items() if key != "kind"}
    written = report.write_report(folder, mode(), found, records)
    if drawn := plots.draw_growth(folder / f"{mode()}.png", records):
        written.append(drawn)
    print()
    for path in written:
        print(f"written: {os.path.relpath(path)}")
    if report.of_kind(records, "volume"):
        try:
            print(report.ratios_line(records))
        except ValueError as error:
            print(error)
