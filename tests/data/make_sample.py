"""Make the sample scan: a simulated 2 mm acquisition of the MNI152 T1 average head.

    python tests/data/make_sample.py

writes `sample_T1w.nii.gz` beside this file. The truth it was made from is not stored: it comes
from the `nilearn` package, by `load_truth`. Needs numpy, scipy, nibabel and nilearn; nothing of
moediff-rt, so that what measures it does not depend on it.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy.fft import dct

Volume = npt.NDArray[np.float32]

TEMPLATE = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
# The template voxels used, [start, stop) along x, y, z; below 0 is filled with air. All sizes are
# even, so that a crop of k-space by 2 gives voxels of exactly twice the size.
BOX = ((16, 180), (18, 218), (-8, 164))
SEED = 20250410
NOISE = 0.01
# Stored value of the 99.5th percentile of the brain, as a scanner's integers go.
FULL_SCALE = 1200.0


def load_truth() -> tuple[Volume, npt.NDArray[np.float64]]:
    """The MNI152 T1 (ICBM 2009a symmetric, skull-stripped, 1 mm) that nilearn carries.

    Returns
    -------
    data : (164, 200, 172) float32 array, RAS+
    affine : (4, 4) float64 array, mm
    """
    package = find_spec("nilearn")
    if package is None or package.origin is None:
        raise SystemExit("make_sample: expected the nilearn package; pip install nilearn")
    image = nib.load(Path(package.origin).parent / TEMPLATE)
    whole = np.asarray(image.dataobj, dtype=np.float32)
    data = np.zeros([stop - start for start, stop in BOX], dtype=np.float32)
    inside = tuple(slice(max(0, -start), None) for start, _ in BOX)
    data[inside] = whole[tuple(slice(max(0, start), stop) for start, stop in BOX)]
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3, 3] += affine[:3, :3] @ [start for start, _ in BOX]
    return data, affine


def brain_mask(truth: Volume) -> npt.NDArray[np.bool_]:
    """The template is zero outside the brain."""
    return truth > 0


def bright_level(truth: Volume) -> float:
    """99.5th percentile of the brain: what noise is given relative to."""
    return float(np.percentile(truth[brain_mask(truth)], 99.5))


def crop_kspace(volume: Volume, factors: tuple[int, int, int] = (2, 2, 2)) -> Volume:
    """Keep the lowest 1/factor of k-space along each axis.

    K-space is that of the volume mirrored at its faces (DCT-II), so that the coarse voxels' edges
    lie on the fine voxels' edges. A constant stays what it is.
    """
    result = volume.astype(np.float64)
    for axis, factor in enumerate(factors):
        n = result.shape[axis]
        if n % factor:
            raise ValueError(f"expected a size divisible by {factor}, got {n} along axis {axis}")
        kept = n // factor
        analysis = dct(np.eye(n), norm="ortho", axis=0)[:kept]
        synthesis = dct(np.eye(kept), norm="ortho", axis=0)
        matrix = synthesis.T @ analysis / np.sqrt(factor)
        result = np.moveaxis(np.tensordot(matrix, result, axes=(1, axis)), 0, axis)
    return result.astype(np.float32)


def add_rician(volume: Volume, sigma: float, seed: int) -> Volume:
    """Magnitude of the volume plus complex white noise of standard deviation `sigma` a part."""
    noise = np.random.default_rng(seed).standard_normal((2, *volume.shape), dtype=np.float32)
    return np.hypot(volume + sigma * noise[0], sigma * noise[1]).astype(np.float32)


def coarse_affine(
    affine: npt.NDArray[np.float64], factors: tuple[int, int, int] = (2, 2, 2)
) -> npt.NDArray[np.float64]:
    """Affine after `crop_kspace`: the volume's faces keep their world coordinates."""
    step = np.diag([*map(float, factors), 1.0])
    step[:3, 3] = (np.asarray(factors) - 1) / 2
    return np.asarray(affine @ step)


def simulate(
    noise: float = NOISE, seed: int = SEED, factors: tuple[int, int, int] = (2, 2, 2)
) -> Any:
    """The sample scan as a NIfTI-1 image: int16, unscaled.

    Parameters
    ----------
    noise : float
        Standard deviation of the noise relative to `bright_level`.
    """
    truth, affine = load_truth()
    bright = bright_level(truth)
    scan = add_rician(crop_kspace(truth, factors), noise * bright, seed)
    image = nib.Nifti1Image(np.rint(scan * (FULL_SCALE / bright)).astype(np.int16), None)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(coarse_affine(affine, factors), code="aligned")
    image.set_sform(coarse_affine(affine, factors), code="aligned")
    image.header["descrip"] = b"MNI152 (ICBM 2009a), simulated 2 mm scan"
    return image


def main() -> None:
    """Write the sample scan."""
    parser = argparse.ArgumentParser(description="Make the simulated sample scan.")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(__file__).with_name("sample_T1w.nii.gz")
    )
    output = parser.parse_args().output
    nib.save(simulate(), output)
    print(f"{output}: {output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
