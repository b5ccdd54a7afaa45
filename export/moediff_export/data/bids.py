"""Real training pairs: 3T scans and their co-registered 7T partners, in BIDS-like folders."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from moediff_rt.bias import correct_bias
from moediff_rt.foreground import find_foreground
from moediff_rt.grid import Grid
from moediff_rt.preprocess import prepare
from moediff_rt.resample import interpolate

from .pairs import INTENSITY_PERCENTILE
from .regions import BAND_MM, region_masks
from .scans import MOST_APART, Mask, faces_apart, load_ras, read_brain_mask
from .shards import Pair
from .sources import GREY, TISSUES, WHITE
from .tissue import SCAN_SOFTNESS, cluster_levels, tissue_maps

Volume = NDArray[np.float32]

FIELD_LABEL = re.compile(r"(?<=_)(acq-)?([37])T(?=_)")
SLAB_SLICES = 32
SAME_BOX = 1e-3  # how far apart the faces of equal boxes may lie, voxels
MATCHED_VOXELS = 1_000_000  # enough to fit one scale to the other


def find_pairs(root: Path) -> list[tuple[Path, Path]]:
    """Find every 3T scan and its 7T partner below a BIDS-like folder.

    A scan is `sub-*/anat/*_T1w.nii.gz` (or .nii, or one `ses-*` folder deeper) with `_3T_` or
    `_acq-3T_` in its name; its partner lies beside it, its name the same but for 7T. Scans without
    either label are left alone.

    Returns
    -------
    list of (Path, Path)
        (3T, 7T), in the order of their names.

    Raises
    ------
    FileNotFoundError
        If a scan has no partner, or there is none at all.
    """
    pairs = []
    scans = (
        path
        for folder in ("sub-*/anat", "sub-*/ses-*/anat")
        for suffix in (".nii", ".nii.gz")
        for path in root.glob(f"{folder}/*_T1w{suffix}")
    )
    for path in sorted(scans):
        label = FIELD_LABEL.search(path.name)
        if label is None:
            continue
        other = "7T" if label[2] == "3" else "3T"
        name = f"{path.name[: label.start(2)]}{other}{path.name[label.end() :]}"
        partner = path.with_name(name)
        if not partner.is_file():
            raise FileNotFoundError(
                f"find_pairs: expected the {other} partner {name} beside {path}, found none; "
                "it is probably missing or named otherwise; add it, or move the lone scan away"
            )
        if other == "7T":
            pairs.append((path, partner))
    if not pairs:
        raise FileNotFoundError(
            f"find_pairs: expected scans named like sub-01/anat/sub-01_3T_T1w.nii.gz below {root}, "
            "found none; the folder is probably another or not BIDS-like; "
            "give the folder that holds the sub-* folders"
        )
    return pairs


def load_real_pair(low_path: Path, target_path: Path, *, n4: bool = False) -> list[Pair]:
    """Read a 3T scan and its 7T partner as training pairs on the 7T grid.

    The 3T scan is scaled as `infer` scales it; the 7T scan is scaled to match it. Regions are found
    in the brain if `*_desc-brain_mask.nii.gz` lies beside the 7T scan under the same name, else in
    all of the foreground, where scalp fat passes for white matter.

    Parameters
    ----------
    low_path, target_path : Path
        NIfTI, co-registered, over the same box of the world; the voxels may differ.
    n4 : bool
        Give the 7T scan the 3T scan's bias field in place of its own, both by N4, and tell it in
        `Pair.bias`. Without it each keeps its own field, and the map is 0.

    Returns
    -------
    list of Pair
        Slabs of 32 slices, foot to head, that cover the volume; the last overlaps the one before
        where 32 does not divide it. A volume of fewer slices is one slab.

    Raises
    ------
    ValueError
        If a file is not a usable 3-D scan (`moediff_rt.errors.InputError`), the two are not over
        the same box, the 7T scan is dark where the 3T scan is not, or the mask is of another grid.
    """
    low, target = load_ras(low_path), load_ras(target_path)
    grid = target.grid
    apart = faces_apart(low.grid, grid)
    if apart > MOST_APART:
        raise ValueError(
            f"load_real_pair: expected the same box of the world, faces at most {MOST_APART:g} "
            f"3T voxels apart, found {apart:.3g} in {low_path} and {target_path}; they are "
            "probably not registered, or one is cropped; resample the 3T scan over the 7T box"
        )
    spacing = grid.spacing[::-1]
    measured = prepare(
        low.data, low.grid.spacing, low.data.shape, percentile=INTENSITY_PERCENTILE, value=1.0
    ).measured
    low_volume = _on_grid(measured, low.grid, grid)
    bias = np.zeros_like(low_volume)
    if n4:
        bias = _on_grid(correct_bias(low)[1].T, low.grid, grid)
        target = correct_bias(target)[0]
    target_volume = np.ascontiguousarray(target.data.T) * np.exp(bias)

    brain = read_brain_mask(target_path, grid)
    if brain is not None:
        inside = np.ascontiguousarray(brain.T)
    else:
        inside = find_foreground(low_volume, spacing).voxels()
    slope = _match(target_volume[inside], low_volume[inside])
    if not 0 < slope < np.inf:
        raise ValueError(
            f"load_real_pair: expected tissue at the same place in both, found {target_path} "
            f"or {low_path} dark where the other is not; they are probably not registered, or of "
            "two subjects; look at them one over the other in a viewer"
        )
    target_volume *= np.float32(slope)
    pairs = _slabs(target_volume, low_volume, bias, inside, float(np.prod(spacing)) ** (1 / 3))
    return [replace(pair, subject=_subject(low_path)) for pair in pairs]


def _subject(path: Path) -> str:
    """The `sub-*` folder that a scan lies in; its file's name where there is none."""
    folders = (folder.name for folder in path.parents)
    return next((name for name in folders if name.startswith("sub-")), path.name)


