"""The report: `report.html` to read, `report.json` for the figures, `report.md` for a card."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moediff_rt.atomic import check_writable, write_whole

from . import page
from .markdown import to_markdown
from .methods import CUBIC, OURS

HTML = "report.html"
JSON = "report.json"
MARKDOWN = "report.md"
FIGURES = ("comparison_*.png", "experts_*.png", "lesions_*.png")
DIGITS = 5  # significant ones in the JSON

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Figure:
    """An image of the report.

    Attributes
    ----------
    name : str
        Of its file beside the report, without extension.
    png : bytes
    caption : str
    section : str
        "scores", "experts" or "lesions".
    """

    name: str
    png: bytes
    caption: str
    section: str


def check_report(folder: Path, overwrite: bool) -> None:
    """Make the folder, and refuse before the work what `write_report` would refuse after it."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [path for names in FIGURES for path in sorted(folder.glob(names))]
    for path in [*(folder / name for name in (HTML, JSON, MARKDOWN)), *drawn]:
        check_writable(path, overwrite=overwrite)


def write_report(
    folder: Path, results: Mapping[str, Any], figures: Sequence[Figure], overwrite: bool = False
) -> None:
    """Write the page, the JSON, the tables and every figure as PNG: all of them, or none.

    Raises
    ------
    OutputError
        If one of them is there and ``overwrite`` is off.
    """
    listed = [{"file": f"{f.name}.png", "caption": f.caption} for f in figures]
    text = json.dumps(rounded({**results, "figures": listed}), indent=1, allow_nan=False)
    contents = {
        folder / HTML: to_html(results, figures).encode(),
        folder / JSON: (text + "\n").encode(),
        folder / MARKDOWN: to_markdown(results).encode(),
        **{folder / f"{f.name}.png": f.png for f in figures},
    }
    writers = {
        path: (lambda stream, data=data: stream.write(data)) for path, data in contents.items()
    }
    write_whole(writers, overwrite=overwrite)


