"""Writing a bundle: the only thing that passes from authoring to the runtime."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from moediff_rt.signals import HeldSignals

from . import __version__
from .config import ModelConfig, config_from_dict
from .data.pairs import INTENSITY_PERCENTILE, OUTPUT_MM, RATIOS
from .data.shards import read_shards
from .diffusion import cosine_alphas_cumprod
from .evaluation.provenance import modules_sha256
from .folders import check_replaceable
from .int8 import export_int8, record_inputs
from .model import MoEDiffSR
from .modules import list_modules
from .onnx import export_module, read_weights, round_weights
from .training.split import hold_out

FORMAT = "moediff-bundle"
FORMAT_VERSION = 3
# What training covers; on an axis the scan may also be as fine as the output already.
SPACING_MM = {
    "output_min": OUTPUT_MM[0],
    "output_max": OUTPUT_MM[1],
    "input_min": OUTPUT_MM[0],
    "input_max": OUTPUT_MM[1] * RATIOS[1],
}


def bundle_json(model: MoEDiffSR, modules: dict[str, Any], card: dict[str, Any]) -> dict[str, Any]:
    """Everything the runtime must know, as JSON-ready values.

    ``card`` gives description, licence, training and metrics.
    """
    config = model.config
    schedule = [float(f"{a:.9g}") for a in cosine_alphas_cumprod(config.timesteps)]
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": config.name,
        "config": config.to_dict(),
        **card,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "producer": f"moediff-export {__version__}",
        "tile": {
            "height": config.tile,
            "width": config.tile,
            "slices": config.slices,
            "smallest": {"height": config.smallest_tile, "width": config.smallest_tile},
            "pitch": {"height": config.tile_pitch, "width": config.tile_pitch},
        },
        "latent": {
            "channels": config.latent_channels,
            "height": config.latent_size,
            "width": config.latent_size,
        },
        "condition": {"channels": config.z_c_channels},
        "gate": {
            "experts": len(config.experts),
            "height": config.gate_size,
            "width": config.gate_size,
            "names": list(config.experts),
        },
        "schedule": {"prediction": "x0", "alphas_cumprod": schedule},
        "sampler": {
            "method": config.sampler,
            "steps": config.steps,
            "start": config.start,
            "start_timestep": config.start_timestep,
            "eta": 0.0,
            "planes": config.planes,
        },
        "intensity": {"percentile": INTENSITY_PERCENTILE, "value": 1.0},
        "dispatch": {
            "gate_threshold": config.gate_threshold,
            "tile_overlap": config.tile_overlap,
        },
        "spacing_mm": SPACING_MM,
        "modules": modules,
    }


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises
    ------
    ValueError
        If the file holds something else.
    """
    values = json.loads(path.read_text())
    if not isinstance(values, dict):
        raise ValueError(f"read_object: expected a JSON object in {path}, found another value")
    return values


def metrics_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    """What a bundle says of itself: the brain's PSNR (dB) and SSIM, and cubic B-spline's.

    Parameters
    ----------
    report : dict
        What :func:`moediff_export.evaluation.run.evaluate` measured.

    Raises
    ------
    ValueError
        If it is no such report, one of a slab alone, or of other steps than the bundle's.
    """
    try:
        settings = report["provenance"]["settings"]
        if settings["quick"]:
            raise ValueError("metrics_of: expected a report of whole heads, found a quick one")
        if settings["steps"] is not None:
            raise ValueError(
                "metrics_of: expected a report of a bundle as it comes, found one with --steps "
                f"{settings['steps']}; evaluate without it"
            )
        places: dict[tuple[str, str], dict[str, float]] = {}
        for row in report["scores"]:
            names = {"moediff-rt": "model", "cubic B-spline": "spline"}
            if name := names.get(row["method"]):
                place = places.setdefault((row["subject"], row["condition"]), {})
                for metric in ("psnr", "ssim"):
                    place[f"{metric}_{name}"] = round(row["masks"]["brain"][metric], 4)
    except (KeyError, TypeError) as error:
        raise ValueError(
            "metrics_of: expected report.json of moediff-export evaluate, found another "
            f"({type(error).__name__}: {error}); was it written by another release?"
        ) from error
    return [{"subject": s, "scan": c, "in": "brain", **v} for (s, c), v in places.items()]


