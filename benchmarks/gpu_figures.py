"""Figures of the CUDA path, a group at a time: the fused step, a volume, the loop, a scan.

A time is the median of several, between CUDA events or over a whole call, but a scan's, which is of
one run; inputs are random, but the scan.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_check import GROUPS
from gpu_loop import loop_figures, open_here, seconds, torch_loops
from moediff_export.bundle import load_reference
from moediff_export.enhance import enhance_volume
from moediff_export.torch_executor import TorchExecutor

from moediff_rt import Session, _core
from moediff_rt.atomic import write_whole
from moediff_rt.cache import default_bundle
from moediff_rt.errors import BackendError
from moediff_rt.io import as_scan, image_writer

SHAPE = (32, 256, 256)  # of the volume end to end: slices, rows, columns
CHANNELS, SIZE, GATE, EXPERTS = 4, 128, 64, 3
Figures = dict[str, float | str]
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def milliseconds(work: Callable[[], Any], rounds: int = 30) -> float:
    """Median time between events around one call, after three unmeasured ones."""
    for _ in range(3):
        work()
    spent = []
    for _ in range(rounds):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        spent.append(begin.elapsed_time(end))
    return statistics.median(spent)


def queued_milliseconds(work: Callable[[], Any], launches: int = 20) -> float:
    """Time of one call among many in one graph: what queueing costs the host is not in it."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(launches):
            work()
    return milliseconds(graph.replay) / launches


def step_figures() -> Figures:
    """The fused step for a few batches of every type."""
    return {
        f"{kind} x{tiles}: {name}": value
        for kind in TYPES
        for tiles in (1, 16, 256)
        for name, value in one_step(tiles, kind).items()
    }


