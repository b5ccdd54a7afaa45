"""`moediff-rt serve`: one sub-command a server, each a thin door to its module in `serve`."""

from __future__ import annotations

import argparse

from .cli_options import OneLineParser
from .cli_serve_dicom import add_dicom
from .cli_serve_options import add_common


def add_serve(parser: argparse.ArgumentParser) -> None:
    """Add the servers and their options; nothing heavy is imported for it."""
    parser.description = (
        "Sharpen what scanner-side software sends. Ends on SIGTERM, after what was begun."
    )
    servers = parser.add_subparsers(
        dest="server", metavar="SERVER", required=True, parser_class=OneLineParser
    )
    _add_mrd(servers.add_parser("mrd", help="MRD (ISMRMRD) stream, as FIRE and OpenRecon send it"))
    add_dicom(servers.add_parser("dicom", help="DICOM storage: series in, results to an archive"))


def _add_mrd(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Take MRD images over TCP, send enhanced ones back. What cannot be enhanced comes back "
        "as it was."
    )
    add_common(parser, port=9002)
    parser.add_argument(
        "--send-originals",
        action="store_true",
        help="send the originals, too, before what was made of them",
    )
    parser.add_argument(
        "--any-contrast",
        action="store_true",
        help="enhance every magnitude image, also where its names or echo time say it is not T1",
    )
    parser.add_argument(
        "--max-connections",
        type=int,
        default=32,
        metavar="N",
        help="peers served at once; more wait (default: 32)",
    )
    parser.add_argument(
        "--hold",
        type=float,
        default=4.0,
        metavar="GB",
        help="memory limit for the images of all peers; one peer may use half of it (default: 4)",
    )
    parser.add_argument(
        "--idle-timeout",
        type=float,
        default=3600.0,
        metavar="S",
        help="how long a peer may say nothing between two messages (default: 3600)",
    )
    parser.add_argument(
        "--stop-after",
        type=float,
        default=60.0,
        metavar="S",
        help="after SIGTERM, how long what was begun may take before the originals are returned "
        "(default: 60)",
    )
    parser.set_defaults(run=_run_mrd)


def _run_mrd(options: argparse.Namespace) -> None:
    from .serve.mrd.server import serve_mrd

    serve_mrd(options)


def serve(options: argparse.Namespace) -> int:
    """Run a server until a signal; errors are the caller's to report.

    `options.run` is the server: its sub-parser sets it to a function of the options.
    """
    options.run(options)
    return 0
