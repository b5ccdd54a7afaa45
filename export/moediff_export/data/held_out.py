"""The held-out subjects, and simulated low-field scans of them. Never train or tune on them.

``mni152`` is the template that nilearn carries. ``sharp`` is drawn from its tissue maps: borders as
steep as a voxel allows, as no average of scans has them. ``sharp_blur04`` and ``sharp_blur08`` are
the same, blurred by a Gaussian of 0.4 and 0.8 voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import cast

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray
from scipy import ndimage

from moediff_rt.grid import Grid

from . import scanner
from .painting import T1_LEVELS, paint
from .regions import region_masks
from .subjects import SHARPNESS, SUBJECTS

Volume = NDArray[np.float32]

TEMPLATE = "datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
# The template voxels used, [start, stop) along x, y, z; below 0 is filled with air. All sizes are
# even, so that a crop of k-space by 2 gives voxels of exactly twice the size.
BOX = ((16, 180), (18, 218), (-8, 164))
SHOWN = 96, 104  # voxels of `BOX` along y and z: through the ventricles
FULL_SCALE = 1200.0  # the brain's 99.5th percentile, as a scanner's integers go
# Width of the steps between two tissues of the sharp subject, in share of a voxel of 0.5 mm.
SOFTNESS = 0.05
LEAST_SHARE = 1e-3  # of all tissues together; below it a voxel is air
SHARP_SEED = 1152  # of the sharp subject's textures


@dataclass(frozen=True)
class Subject:
    """A truth in RAS+ order, of 1 mm if held out, and what is known of its anatomy.

    Attributes
    ----------
    name : str
    truth : ndarray, float32, (nx, ny, nz)
        The brain's 99.5th percentile is `FULL_SCALE`, but of a real pair, which has its scan's
        unit. Those held out are skull-stripped.
    affine : ndarray, float64, (4, 4), mm
    brain : ndarray, bool, (nx, ny, nz)
    grey, white : ndarray, float32, (nx, ny, nz)
        Share of each tissue in each voxel, 0 to 1.
    regions : ndarray, float32, (3, nx, ny, nz)
        Soft masks of deep white matter, cortex and junction: the order of the experts.
    shown : (int, int)
        The coronal slice (along y) and the axial one (along z) that figures show; what looks at a
        part of the subject alone is cut around the latter.
    """

    name: str
    truth: Volume
    affine: NDArray[np.float64]
    brain: NDArray[np.bool_]
    grey: Volume
    white: Volume
    regions: Volume
    shown: tuple[int, int]

    @property
    def grid(self) -> Grid:
        """The truth's grid."""
        return Grid(cast("tuple[int, int, int]", self.truth.shape), self.affine)

    def slab(self, first: int, last: int) -> Subject:
        """The axial slices [first, last) alone, as a subject of their own."""
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, 2] * first
        shown = self.shown[0], min(max(self.shown[1], first), last - 1) - first
        cut = {
            name: np.ascontiguousarray(getattr(self, name)[..., first:last])
            for name in ("truth", "brain", "grey", "white", "regions")
        }
        return replace(self, affine=affine, shown=shown, **cut)

    def middle(self, slices: int) -> Subject:
        """As many axial slices around the one that figures show."""
        first = max(self.shown[1] - slices // 2, 0)
        return self.slab(first, min(first + slices, self.truth.shape[2]))


def load_template(kind: str) -> tuple[Volume, NDArray[np.float64]]:
    """MNI152 (ICBM 2009a nonlinear symmetric, 1 mm; Fonov et al. 2011) in `BOX`, with its affine.

    Parameters
    ----------
    kind : str
        "t1", or the tissue maps "gm" and "wm".

    Returns
    -------
    ndarray, float32, (164, 200, 172), the file's intensities, and ndarray, float64, (4, 4), mm
    """
    image = nib.load(str(files("nilearn") / TEMPLATE.format(kind)))
    whole = np.asarray(image.dataobj, dtype=np.float32)
    data = np.zeros([stop - start for start, stop in BOX], dtype=np.float32)
    inside = tuple(slice(max(0, -start), None) for start, _ in BOX)
    data[inside] = whole[tuple(slice(max(0, start), stop) for start, stop in BOX)]
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3, 3] += affine[:3, :3] @ [start for start, _ in BOX]
    return data, affine


def load_truth() -> tuple[Volume, NDArray[np.float64]]:
    """MNI152's T1, scaled so that the brain's 99.5th percentile is 1200, and its affine, mm."""
    data, affine = load_template("t1")
    return data * np.float32(FULL_SCALE / np.percentile(data[data > 0], 99.5)), affine


