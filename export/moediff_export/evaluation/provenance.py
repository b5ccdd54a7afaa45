"""Where the report's figures come from: code, weights, command, machine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "moediff-rt",
    "moediff-export",
    "torch",
    "openvino",
    "numpy",
    "scipy",
    "scikit-image",
    "torchmetrics",
    "nilearn",
)


def sha256(path: Path) -> str:
    """SHA-256 of a file, or of the SHA-256s of a folder's files in the order of their names."""
    if path.is_dir():
        return _listed(sorted(path.iterdir()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _listed(files: Sequence[Path]) -> str:
    """SHA-256 of the list that ``sha256sum`` prints of files."""
    lines = (f"{sha256(file)}  {file.name}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def modules_sha256(bundle: Path) -> str:
    """What ``sha256sum *.onnx | sha256sum`` gives in a bundle's folder."""
    return _listed(sorted(bundle.glob("*.onnx")))


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_run(
    bundle: Path, comparators: Mapping[str, Path], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that is needed to repeat a run, JSON-ready.

    The bundle's SHA-256 is that of `bundle.json`, which names those of all its other files; a
    figure from this report that is written into it later changes it. That of its modules stays.
    """
    values = json.loads((bundle / "bundle.json").read_text())
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "bundle": {
            "name": values.get("name", bundle.name),
            "path": str(bundle),
            "sha256": sha256(bundle / "bundle.json"),
            "modules_sha256": modules_sha256(bundle),
            "created": values.get("created"),
            "steps": values["sampler"]["steps"],
            "planes": values["sampler"].get("planes", 1),
        },
        "comparators": {
            name: {"path": str(path), "sha256": sha256(path)} for name, path in comparators.items()
        },
        "settings": dict(settings),
        "versions": {"python": platform.python_version(), **versions},
        "machine": {
            "system": platform.platform(),
            "processor": processor(),
            "cores": usable_cores(),
        },
    }
