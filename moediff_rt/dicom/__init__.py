"""DICOM series in, and results out as a derived series beside them.

Needs pydicom: `pip install 'moediff-rt[dicom]'`.

Examples
--------
>>> import moediff_rt
>>> from moediff_rt import dicom
>>> series = dicom.load_series("study", series="5")  # doctest: +SKIP
>>> with moediff_rt.Session() as session:  # doctest: +SKIP
...     result = dicom.enhance(session, series)
>>> dicom.write(result.derived, "study-enhanced")  # doctest: +SKIP
"""

from __future__ import annotations

from .derive import Derived, derive
from .enhance import EnhancedSeries, enhance, write
from .files import is_dicom
from .series import Listed, Series, list_series, load_series

__all__ = [
    "Derived",
    "EnhancedSeries",
    "Listed",
    "Series",
    "derive",
    "enhance",
    "is_dicom",
    "list_series",
    "load_series",
    "write",
]
