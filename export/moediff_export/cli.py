"""The command line: ``moediff-export data``, ``train``, ``average``, ``onnx`` and others."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from moediff_rt.errors import MoediffError
from moediff_rt.signals import already, describe_end, signals_raised

from . import __version__
from .arguments import natural, positive
from .config import CONFIGS, get_config
from .errors import CheckpointError, ExportError
from .evaluation.command import add_arguments as add_evaluation_arguments

STOPPED = 130  # as a shell counts Ctrl-C
# What a stopped command leaves, where it is not nothing.
_KEPT = {"train": "what the run saved before is kept"}


def _get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="moediff-export", description="Train MoEDiff-SR, export it as a bundle, evaluate it."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)

    data = commands.add_parser("data", help="make training pairs, as shards")
    data.add_argument("-o", "--output", type=Path, required=True, help="folder of the shards")
    data.add_argument(
        "--pairs", type=int, default=2400, help="simulated slabs (default 2400; 0: none)"
    )
    data.add_argument("--templates", type=Path, help="folder with Colin27 (Debian: mricron-data)")
    data.add_argument(
        "--scan",
        type=Path,
        action="append",
        default=[],
        help="a real scan of isotropic voxels, without skull, for simulated slabs to draw from too",
    )
    data.add_argument(
        "--real",
        type=Path,
        help="BIDS-like folder of real pairs: sub-*/anat/*_3T_T1w.nii.gz and 7T",
    )
    data.add_argument(
        "--n4",
        action="store_true",
        help="real pairs: take the 7T scan's bias field off (needs SimpleITK)",
    )
    data.add_argument(
        "--gradients",
        type=Path,
        metavar="FILE",
        help="simulated slabs: what bends them, a coil's coefficients (Siemens's .grad form); "
        "otherwise coils drawn at random",
    )
    data.add_argument("--painted", type=float, help="share painted from tissue maps (default 0.6)")
    data.add_argument(
        "--extracted", type=float, help="share that shows the extracted brain alone (default 0.15)"
    )
    data.add_argument("--seed", type=natural, help="of the simulated slabs (default 0)")
    data.add_argument(
        "--workers",
        type=positive,
        default=os.cpu_count(),
        help="processes (default: as many as cores)",
    )

    train = commands.add_parser("train", help="train a model; stop and resume at any time")
    train.add_argument("data", type=Path, help="folder of shards")
    train.add_argument(
        "--config", choices=sorted(CONFIGS), default="edge", help="size of the model (default edge)"
    )
    train.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("runs/edge"),
        help="run folder (default runs/edge)",
    )
    train.add_argument("--max-minutes", type=float, required=True, help="budget over all sessions")
    train.add_argument("--max-steps", type=int, help="a budget of steps as well")
    train.add_argument("--resume", action="store_true", help="continue from the run's checkpoint")
    train.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="CHECKPOINT",
        help="begin with a trained model's weights: all parts at once, at a third of the learning "
        "rate; without effect beside --resume",
    )
    train.add_argument(
        "--variant",
        default="mixture",
        metavar="NAME",
        help="mixture (default), or what to compare with: single, unet, uniform_gate and others "
        "(docs/training.md)",
    )
    train.add_argument("--batch", type=int, help="crops a step and process (default 4)")
    train.add_argument("--crop", type=int, help="edge of a crop, pixels (default 128)")
    train.add_argument(
        "--precision",
        help="bf16-mixed (default on a GPU that has it, and on a CPU with AVX-512) or 32-true",
    )
    train.add_argument(
        "--cuda-graphs", action="store_true", help="replay a step's kernels (NVIDIA GPU)"
    )
    train.add_argument("--seed", type=natural, default=0, help="of weights and crops (default 0)")
    train.add_argument("--threads", type=natural, default=0, help="CPU threads (0: all)")

    average = commands.add_parser(
        "average", help="average the weights of runs that began --from one checkpoint, and its own"
    )
    average.add_argument("checkpoints", type=Path, nargs="+", help="checkpoint folders")
    average.add_argument("-o", "--output", type=Path, required=True, help="checkpoint folder")
    average.add_argument("--overwrite", action="store_true")

    curves = commands.add_parser("curves", help="how the gate converged in each run of a folder")
    curves.add_argument("runs", type=Path, help="folder of run folders")
    curves.add_argument("-o", "--output", type=Path, required=True, help="the picture (PNG)")

    onnx = commands.add_parser("onnx", help="export a trained model as a bundle")
    onnx.add_argument("checkpoint", type=Path, help="checkpoint folder of a run")
    onnx.add_argument("-o", "--output", type=Path, required=True, help="the bundle's folder")
    onnx.add_argument("--card", type=Path, help="JSON with description, license and training")
    onnx.add_argument(
        "--report",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        help="report.json of this export's evaluation: its metrics",
    )
    onnx.add_argument(
        "--int8",
        type=Path,
        metavar="SHARDS",
        help="8-bit modules, too, calibrated on the shards of its training (needs NNCF)",
    )
    onnx.add_argument("--steps", type=int, help="the bundle's default steps (the run's own)")
    onnx.add_argument(
        "--planes", type=int, choices=(1, 2, 3), help="the bundle's default planes (the run's own)"
    )
    onnx.add_argument("--overwrite", action="store_true")

    evaluate = commands.add_parser("evaluate", help="measure a bundle on held-out subjects")
    add_evaluation_arguments(evaluate)
    return parser


def _megabytes(paths: Iterable[Path]) -> float:
    """Size of all the files."""
    return sum(path.stat().st_size for path in paths) / 1e6


def _check_data(args: argparse.Namespace) -> None:
    """Refuse what makes nothing, what nothing would come of, and a folder that has shards."""
    if args.pairs < 0 or not (args.pairs or args.real):
        raise ValueError(
            f"data: expected --pairs above 0 or --real, got --pairs {args.pairs}; "
            "there is nothing to make"
        )
    if args.n4 and not args.real:
        raise ValueError(
            "data: expected --n4 with --real alone, found no real pairs; simulated slabs have the "
            "field that they were given; leave it out"
        )
    simulated = ("scan", "painted", "extracted", "gradients", "templates", "seed")
    given = [f"--{name}" for name in simulated if getattr(args, name) not in (None, [])]
    if given and not args.pairs:
        raise ValueError(
            f"data: expected {', '.join(given)} with simulated slabs alone, found --pairs 0; real "
            "pairs are taken as they are; give --pairs above 0, or leave it out"
        )
    if args.output.exists() and any(args.output.glob("*.npz")):
        raise FileExistsError(
            f"data: {args.output} has shards already; give another folder, or remove them"
        )


def _data(args: argparse.Namespace) -> None:
    from moediff_rt.gradients import read_coil

    from .data.bids import find_pairs, load_real_pair
    from .data.pairs import Mixture, simulate_pairs
    from .data.shards import whole_folder, write_shards
    from .data.sources import MRICRON_TEMPLATES, colin27, scan_source

    _check_data(args)
    shares = {k: v for k in ("painted", "extracted") if (v := getattr(args, k)) is not None}
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"data: expected a share of 0 to 1 for --{name}, got {share:g}")
    mixture = Mixture(**shares, coil=read_coil(args.gradients) if args.gradients else None)
    # What may be wrong with somebody's own scans shows before the long part.
    found = find_pairs(args.real) if args.real else []
    sources = [scan_source(path) for path in args.scan]
    if args.pairs:
        sources = colin27(args.templates or MRICRON_TEMPLATES) + sources
    slabs = (slab for low, target in found for slab in load_real_pair(low, target, n4=args.n4))
    drawn = simulate_pairs(sources, range(args.pairs), args.seed or 0, mixture, args.workers)
    progress = tqdm(drawn, total=args.pairs, desc="simulated", unit="pair", disable=not args.pairs)
    with whole_folder(args.output) as making:
        write_shards(slabs, making, prefix="real")
        write_shards(progress, making)
    with already(f"all shards are in {args.output}"):
        paths = list(args.output.glob("*.npz"))
        print(f"{args.output}: {len(paths)} shards, {_megabytes(paths):.0f} MB")


def _train(args: argparse.Namespace) -> int:
    import torch

    from .data.shards import read_shards
    from .training.checkpoint import has_checkpoint, read_checkpoint
    from .training.curves import rewind
    from .training.plan import TrainingPlan
    from .training.trainer import Trainer
    from .training.variants import apply_variant

    if args.threads:
        torch.set_num_threads(args.threads)
    config, losses = apply_variant(args.variant, get_config(args.config))
    if begun := args.output / "checkpoint" if args.resume else args.start:
        _, record = read_checkpoint(begun)  # its attention is its weights' own
        cosines = bool(record.get("config", {}).get("cosine_attention"))
        config = replace(config, cosine_attention=cosines)
    plan = TrainingPlan(
        args.max_minutes,
        args.max_steps,
        cuda_graphs=args.cuda_graphs,
        seed=args.seed,
        losses=losses,
    )
    chosen = {k: v for k in ("batch", "crop", "precision") if (v := getattr(args, k)) is not None}
    pairs = read_shards(args.data, args.output)
    trainer = Trainer(config, replace(plan, **chosen), pairs, args.output)
    if args.resume:
        trainer.resume()
    elif has_checkpoint(trainer.checkpoint):
        raise FileExistsError(
            f"train: {trainer.checkpoint} is there already; "
            "pass --resume to continue it or --output to start another"
        )
    else:
        if args.start:
            trainer.start_from(args.start)
        rewind(args.output, 0)  # the log of a run that never saved
    if trainer.run():
        return 0
    print(f"train: stopped at step {trainer.step}; go on with --resume", file=sys.stderr)
    return STOPPED


def _average(args: argparse.Namespace) -> None:
    from .training.average import write_average

    write_average(args.checkpoints, args.output, overwrite=args.overwrite)
    with already(f"{args.output} is written"):
        size = _megabytes(args.output.iterdir())
        print(f"{args.output}: {len(args.checkpoints)} averaged, {size:.1f} MB")


def _curves(args: argparse.Namespace) -> None:
    from .training.curves import plot_gate_convergence

    drawn = plot_gate_convergence(args.runs, args.output)
    print(f"{args.output}: {', '.join(drawn)}")


def _onnx(args: argparse.Namespace) -> None:
    from .bundle import read_object, write_bundle
    from .model import RegressionUNet
    from .training.checkpoint import load_trained

    model, progress = load_trained(args.checkpoint)
    if isinstance(model, RegressionUNet):
        raise ValueError(
            f"onnx: expected a mixture or a single expert in {args.checkpoint}, found the plain "
            "regression; it is a yardstick and has no bundle"
        )
    if args.steps is not None and args.steps < 1:
        raise ValueError(f"onnx: expected at least one step, got --steps {args.steps}")
    chosen = {k: v for k in ("steps", "planes") if (v := getattr(args, k)) is not None}
    model.config = replace(model.config, **chosen)
    card = {"description": "MoEDiff-SR", "license": "unspecified", "training": {}, "metrics": {}}
    if args.card:
        card |= read_object(args.card)
        if not isinstance(card["training"], dict):
            raise ValueError(
                f"onnx: expected an object as training in {args.card}, found {card['training']!r}; "
                "say what the model was trained on by names, or leave it out"
            )
    card["training"] = {**card["training"], **progress}
    reports = [read_object(path) for path in args.report]
    errors = write_bundle(
        model, args.output, card, overwrite=args.overwrite, reports=reports, calibration=args.int8
    )
    with already(f"{args.output} is written"):
        for name, error in errors.items():
            truth = "float32" if name.endswith("int8") else "PyTorch"
            print(f"{name:16s} relative error against {truth} {error:.1e}")
        print(f"{args.output}: {_megabytes(args.output.iterdir()):.1f} MB")


def _evaluate(args: argparse.Namespace) -> None:
    from .evaluation.command import run_evaluation_cli

    run_evaluation_cli(args)


def main(args: list[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    That is 2 for wrong input, and as shells count a signal: 130 for Ctrl-C, 143 for SIGTERM (130
    for a training that any signal ended, whose checkpoint is kept).
    """
    parsed = _get_parser().parse_args(args)
    commands = {
        "data": _data,
        "train": _train,
        "average": _average,
        "curves": _curves,
        "onnx": _onnx,
        "evaluate": _evaluate,
    }
    run = commands[parsed.command]
    try:
        with signals_raised():
            return run(parsed) or 0
    except KeyboardInterrupt as stop:
        how, kept, code = describe_end(stop)
        kept = _KEPT.get(parsed.command, kept)
        print(f"moediff-export {parsed.command}: {how}; {kept}", file=sys.stderr)
        return code
    except (OSError, ValueError, CheckpointError, ExportError, MoediffError) as error:
        print(f"moediff-export {parsed.command}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
