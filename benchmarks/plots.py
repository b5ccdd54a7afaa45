"""Pictures of how time, memory and error grow, from a run's JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from report import GROWTH, of_kind

# Beyond this ratio of its ends an axis is logarithmic.
WIDE = 6


def draw_growth(path: Path, records: Sequence[Mapping[str, Any]]) -> Path | None:
    """Draw a column for each axis of growth, seconds above, memory or error below; None without."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    grown = of_kind(records, "growth")
    axes = [axis for axis in GROWTH if any(record["axis"] == axis for record in grown)]
    if not axes:
        return None
    figure, plots = pyplot.subplots(
        2, len(axes), figsize=(3.2 * len(axes), 5.2), squeeze=False, layout="constrained"
    )
    for column, axis in enumerate(axes):
        rows = [record for record in grown if record["axis"] == axis]
        below = "relative_error" if "relative_error" in rows[0] else "peak_memory_mb"
        for plot, field in ((plots[0][column], "seconds"), (plots[1][column], below)):
            at = [row[GROWTH[axis]] for row in rows]
            plot.plot(at, [row[field] for row in rows], "o-", color="#1f4e79", linewidth=1.5)
            if min(at) > 0 and max(at) / min(at) > WIDE:
                plot.set_xscale("log")
            plot.set_xticks(at, [f"{value:.3g}" for value in at], rotation=45)
            plot.minorticks_off()
            plot.set_xlabel(GROWTH[axis])
            plot.set_ylabel(field.replace("_", " ").replace("mb", "(MB)"))
            plot.set_ylim(0, 1.1 * max(row[field] for row in rows) or 1)
            plot.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path