def check_measured(report: dict[str, Any], bundle: Path, config: ModelConfig) -> None:
    """Refuse a report of another bundle than the one whose modules lie in a folder.

    Parameters
    ----------
    report : dict
        See :func:`metrics_of`.
    bundle : Path
        Folder of the ONNX files.
    config : ModelConfig
        What the bundle's steps and planes are from.

    Raises
    ------
    ValueError
        If it is of other modules, steps or planes, or does not say of which.
    """
    own = {
        "modules_sha256": modules_sha256(bundle),
        "steps": config.steps,
        "planes": config.planes,
    }
    said = report["provenance"].get("bundle", {})
    for key, value in own.items():
        if said.get(key) != value:
            raise ValueError(
                f"write_bundle: expected a report of this bundle, {key} {value}, found one of "
                f"{said.get('name')}, {key} {said.get(key)}; it is probably of another checkpoint, "
                "with or without --int8, or exported by other releases; evaluate this bundle"
            )


def load_reference(folder: Path) -> MoEDiffSR:
    """The PyTorch reference with a bundle's weights, in evaluation mode.

    Raises
    ------
    ValueError
        If the bundle was not written by this package, or its files do not fit its configuration.
    """
    values = json.loads((folder / "bundle.json").read_text())
    if "config" not in values:
        raise ValueError(
            f"load_reference: expected the model's configuration in {folder}/bundle.json, found "
            "none; the bundle was written by another tool, export it with moediff-export onnx"
        )
    config = config_from_dict(values["config"])
    if (pitch := values["tile"]["pitch"]["height"]) != config.tile_pitch:
        config = replace(config, pitch=pitch)  # its tiles are the runtime's
    model = MoEDiffSR(config).eval()
    for item in list_modules(model):
        weights = read_weights(folder / values["modules"][item.name]["file"])
        names = dict(item.module.named_parameters())
        missing = sorted(set(names) - set(weights))
        if missing:
            raise ValueError(
                f"load_reference: expected {missing[0]} among the weights of {item.name}, found "
                f"{len(weights)} others; the file does not fit the bundle's configuration"
            )
        item.module.load_state_dict({name: weights[name] for name in names}, strict=False)
    return model


def _described(file: Path) -> dict[str, Any]:
    data = file.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return {"file": file.name, "sha256": digest, "bytes": len(data)}


def write_bundle(
    model: MoEDiffSR,
    folder: Path,
    card: dict[str, Any],
    overwrite: bool = False,
    reports: Sequence[dict[str, Any]] = (),
    calibration: Path | None = None,
) -> dict[str, float]:
    """Export every module and write the bundle, whole or not at all.

    The model's weights are rounded to float16's values first, in place.

    Parameters
    ----------
    model : MoEDiffSR
    folder : Path
        The bundle's folder, made anew.
    card : dict
        ``description``, ``license``, ``training`` and ``metrics``.
    overwrite : bool
        Replace an existing folder.
    reports : sequence of dict
        What an earlier export of the same model was measured to do: its metrics, in place of the
        card's.
    calibration : Path, optional
        Folder of the shards that the model trained on: the bundle gets 8-bit modules, too. They
        are unpacked beside the bundle for as long as it takes.

    Returns
    -------
    dict
        Relative error of each exported module against PyTorch, and of each 8-bit one
        ("conditioner int8") against the module.

    Raises
    ------
    FileExistsError
        If the folder is there and ``overwrite`` is off.
    ExportError
        If a module does not compute what PyTorch computes; if an 8-bit one is far from it, or
        NNCF is not there.
    FileNotFoundError
        If there are no shards to calibrate on.
    ValueError
        If a report is none, or of another bundle; if a shard is damaged, or its slabs too small.
    """
    if reports:
        card = {**card, "metrics": [row for report in reports for row in metrics_of(report)]}
    check_replaceable(
        folder, "bundle.json", FORMAT, kind="bundle", who="write_bundle", overwrite=overwrite
    )
    round_weights(model.eval())
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        errors, modules = {}, {}
        items = list_modules(model)
        seen = {}
        if calibration:
            slabs, _ = hold_out(read_shards(calibration, folder.parent))
            seen = record_inputs(model, items, slabs)
        for item in items:
            path = temporary / f"{item.name}.onnx"
            errors[item.name] = export_module(item, path)
            modules[item.name] = _described(path)
            if item.name in seen:
                int8 = temporary / f"{item.name}.int8.onnx"
                errors[f"{item.name} int8"] = export_int8(item, path, seen[item.name], int8)
                modules[item.name]["int8"] = _described(int8)
        for report in reports:
            check_measured(report, temporary, model.config)
        text = json.dumps(bundle_json(model, modules, card), indent=1)
        (temporary / "bundle.json").write_text(text + "\n")
        temporary.chmod(0o755)
        old = temporary.with_name(temporary.name + ".old")
        with HeldSignals(f"{folder} is written") as held:
            held.hold()
            if folder.exists():
                folder.rename(old)
            try:
                temporary.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return errors
