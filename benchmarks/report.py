"""A run's figures: kept as JSON, shown as one Markdown table each, summed up in one line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]  # "kind", and what that kind has

OURS = "moediff-rt"
# Rows of the table of stages, in the order of the data; others follow as they come.
STAGES = (
    "load",
    "preprocess",
    "read",
    "encoder",
    "conditioner",
    "gate",
    "expert_0",
    "expert_1",
    "expert_2",
    "experts",
    "step",
    "decoder",
    "blend",
    "model, rest",
    "postprocess",
    "save",
)
MODEL = ("conditioner", "decoder")
GROWTH = {
    "volume": "output voxels",
    "steps": "steps",
    "threads": "threads",
    "tiles under way": "tiles under way",
    "gate threshold": "gate threshold",
}


def of_kind(records: Iterable[Record], kind: str) -> list[Record]:
    """The records of one kind, in the order in which they were made."""
    return [record for record in records if record["kind"] == kind]


def ratios_line(records: Iterable[Record]) -> str:
    """One line: every other way's median seconds over ours, and what we lose in quality.

    `psnr_loss_db` is the float32 reference's PSNR against the truth less ours, nan without a truth.
    Raises ValueError where our own figure is missing.
    """
    ways = of_kind(records, "volume")
    ours = next((way for way in ways if way["way"] == OURS), None)
    if ours is None:
        raise ValueError(
            f"ratios_line: expected a record of {OURS}, found {[way['way'] for way in ways]}; "
            "its benchmark failed or was left out; run the whole of test_volume.py"
        )
    parts = [
        f"{way['short']}={way['seconds'] / ours['seconds']:.2f}" for way in ways if way is not ours
    ]
    loss = math.nan if ours["psnr_loss_db"] is None else ours["psnr_loss_db"]
    return f"ratios: {' '.join(parts)} psnr_loss_db={loss:.3f}"


def write_report(folder: Path, name: str, machine: Record, records: Sequence[Record]) -> list[Path]:
    """Write NAME.json and NAME.md, made from it alone; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    kept, page = folder / f"{name}.json", folder / f"{name}.md"
    kept.write_text(json.dumps({"machine": machine, "records": records}, indent=1) + "\n")
    page.write_text(markdown(json.loads(kept.read_text())))
    return [kept, page]


def markdown(found: Record) -> str:
    """A page of tables from a JSON file's content."""
    machine, records = found["machine"], found["records"]
    parts = [
        "# Benchmarks",
        "Made by `make bench` from the JSON beside it. Seconds are medians of wall time.",
        table(["what", "value"], [[key, shown(value)] for key, value in machine.items()]),
    ]
    if of_kind(records, "volume"):
        parts += ["## From file to file", volume_table(of_kind(records, "volume"))]
        parts += ["## By stage, seconds", stage_table(of_kind(records, "volume"))]
    if floor := of_kind(records, "module"):
        parts += ["## Floor of each module, one tile of the largest size", plain_table(floor)]
    if precisions := of_kind(records, "precision"):
        parts += ["## moediff-rt by precision", plain_table(precisions)]
    if start := of_kind(records, "start"):
        parts += ["## Start-up", plain_table(start)]
    if step := of_kind(records, "gated_step"):
        parts += ["## `gated_step`", plain_table(step)]
    for axis in GROWTH:
        grown = [record for record in of_kind(records, "growth") if record["axis"] == axis]
        if grown:
            rows = [{k: v for k, v in record.items() if k != "axis"} for record in grown]
            parts += [f"## By {axis}", plain_table(rows)]
    return "\n\n".join(parts) + "\n"


def volume_table(ways: Sequence[Record]) -> str:
    """End to end: each way's time and its ratio to ours, memory, error and rates."""
    ours = next((way["seconds"] for way in ways if way["way"] == OURS), None)
    rows = [
        [
            way["way"],
            way["how"],
            shown(way["seconds"]),
            shown(way["seconds"] / ours) if ours else "",
            shown(way["images_per_second"]),
            shown(way["gflops"]),
            shown(way["share_of_peak"]),
            shown(way["peak_memory_mb"]),
            shown(way["setup_seconds"]),
            shown(way["relative_error"]),
            shown(way["psnr_loss_db"]),
        ]
        for way in ways
    ]
    heads = ["way", "how", "seconds", "over ours", "images/s", "GFLOP/s", "of peak", "memory, MB"]
    return table([*heads, "set-up, s", "error to float32", "PSNR loss, dB"], rows)


def stage_table(ways: Sequence[Record]) -> str:
    """Stages down, ways across; stages that overlap in time share the wall time between them."""
    seen = list(dict.fromkeys(stage for way in ways for stage in way["stages"]))
    order = [stage for stage in STAGES if stage in seen]
    order += [stage for stage in seen if stage not in STAGES]
    rows = [
        [stage, *(shown(way["stages"][stage]) if stage in way["stages"] else "" for way in ways)]
        for stage in order
    ]
    rest = ["all but experts, conditioner and decoder", *(share_of_rest(way) for way in ways)]
    return table(["stage", *(way["way"] for way in ways)], [*rows, rest])


def share_of_rest(way: Record) -> str:
    """What of a way's time, in percent, no expert, conditioner or decoder has."""
    stages = way["stages"]
    named = [stage for stage in stages if stage in MODEL or stage.startswith("expert")]
    if not named:
        return ""
    return f"{100 * (1 - sum(stages[stage] for stage in named) / way['seconds']):.1f} %"


def plain_table(records: Sequence[Record]) -> str:
    """Records down, their fields across."""
    heads = [key for key in records[0] if key != "kind"]
    return table(heads, [[shown(record.get(key, "")) for key in heads] for record in records])


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(value: Any) -> str:
    """A value in a table: three digits of a float, words as they are."""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return "" if value is None else str(value)
