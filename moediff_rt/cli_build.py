"""`moediff-rt build-engines`: compile a bundle's models ahead of time."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import OutputError
from .session import Session

if TYPE_CHECKING:
    from ._core import EngineReport


def build_engines(options: argparse.Namespace) -> int:
    """Run the command; errors are the caller's to report."""
    with Session(
        options.bundle, options.backend, precision=options.precision, engines_dir=options.output
    ) as session:
        _make_folder(session.engines_dir)
        total = len(session.bundle.modules)
        done: list[str] = []

        def on_engine(engine: EngineReport) -> None:
            done.append(engine.module)
            what = "cached" if engine.cached else f"built in {engine.seconds:.1f} s"
            print(f"[{len(done)}/{total}] {engine.module}: {what}", file=sys.stderr, flush=True)

        model = session.build(force=options.force, on_engine=on_engine)
        rows = [_row(engine) for engine in model.engines]
        header = ("engine", "backend", "device", "precision", "size", "time", "cache")
        print(table([header, *rows]))
        print(f"engines in {session.engines_dir}")
    return 0


def _make_folder(path: Path) -> None:
    """Without a folder the engines would be built and lost."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"expected a folder for the engines, cannot make {path}: {error.strerror}; "
            "choose another with -o"
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write in {path}: no permission; choose another place with -o")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two spaces apart.

    Examples
    --------
    >>> print(table([("engine", "size"), ("gate", "1 MB")]))
    engine  size
    gate    1 MB
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _row(engine: EngineReport) -> tuple[str, ...]:
    return (
        engine.module,
        engine.backend,
        engine.device,
        engine.precision,
        f"{engine.bytes / 1e6:.1f} MB",
        f"{engine.seconds:.2f} s",
        "hit" if engine.cached else f"built: {engine.reason or 'not in the cache'}",
    )
