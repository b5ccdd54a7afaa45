"""Evaluation on a held-out head: the MNI152 T1 that nilearn carries, never trained on."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from .data.mni152 import simulate_scan
from .data.scanner import interpolate

Volume = NDArray[np.float32]


def psnr(image: Volume, truth: Volume, mask: NDArray[np.bool_]) -> float:
    """Peak signal-to-noise ratio in the mask, dB; the peak is the truth's 99.5th percentile."""
    peak = float(np.percentile(truth[mask], 99.5))
    return 10 * math.log10(peak**2 / float(np.mean((image[mask] - truth[mask]) ** 2)))


def ssim(image: Volume, truth: Volume, mask: NDArray[np.bool_]) -> float:
    """Structural similarity (Wang et al. 2004), Gaussian window of 1.5 voxels, mean in the mask."""
    peak = float(np.percentile(truth[mask], 99.5))
    _, each = structural_similarity(
        image, truth, data_range=peak, gaussian_weights=True, sigma=1.5, full=True
    )
    return float(each[mask].mean())


def evaluate_mni152(
    bundle: Path | None,
    noise_percent: float,
    factor: float = 2.0,
    steps: int | None = None,
    seed: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """Compare the runtime's output with cubic B-spline interpolation, in the brain.

    Returns
    -------
    dict
        Noise, factor, PSNR (dB) and SSIM of both, and the gain in dB. ``options`` go to
        :meth:`moediff_rt.Session.infer`.
    """
    from moediff_rt import Session

    held_out = simulate_scan(noise_percent, factor, seed)
    low = np.asarray(held_out.scan.dataobj, dtype=np.float32)
    spline = interpolate(low, held_out.truth.shape)
    with Session(bundle) as session:
        image = session.infer(held_out.scan, spacing=1.0, steps=steps, seed=seed, **options)
    enhanced = np.asarray(image.dataobj, dtype=np.float32)
    truth, brain = held_out.truth, held_out.brain
    scores = Scores(
        noise_percent,
        factor,
        psnr(spline, truth, brain),
        psnr(enhanced, truth, brain),
        ssim(spline, truth, brain),
        ssim(enhanced, truth, brain),
    )
    return scores.report()


@dataclass(frozen=True)
class Scores:
    """PSNR in dB and SSIM of B-spline interpolation and of the model, against the truth."""

    noise_percent: float
    factor: float
    psnr_spline: float
    psnr_model: float
    ssim_spline: float
    ssim_model: float

    def report(self) -> dict[str, float]:
        """All figures, rounded, with the gain in dB."""
        values = asdict(self) | {"gain_db": self.psnr_model - self.psnr_spline}
        return {k: round(v, 4) for k, v in values.items()}