@cache
def load_subject(name: str) -> Subject:
    """Load or draw a held-out subject; kept in memory afterwards, so do not write to its arrays.

    Raises
    ------
    ValueError
        If there is no such subject.
    """
    if name not in SUBJECTS:
        raise ValueError(
            f"load_subject: expected one of {', '.join(SUBJECTS)}, got {name!r}; choose one of them"
        )
    if name == "mni152":
        truth, affine = load_truth()
        grey, white = (load_template(kind)[0] / np.float32(255) for kind in ("gm", "wm"))
        regions = region_masks(grey.T, white.T, spacing=1.0).transpose(0, 3, 2, 1)
        regions = np.ascontiguousarray(regions)
        return Subject(name, truth, affine, truth > 0, grey, white, regions, SHOWN)
    template = load_subject("mni152")
    if name == "sharp":
        truth, brain = draw_sharp(template)
        return replace(template, name=name, truth=truth, brain=brain)
    sharp = load_subject("sharp")
    truth = ndimage.gaussian_filter(sharp.truth, SHARPNESS[name])
    return replace(sharp, name=name, truth=truth)


def draw_sharp(template: Subject) -> tuple[Volume, NDArray[np.bool_]]:
    """Draw a T1-like volume with steep tissue borders on a template's anatomy.

    Tissue maps and brain mask are interpolated to half the voxel; there each voxel goes to the
    tissue with the largest share, in steps of width `SOFTNESS`. The average over 2 x 2 x 2 gives
    every border the partial volume of an acquisition; then each tissue is painted.

    Returns
    -------
    ndarray, float32, (nx, ny, nz), and its brain mask, bool
    """
    fine = tuple(2 * n for n in template.truth.shape)
    grey, white = (scanner.interpolate(v, fine) for v in (template.grey, template.white))
    brain = scanner.interpolate(template.brain.astype(np.float32), fine)
    shares = np.empty((3, *template.truth.shape), np.float32)
    slices = 16  # at a time, to bound the memory
    for x in range(0, template.truth.shape[0], slices):
        part = slice(2 * x, 2 * (x + slices))
        g, w = grey[part], white[part]
        steps = np.exp(np.clip(np.stack([1 - g - w, g, w]), -0.5, 1.5) / np.float32(SOFTNESS))
        inside = 1 / (1 + np.exp(-np.clip((brain[part] - 0.5) / SOFTNESS, -30, 30)))
        steps *= inside / steps.sum(0)
        halves = steps.reshape(3, -1, 2, fine[1] // 2, 2, fine[2] // 2, 2)
        shares[:, x : x + slices] = halves.mean(axis=(2, 4, 6))
    shares[:, shares.sum(0) < LEAST_SHARE] = 0
    rng = np.random.default_rng(SHARP_SEED)
    painted = paint(rng, shares.transpose(0, 3, 2, 1), T1_LEVELS, spacing=1.0)
    truth = np.ascontiguousarray(painted.T)
    mask = shares.sum(0) >= 0.5
    return truth * np.float32(FULL_SCALE / np.percentile(truth[mask], 99.5)), mask


def scan_shape(shape: Sequence[int], factors: Sequence[float]) -> tuple[int, int, int]:
    """Voxels (mx, my, mz) of a scan over a grid's box, its voxels larger by factors, (x, y, z)."""
    x, y, z = (round(n / factor) for n, factor in zip(shape, factors, strict=True))
    return x, y, z


def noise_free_scan(truth: Volume, factors: Sequence[float]) -> Volume:
    """What a coarser acquisition shows of the truth, without noise.

    Each axis is cut in k-space to `scan_shape`'s voxels. Where the factors differ the scan is
    a stack of thick slices: the coarsest axis is first integrated over a Gaussian slice profile
    whose full width at half maximum is the slice.

    Parameters
    ----------
    truth : ndarray, float32, (nx, ny, nz)
    factors : 3 floats, at least 1, along x, y, z

    Returns
    -------
    ndarray, float32, (mx, my, mz)
    """
    shape = scan_shape(truth.shape, factors)
    if len(set(factors)) > 1:
        axis = int(np.argmax(factors))
        truth = scanner.slice_profile(truth, truth.shape[axis] / shape[axis], axis)
    return scanner.truncate_kspace(truth, shape)


def simulate_scan(
    subject: Subject,
    noise_percent: float,
    factors: Sequence[float] = (2.0, 2.0, 2.0),
    seed: int = 0,
) -> Nifti1Image:
    """Simulate a low-field scan: fewer and larger voxels, then Rician noise.

    Parameters
    ----------
    subject : Subject
    noise_percent : float
        Rician sigma in percent of `FULL_SCALE`.
    factors : 3 floats
        How many times larger the voxels are along x, y, z: (2, 2, 2) turns 1 mm into 2 mm,
        (1, 1, 3) makes 3 mm thick slices. See `noise_free_scan`.
    seed : int

    Returns
    -------
    Nifti1Image
        Float32, on a grid whose outer faces are the truth's.
    """
    low = noise_free_scan(subject.truth, factors)
    rng = np.random.default_rng(seed)
    scan = scanner.rician_noise(rng, low, noise_percent / 100 * FULL_SCALE)
    image = nib.Nifti1Image(scan, subject.grid.resized(scan.shape).affine)
    image.header.set_xyzt_units("mm", "sec")
    return image
