"""NVIDIA's Python packages: which is there, which release, what it builds for."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import Any

from ..errors import BackendError

PRECISIONS = ("fp32", "tf32", "fp16", "bf16")

# The releases whose interface this code knows: from the first pair of numbers to before the second.
_MODULES = {
    "tensorrt": ("tensorrt", (10, 2), (12, 0)),
    "tensorrt-rtx": ("tensorrt_rtx", (1, 0), (2, 0)),
}

BACKENDS = tuple(_MODULES)


@dataclass(frozen=True)
class Package:
    """An NVIDIA package that is installed.

    Attributes
    ----------
    backend : str
        "tensorrt" or "tensorrt-rtx".
    version : str
        In full, as the package says.
    trt : module
    """

    backend: str
    version: str
    trt: Any

    @property
    def targets(self) -> tuple[str, ...]:
        """GPU generations it builds for ahead of time, "sm86"; none: for the GPU it runs on."""
        if self.backend != "tensorrt-rtx":
            return ()
        names = list(self.trt.ComputeCapability.__members__)
        return tuple(sorted((n.lower() for n in names if n.startswith("SM")), key=_number))


def find_package(backend: str) -> Package:
    """Import the package of a backend.

    Raises
    ------
    BackendError
        It is not installed, does not load, is of a release that this code does not know, or
        `onnx`, which the graphs are read with, is not installed.
    """
    name, least, below = _MODULES[backend]
    remedy = f"pip install 'moediff-rt[{backend}]'"
    for wanted in (name, "onnx", "ml_dtypes"):
        try:
            importlib.import_module(wanted)
        except ModuleNotFoundError as error:
            if error.name != wanted:
                raise _broken(backend, wanted, error, remedy) from error
            raise BackendError(
                f"{backend}: expected the Python package {wanted}, found none; "
                f"it is an extra that is probably not installed: {remedy}"
            ) from error
        except (ImportError, OSError, RuntimeError) as error:
            raise _broken(backend, wanted, error, remedy) from error
    trt = importlib.import_module(name)
    version = str(getattr(trt, "__version__", "unknown"))
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None or not least <= (int(found[1]), int(found[2])) < below:
        raise BackendError(
            f"{backend}: expected a release from {least[0]}.{least[1]} to before {below[0]} of the "
            f"Python package {name}, found {version}; it was probably installed for another "
            f"program: {remedy}"
        )
    return Package(backend, version, trt)


def _broken(backend: str, name: str, error: Exception, remedy: str) -> BackendError:
    return BackendError(
        f"{backend}: expected the Python package {name} to load, found "
        f"{' '.join(str(error).split())}; its libraries are probably missing or of another "
        f"release: {remedy}"
    )


def check_precision(backend: str, precision: str) -> str:
    """Name of the precision to build in; "auto" is fp16.

    As fast as bf16 and eight times nearer to float32; what would leave its range stays float32.

    Raises
    ------
    BackendError
        It is not one of `PRECISIONS`.
    """
    if precision == "auto":
        return "fp16"
    if precision not in PRECISIONS:
        raise BackendError(
            f"{backend}: expected precision auto or one of {', '.join(PRECISIONS)}, found "
            f"{precision}; probably mistyped; give one of these"
        )
    return precision


def choose_targets(package: Package, wanted: str | None, precision: str) -> tuple[str, ...]:
    """GPU generations to build for.

    Parameters
    ----------
    package : Package
        One that builds ahead of time.
    wanted : str, optional
        Comma-separated, "sm86,sm120"; default: all that the package knows for the precision (its
        engines hold no machine code, so a target more costs next to nothing).
    precision : str
        One of `PRECISIONS`.

    Returns
    -------
    tuple of str
        Each once, from the oldest to the newest.

    Raises
    ------
    BackendError
        A target that the package does not know, or not in this precision.
    """
    # The package refuses bf16 and float32 matrix products for Turing.
    oldest = 75 if precision == "fp16" else 80
    known = tuple(target for target in package.targets if _number(target) >= oldest)
    if wanted is None:
        return known
    names = {name.strip().lower() for name in wanted.split(",")}
    if not names <= set(known):
        raise BackendError(
            f"{package.backend}: expected targets among {', '.join(known)} in {precision}, found "
            f"{wanted!r}; release {package.version} probably does not run on that GPU; give "
            "others, or use --backend tensorrt on the GPU itself"
        )
    return tuple(sorted(names, key=_number))


def _number(target: str) -> int:
    return int(target[2:])
