"""The errors moediff-rt raises on purpose.

Each message is one line that says what was expected, what was found, the likely cause and the
remedy. The C++ core raises these same classes.
"""

from __future__ import annotations


class MoediffError(Exception):
    """Base of every error that moediff-rt raises on purpose."""


class InputError(MoediffError, ValueError):
    """The scan, array or setting given by the caller cannot be used."""


class BundleError(MoediffError):
    """A bundle is missing, damaged, or of an unknown format."""


class EngineError(MoediffError):
    """An engine could not be built, loaded or run."""


class BackendError(MoediffError):
    """A backend, device or precision is unknown or not available on this computer."""


class OutputError(MoediffError):
    """The result cannot be written where it was asked for."""


class Cancelled(MoediffError):
    """The caller's `cancel` callback asked to stop."""
