"""The six ways from a scan's file to the result's file; only the networks differ."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clock import Clock
from engines import CompiledModules, OnnxRuntimeModules, read_modules
from machine import threads
from measure import best_seconds
from moediff_export.bundle import load_reference
from moediff_export.enhance import enhance_volume
from moediff_export.model import MoEDiffSR
from plain_loop import PlainLoop

from moediff_rt import Session, _core
from moediff_rt.atomic import write_whole
from moediff_rt.cache import default_bundle
from moediff_rt.grid import AxisOrder, resized_shape
from moediff_rt.io import image_writer, load_scan, to_image
from moediff_rt.noise import noise_sigma
from moediff_rt.postprocess import enforce_consistency, find_slice_profile
from moediff_rt.preprocess import prepare

SEED = 0
# The other ways do axial slices alone, and so does ours: each plane more is the same work again.
PLANES = 1
OURS = "moediff-rt"
# In the order in which they run, with their names in the line of ratios.
WAYS = {
    "PyTorch eager": "eager",
    "PyTorch bf16": "bf16",
    "PyTorch compile": "compile",
    "ONNX Runtime": "onnxruntime",
    "OpenVINO loop": "openvino",
    OURS: "",
}
# (tiles at a time, threads that each take a batch; 0: one a core), from which loops choose.
CHOICES = ((1, 1), (4, 1), (8, 1), (1, 0))

# From voxels in the model's unit (nz, ny, nx) and boxes: what `Done` has of the networks.
Networks = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, dict[str, float], dict[str, Any]]]


@dataclass
class Done:
    """A scan's way from file to file.

    Attributes
    ----------
    volume : (x, y, z) array
        In the scan's intensity unit, RAS+ order.
    seconds : dict
        Wall time by stage.
    counts : dict
        "tiles", "tile_sizes" (height, width), "expert_calls"; empty where the way is compiled.
    """

    volume: np.ndarray
    seconds: dict[str, float]
    counts: dict[str, Any] = field(default_factory=dict)


Way = Callable[[Path, Path], Done]


def open_way(name: str, scan: Path) -> tuple[Way, str]:
    """Set up a way, ready to run, and say how: its precision, batch and threads."""
    if name == OURS:
        return open_session()
    if name.startswith("PyTorch"):
        return open_torch(name)
    return open_loop(name, scan)


def open_session() -> tuple[Way, str]:
    """The runtime as it comes."""
    session = Session()
    model = session.build()
    return partial(run_session, session), f"{model.precision}, {model.threads} threads"


def run_session(session: Session, scan_file: Path, output: Path) -> Done:
    """What `moediff-rt infer` does, with the output's grid of the other ways."""
    clock = Clock()
    scan = load_scan(scan_file)
    clock.lap("load")
    found = session.infer_scan(scan, spacing=min(scan.grid.spacing) / 2, seed=SEED, planes=PLANES)
    clock.lap("run")
    write_whole({output: image_writer(found.image, compress=True)}, overwrite=True)
    clock.lap("save")
    run = found.run
    busy = {
        name.removeprefix("model."): spent
        for name, spent in run.seconds.items()
        if name.startswith("model.") and name != "model.total"
    }
    seconds = {
        "load": clock.laps["load"],
        "preprocess": run.seconds["prepare"],
        **as_wall(busy, run.seconds["model"]),
        "postprocess": clock.laps["run"] - run.seconds["prepare"] - run.seconds["model"],
        "save": clock.laps["save"],
    }
    counts = {
        "tiles": run.tiles,
        "expert_calls": run.expert_calls,
        "expert_calls_saved": run.expert_calls_saved,
        "tile_sizes": [list(size) for size in run.tile_sizes],
    }
    return Done(run.data, seconds, counts)


def as_wall(busy: dict[str, float], wall: float) -> dict[str, float]:
    """Busy time of several threads as shares of the time that passed."""
    whole = sum(busy.values()) or 1.0
    return {stage: wall * spent / whole for stage, spent in busy.items()}


def run_networks(networks: Networks, bundle: _core.Bundle, scan_file: Path, output: Path) -> Done:
    """The way around somebody else's networks: moediff-rt's own files, scaling and grids."""
    clock = Clock()
    scan = load_scan(scan_file)
    clock.lap("load")
    axes = AxisOrder.nearest_ras(scan.affine)
    data, spacing = axes.to_ras(scan.data), axes.spacing_to_ras(scan.grid.spacing)
    half = min(spacing) / 2
    prepared = prepare(
        data,
        spacing,
        resized_shape(data.shape, spacing, (half, half, half)),
        percentile=bundle.percentile,
        value=bundle.intensity_value,
    )
    sigma = noise_sigma(prepared.measured, prepared.foreground)
    profile = find_slice_profile(prepared.measured, spacing[::-1], sigma, scan.acquisition)
    clock.lap("preprocess")
    volume, busy, counts = networks(prepared.volume, prepared.boxes)
    clock.lap("model")
    enforce_consistency(volume, prepared.measured, sigma, profile=profile)
    volume *= np.float32(prepared.scale)
    if scan.data.min() >= 0:
        np.maximum(volume, 0, out=volume)
    result = axes.from_ras(volume.T)
    image = to_image(result, scan.grid.resized(result.shape).affine, scan)
    clock.lap("postprocess")
    write_whole({output: image_writer(image, compress=True)}, overwrite=True)
    clock.lap("save")
    wall = clock.laps.pop("model")
    return Done(volume.T, {**clock.laps, **as_wall(busy, wall)}, counts)