def one_step(tiles: int, kind: str) -> Figures:
    """Bytes a second of the fused step over a copy's, and its time against PyTorch's."""
    low = TYPES[kind]
    z, previous = (torch.randn(tiles, CHANNELS, SIZE, SIZE, device="cuda") for _ in range(2))
    experts = [torch.randn(z.shape, device="cuda").to(low) for _ in range(EXPERTS)]
    gates = torch.randn(tiles, EXPERTS, GATE, GATE, device="cuda").softmax(1).contiguous()
    slots = torch.arange(tiles, dtype=torch.int32, device="cuda").repeat_interleave(EXPERTS)
    state, z0 = torch.empty_like(z), torch.empty_like(z)

    def ours() -> None:
        _core.gated_step_cuda(
            shape=(tiles, CHANNELS, SIZE, SIZE),
            gate=(GATE, GATE),
            z_t=z.data_ptr(),
            experts=[e.data_ptr() for e in experts],
            expert_type=kind,
            slots=slots.data_ptr(),
            gates=gates.data_ptr(),
            z0_prev=previous.data_ptr(),
            origins=0,
            c_z=0.3,
            c_0=0.9,
            c_1=-0.2,
            c_n=0.0,
            seed=0,
            noise_index=1,
            z_s=state.data_ptr(),
            z0=z0.data_ptr(),
            stream=torch.cuda.current_stream().cuda_stream,
        )

    def plain() -> tuple[torch.Tensor, torch.Tensor]:
        weights = torch.nn.functional.interpolate(
            gates, size=(SIZE, SIZE), mode="bilinear", align_corners=False
        )
        clean = sum(weights[:, i : i + 1] * experts[i].float() for i in range(EXPERTS))
        return 0.3 * z + 0.9 * clean - 0.2 * previous, clean

    ours()
    for found, wanted in zip((state, z0), plain(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    moved = z.nbytes * 4 + sum(e.nbytes for e in experts) + gates.nbytes
    source = torch.randn(moved // 8, device="cuda")
    target = torch.empty_like(source)
    spent = queued_milliseconds(ours)
    called = milliseconds(ours)
    return {
        "microseconds": round(1000 * spent, 1),
        "share of the copy rate": round(
            queued_milliseconds(lambda: target.copy_(source)) / spent, 3
        ),
        "called from Python: PyTorch eager over ours": round(milliseconds(plain) / called, 2),
        "called from Python: torch.compile over ours": round(
            milliseconds(torch.compile(plain)) / called, 2
        ),
    }


class Volume:
    """The default bundle, its model in PyTorch, and a random volume."""

    def __init__(self) -> None:
        self.bundle = _core.load_bundle(str(default_bundle()))
        self.voxels = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
        self.boxes = np.tile(np.array([0, SHAPE[1], 0, SHAPE[2]], np.int32), (SHAPE[0], 1))
        self.model = load_reference(default_bundle()).cuda()


def volume_figures() -> Figures:
    """PyTorch's plain loop over the scheduler.

    The scheduler runs PyTorch's modules here and the loop draws its noise with our code, on the
    host, so the ratio is what streams, fused step, batches and overlapped copies give, without
    TensorRT.
    """
    given = Volume()
    out: Figures = {}
    largest = given.bundle.tile[:2]  # what a GPU runs

    def plain() -> Any:
        return enhance_volume(
            given.model,
            given.voxels,
            given.boxes,
            batch=16,
            size=largest,
            normal=_core.normal,
        )

    for precision, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with torch.autocast("cuda", kind, enabled=kind != torch.float32):
            theirs = seconds(plain)
        scheduled = _core.gpu_model(given.bundle, TorchExecutor(given.model, precision))
        ours = seconds(lambda scheduled=scheduled: scheduled.enhance(given.voxels, given.boxes))
        out[f"{precision} PyTorch loop over the scheduler"] = round(theirs / ours, 2)
        out[f"{precision} scheduler, slices a second"] = round(SHAPE[0] / ours, 1)
    return out


def executor_figures(name: str) -> Figures:
    """The loop with one executor."""
    given = Volume()
    with tempfile.TemporaryDirectory() as folder:
        try:
            executor = open_here(name, given.bundle, given.model, Path(folder))
        except BackendError as error:
            return {"not here": str(error)}
        return dict(loop_figures(given.bundle, executor, given.voxels, given.boxes))


def scan_figures(scan: Path) -> Figures:
    """A scan from file to file with PyTorch's modules, at the default settings: one run each."""
    given = Volume()
    out: Figures = {}
    for precision in ("fp32", "bf16"):
        with ReadySession(
            _core.gpu_model(given.bundle, TorchExecutor(given.model, precision))
        ) as s:
            for run in ("first", "second"):
                for stage, spent in scan_seconds(s, scan).items():
                    out[f"{precision}, {run} run, seconds: {stage}"] = round(spent, 2)
    return out


def torch_figures(compiled: bool) -> Figures:
    """PyTorch's loop alone, or compiled, which takes minutes."""
    loops = torch_loops(Volume().model, compiled)
    return {f"microseconds a step and tile, {way}": round(us, 1) for way, us in loops.items()}


class ReadySession(Session):
    """A session with an executor that no backend's name gives: PyTorch's."""

    def __init__(self, model: _core.Model) -> None:
        super().__init__()
        self._model = model


def scan_seconds(session: Session, scan: Path) -> dict[str, float]:
    """Wall time of one scan by stage, saving and all of it from file to file included."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        done = session.infer_scan(as_scan(scan))
        enhanced = time.perf_counter()
        writer = image_writer(done.image, compress=True)
        write_whole({Path(folder) / "sharper.nii.gz": writer}, overwrite=False)
        end = time.perf_counter()
    return {**done.run.seconds, "save": end - enhanced, "file to file": end - begin}


def main() -> None:
    """Measure one group and write it to a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("group", choices=(*GROUPS, "scan"))
    parser.add_argument("output", type=Path)
    parser.add_argument("--scan", type=Path)
    options = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    measure: dict[str, Callable[[], Figures]] = {
        "step": step_figures,
        "volume": volume_figures,
        "torch": partial(torch_figures, compiled=False),
        "compiled": partial(torch_figures, compiled=True),
        "scan": lambda: scan_figures(options.scan),
    }
    figures = measure.get(options.group, partial(executor_figures, options.group))()
    options.output.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
