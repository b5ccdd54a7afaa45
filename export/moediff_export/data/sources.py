"""The volumes that training draws anatomy from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.processing import resample_from_to
from numpy.typing import NDArray
from scipy import ndimage

from .tissue import cluster_levels

# Debian's mricron-data package installs Colin27 here (Holmes et al. 1998).
MRICRON_TEMPLATES = Path("/usr/share/mricron/templates")
COLIN27 = ("ch2better.nii.gz", "ch2.nii.gz", "ch2bet.nii.gz")  # brain tissue, head, brain: a mask
# Percentile of what was cut out of the brain that is its fluid's level: most is partly tissue.
PURE_FLUID_PERCENT = 10
# In the ascending order of T1-weighted intensities.
TISSUES = ("cerebrospinal fluid", "grey matter", "white matter")
GREY, WHITE = 1, 2
BRIGHTER_THAN_WHITE = 1.25


@dataclass(frozen=True)
class Source:
    """A volume to draw from.

    Attributes
    ----------
    name : str
    data : ndarray, float32, (nz, ny, nx)
        Axes S, A, R; background 0; brain white matter near 1.
    spacing : float
        Isotropic voxel edge, mm.
    weight : float
        How often it is drawn, relative to the others.
    finest : float
        Target voxel edge from which its own detail is as fine as a scan's, mm.
    levels : ndarray, float32, (tissues,)
        Typical intensity of `TISSUES`, and of scalp fat where the volume has it.
    brain : ndarray, float32, (nz, ny, nx)
        1 in the brain, 0 outside.
    """

    name: str
    data: NDArray[np.float32]
    spacing: float
    weight: float
    finest: float
    levels: NDArray[np.float32]
    brain: NDArray[np.float32]


def read_canonical(path: Path) -> tuple[NDArray[np.float32], float]:
    """One isotropic volume, axes S, A, R, and its voxel edge, mm.

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    ValueError
        If it is no 3-D volume of isotropic voxels, all of them finite.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"read_canonical: expected a volume at {path}, found none; check the path"
        )
    try:
        image = nib.as_closest_canonical(nib.load(path))
        voxels = np.asarray(image.dataobj, dtype=np.float32)
    except (ImageFileError, EOFError) as error:
        raise ValueError(
            f"read_canonical: expected a NIfTI volume at {path}, it cannot be read as one "
            f"({error}); is it damaged, or of another format?"
        ) from error
    zooms = np.array(image.header.get_zooms()[:3], dtype=float)
    if image.ndim != 3 or np.ptp(zooms) > 0.02 * zooms.min():
        raise ValueError(
            f"read_canonical: expected a 3-D volume of isotropic voxels, got shape {image.shape} "
            f"and voxel edges {zooms.round(3).tolist()} mm in {path}; resample it first"
        )
    if not np.isfinite(voxels).all():
        raise ValueError(
            f"read_canonical: expected finite voxels in {path}, found NaN or infinity; is its "
            "background masked so? Set it to 0"
        )
    data = voxels.transpose(2, 1, 0)
    return np.ascontiguousarray(data), float(zooms[0])


def make_source(
    name: str,
    data: NDArray[np.float32],
    spacing: float,
    weight: float,
    finest: float,
    brain: NDArray[np.float32] | None = None,
    levels: NDArray[np.float32] | None = None,
) -> Source:
    """Scale a volume so that white matter is near 1 and find its tissues' levels.

    White matter is taken for the 95th percentile, which fat may be in a head without ``brain``.
    Clustering sees the brain alone: ``brain`` (nz, ny, nx), or all that is not background. It is
    left out where ``levels`` of `TISSUES`, in the volume's unit, are known.
    """
    inside = data[(brain > 0.5) if brain is not None else (data > 0.05 * data.max())]
    scale = np.percentile(inside, 95)
    data = np.ascontiguousarray(data / scale, dtype=np.float32)
    if levels is None:
        levels = cluster_levels(inside, len(TISSUES))
    levels = (levels / scale).astype(np.float32)
    if brain is not None:
        bright = data[data > BRIGHTER_THAN_WHITE * levels[-1]]
        if bright.size:
            levels = np.append(levels, np.float32(bright.mean()))
    else:
        brain = (data > 0).astype(np.float32)
    return Source(name, data, spacing, weight, finest, levels, brain)


def colin27(folder: Path = MRICRON_TEMPLATES) -> list[Source]:
    """Colin27, one head averaged over 27 scans: the brain at 0.5 mm and the whole head at 1 mm.

    The finer volume has grey and white matter alone: cerebrospinal fluid comes from the head.
    Its average is smoother than a single scan: halving its resolution at 1 mm loses less than half
    of what it loses of a scan, at 2 mm about as much. So what is not repainted is drawn coarser.

    Raises
    ------
    FileNotFoundError
        If the folder lacks one of its files.
    """
    missing = [name for name in COLIN27 if not (folder / name).exists()]
    if missing:
        raise FileNotFoundError(
            f"colin27: expected {missing[0]} in {folder}, found none; install Debian's "
            "mricron-data, or pass --templates with the folder that holds it"
        )
    (tissue, fine_mm), (head, head_mm), (mask, _) = (read_canonical(folder / n) for n in COLIN27)
    brain = (mask > 0).astype(np.float32)
    head_there, brain_there = (_where_tissue_is(folder, volume) for volume in (head, brain))
    # The mask has single layers that stick out.
    inside = ndimage.binary_opening(brain_there > 0.5, iterations=4) | (tissue > 0)
    fluid = inside & (tissue == 0)
    levels = np.append(
        np.percentile(head_there[fluid], PURE_FLUID_PERCENT),
        cluster_levels(tissue[tissue > 0], len(TISSUES) - 1),
    )
    whole = np.where(fluid, head_there, tissue)
    # The template's own noise would be painted as specks: its tissues are smooth at 0.5 mm.
    whole = ndimage.gaussian_filter(whole, 0.5) * inside
    return [
        make_source("colin27_brain", whole, fine_mm, 0.75, 0.7, inside.astype(np.float32), levels),
        make_source("colin27_head", head, head_mm, 0.25, 1.0, brain, levels),
    ]


def _where_tissue_is(folder: Path, volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """A volume on the head's grid (nz, ny, nx) brought onto that of the brain tissue, linearly."""
    to, given = (nib.as_closest_canonical(nib.load(folder / name)) for name in COLIN27[:2])
    moved = resample_from_to(nib.Nifti1Image(volume.T, given.affine), to, order=1)
    return np.ascontiguousarray(np.asarray(moved.dataobj, dtype=np.float32).T)


def scan_source(path: Path, weight: float = 1.0) -> Source:
    """A real scan to draw anatomy from, as fine as its voxels are.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_canonical`; or nothing in it is above 0.
    """
    data, spacing = read_canonical(path)
    if data.max() <= 0:
        raise ValueError(
            f"scan_source: expected a head or a brain in {path}, found nothing above 0; is it "
            "the image that was meant?"
        )
    return make_source(path.name.split(".")[0], np.maximum(data, 0), spacing, weight, spacing)
