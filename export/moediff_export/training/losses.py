"""The losses, each a small function with its formula and source."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def charbonnier(prediction: Tensor, target: Tensor, epsilon: float = 0.02) -> Tensor:
    """Smooth L1: mean of ``sqrt((p - x)^2 + eps^2) - eps`` (Charbonnier et al. 1994).

    Quadratic below ``eps``, about the noise of a scan, so that edges count for more than noise.
    """
    return torch.sqrt((prediction - target).square() + epsilon**2).mean() - epsilon


def relative_squared_error(prediction: Tensor, target: Tensor, interpolated: Tensor) -> Tensor:
    """Squared error over that of interpolation, per sample: ``mean_n |p - x|^2 / |i - x|^2``.

    What a decibel of gain is worth, alike for sharp and smooth, clean and noisy scans; without it
    the scans with the largest errors take all the gradient. Images are (N, 1, H, W).
    """
    error = (prediction - target).square().mean(dim=(1, 2, 3))
    plain = (interpolated - target).square().mean(dim=(1, 2, 3))
    return (error / (plain + 1e-5)).mean()


def latent_moments(z: Tensor) -> Tensor:
    """Keeps each latent channel near zero mean and unit variance: ``mean(m^2) + mean((s - 1)^2)``.

    Stands in for the Kullback-Leibler term of a variational autoencoder, so that the diffusion's
    noise levels mean the same for every channel.
    """
    mean = z.mean(dim=(0, 2, 3))
    deviation = z.std(dim=(0, 2, 3))
    return mean.square().mean() + (deviation - 1).square().mean()


def mixture(z0: Tensor, experts: Tensor, clean: Tensor) -> Tensor:
    """Squared latent error of the gated sum, plus a quarter of each expert's own.

    ``experts`` is (experts, N, C, h, w); without the second term an expert that the gate ignores
    would stop learning.
    """
    own = (experts - clean[None]).square().mean()
    return F.mse_loss(z0, clean) + 0.25 * own


def gate_targets(experts: Tensor, clean: Tensor, size: tuple[int, int]) -> Tensor:
    """Which expert is nearest to the clean latent, per token: (N, experts, gh, gw).

    Softmax over the experts of minus the token's mean squared error; the temperature is 1.4826 x
    the median absolute deviation of those similarities (MoEDiff-SR, Wang et al. 2025), detached.
    """
    error = (experts - clean[None]).square().mean(2).transpose(0, 1)
    similarity = -F.interpolate(error, size=size, mode="area").detach()
    similarity = similarity - similarity.mean(1, keepdim=True)
    temperature = 1.4826 * (similarity - similarity.median()).abs().median()
    return (similarity / temperature.clamp_min(1e-6)).softmax(1)


def gate_cross_entropy(gates: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the gate (N, experts, gh, gw) against its targets, mean over tokens."""
    return -(targets * gates.clamp_min(1e-6).log()).sum(1).mean()


def load_balance(gates: Tensor) -> Tensor:
    """Keeps every expert in use: ``E sum_i mean(g_i)^2 - 1``, 0 when all have the same load."""
    return gates.shape[1] * gates.mean(dim=(0, 2, 3)).square().sum() - 1
