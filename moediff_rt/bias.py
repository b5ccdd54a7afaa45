"""Bias-field correction: N4 (Tustison et al. 2010), from SimpleITK."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .io import Scan

# A bias field is smooth: N4 is as good on voxels of about this edge, and far faster.
WORKING_MM = 4.0
# Control points span about this much; N4 halves it at every level.
KNOT_MM = 200.0
LEVELS = 4
ITERATIONS = 50

_ALONE = threading.Lock()


def _simpleitk() -> Any:
    try:
        import SimpleITK
    except ImportError as error:
        raise InputError(
            "expected SimpleITK for bias-field correction, it is not installed; "
            "pip install 'moediff-rt[n4]', or leave --n4 out"
        ) from error
    return SimpleITK


@contextmanager
def _one_thread(sitk: Any) -> Iterator[None]:
    """Filters made and run within have one thread; N4's own setting does not reach those in it."""
    process = sitk.ProcessObject
    with _ALONE:
        threads = process.GetGlobalDefaultNumberOfThreads()
        process.SetGlobalDefaultNumberOfThreads(1)
        try:
            yield
        finally:
            process.SetGlobalDefaultNumberOfThreads(threads)


def n4_version() -> str:
    """Version of the library that N4 is taken from.

    Raises
    ------
    InputError
        SimpleITK is not installed.
    """
    return str(_simpleitk().Version.VersionString())


def correct_bias(scan: Scan) -> tuple[Scan, npt.NDArray[np.float32]]:
    """Divide a scan by its receive field.

    N4 runs on one thread: how its sums round, and so what it finds, depends on how many there are.

    Parameters
    ----------
    scan : Scan
        No voxel below zero.

    Returns
    -------
    Scan
        On the same grid.
    log_bias : (x, y, z) float32 array
        Log of the field that the intensities were divided by; its mean over the head is 0.

    Raises
    ------
    InputError
        SimpleITK is not installed, or the scan has negative voxels.
    """
    sitk = _simpleitk()
    if scan.data.min() < 0:
        raise InputError(
            f"expected no voxel below zero for bias-field correction, got {scan.data.min():g}; "
            "is this a magnitude image? Leave --n4 out"
        )
    image = sitk.GetImageFromArray(np.ascontiguousarray(scan.data.T, dtype=np.float32))
    image.SetSpacing(scan.grid.spacing)
    head = sitk.OtsuThreshold(image, 0, 1)
    shrink = [
        max(1, min(int(WORKING_MM / edge), n // 8))
        for edge, n in zip(scan.grid.spacing, scan.grid.shape, strict=True)
    ]
    extent = np.array(scan.grid.shape) * scan.grid.spacing
    with _one_thread(sitk):
        n4 = sitk.N4BiasFieldCorrectionImageFilter()
        n4.SetMaximumNumberOfIterations([ITERATIONS] * LEVELS)
        n4.SetNumberOfControlPoints([max(4, 3 + round(e / KNOT_MM)) for e in extent.tolist()])
        n4.Execute(sitk.Shrink(image, shrink), sitk.Shrink(head, shrink))
    log_bias = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).T.astype(np.float32)
    log_bias -= log_bias[sitk.GetArrayFromImage(head).T > 0].mean()
    return replace(scan, data=scan.data * np.exp(-log_bias)), log_bias
