"""The training loop: a time budget, checkpoints, and resuming after a stop at any moment.

On Lightning Fabric, which knows devices, precisions and processes; with several GPUs it runs under
`torchrun`. It reads no scans and needs no runtime, so that it also runs on a bare machine that
shards were brought to.
"""

from __future__ import annotations

import math
import os
import platform
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from pytorch_optimizer import SOAP
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from moediff_rt.signals import ENDING, is_heeded

from ..config import ModelConfig, config_from_dict
from ..data.batches import Batch, crop_batch
from ..data.shards import Pair
from ..errors import CheckpointError
from ..model import MoEDiffSR, RegressionUNet, build_model
from .checkpoint import load_trained, pack, read_checkpoint, under, unpack, write_checkpoint
from .curves import append_row, plot_run, rewind
from .plan import Rhythm, TrainingPlan, check_plan
from .split import hold_out
from .step import REPORTED, TrainingStep, draw
from .validation import draw_crops, score

GUIDED_UNTIL = 0.3, 0.6  # shares of the budget between which the gate takes over from anatomy
FINE_TUNING = 1 / 3  # of the learning rate, where a run begins with trained weights
# What of a plan a run that is resumed may have changed.
FREE_TO_CHANGE = ("minutes", "steps", "precision", "cuda_graphs")


