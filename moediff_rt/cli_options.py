"""The options that several commands share, and how wrong usage is told."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from .session import Session

WRONG_INPUT = 2
# No computer has as much memory: more GB than this were bytes.
_MOST_GB = 1e6


def not_empty(text: str) -> str:
    """Take any text but none, which an unset variable of a shell gives."""
    if not text:
        raise argparse.ArgumentTypeError(
            "expected a value, got an empty one; is a variable of the shell not set?"
        )
    return text


def gigabytes(text: str) -> float:
    """Take an amount of memory in GB.

    Examples
    --------
    >>> gigabytes("0.5")
    0.5
    """
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not 0 <= amount <= _MOST_GB:
        raise argparse.ArgumentTypeError(
            f"expected from 0 (no limit) to {_MOST_GB:,.0f} GB, got {text!r}; the unit is GB, not "
            "bytes: give for example 8"
        )
    return amount


class OneLineParser(argparse.ArgumentParser):
    """Wrong usage gets one line, like every other wrong input. Text is never empty."""

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        """Add an argument, as `argparse` does."""
        if settings.get("action", "store") in ("store", "append"):
            settings.setdefault("type", not_empty)
        return super().add_argument(*names, **settings)

    def error(self, message: str) -> NoReturn:
        """Say the line and leave."""
        self.exit(WRONG_INPUT, f"{self.prog}: {message}; see {self.prog} --help\n")


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Which model."""
    parser.add_argument("--bundle", metavar="DIR", help="bundle folder (default: the package's)")


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """What is asked of the model."""
    parser.add_argument(
        "--spacing",
        type=float,
        metavar="MM",
        help="edge of the output voxels in mm (default: half the smallest input edge, "
        "not finer than the bundle was trained for)",
    )
    parser.add_argument("--steps", type=int, metavar="N", help="sampler steps (default: bundle's)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="noise seed (default: 0)")
    parser.add_argument(
        "--planes",
        type=int,
        metavar="N",
        help="process slices in N orientations (1 to 3), the coarsest axis first, and average; N "
        "times the run time (default: bundle's where edges are alike, else 1)",
    )


def add_placement(parser: argparse.ArgumentParser) -> None:
    """Where and how the model runs."""
    parser.add_argument("--backend", default="auto", metavar="B", help="see info (default: auto)")
    parser.add_argument("--device", default="auto", metavar="D", help="see info (default: auto)")
    parser.add_argument("--precision", default="auto", metavar="P", help="see info (default: auto)")
    parser.add_argument(
        "--threads", type=int, default=0, metavar="N", help="CPU threads (default: all cores)"
    )
    parser.add_argument(
        "--max-memory",
        type=gigabytes,
        default=0.0,
        metavar="GB",
        help="most that a run may take beside scan and engines; with TensorRT, on the GPU "
        "(default: no limit; nine tenths of what is free there)",
    )


def open_session(options: argparse.Namespace) -> Session:
    """Make the session that `add_bundle` and `add_placement` were answered with."""
    from .session import Session

    return Session(
        options.bundle,
        options.backend,
        options.device,
        options.precision,
        options.threads,
        max_memory=1e9 * options.max_memory,
    )


def why_backend(chosen: str) -> str:
    """One line: which backend "auto" has taken, and why none of those that it tries before."""
    from . import _core

    reasons = []
    for backend in _core.backends():
        if backend.name == chosen:
            break
        reasons.append(f"{backend.name}: {backend.reason}")
    return f"backend {chosen}" + ("; not " + "; not ".join(reasons) if reasons else "")
