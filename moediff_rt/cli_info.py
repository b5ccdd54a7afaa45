"""`moediff-rt info`: what is installed, and what can run here."""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any, NoReturn

from . import __version__, cache
from .cli_build import table
from .errors import BackendError, BundleError, InputError
from .progress import answer

_CUDA_OPS = {
    True: "in this build",
    False: "not in this build: nvcc was not there when it was made; build again where it is",
}


def gather() -> dict[str, Any]:
    """Version, backends, CUDA ops, default bundle and engine cache, as plain JSON values."""
    from . import _core
    from .tensorrt.package import BACKENDS

    builds = {name: _builder(name) for name in BACKENDS}
    return {
        "version": __version__,
        "core": _core.__version__,
        "python": platform.python_version(),
        "backends": [
            {
                "name": backend.name,
                "available": backend.available,
                "reason": backend.reason,
                "version": backend.version,
                "devices": list(backend.devices),
                "precisions": list(backend.precisions),
                "builds": builds.get(backend.name),
            }
            for backend in _core.backends()
        ],
        "cuda_ops": _core.cuda_built(),
        "bundle": _bundle(cache.default_bundle()),
        "cache": _cache(),
    }


def _builder(backend: str) -> dict[str, Any]:
    """What the Python package of a TensorRT backend can build engines for."""
    from .tensorrt.package import PRECISIONS, find_package

    try:
        package = find_package(backend)
    except BackendError as error:
        return {"reason": str(error), "version": "", "targets": [], "precisions": []}
    return {
        "reason": "",
        "version": package.version,
        "targets": list(package.targets),
        "precisions": list(PRECISIONS),
    }


def _bundle(path: Path) -> dict[str, Any]:
    from . import _core

    try:
        bundle = _core.load_bundle(cache.bundle_path(path))
    except (BundleError, InputError) as error:
        return {"path": str(path), "error": " ".join(str(error).split())}
    manifest = json.loads(bundle.json)
    card = {
        key: manifest[key]
        for key in ("description", "license", "created", "producer", "training", "metrics")
        if key in manifest
    }
    return {
        "path": str(path),
        "name": bundle.name,
        "hash": bundle.hash,
        "format_version": bundle.format_version,
        "bytes": sum(module.bytes for module in [*bundle.modules, *bundle.int8_modules]),
        "int8_modules": [module.name for module in bundle.int8_modules],
        "spacing_mm": manifest["spacing_mm"],
        "sampler": manifest["sampler"],
        "card": card,
    }


def _cache() -> dict[str, Any]:
    found: dict[str, Any] = {"path": None, "bytes": 0, "entries": []}
    try:
        path = Path(cache.engines_path())
    except InputError as error:
        return {**found, "error": str(error)}
    found["path"] = str(path)
    try:
        there = next(place for place in (path, *path.parents) if place.exists())
        if not there.is_dir():
            what = f"expected a folder to keep engines in, found a file at {there}"
            return {**found, "error": f"{what}; set MOEDIFF_RT_CACHE to a folder"}
        files = [file for file in _files_in(path) if file.is_file()] if there == path else []
        sizes = [file.stat().st_size for file in files]
    except OSError as error:
        what = f"expected a folder that can be read, {error.filename} cannot: {error.strerror}"
        return {**found, "error": f"{what}; check its permissions, or set MOEDIFF_RT_CACHE"}
    found["bytes"] = sum(sizes)
    found["entries"] = [
        {"name": file.relative_to(path).as_posix(), "bytes": size}
        for file, size in zip(files, sizes, strict=True)
    ]
    return found


def _files_in(folder: Path) -> list[Path]:
    """Every file of a folder and those below it; OSError where one of them cannot be read."""

    def refuse(error: OSError) -> NoReturn:
        raise error

    found = [
        Path(parent) / name
        for parent, _folders, names in os.walk(folder, onerror=refuse)
        for name in names
    ]
    return sorted(found)


def info(options: argparse.Namespace) -> int:
    """Run the command; errors are the caller's to report."""
    found = gather()
    answer(json.dumps(found) if options.json else _as_text(found))
    return 0


def _as_text(found: dict[str, Any]) -> str:
    lines = [f"moediff-rt {found['version']} (Python {found['python']})", "", "Backends"]
    rows = []
    for backend in found["backends"]:
        if backend["available"]:
            what = f"{', '.join(backend['devices'])}; {', '.join(backend['precisions'])}"
            rows.append((f"  {backend['name']}", backend["version"], what))
        else:
            rows.append((f"  {backend['name']}", "not here", backend["reason"]))
    lines += [table(rows), "", f"CUDA ops   {_CUDA_OPS[found['cuda_ops']]}"]
    lines += ["", "Engines to build", table(_builder_rows(found)), "", "Bundle"]
    lines.append(f"  path     {found['bundle']['path']}")
    bundle = found["bundle"]
    if "error" in bundle:
        lines.append(f"  error    {bundle['error']}")
    else:
        spacing = bundle["spacing_mm"]
        lines += [
            f"  name     {bundle['name']} (format {bundle['format_version']})",
            f"  hash     {bundle['hash']}",
            f"  size     {bundle['bytes'] / 1e6:.1f} MB",
            f"  int8     {', '.join(bundle['int8_modules']) or 'none'}",
            f"  input    voxels {spacing['input_min']:g} to {spacing['input_max']:g} mm",
            f"  output   voxels {spacing['output_min']:g} to {spacing['output_max']:g} mm",
            *_card_lines(bundle["card"], indent=2),
        ]
    kept = found["cache"]
    lines += ["", "Engine cache"]
    if kept["path"] is not None:
        lines.append(f"  path     {kept['path']}")
    if "error" in kept:
        lines.append(f"  error    {kept['error']}")
    else:
        lines += [
            f"  size     {kept['bytes'] / 1e6:.1f} MB in {len(kept['entries'])} files",
            *(f"    {entry['name']}  {entry['bytes'] / 1e6:.1f} MB" for entry in kept["entries"]),
        ]
    return "\n".join(lines)


def _builder_rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for backend in found["backends"]:
        builds = backend["builds"]
        if builds is None:
            continue
        if not builds["reason"]:
            where = ", ".join(builds["targets"]) or "the GPU here"
            what = f"{where}; {', '.join(builds['precisions'])}"
            rows.append((f"  {backend['name']}", builds["version"], what))
        else:
            rows.append((f"  {backend['name']}", "not here", builds["reason"]))
    return rows


def _card_lines(card: dict[str, Any], indent: int) -> list[str]:
    """Rows for people; what would take too many is counted."""
    margin = " " * indent
    lines = []
    for key, value in card.items():
        if isinstance(value, dict):
            lines += [f"{margin}{key}", *_card_lines(value, indent + 2)]
        elif _are_rows(value):
            rows = [list(value[0]), *([_shown(cell) for cell in row.values()] for row in value)]
            lines += [f"{margin}{key}", *(f"{margin}  {x}" for x in table(rows).splitlines())]
        else:
            lines.append(f"{margin}{key:<8} {_shown(value)}")
    return lines


def _are_rows(value: Any) -> bool:
    """Whether a value is a list of flat objects with the same keys."""
    if not isinstance(value, list) or not all(row and isinstance(row, dict) for row in value):
        return False
    cells = [cell for row in value for cell in row.values()]
    alike = len({tuple(row) for row in value}) == 1
    return alike and not any(isinstance(cell, dict | list) for cell in cells)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    if not isinstance(value, list):
        return str(value)
    if any(isinstance(item, dict | list) for item in value):
        return f"{len(value)} entries (--json shows them)"
    return ", ".join(map(_shown, value))
