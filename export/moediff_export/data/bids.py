"""Real training pairs: 3T scans and their co-registered 7T partners, in BIDS-like folders."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from .regions import BAND_MM, region_masks
from .registered import RegisteredPair, read_registered
from .shards import Pair
from .sources import GREY, TISSUES, WHITE
from .tissue import SCAN_SOFTNESS, cluster_levels, tissue_maps

FIELD_LABEL = re.compile(r"(?<=_)(acq-)?([37])T(?=_)")
SLAB_SLICES = 32


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
        Slabs of at most 32 slices, foot to head, alike to a slice, that cover the volume.

    Raises
    ------
    ValueError
        If a file is not a usable 3-D scan (`moediff_rt.errors.InputError`), the two are not over
        the same box, the 7T scan is dark where the 3T scan is not, or the mask is of another grid.
    """
    slabs = _slabs(read_registered(low_path, target_path, n4=n4))
    return [replace(slab, subject=_subject(low_path)) for slab in slabs]


def _subject(path: Path) -> str:
    """The `sub-*` folder that a scan lies in; its file's name where there is none."""
    folders = (folder.name for folder in path.parents)
    return next((name for name in folders if name.startswith("sub-")), path.name)


def _slabs(pair: RegisteredPair) -> list[Pair]:
    """Cut the volumes into slabs, with the regions that the target's tissues make."""
    target, low, bias, inside = pair.target, pair.low, pair.bias, pair.inside
    spacing = float(np.prod(pair.grid.spacing)) ** (1 / 3)
    levels = cluster_levels(target[inside], len(TISSUES))
    margin = int(np.ceil(4 * BAND_MM / spacing))  # where region_masks cuts its Gaussian
    slices = len(target)
    count = -(-slices // SLAB_SLICES)
    edges = [i * slices // count for i in range(count + 1)]
    pairs = []
    for start, stop in pairwise(edges):
        keep = slice(start, stop)
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
