"""Simulated training pairs: anatomy, contrast and acquisition at random."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed, parallel_config
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from moediff_rt.gradients import GradientCoil

from . import scanner, structures
from .anatomy import (
    draw_points,
    extract_brain,
    from_nodes,
    integrate,
    node_positions,
    random_contrast,
    read_at,
)
from .painting import any_levels, paint, t1_levels
from .regions import region_masks
from .shards import Pair
from .sources import GREY, WHITE, Source
from .tissue import tissue_maps

Volume = NDArray[np.float32]

# Target voxels: slices, rows, columns. Not much larger than a crop: a model soon knows the slabs it
# has seen, so the same work goes into many small ones (docs/training/README.md).
SLAB = (18, 144, 144)
EDGE_SLICES = 5  # dropped at both ends, where the slab's own border blurs
INTENSITY_PERCENTILE = 99.5
# What a bundle is offered for: target voxel edges, mm, and how many times larger a scan's are.
OUTPUT_MM = (0.5, 1.25)
RATIOS = (1.25, 3.0)
# Voxel edge up to which a source's own intensities are drawn, mm: see `colin27`.
COARSEST_MM = 2.0
# Scans differ in sharpness: the model must read it from the scan, not assume one head's. Without
# truths as smooth as an averaged head it takes noise for detail there: docs/simulator.md.
BLURRED_SHARE = 0.5
BLUR_VOXELS = (0.2, 1.5)  # standard deviation of a Gaussian, target voxels
SOFT_SHARE = 0.5  # of extracted brains: cut before the blur, if any, as if smoothed since
LESION_SHARE = 0.5
LESIONS = (1, 50)  # in such a slab; so many that small ones are not rare
# Brightest tissue over brain: scalp fat sets the intensity scale of a scan with its skull.
BRIGHT_FAT = 2.2
COIL_STRENGTH = 0.1
ISOCENTRE_MM = 60.0  # how far from it a slab lies, along each axis, at most


@dataclass(frozen=True)
class Mixture:
    """What training images are drawn from.

    Attributes
    ----------
    painted : float
        Share that is painted from tissue maps; the others keep their source's intensities.
    extracted : float
        Share that shows the extracted brain alone. Most of what interpolation gets wrong of such a
        volume lies in its outermost voxels; the more of them, the less is learned of what lies
        deeper (docs/training/README.md).
    coil : GradientCoil, optional
        What bends all of them; otherwise each has a coil of its own, drawn at random.
    """

    painted: float = 0.6
    extracted: float = 0.15
    coil: GradientCoil | None = None


@dataclass(frozen=True)
class Anatomy:
    """A slab of anatomy before its acquisition.

    Attributes
    ----------
    image : ndarray, float32, (nz, ny, nx)
        Not below 0.
    regions : ndarray, float32, (3, nz, ny, nx)
    jacobian : ndarray, float32, (nz, ny, nx)
        Log Jacobian of the gradient nonlinearity that bent it.
    """

    image: Volume
    regions: Volume
    jacobian: Volume


def low_field_matrix(rng: Generator, shape: tuple[int, int, int]) -> tuple[tuple[int, ...], bool]:
    """Matrix of the low-field scan, and whether it is a stack of slices, each with its profile.

    Half of the scans have half the matrix on every axis, as `infer` assumes unless told otherwise;
    a fifth any isotropic ratio; three in ten thicker slices, half of those as sharp in their plane
    as the target. Of thick slices two in three are a 2-D stack, the others 3-D encoded.
    """
    kind = rng.random()
    if kind < 0.5:
        ratios = np.full(3, 2.0)
    elif kind < 0.7:
        ratios = np.full(3, rng.uniform(RATIOS[0], 2.5))
    else:
        in_plane = 1.0 if kind < 0.85 else rng.uniform(RATIOS[0], 2.0)
        ratios = np.array([rng.uniform(1.5, RATIOS[1]), in_plane, in_plane])
    matrix = tuple(round(n / r) for n, r in zip(shape, ratios, strict=True))
    return matrix, kind >= 0.7 and rng.random() < 2 / 3


def draw_anatomy(rng: Generator, source: Source, mixture: Mixture) -> Anatomy:
    """Draw a slab: the source bent at random, painted or as it is, whole or the brain alone."""
    painted = rng.random() < mixture.painted
    coarsest = OUTPUT_MM[1] if painted else COARSEST_MM
    finest = OUTPUT_MM[0] if painted else max(source.finest, OUTPUT_MM[0])
    spacing = finest * (coarsest / finest) ** rng.random()
    coil = mixture.coil or scanner.random_coil(rng, rng.uniform(0, COIL_STRENGTH))
    at = node_positions(SLAB, spacing) + rng.uniform(-1, 1, 3) * ISOCENTRE_MM
    shift, jacobian = scanner.distortion(coil, at[..., ::-1])  # (x, y, z) there
    shift = np.moveaxis(shift[..., ::-1], -1, 0)
    points = draw_points(rng, source, SLAB, spacing, shift)

    fine = read_at(source.data, points)
    maps = integrate(tissue_maps(fine, source.levels, rng.uniform(0.02, 0.25))[1:])
    regions = region_masks(maps[GREY], maps[WHITE], spacing)
    inside = integrate(read_at(source.brain, points))
    regions *= inside
    if painted:
        t1 = rng.random() < 0.85
        levels = t1_levels(rng) if t1 else any_levels(rng)
        fat = rng.uniform(1.0, BRIGHT_FAT, len(maps) - len(levels))
        image = paint(rng, maps, [*levels, *fat], spacing)
    else:
        image = random_contrast(rng, integrate(fine))
    if rng.random() < LESION_SHARE:
        count = round(np.exp(rng.uniform(*np.log(LESIONS))))
        lesions = structures.draw_lesions(rng, maps[WHITE], spacing, count)
        image += lesions * (np.float32(rng.uniform(0.2, 1.2)) - image)
    if rng.random() < 0.25:
        vessels = integrate(structures.draw_vessels(rng, SLAB, spacing)) * (image > 0.1)
        image += vessels * (np.float32(rng.uniform(0.0, 1.8)) - image)
    blur = rng.uniform(*BLUR_VOXELS) if rng.random() < BLURRED_SHARE else 0.0
    if rng.random() < mixture.extracted:
        kept = extract_brain(rng, inside)
        regions *= kept
        if rng.random() < SOFT_SHARE:
            image = ndimage.gaussian_filter(image * kept, blur)
        else:
            image = ndimage.gaussian_filter(image, blur) * kept
    else:
        image = ndimage.gaussian_filter(image, blur)
    return Anatomy(image, regions, from_nodes(jacobian, SLAB))


def make_pair(rng: Generator, sources: list[Source], mixture: Mixture | None = None) -> Pair:
    """Draw anatomy and acquire it.

    The bias field and the Jacobian change scan and target alike: removing them is a correction of
    its own, before this model; the autoencoder is told of them by its maps.
    """
    weights = np.array([s.weight for s in sources])
    source = sources[rng.choice(len(sources), p=weights / weights.sum())]
    anatomy = draw_anatomy(rng, source, mixture or Mixture())
    bias = scanner.log_bias_field(rng, SLAB, rng.uniform(0.0, 0.2))
    target = anatomy.image * np.exp(bias - anatomy.jacobian)

    shape, stack = low_field_matrix(rng, SLAB)
    thickness = SLAB[0] / shape[0]
    blurred = scanner.slice_profile(target, thickness, axis=0) if stack else target
    apodisation = 0.0 if rng.random() < 0.75 else rng.uniform(0.0, 0.7)
    low = scanner.truncate_kspace(blurred, shape, apodisation)  # its ringing may be below 0
    foreground = low[low > 0.1 * low.max()]
    scale = float(np.percentile(foreground, INTENSITY_PERCENTILE)) if foreground.size else 1.0
    noise = 0.01 if rng.random() < 0.3 else rng.uniform(0.0, 0.04)
    low = scanner.rician_noise(rng, low, noise * scale)
    low = scanner.interpolate(low, SLAB)
    if rng.random() < 0.3:
        scale *= rng.uniform(1.0, BRIGHT_FAT)
    keep = slice(EDGE_SLICES, -EDGE_SLICES)
    images = (target / scale, low / scale, bias, -anatomy.jacobian)
    return Pair(
        *(np.ascontiguousarray(v[keep], dtype=np.float16) for v in images),
        np.ascontiguousarray(np.round(anatomy.regions[:, keep] * 255), dtype=np.uint8),
    )


def simulate_pairs(
    sources: list[Source], numbers: range, seed: int, mixture: Mixture, workers: int
) -> Iterator[Pair]:
    """The pairs of these numbers, in their order and the same for any number of workers."""
    # joblib hands large arrays to its workers as memory maps: the sources are not copied.
    with parallel_config(backend="loky", n_jobs=workers, inner_max_num_threads=1):
        tasks = (delayed(_numbered)(n, sources, seed, mixture) for n in numbers)
        yield from Parallel(return_as="generator")(tasks)


def _numbered(number: int, sources: list[Source], seed: int, mixture: Mixture) -> Pair:
    return make_pair(np.random.default_rng([seed, number]), sources, mixture)
