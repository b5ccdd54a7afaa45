"""The forward model of a 3T-like acquisition, on volumes (nz, ny, nx).

Low-field grids share the volume's edges, so voxel i of n covers [i, i + 1) / n of the extent.
k-space is taken in the cosine basis (DCT-II), the Fourier basis of the mirrored volume: the
truncation is that of an encoding with the low-field matrix, without wrap-around at the edges.

In order: gradient nonlinearity (`random_coil`, `distortion`) bends the anatomy and the receive
field (`log_bias_field`) shades it; the slice profile and the k-space matrix (`slice_profile`,
`truncate_kspace`) take its detail; `rician_noise` comes last.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import fft, ndimage

from moediff_rt.gradients import GradientCoil
from moediff_rt.resample import interpolate

Volume = NDArray[np.float32]

COIL_RADIUS_MM = 250.0
FEWEST_KNOTS = 4  # of a random field, along each axis
INVERSION_STEPS = 6  # each leaves about a tenth of the error before it


def truncate_kspace(volume: Volume, shape: tuple[int, ...], apodisation: float = 0.0) -> Volume:
    """Keep the frequencies that a smaller matrix encodes.

    Parameters
    ----------
    volume : ndarray, float32, (nz, ny, nx)
    shape : (mz, my, mx), none larger than the volume's
    apodisation : float in [0, 1]
        0 is a hard edge (Gibbs ringing); 1 a full Hann window over each axis.

    Returns
    -------
    ndarray, float32, ``shape``
    """
    spectrum = fft.dctn(volume, norm="ortho")[tuple(slice(0, m) for m in shape)]
    for axis, m in enumerate(shape):
        window = 1 - apodisation * 0.5 * (1 - np.cos(np.pi * np.arange(m) / m))
        spectrum = spectrum * np.expand_dims(window, [a for a in range(3) if a != axis])
    scale = np.sqrt(np.prod(shape) / np.prod(volume.shape))
    return (fft.idctn(spectrum, norm="ortho") * scale).astype(np.float32)


def slice_profile(volume: Volume, thickness: float, axis: int) -> Volume:
    """Integrate over a Gaussian slice profile.

    Parameters
    ----------
    volume : ndarray, float32, (nz, ny, nx)
    thickness : float
        Full width at half maximum, in voxels of the volume.
    axis : int
    """
    sigma = thickness / (2 * np.sqrt(2 * np.log(2)))
    return ndimage.gaussian_filter1d(volume, sigma, axis=axis, mode="reflect")


def rician_noise(rng: Generator, volume: Volume, sigma: float) -> Volume:
    """Magnitude of the signal plus complex Gaussian noise (Gudbjartsson and Patz 1995, eq. 1).

    ``sigma`` is the standard deviation of each complex part, in the volume's intensity.
    """
    real = volume + sigma * rng.standard_normal(volume.shape, dtype=np.float32)
    imaginary = sigma * rng.standard_normal(volume.shape, dtype=np.float32)
    return np.sqrt(real * real + imaginary * imaginary)


def smooth_field(rng: Generator, shape: tuple[int, ...], knot_voxels: float) -> Volume:
    """Smooth random field, unit variance at knots ``knot_voxels`` apart, cubic between them.

    Knots are that far apart at most, at least half as far. An axis too short for `FEWEST_KNOTS`
    shows a part of what so many span: the field is no rougher across a thin slab.
    """
    counts = [int(np.ceil(n / knot_voxels)) + 1 for n in shape]
    short = [axis for axis, count in enumerate(counts) if count < FEWEST_KNOTS]
    knots = rng.standard_normal([max(FEWEST_KNOTS, k) for k in counts], dtype=np.float32)
    grid = [FEWEST_KNOTS if axis in short else n for axis, n in enumerate(shape)]
    field = interpolate(knots, grid, threads=1)  # pairs are simulated side by side
    span = int(np.ceil(FEWEST_KNOTS * knot_voxels))
    for axis in short:
        each = np.eye(FEWEST_KNOTS, dtype=np.float32)[..., None]
        spline = interpolate(each, (span, FEWEST_KNOTS, 1), threads=1)[..., 0]
        start = int(rng.integers(span - shape[axis] + 1))
        shown = spline[start : start + shape[axis]]
        field = np.moveaxis(np.tensordot(shown, field, axes=(1, axis)), 0, axis)
    return field


def log_bias_field(rng: Generator, shape: tuple[int, ...], strength: float) -> Volume:
    """Log of a smooth receive field: cubic between knots a quarter of the longest edge apart.

    ``strength`` is the standard deviation at the knots, in log intensity.
    """
    field = smooth_field(rng, shape, max(shape) / 3)
    return strength * (field - field.mean())


def random_coil(rng: Generator, strength: float) -> GradientCoil:
    """A gradient coil whose nonlinearity has the usual symmetry, of random size.

    Degrees 3 and 5, as the leading terms of vendors' tables: zonal for z, of order 1 for x and y.
    ``strength`` is the standard deviation of the degree-3 coefficients, in units of the reference
    radius; vendors' are about 0.1, some 2 mm at 120 mm from the isocentre.
    """
    terms = {}
    for axis, kind, order in (("x", "A", 1), ("y", "B", 1), ("z", "A", 0)):
        for degree, share in ((3, 1.0), (5, 0.5)):
            terms[axis, kind, degree, order] = float(strength * share * rng.standard_normal())
    return GradientCoil(COIL_RADIUS_MM, terms)


def distortion(coil: GradientCoil, seen: NDArray[np.float64]) -> tuple[Volume, Volume]:
    """Where a distorted image's points come from, and how bright they are.

    Parameters
    ----------
    coil : GradientCoil
    seen : ndarray, (..., 3)
        Points of the distorted image, RAS+, mm from the isocentre.

    Returns
    -------
    shift : ndarray, float32, (..., 3)
        What leads from a point to its true position, mm: the fixed point of ``-d(seen + shift)``.
    log_jacobian : ndarray, float32, (...)
        What undoing the distortion adds to the log of the intensity there.
    """
    shift = np.zeros_like(seen)
    for _ in range(INVERSION_STEPS):
        shift = -coil.displacement(seen + shift)
    jacobian = np.maximum(coil.jacobian(seen + shift), 0.1)
    return shift.astype(np.float32), np.log(jacobian).astype(np.float32)
