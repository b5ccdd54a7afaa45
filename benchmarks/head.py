"""The scans that are enhanced: the held-out head, seen at a chosen size, with its truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from moediff_export.data.held_out import FULL_SCALE, load_subject, load_truth, simulate_scan
from moediff_export.data.scanner import rician_noise, truncate_kspace
from moediff_export.evaluation.metrics import psnr

FACTOR = 2  # of the voxel's edge, from the scan to the truth
NOISE_PERCENT = 1.0
FIELD_OF_VIEW = 256  # mm, and voxels of the finest scan of `write_head`


@dataclass(frozen=True)
class Truth:
    """The head as it is, on the grid of the results: (x, y, z) voxels, and which are brain."""

    voxels: np.ndarray
    brain: np.ndarray

    def psnr(self, result: np.ndarray) -> float:
        """In the brain, dB."""
        return psnr(result, self.voxels, self.brain)


def write_slab(path: Path, slices: int) -> Truth:
    """Write the middle slices of a 2 mm scan with 1 % noise, as int16; 0: all of them."""
    subject = load_subject("mni152")
    whole = simulate_scan(subject, NOISE_PERCENT)
    depth = whole.shape[2]
    slices = slices or depth
    first = max(0, (depth - slices) // 2)
    part = whole.slicer[..., first : first + slices]
    save(path, np.asarray(part.dataobj), part.affine)
    truth = subject.slab(FACTOR * first, FACTOR * (first + slices))
    return Truth(truth.truth, truth.brain)


def write_part(path: Path, source: Path, slices: int) -> None:
    """Write the middle slices of somebody's own scan, in its own kind of file."""
    scan = nib.load(source)
    depth = scan.shape[2]
    slices = slices or depth
    first = max(0, (depth - slices) // 2)
    nib.save(scan.slicer[:, :, first : first + slices], path)


def write_head(path: Path, voxels: int, noise_percent: float = 2.0) -> None:
    """Write the head in a cubic field of view of `voxels` along each axis, as int16."""
    truth, _ = load_truth()
    whole = np.zeros((FIELD_OF_VIEW,) * 3, np.float32)
    start = [(FIELD_OF_VIEW - n) // 2 for n in truth.shape]
    whole[tuple(slice(s, s + n) for s, n in zip(start, truth.shape, strict=True))] = truth
    low = whole if voxels == FIELD_OF_VIEW else truncate_kspace(whole, (voxels,) * 3)
    low = rician_noise(np.random.default_rng(0), low, noise_percent / 100 * FULL_SCALE)
    edge = FIELD_OF_VIEW / voxels
    save(path, low, np.diag([edge, edge, edge, 1.0]))


def save(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    """Write int16 voxels, as scanners do."""
    image = nib.Nifti1Image(np.rint(data).astype(np.int16), affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
