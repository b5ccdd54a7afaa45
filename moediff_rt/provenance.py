"""The JSON sidecar: how a result was made."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__

if TYPE_CHECKING:
    from .corrections import Correction
    from .io import Scan
    from .results import Enhanced
    from .session import Session

NOTICE = "Made by research software, not a medical device. Research use only."


def describe(
    scan: Scan,
    run: Enhanced,
    session: Session,
    *,
    corrections: Sequence[Correction],
    data_consistency: bool,
) -> dict[str, Any]:
    """Everything needed to make the result again, as plain JSON values.

    Paths are reduced to names: a sidecar travels, folders with patients' names must not. A DICOM
    source's name is such a folder's: `dicom.enhance.derived_of` takes it out.

    Returns
    -------
    dict
    """
    bundle, model = session.bundle, session.model
    engines = model.engines
    backend_version = next((item.version for item in _backends() if item.name == model.backend), "")
    return {
        "GeneratedBy": [{"Name": "moediff-rt", "Version": __version__}],
        "Notice": NOTICE,
        "Date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "Sources": [{"Name": Path(scan.source).name, "SHA256": scan.sha256}],
        "Corrections": [correction.record for correction in corrections],
        "Bundle": {
            "Name": bundle.name,
            "Folder": Path(bundle.path).name,
            "SHA256": bundle.hash,
            "FormatVersion": bundle.format_version,
        },
        "Backend": {
            "Name": model.backend,
            "Version": backend_version,
            "Device": model.device,
            "Precision": model.precision,
            "Threads": model.threads,
            "EnginesFromCache": sum(bool(engine.cached) for engine in engines),
            "Engines": len(engines),
        },
        "Settings": {
            "Steps": run.steps,
            "Seed": run.seed,
            "Samples": run.samples,
            "Planes": list(run.planes),
            "Sampler": bundle.sampler.method,
            "Start": bundle.sampler.start,
            "GateThreshold": bundle.gate_threshold,
            "DataConsistency": data_consistency,
            "Acquisition": run.acquisition.kind if run.acquisition else None,
            "SliceThickness": run.acquisition.slice_thickness if run.acquisition else None,
        },
        "Experts": list(bundle.expert_names),
        "InputVoxelSize": [round(size, 6) for size in scan.grid.spacing],
        "InputShape": list(scan.grid.shape),
        "OutputVoxelSize": [round(size, 6) for size in _output_grid_spacing(scan, run)],
        "NoiseSigma": run.noise_sigma,
        "SliceProfile": run.slice_profile,
        "LargestCorrection": run.largest_correction,
        "Tiles": run.tiles,
        "TileSizes": [list(size) for size in run.tile_sizes],
        "ExpertCalls": run.expert_calls,
        "ExpertCallsSaved": run.expert_calls_saved,
        "Seconds": {stage: round(spent, 3) for stage, spent in run.seconds.items()},
    }


def _output_grid_spacing(scan: Scan, run: Enhanced) -> tuple[float, float, float]:
    """Put the run's spacing (RAS+ order) in the file's axes."""
    from .grid import AxisOrder

    order = AxisOrder.nearest_ras(scan.affine).forward[:, 0].astype(int)
    x, y, z = (run.spacing[axis] for axis in order)
    return x, y, z


def _backends() -> list[Any]:
    from . import _core

    return list(_core.backends())
