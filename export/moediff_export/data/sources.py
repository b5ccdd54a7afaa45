"""The volumes that training draws anatomy from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# Debian's mricron-data package installs Colin27 here (Holmes et al. 1998).
MRICRON_TEMPLATES = Path("/usr/share/mricron/templates")


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
    sharpen : (float, float)
        Range of unsharp-mask gain that undoes part of its averaging.
    detail : ndarray, float32, (nz, ny, nx)
        What the unsharp mask adds at gain 1.
    """

    name: str
    data: NDArray[np.float32]
    spacing: float
    weight: float
    sharpen: tuple[float, float]
    detail: NDArray[np.float32]


def load_source(path: Path, weight: float, sharpen: tuple[float, float]) -> Source:
    """Read one isotropic volume in canonical axes; intensities scaled to a 99th percentile of 1.

    Raises
    ------
    FileNotFoundError
        If the file is not there; for Colin27 the remedy is `apt-get install mricron-data`.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"load_source: expected a training volume at {path}, found none; "
            "install Debian's mricron-data or pass --data with the folder that holds it"
        )
    image = nib.as_closest_canonical(nib.load(path))
    data = np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0)
    scale = np.percentile(data[data > 0.2 * data.max()], 99)
    spacing = float(image.header.get_zooms()[0])
    data = np.ascontiguousarray(data / scale)
    detail = data - ndimage.gaussian_filter(data, 1.0)
    return Source(path.name.split(".")[0], data, spacing, weight, sharpen, detail)


def colin27(folder: Path = MRICRON_TEMPLATES) -> list[Source]:
    """Colin27, one head averaged over 27 scans: the brain at 0.5 mm and the whole head at 1 mm.

    Both are smoother than a single scan, so the brain is drawn at half the target voxel and
    integrated over it, and the head is sharpened.
    """
    return [
        load_source(folder / "ch2better.nii.gz", weight=0.8, sharpen=(0.0, 0.5)),
        load_source(folder / "ch2.nii.gz", weight=0.2, sharpen=(0.0, 1.0)),
    ]
