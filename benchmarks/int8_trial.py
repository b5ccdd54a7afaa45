"""What 8-bit integers would gain: each module quantised by NNCF, against the float precisions.

    pip install --group int8
    python benchmarks/int8_trial.py -o build/benchmarks/int8.json

Calibrated on slices of Colin27 (`mricron-data`), seen at 2 mm with 1 % noise, and judged on others
of the same head: the held-out subjects stay out of the choice.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from engines import CompiledModules, read_modules
from machine import describe, threads
from moediff_export.data.scanner import rician_noise, truncate_kspace
from moediff_export.data.sources import colin27
from numpy.typing import NDArray
from plain_loop import PlainLoop

from moediff_rt import Session, _core
from moediff_rt.preprocess import prepare

PERCENT = 1.0  # of the head's bright end, the noise's standard deviation
EVERY = 8  # slices of the output: one is judged, the one half-way to the next calibrates
SEED = 0
ROUNDS = 7
# What is quantised together. The encoder and the gate are 1 % of the arithmetic and stay as they
# are.
CHOICES = {
    "conditioner": ("conditioner",),
    "experts": ("expert_0", "expert_1", "expert_2"),
    "conditioner and experts": ("conditioner", "expert_0", "expert_1", "expert_2"),
    "decoder": ("decoder",),
    "all three": ("conditioner", "expert_0", "expert_1", "expert_2", "decoder"),
}

Inputs = dict[str, NDArray[np.float32]]


class Recorder:
    """Modules that keep what they were given, to calibrate on."""

    def __init__(self, modules: CompiledModules) -> None:
        self._modules = modules
        self.seen: dict[str, list[Inputs]] = defaultdict(list)

    def __call__(self, name: str, **inputs: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        """See `plain_loop.Modules`."""
        self.seen[name].append({k: v.copy() for k, v in inputs.items()})
        return self._modules(name, **inputs)


def development_scan(bundle: _core.Bundle) -> tuple[Any, NDArray[np.float32]]:
    """Colin27's head at 2 mm as the model reads it at 1 mm, and its truth in the model's unit."""
    head = next(source for source in colin27() if source.name == "colin27_head")
    truth = head.data[tuple(slice(0, n - n % 2) for n in head.data.shape)]
    low = truncate_kspace(truth, tuple(n // 2 for n in truth.shape))
    sigma = PERCENT / 100 * np.percentile(truth, 99.5)
    scan = rician_noise(np.random.default_rng(SEED), low, sigma)
    spacing = (2.0, 2.0, 2.0)
    found = prepare(
        scan.T,
        spacing,
        truth.shape[::-1],
        percentile=bundle.percentile,
        value=bundle.intensity_value,
    )
    return found, truth / np.float32(found.scale)


def quantised(model: ov.Model, name: str, inputs: Sequence[Inputs]) -> ov.Model:
    """A module with 8-bit weights and activations; the conditioner's attention is known to NNCF."""
    import nncf

    kind = nncf.ModelType.TRANSFORMER if name == "conditioner" else None
    return nncf.quantize(
        model,
        nncf.Dataset(list(inputs)),
        subset_size=len(inputs),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=kind,
    )


def compiled(models: dict[str, ov.Model], precision: str) -> CompiledModules:
    """One stream a core, a tile each, as moediff-rt runs them."""
    return CompiledModules(models, precision, threads(), batch=1, workers=threads())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    output = parser.parse_args(arguments).output

    session = Session()
    bundle, default = session.bundle, session.model.precision
    height, width, _ = bundle.tile
    core = ov.Core()

    def read() -> dict[str, ov.Model]:
        return read_modules(core, bundle, 1, (height, width))

    found, truth = development_scan(bundle)
    at = np.arange(len(found.volume)) % EVERY

    def only(rest: int) -> NDArray[np.int32]:
        boxes = found.boxes.copy()
        boxes[at != rest] = 0
        return boxes

    recorder = Recorder(compiled(read(), "fp32"))
    PlainLoop(bundle, recorder)(found.volume, only(EVERY // 2))

    ways = {
        precision: compiled(read(), precision) for precision in dict.fromkeys(("fp32", default))
    }
    for choice, names in CHOICES.items():
        models = read()
        for name in names:
            models[name] = quantised(models[name], name, recorder.seen[name])
        ways[f"int8: {choice}"] = compiled(models, default)

    judged = only(0)
    shown = (judged[:, 0] < judged[:, 1]).nonzero()[0]
    seconds: dict[str, list[float]] = defaultdict(list)
    volumes = {}
    for turn in range(1 + ROUNDS):
        for name, modules in ways.items():
            loop = PlainLoop(bundle, modules, workers=threads())
            begin = time.perf_counter()
            volumes[name], _, _ = loop(found.volume, judged)
            if turn:
                seconds[name].append(time.perf_counter() - begin)

    def decibels(volume: NDArray[np.float32]) -> float:
        inside = truth[shown] > 0.1
        error = np.mean((volume[shown] - truth[shown])[inside] ** 2)
        return float(-10 * np.log10(error))

    plain = np.median(seconds[default])
    rows = [
        {
            "way": name,
            "seconds": float(np.median(spent)),
            "times faster than the default": float(plain / np.median(spent)),
            "psnr_loss_db": decibels(volumes["fp32"]) - decibels(volumes[name]),
        }
        for name, spent in seconds.items()
    ]
    output.parent.mkdir(parents=True, exist_ok=True)
    record = {"machine": describe(), "default": default, "slices": len(shown), "rows": rows}
    output.write_text(json.dumps(record, indent=1) + "\n")
    for row in rows:
        print(
            f"{row['way']:29} {row['seconds']:.2f} s, {row['times faster than the default']:.2f} x "
            f"{default}, {row['psnr_loss_db']:+.3f} dB lost"
        )


if __name__ == "__main__":
    main()
