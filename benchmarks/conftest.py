"""What the benchmarks share: one scan, one bundle, and each way to run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from moediff_export.bundle import load_reference
from moediff_export.enhance import enhance_volume
from moediff_export.model import MoEDiffSR

from moediff_rt import Session, _core
from moediff_rt.cache import default_bundle
from moediff_rt.grid import AxisOrder, resized_shape
from moediff_rt.io import load_scan
from moediff_rt.noise import noise_sigma
from moediff_rt.postprocess import enforce_consistency
from moediff_rt.preprocess import prepare

SAMPLE = Path(__file__).parent.parent / "tests" / "data" / "sample_T1w.nii.gz"
SEED = 0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--scan", type=Path, default=SAMPLE, help="the scan to enhance (.nii, .nii.gz)"
    )
    parser.addoption(
        "--slices", type=int, default=12, help="input slices used, from the middle; 0: all"
    )
    parser.addoption("--rounds", type=int, default=3, help="rounds of each benchmark")


@dataclass(frozen=True)
class Work:
    """The part of a scan that is enhanced, and where its result goes."""

    data: np.ndarray  # (x, y, z) float32, RAS+
    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]


@pytest.fixture(scope="session")
def work(request: pytest.FixtureRequest) -> Work:
    scan = load_scan(request.config.getoption("--scan"))
    axes = AxisOrder.nearest_ras(scan.affine)
    data, spacing = axes.to_ras(scan.data), axes.spacing_to_ras(scan.grid.spacing)
    count = request.config.getoption("--slices")
    if count:
        first = max(0, (data.shape[2] - count) // 2)
        data = data[:, :, first : first + count]
    half = min(spacing) / 2
    return Work(data, tuple(spacing), resized_shape(data.shape, spacing, (half, half, half)))


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--rounds")


@pytest.fixture(scope="session")
def truth(work: Work) -> np.ndarray:
    """The volume as the PyTorch reference makes it in float32."""
    bundle = _core.load_bundle(str(default_bundle()))
    return pytorch_path(work, load_reference(default_bundle()), bundle)


def pytorch_path(work: Work, model: MoEDiffSR, bundle: _core.Bundle, batch: int = 4) -> np.ndarray:
    """The whole way from the scan's voxels to the result, with PyTorch for every network."""
    prepared = prepare(
        work.data,
        work.spacing,
        work.shape,
        percentile=bundle.percentile,
        value=bundle.intensity_value,
    )
    sigma = noise_sigma(prepared.measured, prepared.foreground)
    volume = enhance_volume(model, prepared.volume, prepared.boxes, seed=SEED, batch=batch)
    enforce_consistency(volume, prepared.measured, sigma)
    return prepared.scale * volume.T


def compiled(model: MoEDiffSR) -> MoEDiffSR:
    """The same networks through torch.compile, one graph a module."""
    for module in (model.encoder, model.conditioner, model.gate, model.decoder, *model.experts):
        module.compile(dynamic=False)
    return model


@pytest.fixture(
    scope="session", params=["PyTorch eager", "PyTorch bf16", "PyTorch compile", "moediff-rt"]
)
def path_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def path(path_name: str, work: Work) -> Callable[[], np.ndarray]:
    """One way to enhance the scan, end to end, as a call without arguments."""
    if path_name == "moediff-rt":
        session = Session()
        session.build()
        spacing = float(min(work.spacing)) / 2
        return lambda: session.enhance(work.data, work.spacing, output_spacing=spacing, seed=SEED)
    model = load_reference(default_bundle())
    if path_name == "PyTorch bf16":
        model = model.to(torch.bfloat16)
    if path_name == "PyTorch compile":
        model = compiled(model)
    bundle = _core.load_bundle(str(default_bundle()))
    return lambda: pytorch_path(work, model, bundle)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """One line of ratios, other over ours, from the medians of this run."""
    benchmarks = getattr(config, "_benchmarksession", None)
    medians = {
        b.params["path_name"]: b.stats.median
        for b in (benchmarks.benchmarks if benchmarks else [])
        if b.params and "path_name" in b.params
    }
    ours = medians.pop("moediff-rt", None)
    if ours:
        ratios = " ".join(
            f"{name.split()[-1]}={median / ours:.2f}" for name, median in medians.items()
        )
        terminalreporter.write_line(f"ratios: {ratios}")
