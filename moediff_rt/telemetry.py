"""Libraries that report to their makers that they run, kept from it."""

from __future__ import annotations

import sys


def stay_silent() -> None:
    """Call before OpenVINO's Python package, or NNCF, is imported: both report each use.

    What is None in `sys.modules` is not found, and without the package that reports they do not.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
