"""The methods under comparison: each turns a scan into a volume on the truth's grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray

from moediff_rt import Acquisition, Session
from moediff_rt.grid import Grid, voxel_sizes
from moediff_rt.noise import noise_sigma
from moediff_rt.postprocess import enforce_consistency, find_slice_profile
from moediff_rt.preprocess import prepare

from ..data.pairs import INTENSITY_PERCENTILE
from ..enhance import choose_planes, enhance_in_planes
from ..model import MoEDiffSR, RegressionUNet
from . import baselines

if TYPE_CHECKING:
    from moediff_rt._core import Prepared

Volume = NDArray[np.float32]

OURS = "moediff-rt"
ONE_PLANE = "moediff-rt, one plane"
CUBIC = "cubic B-spline"
NON_LOCAL_MEANS = "non-local means"


@dataclass(frozen=True)
class Method:
    """A way to a finer grid.

    Attributes
    ----------
    name : str
        As the report calls it.
    upsample : callable
        Takes a scan, float32 in RAS+ order, the grid wanted over the same box, and how the scan was
        acquired, or None where that is not known; returns the volume, (nx, ny, nz) float32, in the
        scan's intensity unit.
    """

    name: str
    upsample: Callable[[Nifti1Image, Grid, Acquisition | None], Volume]


def read_scan(scan: Nifti1Image) -> Volume:
    """The voxels of a scan, (mx, my, mz) float32."""
    return np.asarray(scan.dataobj, dtype=np.float32)


def interpolation_methods() -> list[Method]:
    """What needs no training: trilinear, cubic B-spline, zero-filling, non-local means."""

    def on_shape(interpolate: Callable[[Volume, tuple[int, ...]], Volume]) -> Callable[..., Volume]:
        return lambda scan, grid, acquisition: interpolate(read_scan(scan), grid.shape)

    def non_local_means(scan: Nifti1Image, grid: Grid, acquisition: Acquisition | None) -> Volume:
        spacing = voxel_sizes(scan.affine).tolist()
        return baselines.non_local_means(read_scan(scan), spacing, grid.shape, acquisition)

    return [
        Method("trilinear", on_shape(baselines.trilinear)),
        Method(CUBIC, on_shape(baselines.cubic_spline)),
        Method("zero-filling", on_shape(baselines.zero_filling)),
        Method(NON_LOCAL_MEANS, non_local_means),
    ]


def bundle_methods(session: Session, steps: int | None = None, seed: int = 0) -> list[Method]:
    """The deployed bundle; where its results are averages over planes, one plane's before."""
    several = session.bundle.sampler.planes > 1
    one = [bundle_method(session, steps, seed, planes=1, name=ONE_PLANE)] if several else []
    return [*one, bundle_method(session, steps, seed)]


def bundle_method(
    session: Session,
    steps: int | None = None,
    seed: int = 0,
    planes: int | None = None,
    name: str = OURS,
) -> Method:
    """The deployed bundle, through the runtime as `moediff-rt infer` runs it."""

    def upsample(scan: Nifti1Image, grid: Grid, acquisition: Acquisition | None) -> Volume:
        image = session.infer(
            scan,
            spacing=float(grid.spacing[2]),
            steps=steps,
            seed=seed,
            planes=planes,
            acquisition=acquisition,
        )
        if image.shape != grid.shape or not np.allclose(image.affine, grid.affine, atol=1e-3):
            raise ValueError(
                f"bundle_method: expected a result on the truth's grid {grid.shape}, got "
                f"{image.shape}; the scan does not cover the truth's box"
            )
        return read_scan(image)

    return Method(name, upsample)


def model_method(name: str, model: MoEDiffSR | RegressionUNet, seed: int = 0) -> Method:
    """A model in PyTorch, between the runtime's own steps before and after it."""
    return Method(name, partial(enhance_with_model, model, seed=seed))


def checkpoint_methods(checkpoints: Mapping[str, Path], seed: int = 0) -> list[Method]:
    """The averaged model of each run's checkpoint, by name.

    Raises
    ------
    FileNotFoundError, CheckpointError
        If there is no such folder, or it is no checkpoint.
    """
    from ..training.checkpoint import load_trained

    return [model_method(name, load_trained(path)[0], seed) for name, path in checkpoints.items()]


def prepare_for_model(scan: Nifti1Image, grid: Grid) -> Prepared:
    """What `moediff_rt.Session` makes of a scan before a bundle of this package reads it."""
    return prepare(
        read_scan(scan),
        voxel_sizes(scan.affine).tolist(),
        grid.shape,
        percentile=INTENSITY_PERCENTILE,
        value=1.0,
    )


def enhance_with_model(
    model: MoEDiffSR | RegressionUNet,
    scan: Nifti1Image,
    grid: Grid,
    acquisition: Acquisition | None = None,
    seed: int = 0,
) -> Volume:
    """Enhance as `moediff_rt.Session` does, with PyTorch in place of the runtime's engines.

    Returns
    -------
    ndarray, float32, (nx, ny, nz), in the scan's intensity unit
    """
    prepared = prepare_for_model(scan, grid)
    sigma = noise_sigma(prepared.measured, prepared.foreground)
    spacing = voxel_sizes(scan.affine)[::-1].tolist()
    profile = find_slice_profile(prepared.measured, spacing, sigma, acquisition)
    planes = choose_planes(model.config, spacing, prepared.volume.shape)
    volume = enhance_in_planes(model, prepared.volume, prepared.foreground, planes, seed)
    enforce_consistency(volume, prepared.measured, sigma, profile=profile)
    if prepared.measured.min() >= 0:
        np.maximum(volume, 0, out=volume)
    return np.ascontiguousarray(volume.T * np.float32(prepared.scale))
