"""moediff-rt: a T1-weighted brain MRI scan in, a sharper scan out.

Research software, not a medical device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import (
    BackendError,
    BundleError,
    Cancelled,
    EngineError,
    InputError,
    MoediffError,
    OutputError,
)

if TYPE_CHECKING:
    from .acquisition import Acquisition
    from .results import Enhanced
    from .session import Session

__version__ = "0.1.0"

__all__ = [
    "Acquisition",
    "BackendError",
    "BundleError",
    "Cancelled",
    "EngineError",
    "Enhanced",
    "InputError",
    "MoediffError",
    "OutputError",
    "Session",
    "__version__",
]


def __getattr__(name: str) -> Any:
    # Session pulls in numpy and the extension; errors and the version must not wait for them.
    if name in ("Acquisition", "Session", "Enhanced"):
        from . import session

        return getattr(session, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
