"""8-bit modules: the convolutions' operands as Q/DQ pairs in the graph, calibrated by NNCF.

Weights have a scale for each output channel, activations one for each tensor, found on crops of
training slabs (Jacob et al. 2018); biases make up for the mean error. All else stays in float:
window attention and the timestep's layers are a few per cent of the arithmetic.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxscript import optimizer
from torch import Tensor, nn

from moediff_rt.telemetry import stay_silent

from .data.batches import crop_batch
from .data.shards import Pair
from .enhance import default_sampling, sample
from .errors import ExportError
from .model import MoEDiffSR
from .modules import ModuleExport
from .onnx import relative_error, store_half
from .training.plan import crop_unit

CROPS = 48
SEED = 0
# A bundle's user may ask for more steps than its own: experts then see later timesteps, too.
MORE_STEPS = 4
WORST_ERROR = 0.25  # relative; of the default bundle's modules a tenth at most
# Weights of convolutions that stay in float: what reads the scan itself, whose noise and whose
# faintest edges are finer than its 8-bit steps, and what writes a module's output.
KEPT_FLOAT = ("embed.", "trunk.levels.0.weight", "trunk.out.weight", "out.weight")
# An activation's scale is the largest over all crops of the range that holds all but this share of
# its values, above and below. With the largest values themselves, steps are too coarse for smooth
# heads; with the mean over the crops, the edge of an extracted brain is cut off.
OUTLIERS = 1e-4
LARGEST_CONSTANT = 1 << 26  # bytes that are folded: weights that are reckoned from others

Inputs = dict[str, NDArray[np.float32]]


def in_int8(name: str) -> bool:
    """Whether a module has an 8-bit form.

    Encoder and gate are a hundredth of the arithmetic; the decoder's last layers are the image.
    """
    return name == "conditioner" or name.startswith("expert_")


@torch.inference_mode()
def record_inputs(
    model: MoEDiffSR, items: Sequence[ModuleExport], pairs: list[Pair]
) -> dict[str, list[Inputs]]:
    """What the modules that have an 8-bit form are given when crops of slabs are enhanced.

    Parameters
    ----------
    model : MoEDiffSR
        In evaluation mode.
    items : sequence of ModuleExport
        Of this model.
    pairs : list of Pair

    Returns
    -------
    dict
        By module, a batch of one crop each.

    Raises
    ------
    ValueError
        If a slab is smaller than what the model takes.
    """
    config, rng = model.config, np.random.default_rng(SEED)
    seen: dict[str, list[Inputs]] = defaultdict(list)

    def keep(item: ModuleExport, _: nn.Module, given: tuple[Tensor, ...]) -> None:
        arrays = (tensor.numpy().copy() for tensor in given)
        seen[item.name].append(dict(zip(item.inputs, arrays, strict=True)))

    generator = torch.Generator().manual_seed(SEED)
    unit, edge = crop_unit(config), min(min(pair.target.shape[1:]) for pair in pairs)
    size = min(config.smallest_tile, edge // unit * unit)
    if not size:
        raise ValueError(
            f"record_inputs: expected slabs of at least {unit} x {unit} pixels for {config.name}, "
            f"found one whose edge is {edge}; it was probably cropped; leave that scan out"
        )
    shape = (1, config.latent_channels, size // config.factor, size // config.factor)
    usual = default_sampling(config)
    hooks = [
        item.module.register_forward_pre_hook(partial(keep, item))
        for item in items
        if in_int8(item.name)
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order: the same slabs give the same files
    try:
        for i in range(CROPS):
            slices = crop_batch(rng, pairs, size, 1, config.slices).slices
            sampling = replace(usual, steps=max(usual.steps, MORE_STEPS)) if i % 4 == 3 else usual
            sample(model, slices, sampling, lambda _: torch.randn(shape, generator=generator))
    finally:
        torch.set_num_threads(threads)
        for hook in hooks:
            hook.remove()
    return seen


def export_int8(item: ModuleExport, source: Path, inputs: Sequence[Inputs], path: Path) -> float:
    """Write a module's 8-bit form.

    Parameters
    ----------
    item : ModuleExport
    source : Path
        The module as `export_module` wrote it.
    inputs : sequence of dict
        What `record_inputs` found.
    path : Path
        The .onnx file to write.

    Returns
    -------
    float
        The largest relative error of an output over all inputs, both files in ONNX Runtime.

    Raises
    ------
    ExportError
        If NNCF is not installed, or that error is above 0.25.
    """
    quantised = quantise(fold(source), inputs)
    store_half(quantised)
    quantised.doc_string = ""
    del quantised.metadata_props[:]
    onnx.checker.check_model(quantised)
    onnx.save(quantised, path)
    worst = compare(source, path, list(item.outputs), inputs)
    if not worst <= WORST_ERROR:
        raise ExportError(
            f"export_int8: expected {item.name} in 8 bits within {WORST_ERROR:g} of itself in "
            f"float32, found a relative error of {worst:.2f}; single values are probably far from "
            "all others; train longer, or export without --int8"
        )
    return worst


def fold(source: Path) -> onnx.ModelProto:
    """A module whose weights are constants: one that a node makes, NNCF leaves as it is."""
    return optimizer.optimize(
        onnx.load(source),
        input_size_limit=LARGEST_CONSTANT,
        output_size_limit=LARGEST_CONSTANT,
    )


def quantise(graph: onnx.ModelProto, inputs: Sequence[Inputs]) -> onnx.ModelProto:
    """A folded module with Q/DQ pairs before its convolutions, but for `KEPT_FLOAT`'s.

    Raises
    ------
    ExportError
        If NNCF is not installed.
    """
    stay_silent()
    try:
        import nncf
        from nncf.quantization.range_estimator import (
            AggregatorType,
            RangeEstimatorParameters,
            StatisticsCollectorParameters,
            StatisticsType,
        )
    except ImportError as error:
        raise ExportError(
            "export_int8: expected NNCF, which calibrates 8-bit modules, found none; it is an "
            "extra that is probably not installed: pip install 'moediff-export[int8]'"
        ) from error

    def widest(kind: AggregatorType) -> StatisticsCollectorParameters:
        return StatisticsCollectorParameters(
            StatisticsType.QUANTILE, kind, quantile_outlier_prob=OUTLIERS
        )

    logging.getLogger("nncf").setLevel(logging.ERROR)  # its own way sets everybody's handlers
    nodes = graph.graph.node
    others = {node.op_type for node in nodes} - {"Conv"}
    kept = [n.name for n in nodes if n.op_type == "Conv" and n.input[1].startswith(KEPT_FLOAT)]
    result: onnx.ModelProto = nncf.quantize(
        graph,
        nncf.Dataset(list(inputs)),
        subset_size=len(inputs),
        # Symmetric: no zero points to take account of in every product.
        preset=nncf.QuantizationPreset.PERFORMANCE,
        ignored_scope=nncf.IgnoredScope(types=sorted(others), names=kept, validate=False),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParameters(
                min=widest(AggregatorType.MIN), max=widest(AggregatorType.MAX)
            )
        ),
    )
    return result


def compare(truth: Path, path: Path, outputs: list[str], inputs: Sequence[Inputs]) -> float:
    """Largest relative error of an output of one ONNX file against another's, over all inputs."""

    def runner(file: Path) -> Callable[[Inputs], Sequence[Any]]:
        # Products in 8 bits that saturate, on processors that have no others, are not the graph's.
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(file, options, providers=providers)
        return partial(session.run, outputs)

    run_truth, run = runner(truth), runner(path)
    made = [(run(given), run_truth(given)) for given in inputs]
    errors = []
    for number in range(len(outputs)):
        found = np.stack([result[number] for result, _ in made])
        errors.append(relative_error(found, np.stack([right[number] for _, right in made])))
    return float(np.max(errors))  # NaN where one is
