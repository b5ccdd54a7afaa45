"""Scans of one's own as held-out subjects: what `evaluate --truth` and `--real` read."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray

from moediff_rt import Acquisition
from moediff_rt.grid import Grid, resized_shape

from .held_out import FULL_SCALE, Subject
from .regions import region_masks
from .registered import on_grid, read_registered
from .scans import Mask, load_ras, mask_path, read_brain_mask
from .sources import GREY, TISSUES, WHITE
from .tissue import SCAN_SOFTNESS, cluster_levels, tissue_maps

Volume = NDArray[np.float32]

LARGEST_RATIO = 1.2  # of a truth's voxel edges; beyond it, its slices hide what is to be measured
ROUNDED = 1e-3  # a file's float32 reads 1.2 as 1.20000005
TIE = 1e-3  # voxels: sizes so near to a half are rounded either way
LARGEST_BRAIN = 0.7  # share of the volume; an extracted brain in its own box fills about a half
# Where the coronal slice of the figures lies, from back to front of the brain, and the axial one,
# from its bottom to its top: through the ventricles.
SHOWN_AT = 0.48, 0.62


def read_truth(path: Path) -> Subject:
    """Read a sharp scan as a subject to degrade and to compare with.

    Its brain is `scans.mask_path` beside it, in a head or not; without that file the scan must show
    the extracted brain alone, over zeros. Tissue is found in the brain by intensity clustering, so
    a strong receive field should have been taken off. Edges that differ are brought to the largest
    of them (cut in k-space), over the same box.

    Parameters
    ----------
    path : Path
        NIfTI, T1-weighted, any intensity unit.

    Returns
    -------
    Subject
        Named like the file.

    Raises
    ------
    ValueError
        If it is not a usable 3-D scan (`moediff_rt.errors.InputError`), its voxels are far from
        isotropic, or its brain cannot be told from the rest.
    """
    scan = load_ras(path)
    brain = _brain(scan.data, read_brain_mask(path, scan.grid), path)
    grid = _isotropic(scan.grid, _edge(scan.grid, path))
    truth, brain = _on(grid, scan.data.T, brain.T, scan.grid, path)
    truth = truth * np.float32(FULL_SCALE / np.percentile(truth[brain], 99.5))
    return _subject(path, truth, brain, grid)


def scan_name(path: Path) -> str:
    """What a scan is called in a report: its file's name without extensions."""
    return path.name.split(".")[0]


def read_pair(
    low_path: Path, target_path: Path, *, n4: bool = False
) -> tuple[Subject, Nifti1Image, Acquisition | None]:
    """Read a 7T scan as a subject, and its 3T partner as the scan to enhance.

    The subject lies over the 3T scan's box, on voxels of the 7T scan's edge, its intensity fitted
    to the 3T scan's.

    Parameters
    ----------
    low_path, target_path : Path
        See `bids.load_real_pair`; the brain mask of the 7T scan is needed as `read_truth` needs it.
    n4 : bool
        Give the 7T scan the 3T scan's receive field in place of its own, both by N4.

    Returns
    -------
    Subject
        Named like the 3T file.
    Nifti1Image
        Float32, in RAS+ order.
    Acquisition or None
        Of the 3T scan, where the sidecar beside it says it.

    Raises
    ------
    ValueError
        What `bids.load_real_pair` and `read_truth` refuse.
    """
    pair = read_registered(low_path, target_path, n4=n4)
    brain = _brain(pair.target, pair.inside if pair.masked else None, target_path)
    grid = _isotropic(pair.scan.grid, _edge(pair.grid, target_path))
    truth, brain = _on(grid, pair.target, brain, pair.grid, target_path)
    truth = truth * np.float32(pair.scale)
    scan = nib.Nifti1Image(pair.scan.data, pair.scan.affine)
    return _subject(low_path, truth, brain, grid), scan, pair.scan.acquisition


def _subject(path: Path, truth: Volume, brain: Mask, grid: Grid) -> Subject:
    """A subject named like a file, its tissues found in the brain by clustering."""
    levels = cluster_levels(truth[brain], len(TISSUES))
    maps = tissue_maps(truth, levels, SCAN_SOFTNESS)[1:] * brain
    regions = region_masks(maps[GREY], maps[WHITE], grid.spacing[2]) * brain
    coronal, axial = (
        _between(brain.any(axis=axes), share)
        for axes, share in zip([(0, 2), (0, 1)], SHOWN_AT, strict=True)
    )
    return Subject(
        scan_name(path),
        np.ascontiguousarray(truth),
        grid.affine,
        np.ascontiguousarray(brain),
        maps[GREY],
        maps[WHITE],
        np.ascontiguousarray(regions),
        (coronal, axial),
    )


def _brain(volume: Volume, mask: Mask | None, path: Path) -> Mask:
    """The brain's mask; where there is none, what is above 0 of a brain over zeros."""
    if mask is not None:
        return mask
    brain = volume > 0
    if brain.mean() > LARGEST_BRAIN:
        raise ValueError(
            f"read_truth: expected an extracted brain over zeros in {path}, or its mask in "
            f"{mask_path(path).name} beside it, found no mask and {brain.mean():.0%} of the "
            "voxels above 0; it is probably a whole head; add the mask"
        )
    return np.asarray(brain)


def _on(grid: Grid, volume: Volume, brain: Mask, source: Grid, path: Path) -> tuple[Volume, Mask]:
    """Volume and brain (nz, ny, nx) of a source grid on another one, (nx, ny, nz).

    A brain of no voxels, or a dark one, is refused.
    """
    truth = np.maximum(on_grid(volume, source, grid), 0).T
    brain = on_grid(brain.astype(np.float32), source, grid).T >= 0.5
    if not brain.any() or np.percentile(truth[brain], 99.5) <= 0:
        raise ValueError(
            f"read_truth: expected a brain in {path}, found {np.count_nonzero(brain)} voxels, none "
            "bright; its mask is probably empty or of another scan; look at them in a viewer"
        )
    return truth, brain


def _edge(grid: Grid, path: Path) -> float:
    """The largest edge of voxels that are about isotropic, mm."""
    edges = grid.spacing
    if max(edges) > LARGEST_RATIO * (1 + ROUNDED) * min(edges):
        raise ValueError(
            f"read_truth: expected voxel edges at most {LARGEST_RATIO:g} times apart, found "
            f"{np.round(edges, 3).tolist()} mm in {path}; it is probably a stack of thick slices, "
            "which lacks what it would be compared for; give a scan of isotropic voxels"
        )
    return max(edges)


def _isotropic(grid: Grid, edge: float) -> Grid:
    """The grid over the same box whose voxels are nearest to cubes of an edge, mm.

    Or of the next larger one with which no axis ends in half a voxel.
    """
    # By the edge along z that comes of it: the evaluation asks for results of that edge, over the
    # boxes of scans, whose last digits are others.
    box = np.multiply(grid.shape, grid.spacing)
    slices = resized_shape(grid.shape, grid.spacing, (edge,) * 3)[2]
    while np.any(np.abs(box * slices / box[2] % 1 - 0.5) < TIE):
        slices -= 1
    edge = box[2] / slices
    return grid.resized(resized_shape(grid.shape, grid.spacing, (edge,) * 3))


def _between(any_brain: Mask, share: float) -> int:
    """The index at a share of the way from the first to the last place where there is any."""
    first, last = np.flatnonzero(any_brain)[[0, -1]]
    return round(first + share * (last - first))
