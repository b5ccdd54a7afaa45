"""Which voxel sizes a bundle can take and make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .errors import InputError

if TYPE_CHECKING:
    from ._core import Bundle


def checked_output_spacing(wanted: float | None, bundle: Bundle) -> float | None:
    """Take an output spacing, mm; InputError outside what the bundle was trained for."""
    from . import _core

    if wanted is None:
        return None
    try:
        wanted = float(wanted)
    except (TypeError, ValueError):
        raise InputError(
            f"expected an output spacing in mm, got {wanted!r}; give a number such as 1.0"
        ) from None
    _core.check_output_spacing(bundle, wanted)
    return wanted


def choose_output_shape(
    shape: Sequence[int], spacing: Sequence[float], wanted: float | None, bundle: Bundle
) -> tuple[int, int, int]:
    """Shape of the output over the box of a scan of `shape` voxels of `spacing` mm.

    Parameters
    ----------
    shape : (nx, ny, nz)
    spacing : (x, y, z) voxel edges, mm
    wanted : float or None
        Edge of the isotropic output voxels, mm; None: half the smallest input edge, within what
        the bundle was trained for.
    bundle : Bundle

    Raises
    ------
    InputError
        The scan's voxels or the wanted spacing are outside what the bundle was trained for, or no
        computer this is meant for can hold the output.
    """
    from . import _core

    nx, ny, nz = shape
    x, y, z = (float(edge) for edge in spacing)
    wanted = checked_output_spacing(wanted, bundle)
    mz, my, mx = _core.output_shape(bundle, (nz, ny, nx), (z, y, x), wanted or 0.0)
    return mx, my, mz
