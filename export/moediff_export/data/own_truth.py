"""A sharp scan of one's own as a held-out subject: what `evaluate --truth` reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from moediff_rt.grid import Grid, resized_shape
from moediff_rt.resample import interpolate

from .held_out import FULL_SCALE, Subject
from .regions import region_masks
from .scans import load_ras, mask_path, read_brain_mask
from .sources import GREY, TISSUES, WHITE
from .tissue import SCAN_SOFTNESS, cluster_levels, tissue_maps

LARGEST_RATIO = 1.2  # of a truth's voxel edges; beyond it, its slices hide what is to be measured
LARGEST_BRAIN = 0.7  # share of the volume; an extracted brain in its own box fills about a half
# Where the coronal slice of the figures lies, from back to front of the brain, and the axial one,
# from its bottom to its top: through the ventricles.
SHOWN_AT = 0.48, 0.62


def read_truth(path: Path) -> Subject:
    """Read a scan as a subject to degrade and to compare with.

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
    brain = read_brain_mask(path, scan.grid)
    if brain is None:
        brain = scan.data > 0
        if brain.mean() > LARGEST_BRAIN:
            raise ValueError(
                f"read_truth: expected an extracted brain over zeros in {path}, or its mask in "
                f"{mask_path(path).name} beside it, found no mask and {brain.mean():.0%} of the "
                "voxels above 0; it is probably a whole head; add the mask"
            )
    if not brain.any():
        raise ValueError(
            f"read_truth: expected a brain in {path}, found none; its mask is probably empty or "
            "the scan is dark; look at them in a viewer"
        )
    grid = _isotropic(scan.grid, path)
    truth, brain = (_on(grid, v) for v in (scan.data, brain.astype(np.float32)))
    truth, brain = np.maximum(truth, 0), brain >= 0.5
    truth *= np.float32(FULL_SCALE / np.percentile(truth[brain], 99.5))
    levels = cluster_levels(truth[brain], len(TISSUES))
    maps = tissue_maps(truth, levels, SCAN_SOFTNESS)[1:] * brain
    regions = region_masks(maps[GREY], maps[WHITE], grid.spacing[2]) * brain
    at = (
        _between(brain.any(axis=axes), share)
        for axes, share in zip([(0, 2), (0, 1)], SHOWN_AT, strict=True)
    )
    shown = next(at), next(at)
    name = path.name.split(".")[0]
    return Subject(name, truth, grid.affine, brain, maps[GREY], maps[WHITE], regions, shown)


def _isotropic(grid: Grid, path: Path) -> Grid:
    """The grid over the same box whose edges are nearest to the largest one."""
    edges = grid.spacing
    largest = max(edges)
    if largest > LARGEST_RATIO * min(edges):
        raise ValueError(
            f"read_truth: expected voxel edges at most {LARGEST_RATIO:g} times apart, found "
            f"{np.round(edges, 3).tolist()} mm in {path}; it is probably a stack of thick slices, "
            "which lacks what it would be compared for; give a scan of isotropic voxels"
        )
    # By the edge along z that comes of it: the evaluation asks for results of that edge.
    slices = resized_shape(grid.shape, edges, (largest,) * 3)[2]
    edge = grid.shape[2] * edges[2] / slices
    return grid.resized(resized_shape(grid.shape, edges, (edge,) * 3))


def _on(grid: Grid, volume: np.ndarray) -> np.ndarray:
    """A volume on another grid over the same box."""
    if volume.shape == grid.shape:
        return np.array(volume, dtype=np.float32, order="C")
    return np.ascontiguousarray(interpolate(volume.T, grid.shape[::-1]).T)


def _between(any_brain: np.ndarray, share: float) -> int:
    """The index at a share of the way from the first to the last place where there is any."""
    first, last = np.flatnonzero(any_brain)[[0, -1]]
    return round(first + share * (last - first))
