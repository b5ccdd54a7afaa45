"""A series through the model, and its result as a derived series."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..atomic import write_whole
from ..provenance import describe
from .derive import Derived, derivation, derive, is_result
from .series import Series

if TYPE_CHECKING:
    from ..acquisition import Acquisition
    from ..corrections import Correction
    from ..results import Inferred
    from ..session import Cancel, Progress, Session


@dataclass(frozen=True)
class EnhancedSeries:
    """What a series gave.

    Attributes
    ----------
    derived : Derived
        The result as DICOM images.
    inferred : Inferred
        The same as NIfTI images, float32, with the maps that were asked for.
    record : dict
        What `provenance.describe` says, with both series' UIDs for the source's name.
    """

    derived: Derived
    inferred: Inferred
    record: dict[str, Any]


def enhance(
    session: Session,
    series: Series,
    *,
    corrections: Sequence[Correction] = (),
    spacing: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    samples: int = 1,
    planes: int | None = None,
    data_consistency: bool = True,
    acquisition: str | Acquisition | None = None,
    save_gates: bool = False,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
    created: datetime.datetime | None = None,
) -> EnhancedSeries:
    """Sharpen a series.

    Parameters
    ----------
    session : Session
    series : Series
    corrections : sequence of Correction
        Applied first, as `corrections.plan_corrections` gives them.
    spacing, steps, seed, samples, planes, data_consistency, acquisition, save_gates
        As in `Session.infer_scan`.
    progress, cancel
        As in `Session.infer_scan`.
    created : datetime, optional
        What the result's creation times say; default: now.

    Returns
    -------
    EnhancedSeries

    Raises
    ------
    InputError
        The series or a setting cannot be used.
    Cancelled
        `cancel` returned True.
    """
    scan = series.scan
    for correction in corrections:
        scan = correction.apply(scan)
    inferred = session.infer_scan(
        scan,
        spacing=spacing,
        steps=steps,
        seed=seed,
        samples=samples,
        planes=planes,
        data_consistency=data_consistency,
        acquisition=acquisition,
        save_gates=save_gates,
        progress=progress,
        cancel=cancel,
    )
    record = describe(
        scan, inferred.run, session, corrections=corrections, data_consistency=data_consistency
    )
    return derived_of(replace(series, scan=scan), inferred, record, created=created)


def derived_of(
    series: Series,
    inferred: Inferred,
    record: dict[str, Any],
    *,
    created: datetime.datetime | None = None,
) -> EnhancedSeries:
    """Put a result into a derived series, and both series' UIDs into its record.

    They stand for the source's name, which is left out: folders of DICOM files are often named
    after the patient.
    """
    data = np.asanyarray(inferred.image.dataobj)
    derived = derive(series, data, derivation(record), created=created)
    said = record | {
        "Sources": [{"SHA256": source["SHA256"]} for source in record["Sources"]],
        "Dicom": {
            "SourceSeriesInstanceUID": series.uid,
            "SourceInstances": len(series.instances),
            "SeriesInstanceUID": derived.uid,
            "Instances": len(derived),
        },
    }
    return EnhancedSeries(derived, inferred, said)


def write(
    derived: Derived, folder: str | os.PathLike[str], *, overwrite: bool = False
) -> list[Path]:
    """Write a derived series into a folder that appears whole or not at all.

    Parameters
    ----------
    derived : Derived
    folder : path
        Not there yet, or empty.
    overwrite : bool
        Replace an earlier result.

    Returns
    -------
    list of Path
        The files, by instance number.

    Raises
    ------
    OutputError
        The folder holds something, or it cannot be written.
    """
    folder = Path(folder)
    files = derived.folder()
    write_whole({folder: files}, overwrite=overwrite, ours=is_result)
    return [folder / name for name in files]
