"""What each expert does, and where the gate sends what."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray
from torch import Tensor, nn

from moediff_rt import Session
from moediff_rt.io import as_scan

from ..config import EXPERT_NAMES
from ..data.held_out import Subject
from ..enhance import enhance_volume
from ..model import MoEDiffSR
from .methods import prepare_for_model
from .metrics import peak_intensity, psnr

Volume = NDArray[np.float32]

SLICES = 12  # that each expert alone enhances
CONTEXT = 2  # slices above and below them that are read


@contextmanager
def one_expert(model: MoEDiffSR, expert: int) -> Iterator[None]:
    """Within the block the gate of ``model`` gives all the weight to one expert."""

    def only(module: nn.Module, inputs: object, gates: Tensor) -> Tensor:
        chosen = torch.zeros_like(gates)
        chosen[:, expert] = 1
        return chosen

    handle = model.gate.register_forward_hook(only)
    try:
        yield
    finally:
        handle.remove()


@dataclass(frozen=True)
class ExpertSlab:
    """A few axial slices as the mixture and as each expert alone makes them.

    Attributes
    ----------
    first : int
        Where in the subject they begin.
    mixture : ndarray, float32, (nx, ny, slices), in the scan's intensity unit
    alone : ndarray, float32, (experts, nx, ny, slices)
    """

    first: int
    mixture: Volume
    alone: Volume

    def psnr_by_region(self, subject: Subject) -> dict[str, list[float]]:
        """PSNR in each region, dB: of the mixture, of each expert alone; NaN where it is not."""
        part = slice(self.first, self.first + self.mixture.shape[2])
        truth, regions = subject.truth[..., part], subject.regions[..., part]
        peak = peak_intensity(subject.truth, subject.brain)

        def by_region(image: Volume) -> list[float]:
            return [psnr(image, truth, r, peak) if r.any() else math.nan for r in regions]

        alone = zip(EXPERT_NAMES, map(by_region, self.alone), strict=True)
        return {"mixture": by_region(self.mixture), **dict(alone)}


def run_each_expert(
    model: MoEDiffSR, scan: Nifti1Image, subject: Subject, z: int, seed: int = 0
) -> ExpertSlab:
    """Run the PyTorch reference on `SLICES` axial slices around ``z``, and each expert alone.

    Before data consistency, which hides part of what an expert does.
    """
    prepared = prepare_for_model(scan, subject.grid)
    depth = len(prepared.volume)
    first = max(min(z - SLICES // 2, depth - SLICES), 0)
    last = min(first + SLICES, depth)
    begin = max(first - CONTEXT, 0)
    part = slice(begin, last + CONTEXT)
    volume, boxes = np.ascontiguousarray(prepared.volume[part]), prepared.boxes[part]

    def middle() -> Volume:
        made = enhance_volume(model, volume, boxes, seed=seed)[first - begin : last - begin]
        return made.T * np.float32(prepared.scale)

    mixture = middle()
    alone = []
    for expert in range(len(model.experts)):
        with one_expert(model, expert):
            alone.append(middle())
    return ExpertSlab(first, mixture, np.stack(alone))


def read_gates(session: Session, scan: Nifti1Image, spacing: float) -> Volume:
    """Each expert's weight in every voxel, (nx, ny, nz, experts), from the runtime."""
    gates = session.infer_scan(as_scan(scan), spacing=spacing, planes=1, save_gates=True).run.gates
    assert gates is not None  # asked for
    return gates.astype(np.float32) / 255


def gates_by_region(gates: Volume, regions: Volume) -> NDArray[np.float64]:
    """Each expert's mean gate in each region.

    Parameters
    ----------
    gates : ndarray, float32, (nx, ny, nz, experts)
    regions : ndarray, float32, (regions, nx, ny, nz)

    Returns
    -------
    ndarray, float64, (regions, experts)
        Means weighted by the region's mask.
    """
    sums = np.einsum("rxyz,xyze->re", regions, gates, dtype=np.float64, optimize=True)
    return sums / regions.sum(axis=(1, 2, 3), dtype=np.float64)[:, None]
