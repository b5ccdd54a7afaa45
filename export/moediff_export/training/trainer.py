"""The training loop: a time budget, checkpoints, and resuming after a stop at any moment."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from ..config import ModelConfig, config_from_dict
from ..data.pairs import Batch, Pair, crop_batch, make_pair
from ..data.sources import Source
from ..diffusion import schedule_tensor
from ..enhance import default_sampling, sample
from ..errors import CheckpointError
from ..model import MoEDiffSR
from .step import autoencoder_losses, joint_losses

VALIDATION_SEED = 10**6  # far from any training pair's


@dataclass(frozen=True)
class TrainingPlan:
    """How to train.

    Attributes
    ----------
    minutes : float
        Wall-clock budget over all sessions of this run; the learning rate ends with it.
    learning_rate : float
        Peak of the cosine schedule.
    batch, crop : int
        Crops a step, and their edge in pixels (a multiple of the coarsest patch).
    warmup_steps : int
    autoencoder_share : float
        Share of the budget in which the autoencoder trains alone.
    pool : int
        Simulated slabs kept in memory.
    steps_per_pair : int
        A new slab is simulated after this many steps.
    ema_decay, clip_norm : float
    seed : int
    """

    minutes: float
    learning_rate: float = 8e-4
    batch: int = 2
    crop: int = 128
    warmup_steps: int = 100
    autoencoder_share: float = 0.5
    pool: int = 160
    steps_per_pair: int = 40
    ema_decay: float = 0.998
    clip_norm: float = 0.5
    seed: int = 0


class Trainer:
    """Trains one model in one run folder.

    The folder holds ``checkpoint.pt`` (everything needed to resume), ``losses.csv`` and
    ``validation.csv``.
    """

    def __init__(
        self, config: ModelConfig, plan: TrainingPlan, sources: list[Source], folder: Path
    ) -> None:
        self.config, self.plan, self.sources, self.folder = config, plan, sources, folder
        torch.manual_seed(plan.seed)
        # Channels last is what the CPU's convolutions work in: a sixth less time a step.
        self.model = MoEDiffSR(config).to(memory_format=torch.channels_last)
        self.ema = deepcopy(self.model).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4
        )
        self.alphas_cumprod = schedule_tensor(config.timesteps)
        self.step, self.elapsed, self.pairs_made = 0, 0.0, 0
        self.pairs: list[Pair] = []
        self.stopping = False

    @property
    def checkpoint(self) -> Path:
        """Where the run's state is kept."""
        return self.folder / "checkpoint.pt"

    def resume(self) -> None:
        """Continue from the folder's checkpoint.

        Raises
        ------
        FileNotFoundError
            If there is none.
        CheckpointError
            If it is damaged, or of another configuration.
        """
        state = read_checkpoint(self.checkpoint)
        if config_from_dict(json.loads(state["config"])) != self.config:
            raise CheckpointError(
                f"resume: expected a run of the configuration {self.config.name}, found another in "
                f"{self.checkpoint}; pass the run's own --config, or another --run"
            )
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.elapsed = state["step"], state["elapsed"]
        self.pairs_made = state["pairs_made"]

    def save(self) -> None:
        """Write the checkpoint whole, or leave the old one."""
        state = {
            "config": json.dumps(self.config.to_dict()),
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "elapsed": self.elapsed,
            "pairs_made": self.pairs_made,
        }
        temporary = self.checkpoint.with_suffix(".tmp")
        with open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.checkpoint)

    def add_pair(self) -> None:
        """Simulate the run's next slab; once the pool is full, the oldest one goes."""
        rng = np.random.default_rng([self.plan.seed, self.pairs_made])
        pair = make_pair(rng, self.sources)
        if len(self.pairs) < self.plan.pool:
            self.pairs.append(pair)
        else:
            self.pairs[self.pairs_made % self.plan.pool] = pair
        self.pairs_made += 1

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine over the time budget down to 2 %."""
        share = min(self.elapsed / (60 * self.plan.minutes), 1.0)
        warm = min((self.step + 1) / self.plan.warmup_steps, 1.0)
        return (
            self.plan.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        )

    def train_step(self) -> dict[str, float]:
        """One optimizer step; returns every loss by name, and the gradient norm."""
        rng = np.random.default_rng([self.plan.seed, 1, self.step])
        generator = torch.Generator().manual_seed(self.plan.seed * 1_000_003 + self.step)
        batch = crop_batch(rng, self.pairs, self.plan.crop, self.plan.batch)
        alone = self.elapsed < self.plan.autoencoder_share * 60 * self.plan.minutes
        terms = (
            autoencoder_losses(self.model, batch, generator)
            if alone
            else joint_losses(self.model, batch, self.alphas_cumprod, generator)
        )
        loss = sum(terms.values(), torch.zeros(()))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self.optimizer.step()
        decay = min(self.plan.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            averaged = list(self.ema.parameters())
            torch._foreach_lerp_(averaged, list(self.model.parameters()), 1 - decay)
        self.step += 1
        return {k: float(v.detach()) for k, v in terms.items()} | {"gradient_norm": float(norm)}

    @torch.inference_mode()
    def validate(self, batches: list[Batch]) -> dict[str, float]:
        """PSNR (dB) of simulated held-out slabs: interpolated, enhanced, and reconstructed."""
        self.ema.eval()
        sampling = default_sampling(self.config)
        errors: dict[str, list[float]] = {"interpolated": [], "enhanced": [], "reconstructed": []}
        for i, batch in enumerate(batches):
            generator = torch.Generator().manual_seed(i)
            shape = (len(batch.target), self.config.latent_channels)
            size = batch.target.shape[-1] // self.config.factor
            noises = [
                torch.randn(*shape, size, size, generator=generator)
                for _ in range(sampling.steps + 1)
            ]
            enhanced = sample(self.ema, batch.slices, sampling, noises.__getitem__)
            images = torch.cat([batch.target, torch.zeros_like(batch.maps)], dim=1)
            reconstructed = self.ema.decoder(self.ema.encoder(images), batch.slices)
            brain = batch.target > 0.1
            for name, image in (
                ("interpolated", batch.slices[:, 1:2]),
                ("enhanced", enhanced),
                ("reconstructed", reconstructed),
            ):
                errors[name].append(float((image - batch.target)[brain].square().mean()))
        return {k: -10 * math.log10(sum(v) / len(v)) for k, v in errors.items()}

    def validation_batches(self) -> list[Batch]:
        """Fixed crops of slabs that no training step sees (same sources, other draws)."""
        batches = []
        for i in range(6):
            rng = np.random.default_rng([VALIDATION_SEED, i])
            batches.append(crop_batch(rng, [make_pair(rng, self.sources)], self.plan.crop, 4))
        return batches

    def run(
        self, log_every: int = 25, save_minutes: float = 2.0, validate_minutes: float = 6.0
    ) -> None:
        """Train until the budget is spent, or SIGINT/SIGTERM; then save and validate."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handlers = {s: signal.signal(s, self._stop) for s in (signal.SIGINT, signal.SIGTERM)}
        held_out = self.validation_batches()
        sums: dict[str, float] = {}
        saved = validated = last = time.monotonic()
        for _ in range(12):
            self.add_pair()
        while self.elapsed < 60 * self.plan.minutes and not self.stopping:
            if len(self.pairs) < 48 or self.step % self.plan.steps_per_pair == 0:
                self.add_pair()
            for name, value in self.train_step().items():
                sums[name] = sums.get(name, 0.0) + value / log_every
            now = time.monotonic()
            self.elapsed, last = self.elapsed + now - last, now
            if self.step % log_every == 0:
                self._log("losses.csv", sums)
                sums = {}
            if now - saved > 60 * save_minutes:
                self.save()
                saved = time.monotonic()
            if now - validated > 60 * validate_minutes:
                self._log("validation.csv", self.validate(held_out))
                validated = last = time.monotonic()
        self._log("validation.csv", self.validate(held_out))
        self.save()
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def _log(self, name: str, values: dict[str, float]) -> None:
        row = {"step": self.step, "minutes": round(self.elapsed / 60, 2)}
        row |= {k: float(f"{v:.5g}") for k, v in values.items()}
        print(name.split(".")[0], row, flush=True)
        with open(self.folder / name, "a", newline="") as file:
            csv.writer(file).writerow([f"{k}={v}" for k, v in row.items()])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A run's state, read without running any code that the file may hold.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is no checkpoint of :class:`Trainer`.
    """
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        state["config"], state["ema"]
    except FileNotFoundError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"read_checkpoint: expected a checkpoint of moediff-export train, found {path} that "
            f"cannot be read as one ({type(error).__name__}); give a run's checkpoint.pt"
        ) from error
    return state


def load_trained(checkpoint: Path) -> tuple[MoEDiffSR, dict[str, Any]]:
    """The averaged (EMA) model of a checkpoint, in evaluation mode, and how far it was trained.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is no checkpoint.
    """
    state = read_checkpoint(checkpoint)
    model = MoEDiffSR(config_from_dict(json.loads(state["config"])))
    model.load_state_dict(state["ema"])
    return model.eval(), {"steps": state["step"], "minutes": round(state["elapsed"] / 60, 1)}
