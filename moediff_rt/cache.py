"""Where things are that are not the code: the default bundle, the engine cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .checks import checked_path
from .errors import InputError

# A container's user often has neither.
NO_HOME = "found no HOME in the environment and no home of this user"


def default_bundle() -> Path:
    """Folder of the bundle that ships in the package."""
    return Path(__file__).parent / "bundles" / "edge"


def bundle_path(bundle: str | os.PathLike[str] | None) -> str:
    """Path of a bundle as the core takes it; None is the default one.

    Raises
    ------
    InputError
        It is no path that the core can take.
    """
    return path_in_utf8(default_bundle() if bundle is None else bundle, "a bundle folder")


def home_folder() -> Path | None:
    """Home folder of whoever runs this; None where neither HOME nor the user list has one."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def engines_dir(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Folder of cached engines.

    `$MOEDIFF_RT_CACHE/engines`, else `$XDG_CACHE_HOME/moediff-rt/engines`, else
    `~/.cache/moediff-rt/engines`; None where there is no home folder.

    Examples
    --------
    >>> engines_dir({"MOEDIFF_RT_CACHE": "/var/cache/mdr"}).as_posix()
    '/var/cache/mdr/engines'
    """
    if root := environ.get("MOEDIFF_RT_CACHE"):
        return Path(root) / "engines"
    if root := environ.get("XDG_CACHE_HOME"):
        return Path(root) / "moediff-rt" / "engines"
    home = home_folder()
    return home / ".cache" / "moediff-rt" / "engines" if home else None


def engines_path(folder: str | os.PathLike[str] | None = None) -> str:
    """Path of an engine folder as the core takes it; None is `engines_dir()`.

    Raises
    ------
    InputError
        It is no path that the core can take, or there is no home folder for the default.
    """
    folder = engines_dir() if folder is None else folder
    if folder is None:
        raise InputError(
            f"expected a folder to keep engines in, {NO_HOME}; set MOEDIFF_RT_CACHE to a folder"
        )
    return path_in_utf8(folder, "an engine folder (MOEDIFF_RT_CACHE)")


def path_in_utf8(path: str | os.PathLike[str], what: str) -> str:
    """A path as the core takes it; `what` is what messages call it.

    Raises
    ------
    InputError
        It is empty, has a NUL, or is not UTF-8: the core has its paths as text.

    Examples
    --------
    >>> path_in_utf8(Path("/data/edge"), "a bundle folder")
    '/data/edge'
    """
    text = checked_path(path, what, "leave it out for the default")
    try:
        text.encode()
    except UnicodeEncodeError:
        shown = text.encode(errors="backslashreplace").decode()
        raise InputError(
            f"expected {what} whose path is UTF-8, got {shown}; was it named on a computer with "
            "another encoding? Rename it, or give a link to it of another name"
        ) from None
    return text