def open_torch(name: str, full_tiles: bool = False) -> tuple[Way, str]:
    """The reference's own loop: float32, bf16 under autocast, or compiled in the faster of these.

    Its tiles are fitted to the head, or with ``full_tiles`` as large as they can be.
    """
    # As training has it, and as convolutions on a CPU work: a tenth to a fifth faster.
    model = load_reference(default_bundle()).to(memory_format=torch.channels_last)
    low = name == "PyTorch bf16"
    if name == "PyTorch compile":
        low = bf16_is_faster(model)
    parts: dict[str, torch.nn.Module] = {
        "encoder": model.encoder,
        "conditioner": model.conditioner,
        "gate": model.gate,
        "decoder": model.decoder,
        **{f"expert_{i}": expert for i, expert in enumerate(model.experts)},
    }
    size = (model.config.tile, model.config.tile) if full_tiles else None
    calls = Calls()
    for stage, module in parts.items():
        if name == "PyTorch compile":
            module.compile(dynamic=False)
        else:
            calls.watch(stage, module)

    def networks(
        volume: np.ndarray, boxes: np.ndarray
    ) -> tuple[np.ndarray, dict[str, float], dict[str, Any]]:
        calls.clear()
        begin = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16) if low else nullcontext():
            result = enhance_volume(model, volume, boxes, seed=SEED, size=size, normal=_core.normal)
        whole = time.perf_counter() - begin
        rest = whole - sum(calls.seconds.values())
        return result, {**calls.seconds, "model, rest": rest}, calls.counts()

    bundle = _core.load_bundle(str(default_bundle()))
    precision = "bf16 autocast" if low else "fp32"
    return (
        partial(run_networks, networks, bundle),
        f"{precision}, batch 4, {torch.get_num_threads()} threads",
    )


@torch.inference_mode()
def bf16_is_faster(model: MoEDiffSR) -> bool:
    """Whether PyTorch runs the largest module sooner under autocast here, the best of three."""
    tile, latent = model.config.tile, model.config.latent_size
    slices = torch.rand(1, model.config.slices, tile, tile)
    z_low = torch.randn(1, model.config.latent_channels, latent, latent)

    def seconds(low: bool) -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            return best_seconds(lambda: model.conditioner(slices, z_low), rounds=3)

    return seconds(True) < seconds(False)


class Calls:
    """Seconds and tiles that went through each watched module."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.seconds = Counter[str]()
        self.tiles = Counter[str]()
        self.sizes: list[list[int]] = []

    def watch(self, stage: str, module: torch.nn.Module) -> None:
        """Count a module's calls from now on."""

        def before(_module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            self.tiles[stage] += len(given[0])
            if stage == "conditioner":
                size = list(given[0].shape[2:])
                self.sizes += [] if size in self.sizes else [size]
            self.seconds[stage] -= time.perf_counter()

        def after(*_: Any) -> None:
            self.seconds[stage] += time.perf_counter()

        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)

    def counts(self) -> dict[str, Any]:
        """As `Done` has them."""
        if not self.tiles:
            return {}
        experts = sum(n for stage, n in self.tiles.items() if stage.startswith("expert_"))
        tiles = self.tiles["decoder"]
        return {"tiles": tiles, "tile_sizes": self.sizes, "expert_calls": experts}


def open_loop(name: str, scan: Path) -> tuple[Way, str]:
    """The plain loop, with the batch and threads that are fastest on part of this scan.

    OpenVINO's has our precision. Where that is int8, ONNX Runtime's has it or float32, whichever is
    faster.
    """
    bundle = _core.load_bundle(str(default_bundle()))
    ours = Session().model.precision
    precisions = [ours]
    if name == "ONNX Runtime":
        precisions = ["int8+fp32", "fp32"] if ours.startswith("int8") else ["fp32"]
    loaded = load_scan(scan)
    axes = AxisOrder.nearest_ras(loaded.affine)
    data = axes.to_ras(loaded.data)
    spacing = axes.spacing_to_ras(loaded.grid.spacing)
    half = (min(spacing) / 2,) * 3
    shape = resized_shape(data.shape, spacing, half)
    prepared = prepare(
        data, spacing, shape, percentile=bundle.percentile, value=bundle.intensity_value
    )
    middle = len(prepared.volume) // 2
    part = slice(max(0, middle - 4), middle + 4)
    trial = np.ascontiguousarray(prepared.volume[part]), prepared.boxes[part]

    def seconds(choice: tuple[str, tuple[int, int]]) -> float:
        precision, (batch, workers) = choice
        loop = make_loop(name, bundle, precision, batch, workers)
        loop(*trial)
        begin = time.perf_counter()
        loop(*trial)
        return time.perf_counter() - begin

    precision, (batch, workers) = min(product(precisions, CHOICES), key=seconds)
    loop = make_loop(name, bundle, precision, batch, workers)
    callers = workers or threads()
    each = f"{callers} x {threads() // callers} threads"
    return partial(run_networks, loop, bundle), f"{precision}, batch {batch}, {each}"


def make_loop(
    name: str, bundle: _core.Bundle, precision: str, batch: int, workers: int
) -> PlainLoop:
    """A loop in one engine; 0 workers: one a core."""
    workers = workers or threads()
    int8 = precision.startswith("int8")
    if name == "ONNX Runtime":
        modules: Any = OnnxRuntimeModules(bundle, int8, threads() // workers)
    else:
        import openvino

        height, width, _ = bundle.tile
        models = read_modules(openvino.Core(), bundle, batch, (height, width), int8)
        precision = precision.removeprefix("int8+")
        modules = CompiledModules(models, precision, threads(), batch, workers)
    return PlainLoop(bundle, modules, batch, workers)
