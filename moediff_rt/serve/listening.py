"""What every server checks of its options, who can reach it, and how its sockets are."""

from __future__ import annotations

import argparse
import contextlib
import socket
from typing import TYPE_CHECKING

from ..errors import InputError
from .logs import Log

if TYPE_CHECKING:
    from .room import Room

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Of every number: seconds, bytes and counts up to it are what the system can still count.
MOST = 1e9
_BACKLOG = 64
_DEAD_AFTER = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


def check_numbers(options: argparse.Namespace, **least: float) -> None:
    """Refuse options below what they may be at least, or above `MOST`; None is not there.

    Raises
    ------
    InputError

    Examples
    --------
    >>> check_numbers(argparse.Namespace(hold=0.0), hold=0.01)
    Traceback (most recent call last):
    moediff_rt.errors.InputError: expected from 0.01 to 1e+09 for --hold, got 0; leave it out for \
the default
    """
    for name, lowest in least.items():
        value = getattr(options, name)
        # This way round not a number is refused, too.
        if value is not None and not lowest <= value <= MOST:
            raise InputError(
                f"expected from {lowest:g} to {MOST:g} for --{name.replace('_', '-')}, got "
                f"{value:g}; leave it out for the default"
            )


def bind(host: str, port: int) -> socket.socket:
    """Take an address of any family, on IPv4 where a name has both, for `listen`.

    Until then peers that connect are refused.

    Raises
    ------
    InputError
        The address cannot be listened on.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        families = [family for family, *_rest in found]
        family = socket.AF_INET if socket.AF_INET in families else families[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            # Of a server that has ended, connections may still be on their way out.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((host, port))
        except BaseException:
            bound.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        raise _cannot_listen(host, port, error) from error
    return bound


def listen(bound: socket.socket) -> None:
    """Let peers connect.

    Raises
    ------
    InputError
        Another server has bound the same address meanwhile, and listens.
    """
    try:
        bound.listen(_BACKLOG)
    except OSError as error:
        host, port, *_rest = bound.getsockname()
        raise _cannot_listen(host, port, error) from error


def _cannot_listen(host: str, port: int, error: Exception) -> InputError:
    return InputError(
        f"expected an address to listen on, got {host}:{port} ({error}); "
        "is another server running there? Choose another --host or --port"
    )


def say_listening(room: Room, log: Log, protocol: str, host: str, port: int) -> None:
    """Tell `/health`, and log where a server listens: a warning where other computers reach it."""
    room.listening.set()
    if host not in _LOOPBACK:
        log.warning(
            f"others can reach this server: {protocol} has no encryption and asks for no password",
            host=host,
        )
    log.info("listening", host=host, port=port)


def ready_for_messages(connection: socket.socket) -> None:
    """Let a socket send each message at once, and find out when its peer is dead."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _DEAD_AFTER:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
