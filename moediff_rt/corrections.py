"""What may be corrected in a scan before it is enhanced, in the order in which it must be."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bias import correct_bias, n4_version
from .gradients import correct_gradients, read_coil
from .io import Scan


@dataclass(frozen=True)
class Correction:
    """One correction: what it does to a scan, and how a sidecar tells of it (JSON values)."""

    apply: Callable[[Scan], Scan]
    record: dict[str, Any]


def plan_corrections(
    gradients: str | os.PathLike[str] | None = None, *, n4: bool = False
) -> list[Correction]:
    """The corrections asked for: geometry before intensity.

    Parameters
    ----------
    gradients : path, optional
        The gradient coil's coefficients, as `moediff_rt.gradients.read_coil` takes them.
    n4 : bool
        Correct the bias field.

    Raises
    ------
    InputError
        The coefficients cannot be read, or SimpleITK is not installed.
    """
    planned = []
    if gradients is not None:
        coil = read_coil(gradients)
        record = {
            "Name": "gradient nonlinearity",
            "Coefficients": Path(gradients).name,
            "SHA256": coil.sha256,
        }
        planned.append(Correction(lambda scan: correct_gradients(scan, coil)[0], record))
    if n4:
        record = {"Name": "bias field", "Method": "N4", "Version": n4_version()}
        planned.append(Correction(lambda scan: correct_bias(scan)[0], record))
    return planned
