"""Which contrast an image shows, by the names and the echo time that are said of it.

The model knows T1-weighted magnitudes alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..errors import InputError

# T1-weighted scans have short echoes: of spin echo up to about 25 ms, of MPRAGE 2 to 5 ms.
MAX_ECHO_MS = 30.0

# Words of names, split at anything but letters and digits.
_DERIVED = {"map", "maps", "mip", "minip", "loc", "localizer", "localiser", "scout"}
# Without mpr: Siemens names its MPRAGE so, and what is reformatted of any contrast.
_T1 = {"t1", "t1w", "mprage", "mp2rage", "spgr", "fspgr", "bravo", "irfspgr"}
_OTHER = {
    *("t2", "t2w", "t2star", "t2s", "flair", "dwi", "dti", "diff", "diffusion", "adc", "trace"),
    *("fa", "epi", "ep2d", "bold", "fmri", "swi", "qsm", "tof", "angio", "mra", "pd", "pdw"),
    *("asl", "pcasl", "pasl", "perf", "perfusion", "dsc", "cbf", "phase", "fieldmap", "fmap"),
    *("b1", "b0", "csi", "svs", "space", "haste", "trufi", "ciss", "fiesta"),
}


def check_t1(
    own: Iterable[str],
    measurement: Iterable[str],
    image_type: Iterable[str],
    echo_ms: float | None,
) -> None:
    """Refuse what is known not to be T1-weighted; what is not said is allowed.

    Parameters
    ----------
    own, measurement : iterable of str
        Names that an image gives itself, and those of the whole measurement. The former go first.
    image_type : iterable of str
        Its ImageType: goes with its own names, but is no evidence for T1.
    echo_ms : float or None
        Echo time, ms; None where it is not said.

    Raises
    ------
    InputError
        Its text quotes words from this file alone.
    """
    names, whole, kind = _words(own), _words(measurement), _words(image_type)
    if found := (names | whole | kind) & _DERIVED:
        raise not_t1(f"a derived or localizing image ({min(found)!r} in its names)")
    for words, against in ((names, names | kind), (whole, whole)):
        if words & _T1:
            break
        if found := against & _OTHER:
            raise not_t1(f"{min(found)!r} in its names")
    if echo_ms is not None and echo_ms > MAX_ECHO_MS:
        raise not_t1(f"an echo time of {echo_ms:g} ms")


def not_t1(found: str) -> InputError:
    """Say that what was found is none for the model."""
    return InputError(
        f"expected a T1-weighted image, found {found}; the model knows T1 alone "
        "(--any-contrast takes all magnitudes)"
    )


def _words(names: Iterable[str]) -> set[str]:
    return {word for name in names for word in re.split(r"[^a-z0-9]+", name.lower()) if word}
