"""The forward model of a 3T-like acquisition, on volumes (nz, ny, nx).

Low-field grids share the volume's edges, so voxel i of n covers [i, i + 1) / n of the extent.
k-space is taken in the cosine basis (DCT-II), the Fourier basis of the mirrored volume: the
truncation is that of an encoding with the low-field matrix, without wrap-around at the edges.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import fft, ndimage

from moediff_rt.preprocess import interpolate

Volume = NDArray[np.float32]


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
    """Smooth random field, unit variance at knots ``knot_voxels`` apart, cubic between them."""
    knots = tuple(max(4, int(np.ceil(n / knot_voxels)) + 1) for n in shape)
    return interpolate(rng.standard_normal(knots, dtype=np.float32), shape)


def log_bias_field(rng: Generator, shape: tuple[int, ...], strength: float) -> Volume:
    """Log of a smooth receive field: cubic between knots a third of the volume apart.

    ``strength`` is the standard deviation at the knots, in log intensity.
    """
    field = smooth_field(rng, shape, max(shape) / 3)
    return strength * (field - field.mean())


def log_jacobian(rng: Generator, shape: tuple[int, ...], strength: float) -> Volume:
    """Log Jacobian of a gradient-nonlinearity displacement: the intensity change it leaves.

    The displacement along each axis is an odd cubic in the distance from the isocentre, the lowest
    nonlinear order of the spherical-harmonic expansion (Janke et al. 2004).
    """
    centre = rng.uniform(-0.3, 0.3, 3)
    axes = np.meshgrid(
        *(np.linspace(-1, 1, n, dtype=np.float32) - c for n, c in zip(shape, centre, strict=True)),
        indexing="ij",
        sparse=True,
    )
    log = np.zeros(shape, np.float32)
    for axis, coefficient in zip(axes, strength * rng.standard_normal(3), strict=True):
        log = log + np.log1p(np.clip(3 * coefficient * axis * axis, -0.5, 0.5))
    return log.astype(np.float32)
