"""The report's tables in Markdown, for a model card: `report.md`."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from .claims import by_place
from .methods import CUBIC, OURS

# As `by_place` gives them.
Groups = Mapping[tuple[str, str], Mapping[str, Mapping[str, Any]]]


def to_markdown(results: Mapping[str, Any]) -> str:
    """Where it comes from, and every table under its heading."""
    source = results["provenance"]
    name = source["bundle"]["name"]
    head = f"# Evaluation of `{name}`\n\nBundle {name}, {source['date']}: `{source['command']}`\n"
    if source["settings"]["quick"]:
        head += "\nA quick run on a slab: not figures to quote.\n"
    groups = by_place(results["scores"])
    tables = {"PSNR in the brain": _peaks(groups, source["comparators"])}
    for other in source["comparators"]:
        tables[f"Against {other}"] = _against(groups, other)
    tables["Other measures, and PSNR by region"] = _measures(groups)
    tables["Each expert alone"] = _experts(results["gates"])
    tables["Lesions"] = _lesions(results["lesions"])
    tables["What was asked"] = _claims(results["claims"])
    return "\n".join([head, *(f"## {name}\n\n{table}" for name, table in tables.items() if table)])


def _peaks(groups: Groups, comparators: Container[str]) -> str:
    """PSNR in the brain of every method but the trained ones beside ours, and ours over cubic."""
    methods = [name for name in next(iter(groups.values())) if name not in comparators]
    rows = []
    for (subject, condition), by_method in groups.items():
        psnr = {name: by_method[name]["masks"]["brain"]["psnr"] for name in methods}
        values = [f"**{v:.2f}**" if v == max(psnr.values()) else f"{v:.2f}" for v in psnr.values()]
        rows.append([f"{subject}, {condition}", *values, f"{psnr[OURS] - psnr[CUBIC]:+.2f} dB"])
    return _table(["PSNR in the brain, dB", *methods, f"{OURS} over cubic"], rows)


def _against(groups: Groups, other: str) -> str:
    """PSNR in the brain of both, and ours less the other's in the brain and the regions."""
    parts = ("brain", "centrum_semiovale", "cortex", "junction")
    rows = []
    for (subject, condition), by_method in groups.items():
        ours, theirs = (by_method[name]["masks"] for name in (OURS, other))
        brains = (f"{masks['brain']['psnr']:.2f}" for masks in (ours, theirs))
        gains = (f"{ours[part]['psnr'] - theirs[part]['psnr']:+.2f}" for part in parts)
        rows.append([f"{subject}, {condition}", *brains, *gains])
    gained = ["gain: brain", "deep white", "cortex", "junction"]
    return _table(["PSNR, dB", OURS, other, *gained], rows)


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
    if not tables:
        return ""
    rows = []
    for table in tables:
        for i, region in enumerate(table["regions"]):
            values = [f"{psnr[i]:.2f}" for psnr in table["psnr"].values()]
            rows.append([table["subject"], region.replace("_", " "), *values])
    names = [name.replace("_", " ") for name in tables[0]["psnr"]]
    return _table(["subject", "PSNR in, dB", *names], rows)


def _lesions(lesions: Sequence[Mapping[str, Any]]) -> str:
    """What each method keeps of lesions' contrast, their Dice, and how many are false."""
    if not lesions:
        return ""
    rows = [
        [
            f"{row['subject']}, {row['condition']}",
            row["method"],
            *(
                f"{row[measure + kind]:.3f}"
                for measure in ("relative_contrast", "dice")
                for kind in ("", "_small")
            ),
            *(str(row[count]) for count in ("false_lesions", "false_lesions_beside")),
        ]
        for row in lesions
    ]
    measures = ["contrast of the truth's", "small ones'", "Dice", "small ones'"]
    counts = ["false in a lesion-free brain", "beside true ones"]
    return _table(["subject, scan", "method", *measures, *counts], rows)


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
