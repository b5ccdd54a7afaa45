"""How a run trains, and what of it cannot be followed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from ..config import ModelConfig
from ..data.batches import TISSUE_ABOVE
from ..data.shards import Pair
from .step import LossPlan

PRECISIONS = ("bf16-mixed", "32-true")  # Lightning's names


def usual_precision() -> str:
    """bf16 where PyTorch has kernels for it here, float32 elsewhere.

    On a CPU its convolutions take bf16 where there is AVX-512; elsewhere they convert every value,
    both ways.
    """
    if torch.cuda.is_available():
        known = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        known = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return "bf16-mixed" if known else "32-true"


@dataclass(frozen=True)
class TrainingPlan:
    """How to train.

    Attributes
    ----------
    minutes : float
        Wall-clock budget over all sessions of this run, validation not counted; the learning rate
        ends with it.
    steps : int, optional
        A budget of steps as well; where it is nearer its end than the minutes at every step, a run
        on a CPU in one precision is the same twice.
    learning_rate : float
        Peak of the cosine schedule; a run that begins with trained weights goes to a third of it.
    batch, crop : int
        Crops a step and process, and their edge in pixels: see `crop_unit`.
    warmup_steps : int
    autoencoder_share : float
        Share of the budget in which the autoencoder trains alone.
    ema_decay, clip_norm : float
    precision : str
        One of `PRECISIONS`; `usual_precision` by default.
    cuda_graphs : bool
        Whether a GPU replays a step's kernels as CUDA graphs: it otherwise waits for the host.
    seed : int
    losses : LossPlan
    """

    minutes: float
    steps: int | None = None
    learning_rate: float = 3e-3
    batch: int = 4
    crop: int = 128
    warmup_steps: int = 100
    autoencoder_share: float = 0.05
    ema_decay: float = 0.998
    clip_norm: float = 0.5
    precision: str = field(default_factory=usual_precision)
    cuda_graphs: bool = False
    seed: int = 0
    losses: LossPlan = field(default_factory=LossPlan)


@dataclass(frozen=True)
class Rhythm:
    """How often a run logs (steps), saves and validates (minutes)."""

    log_steps: int = 25
    save_minutes: float = 3.0
    validate_minutes: float = 8.0


def crop_unit(config: ModelConfig) -> int:
    """What the edge of a crop must be a multiple of, pixels: what every network's grid fits."""
    return config.tile_pitch if config.experts else int(2 ** len(config.autoencoder_widths))


def check_plan(config: ModelConfig, plan: TrainingPlan, pairs: list[Pair]) -> None:
    """Refuse a plan that cannot be followed.

    Raises
    ------
    ValueError
        A budget or a batch of nothing, an unknown precision, a crop that does not fit, or shards
        without anatomy.
    """
    for name, value in (("minutes", plan.minutes), ("steps", plan.steps), ("batch", plan.batch)):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"train: expected {name} above 0 and finite, got {value}")
    if plan.precision not in PRECISIONS:
        raise ValueError(
            f"train: expected a precision of {' or '.join(PRECISIONS)}, got {plan.precision!r}; "
            "float16 would need its losses scaled"
        )
    unit = crop_unit(config)
    if plan.crop <= 0 or plan.crop % unit:
        raise ValueError(
            f"train: expected a crop of a multiple of {unit} pixels for {config.name}, "
            f"got {plan.crop}"
        )
    smallest = min(min(pair.target.shape[1:]) for pair in pairs)
    if plan.crop > smallest:
        raise ValueError(
            f"train: expected slabs of at least the crop's {plan.crop} x {plan.crop} pixels, found "
            f"one whose edge is {smallest}; give a smaller --crop, or leave that scan out"
        )
    if not any((pair.target > TISSUE_ABOVE).any() for pair in pairs):
        raise ValueError(
            "train: expected anatomy in the shards, found background alone; are the images scaled?"
        )
