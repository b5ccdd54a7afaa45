"""Figures of the CUDA path in one run: the fused step against a copy, and a volume end to end.

Every time is the median of several, between CUDA events or over a whole call; inputs are random.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from moediff_export.bundle import load_reference
from moediff_export.enhance import enhance_volume
from moediff_export.torch_executor import TorchExecutor

from moediff_rt import _core
from moediff_rt.cache import default_bundle

SHAPE = (32, 256, 256)  # of the volume end to end: slices, rows, columns
CHANNELS, SIZE, GATE, EXPERTS = 4, 128, 64, 3
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


def step_figures(tiles: int, kind: str) -> dict[str, float]:
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
    spent = milliseconds(ours)
    copied = milliseconds(lambda: target.copy_(source))
    compiled = torch.compile(plain)
    return {
        "share of the copy rate": round(copied / spent, 3),
        "PyTorch eager over ours": round(milliseconds(plain) / spent, 2),
        "torch.compile over ours": round(milliseconds(compiled) / spent, 2),
        "microseconds": round(1000 * spent, 1),
    }


def seconds(work: Callable[[], Any], rounds: int = 3) -> float:
    """Median time of a whole call, after one unmeasured."""
    work()
    spent = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        torch.cuda.synchronize()
        spent.append(time.perf_counter() - begin)
    return statistics.median(spent)


def volume_figures() -> dict[str, float]:
    """The default bundle over a random volume: PyTorch's plain loop over the scheduler.

    The scheduler runs PyTorch's modules here, so the ratio is what its streams, fused step,
    batches and overlapped copies give, without TensorRT.
    """
    bundle = _core.load_bundle(str(default_bundle()))
    volume = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    boxes = np.tile(np.array([0, SHAPE[1], 0, SHAPE[2]], np.int32), (SHAPE[0], 1))
    model = load_reference(default_bundle()).cuda()
    largest = bundle.tile[:2]  # what a GPU runs
    out = {}
    for precision, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with torch.autocast("cuda", kind, enabled=kind != torch.float32):
            plain = seconds(lambda: enhance_volume(model, volume, boxes, batch=16, size=largest))
        scheduled = _core.gpu_model(bundle, TorchExecutor(model, precision))
        ours = seconds(lambda scheduled=scheduled: scheduled.enhance(volume, boxes))
        out[f"{precision} PyTorch loop over the scheduler"] = round(plain / ours, 2)
        out[f"{precision} scheduler, slices a second"] = round(SHAPE[0] / ours, 1)
    return out


def main() -> None:
    """Write every figure to the JSON file that the first argument names."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    figures: dict[str, float] = {}
    for kind in TYPES:
        for tiles in (1, 16, 64):
            for name, value in step_figures(tiles, kind).items():
                figures[f"gated_step {kind} x{tiles}: {name}"] = value
    figures |= {f"volume: {name}": value for name, value in volume_figures().items()}
    Path(sys.argv[1]).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
