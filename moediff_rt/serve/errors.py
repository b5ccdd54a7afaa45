"""Why a connection ends other than as its protocol has it."""

from __future__ import annotations


class PeerGone(Exception):
    """The peer left, or was too slow."""


class Refused(Exception):
    """The peer sent what is not taken; the text, one line, is for it to read."""


class Stopping(Exception):
    """The server was told to stop."""
