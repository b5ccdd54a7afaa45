"""Real scans from files: their axes brought to RAS+, and the brain mask that lies beside one."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from nibabel.orientations import inv_ornt_aff
from numpy.typing import NDArray

from moediff_rt.grid import AxisOrder, Grid
from moediff_rt.io import Scan, load_scan

Mask = NDArray[np.bool_]

# How far apart the faces of two scans over the same box may lie, in voxels of the first.
MOST_APART = 0.5


def load_ras(path: Path) -> Scan:
    """Read a scan, its axes nearest to RAS+; below 0 is the ringing of an interpolation."""
    scan = load_scan(path)
    order = AxisOrder.nearest_ras(scan.affine)
    affine = scan.affine @ inv_ornt_aff(order.forward, scan.data.shape)
    return replace(scan, data=np.maximum(order.to_ras(scan.data), 0), affine=affine)


def faces_apart(a: Grid, b: Grid) -> float:
    """Largest distance of two boxes' corners along an axis of ``a``, in its voxels."""
    ends = np.array([[*end, 1] for end in product((0, 1), repeat=3)])
    corners_a, corners_b = (ends * [*grid.shape, 1] - [0.5, 0.5, 0.5, 0] for grid in (a, b))
    seen = corners_b @ (np.linalg.inv(a.affine) @ b.affine).T
    return float(np.abs(seen - corners_a).max())


def mask_path(path: Path) -> Path:
    """Where the mask of a scan lies: that of sub-1_T1w.nii is sub-1_desc-brain_mask.nii.gz."""
    stem = re.sub(r"(_T1w)?\.nii(\.gz)?$", "", path.name)
    return path.with_name(f"{stem}_desc-brain_mask.nii.gz")


def read_brain_mask(path: Path, grid: Grid) -> Mask | None:
    """The brain mask (nx, ny, nz) beside a scan of a grid in RAS+; None where there is none.

    Raises
    ------
    ValueError
        If it is no usable volume, or of another grid.
    """
    beside = mask_path(path)
    if not beside.exists():
        return None
    mask = load_ras(beside)
    apart = faces_apart(mask.grid, grid)
    if mask.grid.shape != grid.shape or apart > MOST_APART:
        raise ValueError(
            f"read_brain_mask: expected a mask on the grid {grid.shape} of {path.name}, found "
            f"{mask.grid.shape}, faces {apart:.3g} voxels apart, in {beside}; it was probably made "
            "of another scan; make it of this one or take it away"
        )
    return mask.data > 0.5
