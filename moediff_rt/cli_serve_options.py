"""The options of every server."""

from __future__ import annotations

import argparse

from .cli_options import add_bundle, add_placement, add_sampling

_LAST_PORT = 65535
LOG_LEVELS = ("debug", "info", "warning", "error")


def port_number(text: str) -> int:
    """Take a port's number; 0 stands for any free one."""
    if not text.isdecimal() or int(text) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to {_LAST_PORT}, got {text!r}")
    return int(text)


def add_common(parser: argparse.ArgumentParser, *, port: int) -> None:
    """Add the options that every server has, `room.open_room`'s among them."""
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="H",
        help="address to listen on (default: 127.0.0.1, this computer alone)",
    )
    parser.add_argument(
        "--port", type=port_number, default=port, metavar="N", help=f"port (default: {port})"
    )
    add_sampling(parser)
    add_bundle(parser)
    add_placement(parser)
    parser.add_argument(
        "--metrics-port",
        type=port_number,
        metavar="N",
        help="also serve /metrics (Prometheus) and /health on 127.0.0.1 (default: do not)",
    )
    parser.add_argument(
        "--log-level",
        choices=LOG_LEVELS,
        default="info",
        help="the least that the log on stderr says; debug quotes what peers sent (default: info)",
    )