def _on_grid(volume: Volume, source: Grid, target: Grid) -> Volume:
    """Resample (nz, ny, nx) of a source grid on a target grid, as `infer` does on equal boxes."""
    shape = target.shape[::-1]
    if faces_apart(source, target) <= SAME_BOX:
        return interpolate(volume, shape)
    # The spline does not cut k-space: axes that get coarser are made so first.
    kept = tuple(min(n, m) for n, m in zip(volume.shape, shape, strict=True))
    matrix = np.linalg.inv(source.resized(kept[::-1]).affine) @ target.affine
    resampled = ndimage.affine_transform(
        interpolate(volume, kept).T, matrix, output_shape=target.shape, order=3, mode="reflect"
    )
    return np.ascontiguousarray(resampled.T)


def _match(target: Volume, low: Volume) -> float:
    """Slope of the line through the origin that fits ``low`` on ``target``; 0 if that is dark.

    The fit of least absolute deviations: the median of the quotients, weighted by the target. Air
    weighs nothing and stays at 0, bright vessels and voxels out of place do not move it.
    """
    step = max(target.size // MATCHED_VOXELS, 1)
    x, y = target[::step].astype(np.float64), low[::step].astype(np.float64)
    x, y = x[x > 0], y[x > 0]
    if not x.size:
        return 0.0
    order = np.argsort(y / x)
    weight = np.cumsum(x[order])
    middle = order[np.searchsorted(weight, weight[-1] / 2)]
    return float(y[middle] / x[middle])


def _slabs(target: Volume, low: Volume, bias: Volume, inside: Mask, spacing: float) -> list[Pair]:
    """Cut volumes (nz, ny, nx) into slabs, with the regions that the target's tissues make."""
    levels = cluster_levels(target[inside], len(TISSUES))
    margin = int(np.ceil(4 * BAND_MM / spacing))  # where region_masks cuts its Gaussian
    slices = len(target)
    most = max(slices - SLAB_SLICES, 0)
    pairs = []
    for start in sorted({min(z, most) for z in range(0, slices, SLAB_SLICES)}):
        keep = slice(start, min(start + SLAB_SLICES, slices))
        first = max(start - margin, 0)
        maps = tissue_maps(target[first : keep.stop + margin], levels, SCAN_SOFTNESS)[1:]
        regions = region_masks(maps[GREY], maps[WHITE], spacing)
        regions = regions[:, start - first : keep.stop - first] * inside[keep]
        images = (target[keep], low[keep], bias[keep], np.zeros_like(bias[keep]))
        pairs.append(
            Pair(
                *(np.ascontiguousarray(v, dtype=np.float16) for v in images),
                np.ascontiguousarray(np.round(regions * 255), dtype=np.uint8),
            )
        )
    return pairs
