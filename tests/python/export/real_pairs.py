"""Real-looking pairs in a BIDS-like folder: a 7T scan and a 3T scan of it."""

import nibabel as nib
import numpy as np
from scipy import ndimage

SHAPE = (48, 52, 44)  # of the 7T scan, (x, y, z); voxels of 1 mm, those of 3T of 2 mm
AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])
AFFINE[:3, 3] = [-20, -30, -10]


def head():
    """A ball of grey matter around folded white matter, over air and a little noise."""
    rng = np.random.default_rng(0)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    ball = 1 / (1 + np.exp(-30 * (0.8 - np.sqrt(x**2 + y**2 + z**2))))
    folds = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 4)
    white = 1 / (1 + np.exp(-8 * folds / folds.std()))
    return ball * (0.55 + 0.45 * white) + 0.005 * rng.random(SHAPE)


def halved(volume):
    """2 x 2 x 2 means."""
    x, y, z = (n // 2 for n in volume.shape)
    return volume.reshape(x, 2, y, 2, z, 2).mean(axis=(1, 3, 5))


def half_affine():
    affine = AFFINE @ np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] += 0.5
    return affine


def save(path, volume, affine):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(volume, np.float32), affine), path)
    return path


def write_pair(root, low=None, target=None, low_affine=None, affine=AFFINE, subject="sub-01"):
    folder = root / subject / "anat"
    low = 300 * halved(head()) if low is None else low
    low_affine = half_affine() if low_affine is None else low_affine
    return (
        save(folder / f"{subject}_3T_T1w.nii.gz", low, low_affine),
        save(
            folder / f"{subject}_7T_T1w.nii.gz",
            1900 * head() if target is None else target,
            affine,
        ),
    )
