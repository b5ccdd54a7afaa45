"""The held-out head: MNI152 as nilearn carries it, and simulated low-field scans of it.

Never train on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import cast

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray

from . import scanner

Volume = NDArray[np.float32]

TEMPLATE = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
# The template voxels used, [start, stop) along x, y, z; below 0 is filled with air. All sizes are
# even, so that a crop of k-space by 2 gives voxels of exactly twice the size.
BOX = ((16, 180), (18, 218), (-8, 164))
FULL_SCALE = 1200.0  # the brain's 99.5th percentile, as a scanner's integers go


@dataclass(frozen=True)
class HeldOut:
    """A truth and its simulated scan, in one intensity unit.

    Attributes
    ----------
    truth : ndarray, float32, (nx, ny, nz)
        RAS+, 1 mm, skull-stripped.
    brain : ndarray, bool, (nx, ny, nz)
    scan : Nifti1Image
        Float32, on a coarser grid whose faces are the truth's.
    """

    truth: Volume
    brain: NDArray[np.bool_]
    scan: Nifti1Image


def load_truth() -> tuple[Volume, NDArray[np.float64]]:
    """MNI152 T1 (ICBM 2009a nonlinear symmetric, 1 mm; Fonov et al. 2011) and its affine, mm.

    Scaled so that the brain's 99.5th percentile is 1200.
    """
    image = nib.load(str(files("nilearn") / TEMPLATE))
    whole = np.asarray(image.dataobj, dtype=np.float32)
    data = np.zeros([stop - start for start, stop in BOX], dtype=np.float32)
    inside = tuple(slice(max(0, -start), None) for start, _ in BOX)
    data[inside] = whole[tuple(slice(max(0, start), stop) for start, stop in BOX)]
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3, 3] += affine[:3, :3] @ [start for start, _ in BOX]
    return data * np.float32(FULL_SCALE / np.percentile(data[data > 0], 99.5)), affine


def simulate_scan(noise_percent: float, factor: float = 2.0, seed: int = 0) -> HeldOut:
    """Simulate a low-field scan: k-space cropped on every axis, then Rician noise.

    Parameters
    ----------
    noise_percent : float
        Rician sigma in percent of the brain's 99.5th percentile.
    factor : float
        2 turns 1 mm voxels into 2 mm ones.
    seed : int
    """
    truth, affine = load_truth()
    shape = cast("tuple[int, int, int]", tuple(round(n / factor) for n in truth.shape))
    low = scanner.truncate_kspace(truth, shape)
    rng = np.random.default_rng(seed)
    low = scanner.rician_noise(rng, low, noise_percent / 100 * FULL_SCALE)
    ratio = np.array(truth.shape) / shape
    step = np.diag([*ratio, 1.0])
    step[:3, 3] = (ratio - 1) / 2
    image = nib.Nifti1Image(low, affine @ step)
    image.header.set_xyzt_units("mm", "sec")
    return HeldOut(truth, truth > 0, image)