def rounded(value: Any) -> Any:
    """JSON-ready values with floats to `DIGITS` digits; what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(k): rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    if isinstance(value, float):
        short = float(f"{value:.{DIGITS}g}")
        return short if abs(short) < float("inf") else None
    return value


def to_html(results: Mapping[str, Any], figures: Sequence[Figure]) -> str:
    """The whole page."""

    def drawn(section: str) -> list[str]:
        return [page.figure(f.png, f.caption) for f in figures if f.section == section]

    source = results["provenance"]
    body = [
        page.paragraph(
            f"Bundle {source['bundle']['name']}, {source['date']}. {_scans(source['settings'])} "
            "Research software, not a medical device."
        )
    ]
    if source["settings"]["quick"]:
        body.append(page.paragraph("A quick run on a slab: not figures to quote.", "note"))
    body += _claims(results["claims"])
    body += [*_scores(results["scores"]), *_by_subject(results["scores"]), *drawn("scores")]
    body += [*_gates(results["gates"]), *drawn("experts")]
    body += [*_lesions(results["lesions"], results["lesion_sets"]), *drawn("lesions")]
    body += [*_consistency(results["consistency"]), *_steps(results["steps"])]
    body += _provenance(source)
    return page.page("moediff-rt: evaluation", body)


def _scans(settings: Mapping[str, Any]) -> str:
    """What was scanned, in a sentence each."""
    given = {
        "subjects": "Simulated scans of subjects that the default bundle's training never saw.",
        "truths": "Simulated scans of truths that were given.",
        "pairs": "Real scans, against their partners of another field strength.",
    }
    return " ".join(sentence for key, sentence in given.items() if settings[key])


def _claims(claims: Rows) -> list[str]:
    rows = [((c["what"], c["target"], c["measured"]), c["met"]) for c in claims]
    met = sum(c["met"] for c in claims)
    return [
        page.heading("What it must show"),
        page.paragraph(f"{met} of {len(claims)} met."),
        page.checklist(("claim", "target", "measured"), rows),
    ]


def _groups(rows: Rows) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["subject"], row["condition"]), []).append(row)
    return groups


# A column: title, value of a row, digits after the point, and 1 if more is better, -1 if less, 0.
Column = tuple[str, Callable[[Mapping[str, Any]], float], int, int]


def _ranked(rows: Rows, columns: Sequence[Column]) -> str:
    """A table of methods with the best of each column in bold."""
    best: dict[tuple[int, int], bool] = {}
    for j, (_, value, digits, sense) in enumerate(columns, start=1):
        values = [round(value(row), digits) for row in rows]
        top = max(sense * v for v in values)
        best |= {(i, j): bool(sense) and sense * v == top for i, v in enumerate(values)}
    cells = [[row["method"], *(f"{v(row):.{d}f}" for _, v, d, _ in columns)] for row in rows]
    return page.table(["method", *(c[0] for c in columns)], cells, best=best, ours=OURS)


def _metric(mask: str, metric: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda row: row["masks"][mask][metric]


def _scores(scores: Rows) -> list[str]:
    parts = [
        page.heading("Image quality"),
        page.paragraph(
            "Against the truth. PSNR in dB and its gain over cubic B-spline; SSIM and "
            "HaarPSI are 1, HFEN is 0 for equal images. In the brain, if nothing else is said; "
            "inner: deeper than 3 voxels in it; the regions are the experts' soft masks. Every "
            "figure in every mask is in the JSON."
        ),
    ]
    for (subject, condition), rows in _groups(scores).items():
        cubic = next(row for row in rows if row["method"] == CUBIC)["masks"]["brain"]["psnr"]
        columns: list[Column] = [
            ("PSNR", _metric("brain", "psnr"), 2, 1),
            ("gain", lambda row, c=cubic: row["masks"]["brain"]["psnr"] - c, 2, 1),
            ("SSIM", _metric("brain", "ssim"), 4, 1),
            ("MS-SSIM, head", _metric("head", "ms_ssim"), 4, 1),
            ("HFEN", _metric("brain", "hfen"), 4, -1),
            ("HaarPSI", _metric("brain", "haarpsi"), 4, 1),
            ("PSNR: head", _metric("head", "psnr"), 2, 1),
            ("inner", _metric("inner_brain", "psnr"), 2, 1),
            ("deep white", _metric("centrum_semiovale", "psnr"), 2, 1),
            ("cortex", _metric("cortex", "psnr"), 2, 1),
            ("junction", _metric("junction", "psnr"), 2, 1),
            ("seconds", lambda row: row["seconds"], 1, 0),
        ]
        parts += [page.heading(f"{subject}: {condition}", 3), _ranked(rows, columns)]
    return parts


def _by_subject(scores: Rows) -> list[str]:
    """The first condition's gains side by side: how they depend on the truth."""
    groups = [rows for (_, c), rows in _groups(scores).items() if c == scores[0]["condition"]]
    if len(groups) < 2:
        return []
    cells = []
    for rows in groups:
        psnr = {row["method"]: row["masks"]["brain"]["psnr"] for row in rows}
        gains = [f"{value - psnr[CUBIC]:+.2f}" for value in psnr.values()]
        cells.append([rows[0]["subject"], f"{psnr[CUBIC]:.2f}", *gains])
    methods = [row["method"] for row in groups[0]]
    return [
        page.heading(f"By subject: {scores[0]['condition']}", 3),
        page.paragraph("Gain in PSNR over cubic B-spline, brain, on each subject."),
        page.table(["subject", "cubic, dB", *methods], cells),
    ]


def _gates(tables: Rows) -> list[str]:
    if not tables:
        return []
    parts = [
        page.heading("The experts"),
        page.paragraph("Mean gate of each expert in each region; chance is 0.33."),
    ]
    for t in tables:
        rows = [
            [region.replace("_", " "), *(f"{g:.3f}" for g in row)]
            for region, row in zip(t["regions"], t["mean"], strict=True)
        ]
        best = {(i, i + 1): True for i in range(len(rows))}
        columns = ["region", *(f"expert: {name.replace('_', ' ')}" for name in t["experts"])]
        parts += [
            page.heading(f"{t['subject']}: {t['condition']}", 3),
            page.table(columns, rows, best=best),
            page.paragraph(
                f"PSNR in each region of {t['slices']} slices, dB, before data consistency: of the "
                "mixture, and where one expert does all of it."
            ),
            _experts_alone(t),
        ]
    return parts


