"""What a method does to lesions: their contrast, their segmentation, and lesions that are none."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .lesions import LesionSet

Volume = NDArray[np.float32]

SHELL_MM = (2.0, 4.0)  # healthy white matter around a lesion: this far from its surface
SMALLEST_MM3 = 8  # a darker patch below this is no lesion
NEIGHBOURHOOD_MM = 4  # around a lesion its segmentation is compared


@dataclass(frozen=True)
class LesionScore:
    """One lesion in one image.

    Attributes
    ----------
    small : bool
        Of `lesions.SMALL_SEMI_AXES_MM`.
    volume_mm3 : float
    contrast : float
        Mean of the shell less mean of the lesion, in the image's unit.
    contrast_to_noise : float
        The contrast over the shell's standard deviation.
    relative_contrast : float
        The contrast over that of the truth; 1 is faithful.
    dice : float
        Of the fixed-threshold segmentation around it.
    """

    small: bool
    volume_mm3: float
    contrast: float
    contrast_to_noise: float
    relative_contrast: float
    dice: float


def contrast_and_noise(
    image: Volume, lesion: NDArray[np.bool_], shell: NDArray[np.bool_]
) -> tuple[float, float]:
    """Mean of the shell less mean of the lesion, and the shell's standard deviation."""
    around = image[shell]
    return float(around.mean() - image[lesion].mean()), float(around.std())


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Overlap of two masks, 2 |a and b| / (|a| + |b|); 1 if both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def segment(image: Volume, lesions: LesionSet) -> NDArray[np.bool_]:
    """Darker than the fixed threshold, in the searched white matter."""
    return (image < lesions.threshold) & lesions.search


def score_lesions(image: Volume, truth: Volume, lesions: LesionSet) -> list[LesionScore]:
    """Measure each lesion.

    Parameters
    ----------
    image, truth : ndarray, float32, (nx, ny, nz)
        Both with the lesions.
    lesions : LesionSet
    """
    found = segment(image, lesions)
    margin = NEIGHBOURHOOD_MM + 1
    scores = []
    for number, box in enumerate(ndimage.find_objects(lesions.labels), start=1):
        if box is None:
            continue
        near = tuple(
            slice(max(s.start - margin, 0), min(s.stop + margin, n))
            for s, n in zip(box, image.shape, strict=True)
        )
        own = lesions.labels[near] == number
        distance = ndimage.distance_transform_edt(~own)
        healthy = lesions.search[near] & (lesions.share[near] == 0)
        shell = healthy & (distance >= SHELL_MM[0]) & (distance <= SHELL_MM[1])
        contrast, noise = contrast_and_noise(image[near], own, shell)
        true_contrast, _ = contrast_and_noise(truth[near], own, shell)
        others = (lesions.labels[near] != number) & (lesions.labels[near] > 0)
        around = (distance <= NEIGHBOURHOOD_MM) & ~others
        scores.append(
            LesionScore(
                small=lesions.lesions[number - 1].small,
                volume_mm3=float(own.sum()),
                contrast=contrast,
                contrast_to_noise=contrast / noise if noise else np.inf,
                relative_contrast=contrast / true_contrast,
                dice=dice(found[near] & around, own),
            )
        )
    return scores


def count_false_lesions(image: Volume, lesions: LesionSet, with_lesions: bool) -> int:
    """Dark patches of at least `SMALLEST_MM3` in white matter that holds no lesion.

    Parameters
    ----------
    image : ndarray, float32, (nx, ny, nz), 1 mm
    lesions : LesionSet
    with_lesions : bool
        Whether the lesions are in the image: then patches that touch one are not counted.
    """
    patches, count = ndimage.label(segment(image, lesions))
    sizes = np.bincount(patches.ravel(), minlength=count + 1)
    large = sizes >= SMALLEST_MM3
    large[0] = False
    if with_lesions:
        large[np.unique(patches[lesions.share > 0])] = False
    return int(large.sum())


def summarise(scores: list[LesionScore]) -> dict[str, float]:
    """Means over the lesions, and over the small ones apart (NaN where there are none)."""
    kinds = {"": [s for s in scores if not s.small], "_small": [s for s in scores if s.small]}
    return {
        measure + kind: float(np.mean([getattr(s, measure) for s in of])) if of else np.nan
        for kind, of in kinds.items()
        for measure in ("contrast_to_noise", "relative_contrast", "dice")
    }


def study_lesions(
    image: Volume, lesion_free: Volume, truth: Volume, lesions: LesionSet
) -> dict[str, object]:
    """Everything the lesion study says of one method.

    Parameters
    ----------
    image, lesion_free : ndarray, float32, (nx, ny, nz)
        What the method made of the scan with the lesions, and of the same scan without them.
    truth : ndarray, float32, (nx, ny, nz)
        With the lesions.
    lesions : LesionSet

    Returns
    -------
    dict
        `summarise`'s figures, ``false_lesions`` (in the lesion-free image) and
        ``false_lesions_beside`` (in the other, away from every lesion), and ``each`` lesion.
    """
    scores = score_lesions(image, truth, lesions)
    return {
        **summarise(scores),
        "false_lesions": count_false_lesions(lesion_free, lesions, with_lesions=False),
        "false_lesions_beside": count_false_lesions(image, lesions, with_lesions=True),
        "each": [asdict(score) for score in scores],
    }
