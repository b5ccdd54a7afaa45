"""What more sampler steps bring."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from moediff_rt import Session

from ..data.held_out import Subject, simulate_scan
from .conditions import Condition
from .methods import bundle_method
from .metrics import psnr, ssim

STEPS = (1, 2, 4, 50)
EDGE = 4  # slices at each end of the slab that are not measured


def study_steps(
    session: Session,
    slab: Subject,
    condition: Condition,
    steps: Sequence[int] = STEPS,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Quality of the bundle on a slab with each number of steps.

    Returns
    -------
    list of dict
        ``steps``, ``psnr`` (dB) and ``ssim`` in the brain, ``seconds`` of wall time.
    """
    scan = simulate_scan(slab, condition.noise_percent, condition.factors, seed)
    brain = slab.brain.copy()
    brain[..., :EDGE] = brain[..., -EDGE:] = False
    session.build()  # so that the first time holds no engine build
    rows = []
    for count in steps:
        start = perf_counter()
        volume = bundle_method(session, count, seed).upsample(scan, slab.grid, None)
        seconds = perf_counter() - start
        rows.append(
            {
                "steps": count,
                "psnr": psnr(volume, slab.truth, brain),
                "ssim": ssim(volume, slab.truth, brain),
                "seconds": seconds,
            }
        )
    return rows
