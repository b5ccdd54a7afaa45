"""The command line: ``moediff-export train``, ``onnx`` and ``evaluate``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from moediff_rt.errors import MoediffError

from . import __version__
from .config import CONFIGS, get_config
from .errors import CheckpointError, ExportError


def _get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="moediff-export", description="Train MoEDiff-SR, export it as a bundle, evaluate it."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="train a model; stop and resume at any time")
    train.add_argument("--config", choices=sorted(CONFIGS), default="edge")
    train.add_argument("--run", type=Path, default=Path("runs/edge"), help="run folder")
    train.add_argument("--max-minutes", type=float, required=True, help="budget over all sessions")
    train.add_argument("--data", type=Path, help="folder with Colin27 (mricron-data's templates)")
    train.add_argument("--resume", action="store_true", help="continue from the run's checkpoint")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--threads", type=int, default=0, help="CPU threads (0: all)")

    onnx = commands.add_parser("onnx", help="export a trained model as a bundle")
    onnx.add_argument("checkpoint", type=Path, help="checkpoint.pt of a run")
    onnx.add_argument("-o", "--output", type=Path, required=True, help="the bundle's folder")
    onnx.add_argument("--card", type=Path, help="JSON with description, license, training, metrics")
    onnx.add_argument("--steps", type=int, help="the bundle's default steps (the run's own)")
    onnx.add_argument("--overwrite", action="store_true")

    evaluate = commands.add_parser("evaluate", help="PSNR and SSIM on held-out MNI152")
    evaluate.add_argument("--bundle", type=Path, help="bundle folder (the default bundle)")
    evaluate.add_argument("--noise", type=float, nargs="+", default=[1.0, 3.0], help="percent")
    evaluate.add_argument("--factor", type=float, default=2.0, help="k-space crop on every axis")
    evaluate.add_argument("--steps", type=int, help="expert evaluations (the bundle's default)")
    evaluate.add_argument("--seed", type=int, default=0)
    return parser


def _train(args: argparse.Namespace) -> None:
    import torch

    from .data.sources import MRICRON_TEMPLATES, colin27
    from .training.trainer import Trainer, TrainingPlan

    if args.threads:
        torch.set_num_threads(args.threads)
    plan = TrainingPlan(minutes=args.max_minutes, seed=args.seed)
    trainer = Trainer(
        get_config(args.config), plan, colin27(args.data or MRICRON_TEMPLATES), args.run
    )
    if args.resume:
        trainer.resume()
    elif trainer.checkpoint.exists():
        raise FileExistsError(
            f"train: {trainer.checkpoint} is there already; "
            "pass --resume to continue it or --run to start another"
        )
    trainer.run()


def _onnx(args: argparse.Namespace) -> None:
    from .bundle import write_bundle
    from .training.trainer import load_trained

    model, progress = load_trained(args.checkpoint)
    if args.steps:
        model.config = replace(model.config, steps=args.steps)
    card = {"description": "MoEDiff-SR", "license": "unspecified", "training": {}, "metrics": {}}
    if args.card:
        card |= json.loads(args.card.read_text())
    card["training"] = {**card["training"], **progress}
    errors = write_bundle(model, args.output, card, overwrite=args.overwrite)
    for name, error in errors.items():
        print(f"{name:12s} relative error against PyTorch {error:.1e}")
    size = sum(path.stat().st_size for path in args.output.iterdir())
    print(f"{args.output}: {size / 1e6:.1f} MB")


def _evaluate(args: argparse.Namespace) -> None:
    from .evaluate import evaluate_mni152

    for noise in args.noise:
        scores = evaluate_mni152(
            args.bundle, noise_percent=noise, factor=args.factor, steps=args.steps, seed=args.seed
        )
        print(json.dumps(scores))


def main(args: list[str] | None = None) -> int:
    """Run the command line; returns the exit code (2 for wrong input)."""
    parsed = _get_parser().parse_args(args)
    run = {"train": _train, "onnx": _onnx, "evaluate": _evaluate}[parsed.command]
    try:
        run(parsed)
    except (OSError, ValueError, CheckpointError, ExportError, MoediffError) as error:
        print(f"moediff-export {parsed.command}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
