"""The losses, each a small function with its formula and source.

Images are (N, 1, H, W), latents (N, C, h, w), experts' latents (experts, N, C, h, w), gates and
regions (N, experts, h, w), all float32. MoEDiff-SR is Wang et al. 2025, arXiv 2504.07308.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

REGION_FLOOR = 0.02  # what an expert's loss still counts outside its region
PRIOR_POWER = 2
SPECTRUM_WINDOW = 16  # pixels
SMALLEST = 1e-6


def charbonnier(prediction: Tensor, target: Tensor, epsilon: float = 0.02) -> Tensor:
    """Smooth L1: mean of ``sqrt((p - x)^2 + eps^2) - eps`` (Charbonnier et al. 1994).

    Quadratic below ``eps``, about the noise of a scan, so that edges count for more than noise.
    """
    return torch.sqrt((prediction - target).square() + epsilon**2).mean() - epsilon


def relative_squared_error(prediction: Tensor, target: Tensor, interpolated: Tensor) -> Tensor:
    """Squared error over that of interpolation, per sample: ``mean_n |p - x|^2 / |i - x|^2``.

    What a decibel of gain is worth, alike for sharp and smooth, clean and noisy scans; without it
    the scans with the largest errors take all the gradient.
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


def region_weights(regions: Tensor, size: Sequence[int]) -> Tensor:
    """Weights of each expert's loss, (N, experts, *size): ``floor + region``, mean 1 per expert.

    ``regions`` (N, experts, H, W) are soft masks; they are averaged over the cells of ``size``.
    """
    weights = REGION_FLOOR + F.interpolate(regions, size=tuple(size), mode="area")
    return weights / weights.mean(dim=(0, 2, 3), keepdim=True)


def region_gates(regions: Tensor, size: Sequence[int]) -> Tensor:
    """Gates (N, experts, *size) that know anatomy alone: an expert's share of what is there.

    Shares are raised to `PRIOR_POWER`: a token of several pixels, and masks that blur into each
    other, would leave a thin region like the junction to its neighbours' experts. ``regions``
    (N, experts, H, W) are soft masks; where none is, the experts share evenly.
    """
    share = (REGION_FLOOR + F.interpolate(regions, size=tuple(size), mode="area")) ** PRIOR_POWER
    return share / share.sum(1, keepdim=True)


def denoising(experts: Tensor, clean: Tensor, low: Tensor, weights: Tensor) -> Tensor:
    """Each expert's weighted squared error of the latent over that of the low-field latent.

    Denoising loss with prediction of the clean sample (Salimans and Ho 2022), by region as in
    MoEDiff-SR: ``mean_n W_n (w_i |z0_i - z0|^2) / (w_i |z_low - z0|^2)``, (experts,). As in
    `relative_squared_error` scans with small errors count like those with large ones; W_n is how
    much of the region sample n shows. ``weights`` (N, experts, h, w) have mean 1, ``clean`` and
    ``low`` are (N, C, h, w).
    """
    w = weights.transpose(0, 1)
    error = ((experts - clean[None]).square().mean(2) * w).mean(dim=(2, 3))
    plain = ((low - clean).square().mean(1)[None] * w).mean(dim=(2, 3))
    return (w.mean(dim=(2, 3)) * error / (plain + 1e-3)).mean(1)


