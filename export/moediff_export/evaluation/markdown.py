"""The report's tables in Markdown, for a model card: `report.md`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .claims import by_place
from .methods import CUBIC, OURS

# As `by_place` gives them.
Groups = Mapping[tuple[str, str], Mapping[str, Mapping[str, Any]]]


def to_markdown(results: Mapping[str, Any]) -> str:
    """Where it comes from, what was scored, experts alone, and what was asked: tables."""
    source = results["provenance"]
    head = f"Bundle {source['bundle']['name']}, {source['date']}.\n"
    if source["settings"]["quick"]:
        head += "A quick run on a slab: not figures to quote.\n"
    groups = by_place(results["scores"])
    parts = [head, _peaks(groups), _measures(groups)]
    if results["gates"]:
        parts.append(_experts(results["gates"]))
    return "\n".join([*parts, _claims(results["claims"])])


def _peaks(groups: Groups) -> str:
    """PSNR in the brain of every method, and ours over cubic."""
    methods = list(next(iter(groups.values())))
    rows = []
    for (subject, condition), by_method in groups.items():
        psnr = {name: by_method[name]["masks"]["brain"]["psnr"] for name in methods}
        values = [f"**{v:.2f}**" if v == max(psnr.values()) else f"{v:.2f}" for v in psnr.values()]
        rows.append([f"{subject}, {condition}", *values, f"{psnr[OURS] - psnr[CUBIC]:+.2f} dB"])
    return _table(["PSNR in the brain, dB", *methods, f"{OURS} over cubic"], rows)


def _measures(groups: Groups) -> str:
    """Other measures in the brain, and PSNR by region."""
    rows = []
    for (subject, condition), by_method in groups.items():
        for name, row in by_method.items():
            masks = row["masks"]
            brain, head = masks["brain"], masks["head"]
            parts = ("inner_brain", "centrum_semiovale", "cortex", "junction", "head")
            rows.append(
                [
                    f"{subject}, {condition}",
                    name,
                    *(f"{brain[measure]:.4f}" for measure in ("ssim", "haarpsi")),
                    f"{brain['hfen']:.3f}",
                    f"{head['ms_ssim']:.4f}",
                    *(f"{masks[part]['psnr']:.2f}" for part in parts),
                ]
            )
    measures = ["SSIM", "HaarPSI", "HFEN", "MS-SSIM, head"]
    where = ["PSNR: deeper than 3 voxels", "deep white", "cortex", "junction", "head"]
    return _table(["subject, scan", "method", *measures, *where], rows)


def _experts(tables: Sequence[Mapping[str, Any]]) -> str:
    """PSNR by region of the mixture and of each expert alone, before data consistency."""
    rows = []
    for table in tables:
        for i, region in enumerate(table["regions"]):
            values = [f"{psnr[i]:.2f}" for psnr in table["psnr"].values()]
            rows.append([table["subject"], region.replace("_", " "), *values])
    names = [name.replace("_", " ") for name in tables[0]["psnr"]]
    return _table(["subject", "PSNR in, dB", *names], rows)


def _claims(claims: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [c["what"], c["target"], c["measured"], "met" if c["met"] else "**missed**"] for c in claims
    ]
    return _table(["what", "asked", "measured", ""], rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; bars within its cells are no borders."""
    lines = [columns, ["---"] * len(columns), *rows]
    cells = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)
