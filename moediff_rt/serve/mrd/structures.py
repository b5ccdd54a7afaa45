"""MRD's structures, from the `ismrmrd` package."""

from __future__ import annotations

import warnings

from ...errors import InputError

try:
    with warnings.catch_warnings():
        # Importing ismrmrd changes the whole process's warning filters.
        from ismrmrd.acquisition import AcquisitionHeader
        from ismrmrd.image import ImageHeader
        from ismrmrd.meta import Meta
        from ismrmrd.waveform import WaveformHeader
except ImportError as error:
    raise InputError(
        "expected ismrmrd for the MRD server, it is not installed; pip install 'moediff-rt[mrd]'"
    ) from error

__all__ = ["AcquisitionHeader", "ImageHeader", "Meta", "WaveformHeader"]
