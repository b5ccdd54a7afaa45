"""`moediff-rt build-engines`: compile a bundle's models ahead of time."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from . import cache
from .cli_options import why_backend
from .errors import BackendError, OutputError
from .progress import answer, say
from .session import Session

if TYPE_CHECKING:
    from ._core import EngineReport
    from .tensorrt.engines import BuiltEngine

    Report = EngineReport | BuiltEngine

_HEADER = ("engine", "backend", "device", "precision", "size", "time", "cache")

# Seconds between two lines about an engine under way.
_EVERY, _EVERY_ON_TERMINAL = 10.0, 0.2


def build_engines(options: argparse.Namespace) -> int:
    """Run the command; errors are the caller's to report."""
    from .tensorrt.package import BACKENDS

    folder = Path(cache.engines_path(options.output))
    build = _build_tensorrt if options.backend in BACKENDS else _build_here
    built = build(options, folder)
    rows = table(built.rows)
    if lost := _why_lost(built.engines, folder):
        say(rows, sys.stdout)
        raise OutputError(lost)
    where = f"engines in {folder}"
    answer(f"{rows}\n{where}", where)
    return 0


@dataclass(frozen=True)
class _Built:
    """What a build gave: a report of each engine, and the rows of their table."""

    engines: Sequence[Report]
    rows: Sequence[Sequence[str]]


def _why_lost(engines: Sequence[Report], folder: Path) -> str:
    """One line on engines that were built and not kept, "" where there are none."""
    lost = [engine.reason.removeprefix("not kept: ") for engine in engines if not engine.path]
    if not lost:
        return ""
    return (
        f"expected to keep {len(engines)} engines in {folder}, {len(lost)} were not kept: "
        f"{lost[0]}; free space, check permissions, or choose another folder with -o"
    )


def _build_here(options: argparse.Namespace, folder: Path) -> _Built:
    """Build the engines of the backend that `infer` uses on this computer."""
    if options.target is not None:
        raise BackendError(
            f"expected no --target for backend {options.backend}, found {options.target}; only "
            "TensorRT for RTX builds for other GPUs; add --backend tensorrt-rtx"
        )
    with Session(
        options.bundle, options.backend, precision=options.precision, engines_dir=folder
    ) as session:
        _make_folder(folder)
        log = BuildLog(sys.stderr, len(session.bundle.modules))
        model = session.build(force=options.force, on_engine=log.done)
        if options.backend == "auto":
            say(why_backend(model.backend), sys.stderr)
        return _Built(model.engines, [_HEADER, *(_row(engine) for engine in model.engines)])


def _build_tensorrt(options: argparse.Namespace, folder: Path) -> _Built:
    """Build the engines for other GPUs, or the one here."""
    from . import _core
    from .tensorrt import engines

    bundle = _core.load_bundle(cache.bundle_path(options.bundle))
    _make_folder(folder)
    log = BuildLog(sys.stderr, len(bundle.modules))
    built = engines.build_engines(
        bundle,
        options.backend,
        folder,
        precision=options.precision,
        targets=options.target,
        force=options.force,
        on_engine=log.done,
        on_building=log.building,
    )
    rows = [(*_row(engine), _error_text(engine)) for engine in built]
    for reason in sorted({engine.unchecked for engine in built if engine.unchecked}):
        say(f"engines were built but not run: {reason}", sys.stderr)
    return _Built(built, [(*_HEADER, "error (limit)"), *rows])


class BuildLog:
    """How far a build is: a line per engine, and for a long one more.

    On a terminal the line of the engine under way changes; elsewhere a new one comes at most every
    ten seconds.

    Parameters
    ----------
    stream : text stream
    total : int
        Engines to come.
    clock : callable
        Seconds that pass.
    """

    def __init__(
        self, stream: TextIO, total: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._total = total
        self._clock = clock
        self._done = 0
        self._told = clock()
        self._open = False

    def building(self, module: str, fraction: float) -> None:
        """Note how far the build of an engine is, from 0 to 1."""
        terminal = self._stream.isatty()
        now = self._clock()
        if now - self._told < (_EVERY_ON_TERMINAL if terminal else _EVERY):
            return
        self._told = now
        line = f"[{self._done + 1}/{self._total}] {module}: {100 * fraction:.0f} %"
        say(line, self._stream, end="\r" if terminal else "\n")
        self._open = terminal

    def done(self, engine: Report) -> None:
        """Note that an engine is there."""
        self._done += 1
        what = "cached" if engine.cached else f"built in {engine.seconds:.1f} s"
        line = f"[{self._done}/{self._total}] {engine.module}: {what}"
        say(line.ljust(40) if self._open else line, self._stream)
        self._told = self._clock()
        self._open = False


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


def _row(engine: Report) -> tuple[str, ...]:
    return (
        engine.module,
        engine.backend,
        engine.device,
        engine.precision,
        f"{engine.bytes / 1e6:.1f} MB",
        f"{engine.seconds:.2f} s",
        "hit" if engine.cached else f"built: {engine.reason or 'not in the cache'}",
    )


def _error_text(engine: BuiltEngine) -> str:
    if engine.error is None:
        return "not run"
    return f"{engine.error:.1e} ({engine.limit:.1e})"
