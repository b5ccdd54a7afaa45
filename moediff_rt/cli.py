"""The `moediff-rt` command: which command, what it says, its exit code."""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence

from . import __version__
from .cli_options import (
    WRONG_INPUT,
    OneLineParser,
    add_bundle,
    add_placement,
    add_sampling,
)
from .cli_serve import add_serve
from .errors import Cancelled, EngineError, MoediffError
from .progress import Unsaid, say
from .signals import describe_end, signals_raised

FAILED = 1

# What a command leaves when a signal ends it.
_KEPT = {
    "build-engines": "the engines finished before are kept",
    "serve": "what was begun was given up at the second signal",
}


def _get_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="moediff-rt",
        description="T1-weighted brain MRI scan in, sharper scan out. Research software, "
        "not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"moediff-rt {__version__}")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=OneLineParser
    )
    _add_infer(commands.add_parser("infer", help="sharpen one scan"))
    _add_build_engines(
        commands.add_parser("build-engines", help="compile a bundle's models ahead of time")
    )
    _add_info(commands.add_parser("info", help="what is installed, and what can run here"))
    add_serve(commands.add_parser("serve", help="sharpen what scanner-side software sends"))
    return parser


def _add_infer(parser: argparse.ArgumentParser) -> None:
    parser.description = "Sharpen one scan. The input is never changed."
    parser.add_argument(
        "input",
        metavar="INPUT",
        help="3-D T1-weighted scan: NIfTI (.nii or .nii.gz), or a DICOM folder or file of an MR "
        "series",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUTPUT",
        help=".nii or .nii.gz (default: beside the input, *_desc-moediffsr_T1w.nii.gz); for DICOM "
        "a folder (default: beside the input, *_desc-moediffsr)",
    )
    parser.add_argument(
        "--series",
        metavar="S",
        help="DICOM: series number or SeriesInstanceUID, where the folder holds several",
    )
    add_sampling(parser)
    parser.add_argument(
        "--samples",
        type=int,
        default=1,
        metavar="N",
        help="average N results, with slices mirrored in up to four ways, and write their "
        "voxelwise standard deviation as *_desc-uncertainty_T1w.nii.gz (default: 1)",
    )
    add_bundle(parser)
    add_placement(parser)
    parser.add_argument(
        "--gradients",
        metavar="FILE",
        help="first correct gradient nonlinearity, with the coil's coefficients (.grad)",
    )
    parser.add_argument(
        "--n4", action="store_true", help="first correct the bias field (N4; needs SimpleITK)"
    )
    parser.add_argument(
        "--no-data-consistency",
        dest="data_consistency",
        action="store_false",
        help="do not make the result agree with the scan at the scan's resolution",
    )
    parser.add_argument(
        "--acquisition",
        metavar="{2D,3D}",
        help="2D multi-slice or 3D acquisition, where the header does not say (default: "
        "MRAcquisitionType of DICOM or of the JSON beside the scan; else what its spectrum shows)",
    )
    parser.add_argument(
        "--slice-thickness",
        type=float,
        metavar="MM",
        help="slice thickness of a 2D acquisition with gaps or overlap, where the header lacks it "
        "or is wrong (default: SliceThickness of DICOM or of that JSON; else slice distance)",
    )
    parser.add_argument(
        "--save-gates",
        action="store_true",
        help="also write each expert's weight as *_desc-gates_probseg.nii.gz",
    )
    parser.add_argument("--figure", metavar="PNG", help="also draw the scan before and after")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    _add_verbosity(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def _add_build_engines(parser: argparse.ArgumentParser) -> None:
    parser.description = "Compile a bundle's models into the engine cache."
    add_bundle(parser)
    parser.add_argument(
        "--backend",
        default="auto",
        metavar="B",
        help="openvino, tensorrt-rtx or tensorrt (default: auto, what infer would use)",
    )
    parser.add_argument("--precision", default="auto", metavar="P", help="see info (default: auto)")
    parser.add_argument(
        "--target",
        metavar="SM,...",
        help="tensorrt-rtx: GPU generations to build for, such as sm86,sm89,sm120 (default: all "
        "that it knows)",
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="folder for engines (default: the user's cache)"
    )
    parser.add_argument("--force", action="store_true", help="build what is cached, too")


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.description = "Version, backends, default bundle, engine cache."
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def _add_verbosity(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    group.add_argument("-v", "--verbose", action="store_true", help="say more; show tracebacks")


def main(args: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    args : sequence of str, optional
        Default: the process's arguments.

    Returns
    -------
    int
        0; 2 for wrong input, with one line on stderr; 1 for an error of ours; 130 when
        interrupted, 143 when terminated, 129 when the terminal was closed.
    """
    _keep_streams_usable()
    options = _get_parser().parse_args(args)
    verbose = getattr(options, "verbose", False)
    try:
        with signals_raised():
            return _run(options)
    except (KeyboardInterrupt, Cancelled) as stop:
        return _say_stopped(options, stop)
    except EngineError as error:
        return _say(options, str(error), FAILED)
    except MoediffError as error:
        return _say(options, str(error), WRONG_INPUT)
    except BrokenPipeError:
        _drop_stdout()
        return FAILED
    except Unsaid as error:
        _drop_stdout()
        return _say(options, str(error), FAILED)
    except MemoryError:
        return _say(
            options, "out of memory; choose a coarser --spacing or close other programs", FAILED
        )
    except Exception as error:
        if verbose:
            say(traceback.format_exc().rstrip(), sys.stderr)
        hint = "" if verbose or options.command != "infer" else "; -v shows the traceback"
        return _say(options, f"unexpected {type(error).__name__}: {error}{hint}", FAILED)


def _keep_streams_usable() -> None:
    """Let a closed stream or a name the terminal cannot show be no reason to fail."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_stdout() -> None:
    """Keep Python's own flush at the end quiet, too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(options: argparse.Namespace) -> int:
    # Each command's module is imported only when asked for: --help and --version stay fast.
    if options.command == "infer":
        from .cli_infer import infer

        return infer(options)
    if options.command == "build-engines":
        from .cli_build import build_engines

        return build_engines(options)
    if options.command == "serve":
        from .cli_serve import serve

        return serve(options)
    from .cli_info import info

    return info(options)


def _say_stopped(options: argparse.Namespace, stop: BaseException | None) -> int:
    how, kept, code = describe_end(stop)
    return _say(options, f"{how}; {_KEPT.get(options.command, kept)}", code)


def _say(options: argparse.Namespace, message: str, code: int) -> int:
    line = " ".join(message.split())
    say(f"moediff-rt {options.command}: {line}", sys.stderr)
    return code
