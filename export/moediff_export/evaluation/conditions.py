"""The acquisitions that the evaluation simulates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..data.subjects import SHARPNESS


@dataclass(frozen=True)
class Condition:
    """One acquisition.

    Attributes
    ----------
    name : str
    factors : (x, y, z)
        How many times larger the scan's voxels are than the truth's.
    noise_percent : float
        Rician sigma in percent of the brain's bright end.
    lesions : bool
        Whether the lesion study runs on it, of subjects whose tissue maps are known.
    """

    name: str
    factors: tuple[float, float, float]
    noise_percent: float
    lesions: bool = False

    @property
    def plane(self) -> str:
        """The plane that shows what the acquisition lost: "axial", or "coronal" of thick slices."""
        return "coronal" if self.factors[2] > self.factors[0] else "axial"


CONDITIONS = (
    Condition("x2, 1 % noise", (2.0, 2.0, 2.0), 1.0, lesions=True),
    Condition("x2, 3 % noise", (2.0, 2.0, 2.0), 3.0, lesions=True),
    Condition("x1.5, 1 % noise", (1.5, 1.5, 1.5), 1.0),
    Condition("x1.5, 3 % noise", (1.5, 1.5, 1.5), 3.0),
    Condition("slices x3, 1 % noise", (1.0, 1.0, 3.0), 1.0),
    Condition("slices x3, 3 % noise", (1.0, 1.0, 3.0), 3.0),
)


def conditions_of(subject: str, conditions: Sequence[Condition]) -> Sequence[Condition]:
    """What a subject is scanned with: one that only serves to compare sharpness, once."""
    return conditions[:1] if SHARPNESS.get(subject, 0.0) > 0 else conditions