class Trainer:
    """Trains one model in one run folder.

    The folder holds ``checkpoint/`` (everything needed to resume), a CSV of the losses of each
    phase, ``validation.csv`` and ``curves.png``.

    Parameters
    ----------
    config : ModelConfig
    plan : TrainingPlan
    pairs : list of Pair
        Some are held out for validation: `hold_out` says which.
    folder : Path

    Raises
    ------
    ValueError
        The plan cannot be followed: a budget or a batch of nothing, a crop that does not fit, or
        CUDA graphs without a CUDA device.
    """

    def __init__(
        self,
        config: ModelConfig,
        plan: TrainingPlan,
        pairs: list[Pair],
        folder: Path,
    ) -> None:
        check_plan(config, plan, pairs)
        self.config, self.plan, self.folder = config, plan, folder
        self.train_pairs, self.held_out = hold_out(pairs)
        # torchrun says how many processes there are, one a device.
        world = int(os.environ.get("WORLD_SIZE", 1))
        here = int(os.environ.get("LOCAL_WORLD_SIZE", world))
        self.fabric = Fabric(
            devices=here,
            num_nodes=world // here,
            precision=plan.precision,  # type: ignore[arg-type]
            # Each phase leaves parts of the model alone: DDP must be told.
            strategy="ddp_find_unused_parameters_true" if world > 1 else "auto",
        )
        if plan.cuda_graphs and self.fabric.device.type != "cuda":
            raise ValueError(
                f"train: expected a CUDA device for CUDA graphs, found {self.fabric.device.type}; "
                "PyTorch sees no NVIDIA GPU here; leave --cuda-graphs out"
            )
        self.fabric.launch()
        torch.backends.cudnn.benchmark = True  # crops have one size
        torch.manual_seed(plan.seed)
        step = TrainingStep(build_model(config), plan.losses)
        # Channels last is what convolutions work in, on the CPU and on tensor cores.
        step = step.to(memory_format=torch.channels_last)
        if plan.cuda_graphs:
            step.compile(backend="cudagraphs", fullgraph=True, dynamic=False)
        # Adam in the eigenbasis of Shampoo's preconditioner: each step costs a sixth more than
        # AdamW's and gains two to three times as much.
        optimizer = SOAP(step.parameters(), lr=plan.learning_rate, weight_decay=1e-4)
        self.step_module: Any
        self.step_module, self.optimizer = self.fabric.setup(step, optimizer)
        self.averaged = AveragedModel(self.model, multi_avg_fn=_warmed_average(plan.ema_decay))
        self.averaged.requires_grad_(False)
        self.step, self.elapsed = 0, 0.0
        self.joint_from: int | None = None  # the step with which the second phase began
        self.started_from: dict[str, Any] | None = None  # how its first weights were trained
        self.stopping = False
        self._cutter = ThreadPoolExecutor(1)
        self._ahead: tuple[int, Future[Batch]] | None = None  # a step to come, and its crops

    @property
    def model(self) -> MoEDiffSR | RegressionUNet:
        """The network being trained."""
        model: MoEDiffSR | RegressionUNet = self.step_module.module.model
        return model

    @property
    def checkpoint(self) -> Path:
        """Where the run's state is kept."""
        return self.folder / "checkpoint"

    @property
    def spent(self) -> float:
        """Share of the budget that is spent: of its time or its steps, whichever ends it sooner."""
        of_time = self.elapsed / (60 * self.plan.minutes)
        of_steps = self.step / self.plan.steps if self.plan.steps is not None else 0.0
        return min(max(of_time, of_steps), 1.0)

    @property
    def alone(self) -> bool:
        """Whether the autoencoder still trains alone; a trained one need not."""
        first = self.spent < self.plan.autoencoder_share and self.started_from is None
        return bool(self.config.experts) and first

    @property
    def guidance(self) -> float:
        """How much anatomy weighs the experts instead of the gate: 1 at first, later 0.

        0 where the gate was trained before.
        """
        if self.started_from is not None:
            return 0.0
        begin, end = GUIDED_UNTIL
        return min(max((end - self.spent) / (end - begin), 0.0), 1.0)

    def start_from(self, checkpoint: Path) -> None:
        """Begin with the averaged weights of a trained model, all parts at once.

        Raises
        ------
        FileNotFoundError
            If there is no such folder.
        CheckpointError
            If it is no checkpoint, or its weights do not fit.
        """
        trained, progress = load_trained(checkpoint)
        try:
            if trained.config.cosine_attention != self.config.cosine_attention:
                raise RuntimeError("attention scores of another kind")
            self.model.load_state_dict(trained.state_dict())
        except RuntimeError as error:
            raise CheckpointError(
                f"start_from: expected weights that fit the configuration {self.config.name}, "
                f"found those of {trained.config.name} in {checkpoint}; pass its own --config and "
                "--variant, or weights that this release trained"
            ) from error
        self.averaged.module.load_state_dict(trained.state_dict())
        self.started_from = progress

    def resume(self) -> None:
        """Continue from the folder's checkpoint, within its budget of steps if none is given.

        Raises
        ------
        FileNotFoundError
            If there is none.
        CheckpointError
            If it is damaged, of another configuration, or of a plan that differs in more than
            `FREE_TO_CHANGE`.
        """
        tensors, record = read_checkpoint(self.checkpoint)
        try:
            same = config_from_dict(record["config"]) == self.config
        except (KeyError, TypeError):  # of another release
            same = False
        if not same:
            raise CheckpointError(
                f"resume: expected a run of the configuration {self.config.name}, found another in "
                f"{self.checkpoint}; pass the run's own --config and --variant, or another --output"
            )
        if missing := {"optimizer", "joint_from", "plan", "averaged"} - set(record):
            raise CheckpointError(
                f"resume: expected a run of this release, found {self.checkpoint} without "
                f"{', '.join(sorted(missing))}; is it an average, or of an earlier release? Begin "
                "--from it with another --output"
            )
        for name, value in asdict(self.plan).items():
            if name not in FREE_TO_CHANGE and (planned := record["plan"].get(name)) != value:
                raise CheckpointError(
                    f"resume: expected the {name} that the run began with, {planned}, found "
                    f"{value}: it would be neither run; give the same options as before, or begin "
                    "--from its checkpoint with another --output"
                )
        if self.plan.steps is None:
            self.plan = replace(self.plan, steps=record["plan"]["steps"])
        self.step_module.module.load_state_dict(under(tensors, "model/"))
        self.averaged.module.load_state_dict(under(tensors, "averaged/"))
        self.averaged.n_averaged.fill_(record["averaged"])  # steps that were skipped are not
        self.optimizer.load_state_dict(unpack(record["optimizer"], tensors))
        self.step, self.elapsed = record["steps"], 60 * record["minutes"]
        self.joint_from = record["joint_from"]
        self.started_from = record.get("started_from")
        if self.fabric.is_global_zero:
            rewind(self.folder, self.step)

    def save(self) -> None:
        """Write the checkpoint whole, or leave the old one."""
        if not self.fabric.is_global_zero:
            return
        tensors = {f"model/{k}": v for k, v in self.step_module.module.state_dict().items()}
        tensors |= {f"averaged/{k}": v for k, v in self.averaged.module.state_dict().items()}
        record = {
            "optimizer": pack(self.optimizer.state_dict(), "optimizer", tensors),
            "config": self.config.to_dict(),
            "plan": asdict(self.plan),
            "steps": self.step,
            "averaged": int(self.averaged.n_averaged),
            "joint_from": self.joint_from,
            "minutes": self.elapsed / 60,
            "machine": machine(self.fabric),
        }
        if self.started_from is not None:
            record["started_from"] = self.started_from
        write_checkpoint(self.checkpoint, tensors, record)

    def learning_rate(self) -> float:
        """Linear warm-up of each phase, then a cosine over the budget down to 2 % of its peak.

        Experts whose first steps are large can end where their activations are 0 for good.
        """
        warm = min((self.step - (self.joint_from or 0) + 1) / self.plan.warmup_steps, 1.0)
        cosine = 0.5 * (1 + math.cos(math.pi * self.spent))
        peak = self.plan.learning_rate * (FINE_TUNING if self.started_from else 1.0)
        return peak * warm * (0.02 + 0.98 * cosine)

    def train_step(self) -> dict[str, Tensor]:
        """One optimizer step; returns every loss by name, and the gradient norm.

        A gradient that is not finite moves nothing: the step is counted as skipped.
        """
        plan, rank = self.plan, self.fabric.global_rank
        if self.joint_from is None and not self.alone:
            self.joint_from = self.step
        generator = torch.Generator().manual_seed(
            int(np.random.SeedSequence([plan.seed, 2, self.step, rank]).generate_state(1)[0])
        )
        batch = self._batch()
        draws = draw(self.config, batch, self.alone, generator)
        device = self.fabric.device
        encoder = getattr(self.averaged.module, "encoder", None)
        self.optimizer.zero_grad(set_to_none=True)
        # A tensor, since a step that is replayed would keep a number.
        guidance = torch.tensor(self.guidance, device=device)
        terms = self.step_module(batch.to(device), draws.to(device), encoder, self.alone, guidance)
        loss = torch.stack([v for k, v in terms.items() if not k.startswith(REPORTED)]).sum()
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.step_module, self.optimizer, max_norm=plan.clip_norm, error_if_nonfinite=False
        )
        finite = bool(torch.isfinite(norm))
        if finite:
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate()
            self.optimizer.step()
            self.averaged.update_parameters(self.model)
        self.step += 1
        return {k.removeprefix(REPORTED): v.detach() for k, v in terms.items()} | {
            "gradient_norm": norm.nan_to_num(0, 0, 0),
            "skipped": norm.new_tensor(float(not finite)),
        }

    def _batch(self) -> Batch:
        """The crops of this step; a GPU's next ones are begun, as it would wait for them."""
        step, crops = self._ahead or (None, None)
        batch = crops.result() if crops and step == self.step else self._cut(self.step)
        if self.fabric.device.type == "cuda":
            self._ahead = self.step + 1, self._cutter.submit(self._cut, self.step + 1)
        return batch

    def _cut(self, step: int) -> Batch:
        """The crops of a step."""
        plan = self.plan
        rng = np.random.default_rng([plan.seed, 1, step, self.fabric.global_rank])
        return crop_batch(rng, self.train_pairs, plan.crop, plan.batch, self.config.slices)

    def validate(self, batches: list[Batch]) -> dict[str, float]:
        """What the averaged model makes of held-out crops: see `validation.score`."""
        return score(self.averaged.module.eval(), [b.to(self.fabric.device) for b in batches])

    def run(self, rhythm: Rhythm | None = None) -> bool:
        """Train until the budget is spent, or a signal ends it; then save, validate and plot.

        Such are SIGINT, SIGTERM and SIGHUP, unless they are ignored.

        Returns
        -------
        bool
            Whether the budget is spent.
        """
        rhythm = rhythm or Rhythm()
        self.folder.mkdir(parents=True, exist_ok=True)
        handlers = {s: signal.signal(s, self._stop) for s in filter(is_heeded, ENDING)}
        try:
            return self._run(rhythm)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _run(self, rhythm: Rhythm) -> bool:
        plan = self.plan
        held_out = draw_crops(self.held_out, plan.seed, plan.crop, self.config.slices)
        budget = 60 * plan.minutes
        sums: dict[str, Tensor | float] = {}
        counted = 0
        with tqdm(
            total=round(budget),
            initial=round(self.elapsed),
            unit="s",
            desc=self.config.name,
            disable=not self.fabric.is_global_zero,
        ) as bar:
            saved = validated = last = time.monotonic()
            while self._goes_on():
                phase = "autoencoder" if self.alone else "joint"
                for name, value in self.train_step().items():
                    sums[name] = sums.get(name, 0.0) + value
                counted += 1
                now = time.monotonic()
                self.elapsed, last = self.elapsed + now - last, now
                if counted == rhythm.log_steps or (phase == "autoencoder") != self.alone:
                    mean = {k: float(v) / counted for k, v in sums.items()}
                    self._log(f"losses-{phase}.csv", mean)
                    bar.set_postfix({k: f"{v:.4f}" for k, v in list(mean.items())[:3]})
                    bar.n = round(self.elapsed)
                    sums, counted = {}, 0
                if now - saved > 60 * rhythm.save_minutes:
                    self.save()
                    saved = time.monotonic()
                if now - validated > 60 * rhythm.validate_minutes:
                    self._log("validation.csv", self.validate(held_out))
                    validated = last = time.monotonic()
        self._log("validation.csv", self.validate(held_out))
        self.save()
        if self.fabric.is_global_zero:
            plot_run(self.folder)
        return not self.stopping

    def _goes_on(self) -> bool:
        """Whether there is budget left, by the first process's clock: all keep to its phases."""
        self.elapsed, self.stopping = self.fabric.broadcast((self.elapsed, self.stopping))
        return self.spent < 1 and not self.stopping

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def _log(self, name: str, values: dict[str, float]) -> None:
        if self.fabric.is_global_zero:
            row = {"step": self.step, "minutes": round(self.elapsed / 60, 2)}
            append_row(self.folder / name, row | {k: float(f"{v:.5g}") for k, v in values.items()})


def _warmed_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Any], None]:
    """Exponential moving average whose memory grows from a few steps to ``1 / (1 - decay)``."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Any) -> None:
        now = min(decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(averaged, current, 1 - now)

    return update


def machine(fabric: Fabric) -> str:
    """What a run trains on, in words."""
    if fabric.device.type == "cuda":
        name = torch.cuda.get_device_name(fabric.device)
        return f"{fabric.world_size} x {name}, torch {torch.__version__}"
    threads = torch.get_num_threads()
    return f"{threads} CPU threads ({platform.machine()}), torch {torch.__version__}"
