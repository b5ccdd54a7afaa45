"""A run's log: one CSV a kind, and a plot of every loss."""

from __future__ import annotations

import csv
from pathlib import Path

from moediff_rt.atomic import write_whole


def append_row(path: Path, row: dict[str, float]) -> None:
    """Add a row to a CSV whose columns are those of its first row; a new one starts with them.

    So does one without a whole line; a last line that was cut off gets no other glued on.
    """
    text = path.read_text() if path.exists() else ""
    begun = "\n" in text
    columns = text.split("\n", 1)[0].split(",") if begun else list(row)
    with open(path, "a" if begun else "w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
        if not begun:
            writer.writeheader()
        elif not text.endswith("\n"):
            file.write("\r\n")
        writer.writerow(row)


def _logs(folder: Path) -> list[Path]:
    """A run's own CSVs among what else lies in its folder."""
    return sorted([*folder.glob("losses-*.csv"), *folder.glob("validation.csv")])


def rewind(folder: Path, step: int) -> None:
    """Drop what the CSVs of a run say of later steps, and what a kill has cut off."""
    for path in _logs(folder):
        lines = path.read_bytes().splitlines(keepends=True)
        header, *rows = [line for line in lines if line.endswith(b"\n")] or [b""]
        if not header:
            path.unlink()
            continue
        at = header.strip().split(b",").index(b"step")
        whole = [row for row in rows if row.count(b",") == header.count(b",")]
        text = b"".join([header, *(r for r in whole if int(r.split(b",")[at]) <= step)])
        write_whole({path: lambda file, text=text: file.write(text)}, overwrite=True)


def read_rows(path: Path) -> dict[str, list[float]]:
    """Columns of a CSV; an empty cell is not a number."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {k: [float(r[k] or "nan") for r in rows] for k in (rows[0] if rows else {})}


def plot_run(folder: Path) -> Path:
    """Draw ``losses-*.csv`` and ``validation.csv`` of a run folder as ``curves.png``, over minutes.

    Returns
    -------
    Path
        The picture.
    """
    from matplotlib.figure import Figure

    series: dict[str, tuple[list[float], list[float]]] = {}
    for path in _logs(folder):
        columns = read_rows(path)
        for name, values in columns.items():
            if name not in ("step", "minutes"):
                series[f"{path.stem}: {name}"] = columns["minutes"], values
    across = 4
    down = max(-(-len(series) // across), 1)
    figure = Figure(figsize=(4 * across, 2.4 * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for axis in axes[len(series) :]:
        axis.axis("off")
    for axis, (name, (minutes, values)) in zip(axes, series.items(), strict=False):
        axis.plot(minutes, values, linewidth=1)
        axis.set_title(name, fontsize=8)
        axis.tick_params(labelsize=7)
        axis.set_xlabel("minutes", fontsize=7)
    picture = folder / "curves.png"
    figure.savefig(picture, dpi=100)
    return picture


def plot_gate_convergence(runs: Path, picture: Path) -> list[str]:
    """Draw how the gate's cross-entropy falls in each run of a folder (MoEDiff-SR, Figure 3).

    Only among runs whose targets have the same temperature is a lower curve a better gate.

    Returns
    -------
    list of str
        The runs drawn, by their folders' names.

    Raises
    ------
    FileNotFoundError
        If no run of the folder has trained a gate.
    """
    from matplotlib.figure import Figure

    found = {}
    for path in sorted(runs.glob("*/losses-joint.csv")):
        columns = read_rows(path)
        entropy = columns.get("gate_cross_entropy", [])
        if len(set(entropy)) > 1:  # that of a fixed gate never changes
            found[path.parent.name] = columns["step"], entropy
    if not found:
        raise FileNotFoundError(
            f"plot_gate_convergence: expected runs with losses-joint.csv in {runs}, found none "
            "that trained a gate; give the folder that holds the run folders"
        )
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axis = figure.subplots()
    for name, (steps, entropy) in found.items():
        axis.plot(steps, entropy, linewidth=1.2, label=name)
    axis.set_xlabel("step")
    axis.set_ylabel("gate cross-entropy (nats)")
    axis.legend(fontsize=8)
    figure.savefig(picture, dpi=110)
    return list(found)
