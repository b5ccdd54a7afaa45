"""The command line's part of the evaluation: ``moediff-export evaluate``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..arguments import natural
from ..data.subjects import SUBJECTS
from .conditions import CONDITIONS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``moediff-export evaluate``."""
    parser.add_argument("bundle", type=Path, nargs="?", help="bundle folder (the default bundle)")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for the report; made if needed"
    )
    parser.add_argument(
        "--comparator",
        type=named_checkpoint,
        action="append",
        default=[],
        metavar="NAME=CHECKPOINT",
        help="a trained model to compare with; 'single expert' is held against the mixture",
    )
    parser.add_argument(
        "--subject",
        choices=SUBJECTS,
        nargs="+",
        action="extend",
        help="held-out subjects (all; none with --truth or --real)",
    )
    parser.add_argument(
        "--truth",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a sharp scan of your own: it is degraded, enhanced and compared; it is "
        "skull-stripped, or SCAN_T1w.nii.gz has SCAN_desc-brain_mask.nii.gz beside it",
    )
    parser.add_argument(
        "--real",
        type=Path,
        metavar="DIR",
        help="BIDS-like folder of real pairs that trained nothing: their 3T scans are enhanced and "
        "compared with their 7T scans, with brain masks as for --truth",
    )
    parser.add_argument(
        "--n4",
        action="store_true",
        help="real pairs: give the 7T scan the 3T scan's bias field (needs SimpleITK)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="24 slices alone: to compare, not to quote"
    )
    parser.add_argument("--steps", type=int, help="sampler steps (the bundle's own)")
    parser.add_argument("--seed", type=natural, default=0)
    parser.add_argument("--threads", type=natural, default=0, help="CPU threads (0: all)")
    parser.add_argument("--overwrite", action="store_true", help="replace a report that is there")


def named_checkpoint(text: str) -> tuple[str, Path]:
    """Take NAME=CHECKPOINT apart."""
    name, separator, path = text.partition("=")
    if not (separator and name.strip() and path):
        raise argparse.ArgumentTypeError(
            f"expected NAME=CHECKPOINT, got {text!r}; give for example "
            "'single expert=runs/single/checkpoint'"
        )
    return name.strip(), Path(path)


def run_evaluation_cli(args: argparse.Namespace) -> None:
    """Evaluate, and say on standard output where the report is and what was met."""
    from ..data.bids import find_pairs
    from .run import evaluate

    names = [name for name, _ in args.comparator]
    if len(set(names)) < len(names):
        raise ValueError(
            f"evaluate: expected comparators of different names, got {names}; the report would "
            "hold two methods of one name; name one otherwise"
        )
    if args.steps is not None and args.steps < 1:
        raise ValueError(f"evaluate: expected at least one step, got --steps {args.steps}")
    if args.n4 and not args.real:
        raise ValueError(
            "evaluate: expected --n4 with --real alone, found no real pairs; a truth of your own "
            "is taken as it is: take its bias field off before"
        )
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    results = evaluate(
        args.bundle,
        args.output,
        args.subject or ([] if args.truth or args.real else SUBJECTS),
        CONDITIONS,
        dict(args.comparator),
        args.quick,
        truths=args.truth,
        pairs=find_pairs(args.real) if args.real else (),
        n4=args.n4,
        steps=args.steps,
        seed=args.seed,
        threads=args.threads,
        overwrite=args.overwrite,
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    for claim in results["claims"]:
        met = "met    " if claim["met"] else "not met"
        print(f"{met}  {claim['what']}: {claim['measured']} (target: {claim['target']})")
    print(args.output / "report.html")
