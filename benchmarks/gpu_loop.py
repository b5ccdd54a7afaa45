"""The denoising loop on a GPU, queued in every way that there is, and what a volume leaves idle.

The loop's time is that of `STEPS` further steps of a run, by the difference of two runs: what goes
before and after the loop is in both. The gate's threshold is 0, so that all do the same work.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from moediff_export.model import MoEDiffSR
from moediff_export.torch_executor import TYPES, TorchExecutor
from numpy.typing import NDArray
from torch import Tensor

from moediff_rt import _core
from moediff_rt.tensorrt.model import open_executor

STEPS, TILES = 16, 16
PRECISION = "bf16"


class Switched(Protocol):
    """An executor whose way of queueing may be changed."""

    captures: bool
    concurrent: bool


def seconds(work: Callable[[], Any], rounds: int = 3) -> float:
    """Median time of a whole call, after one unmeasured."""
    work()
    spent = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        work()
        torch.cuda.synchronize()
        spent.append(time.perf_counter() - begin)
    return statistics.median(spent)


def open_here(name: str, bundle: _core.Bundle, model: MoEDiffSR, folder: Path) -> Switched:
    """What runs the bundle's modules: PyTorch, or engines of a TensorRT."""
    if name == "pytorch":
        return TorchExecutor(model, PRECISION)
    return open_executor(bundle, name, folder, precision=PRECISION)


def scheduler_loops(
    bundle: _core.Bundle, executor: Switched, volume: NDArray[np.float32], boxes: NDArray[np.int32]
) -> dict[str, float]:
    """Microseconds of a step and tile: experts in turn, side by side, and as one graph."""
    can_capture = executor.captures
    ways = {"in turn": (False, False), "side by side": (True, False), "one graph": (True, True)}
    figures = {}
    for name, (concurrent, captures) in ways.items():
        if captures and not can_capture:
            continue
        executor.concurrent, executor.captures = concurrent, captures
        compiled = _core.gpu_model(bundle, executor)

        def run(steps: int, compiled: Any = compiled) -> Any:
            return compiled.enhance(volume, boxes, steps=steps, gate_threshold=0.0)

        tiles = run(1).tiles
        spent = seconds(lambda run=run: run(1 + STEPS)) - seconds(lambda run=run: run(1))
        figures[name] = 1e6 * spent / (STEPS * tiles)
    executor.captures = can_capture
    return figures


def torch_loops(model: MoEDiffSR, compiled: bool) -> dict[str, float]:
    """Microseconds of a step and tile of the same loop in PyTorch alone, or compiled by it."""
    config = model.config
    cells = (TILES, config.latent_channels, config.latent_size, config.latent_size)
    z = torch.randn(cells, device="cuda")
    z_c = torch.randn(TILES, *cells[2:], config.z_c_channels, device="cuda")
    shape = (TILES, len(config.experts), config.gate_size, config.gate_size)
    gates = torch.randn(shape, device="cuda").softmax(1)
    times = torch.linspace(150, 0, STEPS, device="cuda")

    def loop(predict: Callable[..., Tensor]) -> Tensor:
        state = z
        for k in range(STEPS):
            state = 0.3 * state + 0.7 * predict(state, times[k].expand(TILES))
        return state

    def step(state: Tensor, t: Tensor) -> Tensor:
        with torch.autocast("cuda", TYPES[PRECISION]):
            return model.predict(state, z_c, gates, t).z0

    def graphed() -> Callable[[], None]:
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            loop(step)
        side.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loop(step)
        return graph.replay

    ways: dict[str, Callable[[], Any]] = {}
    with torch.inference_mode():
        if compiled:
            tuned = torch.compile(step, mode="max-autotune")
            # Its results live in a graph's memory that the next call writes.
            ways["torch.compile"] = lambda: loop(lambda *given: tuned(*given).clone())
        else:
            ways = {"eager": lambda: loop(step), "one graph": graphed()}
        return {name: 1e6 * seconds(way) / (STEPS * TILES) for name, way in ways.items()}


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of spans (begin, end)."""
    total, reach = 0.0, -np.inf
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reach))
        reach = max(reach, end)
    return float(total)


def idle_share(work: Callable[[], Any]) -> float:
    """Share of a call's time in which the GPU runs no kernel and no copy."""
    work()
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CPU, activity.CUDA]) as profile:
        begin = time.perf_counter()
        work()
        torch.cuda.synchronize()
        spent = time.perf_counter() - begin
    cuda = torch.autograd.DeviceType.CUDA
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in profile.events()
        if event.device_type == cuda
    ]
    return 1 - 1e-6 * covered(spans) / spent


def loop_figures(
    bundle: _core.Bundle, executor: Switched, volume: NDArray[np.float32], boxes: NDArray[np.int32]
) -> dict[str, float]:
    """Every way of the loop, sparse dispatch on and off, and what a volume leaves idle."""
    ways = scheduler_loops(bundle, executor, volume, boxes)
    out = {f"microseconds a step and tile, {way}": round(us, 1) for way, us in ways.items()}
    compiled = _core.gpu_model(bundle, executor)

    def whole(**settings: float) -> Any:
        return compiled.enhance(volume, boxes, **settings)

    run = whole()
    calls = run.expert_calls + run.expert_calls_saved
    every = seconds(lambda: whole(gate_threshold=0.0))
    out["every expert over sparse"] = round(every / seconds(whole), 3)
    out["expert calls saved"] = round(run.expert_calls_saved / calls, 3)
    out["idle share of a volume"] = round(idle_share(whole), 3)
    return out
