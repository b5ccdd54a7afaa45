"""Where things are that are not the code: the default bundle, the engine cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def default_bundle() -> Path:
    """Folder of the bundle that ships in the package."""
    return Path(__file__).parent / "bundles" / "edge"


def engines_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Folder of cached engines.

    `$MOEDIFF_RT_CACHE/engines`, else `$XDG_CACHE_HOME/moediff-rt/engines`, else
    `~/.cache/moediff-rt/engines`.

    Examples
    --------
    >>> engines_dir({"MOEDIFF_RT_CACHE": "/var/cache/mdr"}).as_posix()
    '/var/cache/mdr/engines'
    """
    if root := environ.get("MOEDIFF_RT_CACHE"):
        return Path(root) / "engines"
    if root := environ.get("XDG_CACHE_HOME"):
        return Path(root) / "moediff-rt" / "engines"
    return Path.home() / ".cache" / "moediff-rt" / "engines"
