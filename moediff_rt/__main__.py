"""`python -m moediff_rt` is the same as the `moediff-rt` command."""

from __future__ import annotations

import sys


def run() -> int:
    """Run the command; Ctrl-C is one line also while its own modules are imported."""
    try:
        from .cli import main

        code = main()
    except KeyboardInterrupt:
        sys.stderr.write("moediff-rt: interrupted\n")
        code = 130
    from .leaving import leave

    return leave(code)


if __name__ == "__main__":
    sys.exit(run())
