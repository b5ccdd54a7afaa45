"""The options of `moediff-rt serve dicom`."""

from __future__ import annotations

import argparse

from .cli_serve_options import add_common


def add_dicom(parser: argparse.ArgumentParser) -> None:
    """Add the DICOM server's options, and what runs it."""
    parser.description = (
        "Take MR series over DICOM (C-STORE), send what is made of each to an archive. What was "
        "received stays on disk until the archive has the result."
    )
    parser.add_argument(
        "--send-to",
        required=True,
        metavar="HOST:PORT:AET",
        help="where results go: the archive's address and AE title",
    )
    parser.add_argument(
        "--aet", default="MOEDIFF", metavar="AET", help="own AE title (default: MOEDIFF)"
    )
    parser.add_argument(
        "--accept-aet",
        action="append",
        default=[],
        metavar="AET",
        help="take series from this AE title alone; may be given several times (default: from all)",
    )
    add_common(parser, port=11112)
    _add_series(parser)
    _add_spool(parser)
    _add_bounds(parser)
    parser.set_defaults(run=_run)


def _add_series(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--quiet-seconds",
        type=float,
        default=30.0,
        metavar="S",
        help="a series is whole when its sender has released the association and nothing more "
        "came for so long; 0: at the release (default: 30)",
    )
    parser.add_argument(
        "--broken-seconds",
        type=float,
        default=600.0,
        metavar="S",
        help="the same for a series whose association was broken off, or is still open, or that "
        "was there when the server was started (default: 600)",
    )
    parser.add_argument(
        "--send-originals",
        action="store_true",
        help="send every series as it came, too, also one that is not enhanced",
    )
    parser.add_argument(
        "--any-contrast",
        action="store_true",
        help="enhance every magnitude series, also where it says that it is no T1 or no head",
    )


def _add_spool(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--spool",
        metavar="DIR",
        help="folder for what is under way (default: ~/.local/state/moediff-rt/spool)",
    )
    parser.add_argument(
        "--spool-limit",
        type=float,
        default=50.0,
        metavar="GB",
        help="instances are refused (0xA700) when the spool takes more (default: 50)",
    )
    parser.add_argument(
        "--keep-refused",
        type=float,
        metavar="DAYS",
        help="remove series that were not enhanced after so long (default: never)",
    )
    parser.add_argument(
        "--retry-most",
        type=float,
        default=300.0,
        metavar="S",
        help="longest wait between two tries to send; the first is of 1 s (default: 300)",
    )


def _add_bounds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-associations",
        type=int,
        default=16,
        metavar="N",
        help="peers served at once; more are rejected (default: 16)",
    )
    parser.add_argument(
        "--max-instance",
        type=float,
        default=1024.0,
        metavar="MB",
        help="largest instance that is taken (default: 1024)",
    )
    parser.add_argument(
        "--hold",
        type=float,
        default=4.0,
        metavar="GB",
        help="memory limit for the instances that all peers have under way; one peer may use half "
        "of it (default: 4)",
    )
    parser.add_argument(
        "--idle-timeout",
        type=float,
        default=60.0,
        metavar="S",
        help="how long a peer may say nothing between two messages (default: 60)",
    )
    parser.add_argument(
        "--stop-after",
        type=float,
        default=60.0,
        metavar="S",
        help="after SIGTERM, how long what was begun may take; the rest is done at the next start "
        "(default: 60)",
    )


def _run(options: argparse.Namespace) -> None:
    from .serve.dicom.server import serve_dicom

    serve_dicom(options)
