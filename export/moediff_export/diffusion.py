"""Noise schedule and samplers: the numbers of the denoising loop, without any network.

Every step has the form of the fused op that the runtime runs,

    z_s = c_z z_t + c_0 z0 + c_1 z0_prev + c_n n,

and this module says what the four coefficients are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

METHODS = ("ddim", "dpmpp_2m")
STARTS = ("low_field", "noise")


def cosine_alphas_cumprod(timesteps: int, offset: float = 0.008) -> NDArray[np.float64]:
    """Cosine schedule: cumulative signal power at t = 0..T-1 (Nichol and Dhariwal 2021, eq. 17).

    No step loses more than 99.9 % of the power, as there.
    """
    t = np.arange(timesteps + 1) / timesteps
    power = np.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2
    return np.cumprod(np.clip(power[1:] / power[:-1], 1e-3, None))


def diffuse(source: Tensor, noise: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """Noised latent ``sqrt(ab) source + sqrt(1 - ab) noise``; one ``ab`` a sample, (N,)."""
    ab = alphas_cumprod[:, None, None, None]
    return ab.sqrt() * source + (1 - ab).sqrt() * noise


@dataclass(frozen=True)
class Sampling:
    """How to walk from the start to the clean latent.

    Attributes
    ----------
    method : "ddim" or "dpmpp_2m"
    steps : int
        Evaluations of the experts.
    start : "low_field" or "noise"
        From the noised low-field latent at ``start_timestep``, or from noise at T - 1.
    start_timestep : int
    eta : float
        DDIM's noise, 0 is deterministic.
    gate_threshold : float
        See :class:`moediff_export.config.ModelConfig`.
    """

    method: str
    steps: int
    start: str
    start_timestep: int
    eta: float = 0.0
    gate_threshold: float = 0.0


def timesteps(steps: int, start_timestep: int) -> list[int]:
    """Timesteps of the evaluations: evenly spaced from the start down, the clean end left out."""
    return [math.floor(start_timestep * (steps - k) / steps + 0.5) for k in range(steps)]


def step_coefficients(
    sampling: Sampling, alphas_cumprod: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Coefficients (steps, 4) = (c_z, c_0, c_1, c_n) of every step.

    Sources: DDIM, Song et al. 2021, equation 12, with the prediction of the clean sample in place
    of the noise; DPM-Solver++(2M), Lu et al. 2022, algorithm 2, its last step first-order.

    Raises
    ------
    ValueError
        If the method is unknown.
    """
    if sampling.method not in METHODS:
        raise ValueError(f"step_coefficients: expected one of {METHODS}, got {sampling.method!r}")
    start = len(alphas_cumprod) - 1 if sampling.start == "noise" else sampling.start_timestep
    signal = [float(alphas_cumprod[t]) for t in timesteps(sampling.steps, start)] + [1.0]
    rows = []
    h_previous = math.nan
    for ab_t, ab_s in pairwise(signal):
        if sampling.method == "ddim":
            sigma = sampling.eta * math.sqrt((1 - ab_s) / (1 - ab_t))
            sigma *= math.sqrt(1 - ab_t / ab_s)
            c_z = math.sqrt(max(1 - ab_s - sigma**2, 0.0) / (1 - ab_t))
            rows.append((c_z, math.sqrt(ab_s) - c_z * math.sqrt(ab_t), 0.0, sigma))
        elif ab_s == 1.0:
            rows.append((0.0, 1.0, 0.0, 0.0))
        else:
            h = 0.5 * (math.log(ab_s / (1 - ab_s)) - math.log(ab_t / (1 - ab_t)))
            phi = math.sqrt(ab_s) * -math.expm1(-h)
            c_z = math.sqrt((1 - ab_s) / (1 - ab_t))
            if not h_previous > 0:  # the first step, or one after a flat piece of the schedule
                rows.append((c_z, phi, 0.0, 0.0))
            else:
                half_inverse_r = h / (2 * h_previous)
                rows.append((c_z, phi * (1 + half_inverse_r), -phi * half_inverse_r, 0.0))
            h_previous = h
    return np.array(rows)


def schedule_tensor(count: int) -> torch.Tensor:
    """The cosine schedule of ``count`` timesteps as float32, for training."""
    return torch.from_numpy(cosine_alphas_cumprod(count)).float()