def _experts_alone(table: Mapping[str, Any]) -> str:
    """The mixture's and each lone expert's PSNR by region, the best expert's in bold."""
    columns = list(table["psnr"])
    rows, best = [], {}
    for i, region in enumerate(table["regions"]):
        values = [table["psnr"][name][i] for name in columns]
        best[i, 1 + values.index(max(values[1:]), 1)] = True
        rows.append([region.replace("_", " "), *(f"{value:.2f}" for value in values)])
    return page.table(["region", *(name.replace("_", " ") for name in columns)], rows, best=best)


def _lesions(rows: Rows, sets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    parts = [page.heading("Lesions")]
    for name, values in sets.items():
        parts.append(
            page.paragraph(
                f"{name}: {values['count']} ellipsoids of {values['semi_axes_mm'][0]:g} to "
                f"{values['semi_axes_mm'][1]:g} mm semi-axis in white matter, intensity "
                f"{values['lesion_level']:.0f} in {values['white_level']:.0f}; segmented below "
                f"{values['threshold']:.0f} for every method. Small: {values['small']} others, of "
                f"{values['small_semi_axes_mm'][0]:g} to {values['small_semi_axes_mm'][1]:g} mm."
            )
        )
    columns: list[Column] = [
        ("contrast to noise", lambda row: row["contrast_to_noise"], 2, 0),
        ("contrast / truth's", lambda row: row["relative_contrast"], 3, 0),
        ("small", lambda row: row["relative_contrast_small"], 3, 0),
        ("Dice", lambda row: row["dice"], 3, 0),
        ("small", lambda row: row["dice_small"], 3, 0),
        ("false, lesion-free brain", lambda row: row["false_lesions"], 0, 0),
        ("false, beside lesions", lambda row: row["false_lesions_beside"], 0, 0),
    ]
    for (subject, condition), group in _groups(rows).items():
        parts += [page.heading(f"{subject}: {condition}", 3), _ranked(group, columns)]
    return parts


def _consistency(rows: Rows) -> list[str]:
    cells = [
        [
            row["method"],
            row["subject"],
            row["condition"],
            f"{row['rms']:.3f}",
            f"{row['largest']:.2f}",
        ]
        for row in rows
    ]
    return [
        page.heading("Data consistency"),
        page.paragraph(
            "|y - |A x|| over the noise's standard deviation: how far the magnitude of the result, "
            "seen as the scan was acquired, is from the scan."
        ),
        page.table(["method", "subject", "condition", "root mean square", "largest"], cells),
    ]


def _steps(rows: Rows) -> list[str]:
    if not rows:
        return []
    cells = [
        [
            f"{row['steps']}{' (default)' if row['steps'] == row['default'] else ''}",
            f"{row['psnr']:.3f}",
            f"{row['ssim']:.4f}",
            f"{row['seconds']:.1f}",
        ]
        for row in rows
    ]
    where = f"On a slab: {rows[0]['subject']}, {rows[0]['condition']}."
    return [
        page.heading("Sampler steps"),
        page.paragraph(where),
        page.table(["steps", "PSNR, brain", "SSIM, brain", "seconds"], cells),
    ]


def _provenance(source: Mapping[str, Any]) -> list[str]:
    rows = [["command", source["command"]], ["date", source["date"]]]
    for group in ("bundle", "settings", "machine", "versions"):
        values = "; ".join(f"{k}: {v}" for k, v in source[group].items())
        rows.append([group, values])
    for name, values in source["comparators"].items():
        rows.append([name, f"{values['path']}, SHA-256 {values['sha256']}"])
    return [page.heading("How this was made"), page.table(["", ""], rows, style="text")]
