"""`python -m moediff_rt` is the same as the `moediff-rt` command."""

from __future__ import annotations

import sys


def run() -> int:
    """Run the command; Ctrl-C is one line also while its own modules are imported."""
    try:
        from .cli import main

        return main()
    except KeyboardInterrupt:
        sys.stderr.write("moediff-rt: interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(run())
