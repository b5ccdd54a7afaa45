"""Plain HTML: a page, tables, figures. What goes in is escaped here."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1c2127; --faint: #5b6672; --line: #d5dae0;
  --paper: #ffffff; --band: #f4f6f8; --good: #14703a; --bad: #a32a1e; --accent: #a35a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --faint: #98a3af; --line: #333b44;
  --paper: #14181c; --band: #1c2228; --good: #6fd08c; --bad: #ff8f80; --accent: #ffb03b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 74rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0.2rem; }
h2 { font-size: 1.2rem; margin-top: 2.4rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 0.3rem; }
p, figcaption { color: var(--faint); max-width: 60rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 0.4rem 0 1rem; font-size: 0.9rem; }
th, td { padding: 0.25rem 0.7rem; border-bottom: 1px solid var(--line); text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
th { background: var(--band); font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
.text td, .text th { text-align: left; white-space: normal; }
tr.ours td { background: var(--band); }
td.best { font-weight: 700; }
.met { color: var(--good); font-weight: 600; }
.missed { color: var(--bad); font-weight: 600; }
.note { color: var(--accent); }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; border-radius: 4px; }
code { font-size: 0.85em; overflow-wrap: anywhere; }
"""


def page(title: str, body: Sequence[str]) -> str:
    """A whole HTML document that needs no other file."""
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    )
    return head + "\n".join([f"<h1>{escape(title)}</h1>", *body]) + "\n</body>\n</html>\n"


def heading(text: str, level: int = 2) -> str:
    """A heading."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, style: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{style}">{escape(text)}</p>' if style else f"<p>{escape(text)}</p>"


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    best: Mapping[tuple[int, int], bool] | None = None,
    ours: str | None = None,
    style: str = "",
) -> str:
    """A table.

    Parameters
    ----------
    columns : sequence of str
    rows : sequence of sequence of str
    best : mapping of (row, column) to bool, optional
        Cells set in bold.
    ours : str, optional
        First cell of the row that is set off.
    style : str
        "text" for a table of words.
    """
    head = "".join(f"<th>{escape(c)}</th>" for c in columns)
    lines = []
    for i, row in enumerate(rows):
        cells = "".join(
            f'<td class="best">{escape(cell)}</td>'
            if best and best.get((i, j))
            else f"<td>{escape(cell)}</td>"
            for j, cell in enumerate(row)
        )
        lines.append(f'<tr class="ours">{cells}</tr>' if row[0] == ours else f"<tr>{cells}</tr>")
    return (
        f'<div class="scroll"><table class="{style}"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def checklist(columns: Sequence[str], rows: Sequence[tuple[Sequence[str], bool]]) -> str:
    """A table of claims; the last column says whether each is met."""
    head = "".join(f"<th>{escape(c)}</th>" for c in (*columns, ""))
    lines = []
    for cells, met in rows:
        style, word = ("met", "met") if met else ("missed", "not met")
        text = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr>{text}<td class="{style}">{word}</td></tr>')
    return (
        f'<div class="scroll"><table class="text"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def figure(png: bytes, caption: str) -> str:
    """An image inside the page."""
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
