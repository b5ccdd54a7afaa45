"""`moediff-rt serve`: one sub-command a server, each a thin door to its module in `serve`."""

from __future__ import annotations

import argparse

from .cli_options import OneLineParser, add_bundle, add_placement, add_sampling

LOG_LEVELS = ("debug", "info", "warning", "error")


def add_serve(parser: argparse.ArgumentParser) -> None:
    """Add the servers and their options; nothing heavy is imported for it."""
    parser.description = (
        "Sharpen what scanner-side software sends. Ends on SIGTERM, after what was begun."
    )
    parser.add_subparsers(
        dest="server", metavar="SERVER", required=True, parser_class=OneLineParser
    )


def add_common(parser: argparse.ArgumentParser, *, port: int) -> None:
    """Add the options that every server has, `room.open_room`'s among them."""
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="H",
        help="address to listen on (default: 127.0.0.1, this computer alone)",
    )
    parser.add_argument(
        "--port", type=int, default=port, metavar="N", help=f"port (default: {port})"
    )
    add_sampling(parser)
    add_bundle(parser)
    add_placement(parser)
    parser.add_argument(
        "--metrics-port",
        type=int,
        metavar="N",
        help="also serve /metrics (Prometheus) and /health on 127.0.0.1 (default: do not)",
    )
    parser.add_argument(
        "--log-level",
        choices=LOG_LEVELS,
        default="info",
        help="the least that the log on stderr says; debug quotes what peers sent (default: info)",
    )


def serve(options: argparse.Namespace) -> int:
    """Run a server until a signal; errors are the caller's to report.

    `options.run` is the server: its sub-parser sets it to a function of the options and the room.
    """
    from .serve.room import open_room

    with open_room(options) as room:
        options.run(options, room)
    return 0
