"""What a run gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

    from .acquisition import Acquisition


@dataclass(frozen=True)
class Enhanced:
    """What one run gave, and how it was made.

    Attributes
    ----------
    data : (x, y, z) float32 array
        The sharper volume, in the input's intensity unit.
    spacing : tuple of 3 float
        Its voxel edges, mm.
    noise_sigma : float
        Noise standard deviation found in the input, in its unit.
    slice_profile : float
        Full width at half maximum of the profile that the input's slices are taken to be integrated
        over along its coarsest edge, in slice distances; 0 for none, and without data consistency.
    acquisition : Acquisition or None
        Where it was known; else the input's spectrum told of its slices' profile.
    largest_correction : float or None
        Largest change that data consistency made, in the input's unit; None without it.
    gates : (x, y, z, experts) uint8 array or None
        Expert weights times 255, on the output grid.
    standard_deviation : (x, y, z) float32 array or None
        Spread of the samples in each voxel, in the input's intensity unit; None of a single one.
    steps, seed, samples : int
        Sampler steps, first noise seed, and how many samples were averaged.
    planes : tuple of str
        Of which planes each is the average: "axial", "coronal", "sagittal"; the first one's gates
        are told.
    tiles, expert_calls, expert_calls_saved : int
        Tiles run; expert evaluations run, and not run because the gate was shut: of all samples
        and planes.
    tile_sizes : tuple of (height, width)
        Of the first plane's tiles, in voxels: those that fit the head best.
    seconds : dict of str to float
        Wall time of each stage.
    """

    data: npt.NDArray[np.float32]
    spacing: tuple[float, float, float]
    noise_sigma: float
    slice_profile: float
    acquisition: Acquisition | None
    largest_correction: float | None
    gates: npt.NDArray[np.uint8] | None
    standard_deviation: npt.NDArray[np.float32] | None
    steps: int
    seed: int
    samples: int
    planes: tuple[str, ...]
    tiles: int
    expert_calls: int
    expert_calls_saved: int
    tile_sizes: tuple[tuple[int, int], ...]
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Inferred:
    """A scan's result as images, with the run that made it.

    Attributes
    ----------
    image : nibabel image
        The sharper scan.
    gates : nibabel image or None
        Expert weights, 4-D, as `io.to_gate_image` makes them.
    deviation : nibabel image or None
        Spread of the samples, as `io.to_deviation_image` makes it.
    run : Enhanced
    """

    image: Nifti1Image
    gates: Nifti1Image | None
    deviation: Nifti1Image | None
    run: Enhanced
