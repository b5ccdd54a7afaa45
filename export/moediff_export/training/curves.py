"""A run's log: one CSV a kind, and a plot of every loss."""

from __future__ import annotations

import csv
from pathlib import Path


def append_row(path: Path, row: dict[str, float]) -> None:
    """Add a row to a CSV whose columns are those of its first row; a new one starts with them."""
    new = not path.exists()
    columns = list(row) if new else path.read_text().split("\n", 1)[0].split(",")
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow(row)


def _logs(folder: Path) -> list[Path]:
    """A run's own CSVs among what else lies in its folder."""
    return sorted([*folder.glob("losses-*.csv"), *folder.glob("validation.csv")])


def rewind(folder: Path, step: int) -> None:
    """Drop what the CSVs of a run say of later steps."""
    for path in _logs(folder):
        with open(path, newline="") as file:
            header, *rows = list(csv.reader(file))
        at = header.index("step")
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows([header, *(r for r in rows if int(r[at]) <= step)])


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
