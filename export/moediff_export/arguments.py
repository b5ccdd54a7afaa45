"""Numbers on the command line."""

from __future__ import annotations

import argparse


def natural(text: str) -> int:
    """Take a whole number from 0 on; argparse.ArgumentTypeError for anything else."""
    return _whole(text, 0)


def positive(text: str) -> int:
    """Take a whole number from 1 on; argparse.ArgumentTypeError for anything else."""
    return _whole(text, 1)


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least} on, got {text!r}")
    return value