def perceptual(features: Sequence[Tensor], truth: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Distance in a network's features: ``mean_l mean(w |f - t|^2) / mean(t^2)``.

    Perceptual loss (Johnson et al. 2016), the centrum semiovale's in MoEDiff-SR. Features are lists
    of (N, C, h, w), ``weights`` (N, 1, H, W) are averaged onto each grid.
    """
    terms = []
    for feature, true in zip(features, truth, strict=True):
        near = F.interpolate(weights, size=feature.shape[-2:], mode="area")
        energy = true.square().mean() + SMALLEST
        terms.append((near * (feature - true).square()).mean() / energy)
    return torch.stack(terms).mean()


def local_gradients(image: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Difference of the image gradients, per pixel: ``mean w |grad x - grad t|``.

    Gradient difference loss (Mathieu et al. 2016) without its outer norm, the cortex's in
    MoEDiff-SR; each pixel's gradients are compared where they are, not their means.
    """
    total = image.new_zeros(())
    for axis in (2, 3):
        difference = (image - target).diff(dim=axis).abs()
        at = weights.narrow(axis, 0, weights.shape[axis] - 1)
        total = total + (at * difference).mean()
    return total


def local_spectrum(image: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Difference of complex local spectra: ``mean w f |F x - F t|``, f the frequency's radius.

    The junction's loss in MoEDiff-SR is one of frequency. Here F is the Fourier transform of
    16 x 16 windows under a Hann taper, half overlapping, so that it says where a frequency is, and
    its coefficients are compared as complex numbers, so that a shifted edge counts (focal
    frequency loss, Jiang et al. 2021, is the same distance squared, over the whole image). The
    mean is that of the whole plane of frequencies.
    """
    n = SPECTRUM_WINDOW
    taper = torch.hann_window(n, periodic=True, device=image.device)
    taper = taper[:, None] * taper[None, :]
    windows = F.unfold(image - target, n, stride=n // 2).transpose(1, 2)
    spectrum = torch.fft.rfft2(windows.reshape(*windows.shape[:2], n, n) * taper, norm="ortho")
    rows = torch.fft.fftfreq(n, device=image.device)[:, None]
    columns = torch.fft.rfftfreq(n, device=image.device)[None, :]
    radius = 2 * torch.sqrt(rows.square() + columns.square())
    # The half plane's columns stand for two each, but the first and the last, their own mirrors.
    copies = 1.0 + ((columns > 0) & (columns < 0.5))
    # Not below 1e-6: the modulus has no gradient at 0.
    modulus = torch.sqrt(spectrum.real.square() + spectrum.imag.square() + SMALLEST**2)
    near = F.avg_pool2d(weights, n, stride=n // 2).flatten(2).transpose(1, 2)[..., None]
    return (near * radius * modulus * copies).sum(dim=(2, 3)).mean() / n**2


def gate_targets(
    experts: Tensor, clean: Tensor, prior: Tensor, temperature: float | None = None
) -> Tensor:
    """Which expert is nearest to the clean latent, per token: (N, experts, gh, gw), detached.

    Softmax over the experts of their similarity ``1 - e_i / mean_j e_j``, e the squared error
    around the token: what an expert gains counts alike where errors are small (deep white matter)
    and where they are large (cortex). The temperature is 1.4826 x the median absolute deviation
    (MAD) of the similarities, as in MoEDiff-SR, or the one given.

    One token's similarities are mostly chance: they are what is seen, not what is known before.
    ``prior`` (N, experts, gh, gw), positive, is multiplied in.
    """
    error = (experts - clean[None]).square().mean(2).transpose(0, 1).detach()
    error = F.avg_pool2d(error, 3, stride=1, padding=1, count_include_pad=False)
    error = F.interpolate(error, size=prior.shape[-2:], mode="area")
    similarity = 1 - error / error.mean(1, keepdim=True).clamp_min(SMALLEST)
    if temperature is None:
        deviation = (similarity - similarity.median()).abs().median()
        similarity = similarity / (1.4826 * deviation).clamp_min(SMALLEST)
    else:
        similarity = similarity / temperature
    return (similarity + prior.log()).softmax(1)


def gate_cross_entropy(gates: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the gate against its targets, mean over tokens (MoEDiff-SR)."""
    return -(targets * gates.clamp_min(SMALLEST).log()).sum(1).mean()


def gate_diversity(gates: Tensor) -> Tensor:
    """Mean cosine similarity of two experts' gate maps: 0 when no token is shared, 1 when all are.

    MoEDiff-SR asks for a diversity term; the one in its public code cannot tell experts apart.
    """
    if gates.shape[1] < 2:
        return gates.new_zeros(())
    maps = F.normalize(gates.transpose(0, 1).flatten(1), dim=1)
    pairs = [maps[i] @ maps[j] for i, j in combinations(range(len(maps)), 2)]
    return torch.stack(pairs).mean()


def load_balance(gates: Tensor) -> Tensor:
    """Keeps every expert in use: ``E sum_i mean(g_i)^2 - 1``, 0 when all have the same load.

    After the importance loss of Shazeer et al. 2017.
    """
    return gates.shape[1] * gates.mean(dim=(0, 2, 3)).square().sum() - 1


def uncertainty_weighted(terms: Tensor, log_variances: Tensor) -> Tensor:
    """Join losses by learned weights: ``sum_k exp(-s_k) L_k / 2 + s_k / 2``, s the log variances.

    Multi-task uncertainty weighting (Kendall et al. 2018, equation 7), as in MoEDiff-SR; both
    arguments are (K,). Without the log term the weights would fall to zero.
    """
    return 0.5 * ((-log_variances).exp() * terms + log_variances).sum()
