"""Gradient nonlinearity: what a gradient coil's spherical harmonics do to an image, and undoing it.

Away from the isocentre a gradient coil's field is not linear, so a voxel at `p` is shown at
`p + d(p)` and its signal spread or squeezed by the Jacobian of that map (Janke et al. 2004).
`d` is the sum of the solid harmonics of degree >= 3 that the vendor measured for the coil: a
polynomial in the coordinates, which is how it is evaluated here.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.polynomial import chebyshev

from .acquisition import said_beside
from .errors import InputError
from .io import Scan, sidecar_path

FloatArray = npt.NDArray[np.float64]

# Scanner axes of a head-first supine patient in RAS+: x and z point the other way.
RAS_TO_SCANNER = np.array([-1.0, 1.0, -1.0])
# NIfTI codes of an affine in the scanner's own coordinates (NIFTI_XFORM_SCANNER_ANAT).
SCANNER_ANATOMICAL = 1
# PatientPosition of who lies as coefficients take it, and words of ImageType that say that the
# scanner has corrected already.
HEAD_FIRST_SUPINE = "HFS"
CORRECTED = ("DIS2D", "DIS3D")
LARGEST_DEGREE = 15
DERIVATIVE_STEP_MM = 0.1

_RADIUS = re.compile(r"(?P<radius>[\d.]+(?:[eE][-+]?\d+)?)\s*m\s*=\s*R0")
_TERM = re.compile(
    r"^\s*\d+\s+(?P<kind>[AB])\s*\(\s*(?P<n>\d+)\s*,\s*(?P<m>\d+)\s*\)"
    r"\s+(?P<value>[-+]?[\d.]+(?:[eE][-+]?\d+)?)\s+(?P<axis>[xyz])\s*$"
)
_LIKE_TERM = re.compile(r"^\s*\d+\s+[AB]\s*\(")


@dataclass(frozen=True)
class GradientCoil:
    """A coil's nonlinearity in the vendors' form.

    Attributes
    ----------
    radius_mm : float
        Reference radius R0 of the expansion, mm.
    terms : mapping of (axis, kind, n, m) to float
        Coefficient of `(r / R0)^n P_nm(cos theta) cos(m phi)` (kind "A") or `sin(m phi)` ("B") in
        the displacement along "x", "y" or "z", in units of R0; degree n, order m.
    sha256 : str
        SHA-256 of the file's bytes, or "" for a coil that comes from none.
    """

    radius_mm: float
    terms: Mapping[tuple[str, str, int, int], float]
    sha256: str = ""

    @property
    def degree(self) -> int:
        """Largest degree of the expansion: `displacement` is a polynomial of this degree."""
        return max((n for _, _, n, _ in self.terms), default=0)

    def displacement(self, points: npt.ArrayLike) -> FloatArray:
        """How far from where they are points are shown.

        Parameters
        ----------
        points : (..., 3) array
            True positions in RAS+ scanner coordinates, mm from the isocentre.

        Returns
        -------
        (..., 3) float64 array, mm, RAS+
        """
        from scipy.special import lpmv

        scanner = np.asarray(points, dtype=np.float64) * RAS_TO_SCANNER
        x, y, z = np.moveaxis(scanner, -1, 0)
        r = np.sqrt(x * x + y * y + z * z)
        cosine = np.divide(z, r, out=np.ones_like(r), where=r > 0)
        phi = np.arctan2(y, x)
        shift = np.zeros_like(scanner)
        for (axis, kind, n, m), value in self.terms.items():
            around = np.cos(m * phi) if kind == "A" else np.sin(m * phi)
            radial = (r / self.radius_mm) ** n
            harmonic = radial * _normalisation(n, m) * lpmv(m, n, cosine) * around
            shift[..., "xyz".index(axis)] += self.radius_mm * value * harmonic
        return np.asarray(shift * RAS_TO_SCANNER)

    def jacobian(self, points: npt.ArrayLike) -> FloatArray:
        """Determinant of the derivative of `p + displacement(p)`; points (..., 3), mm.

        The correction multiplies intensities by it: what the coil squeezes together, it brightens.

        Returns
        -------
        (...) float64 array
        """
        points = np.asarray(points, dtype=np.float64)
        columns = []
        for step in DERIVATIVE_STEP_MM * np.eye(3):
            ahead, behind = self.displacement(points + step), self.displacement(points - step)
            columns.append((ahead - behind) / (2 * DERIVATIVE_STEP_MM))
        return np.asarray(np.linalg.det(np.eye(3) + np.stack(columns, axis=-1)))


def _normalisation(n: int, m: int) -> float:
    """Siemens's factor for P_nm: Schmidt-like for m > 0, and without Condon and Shortley's sign."""
    if m == 0:
        return 1.0
    ratio = (2 * n + 1) * math.factorial(n - m) / (2 * math.factorial(n + m))
    return float((-1) ** m * math.sqrt(ratio))


def read_coil(path: str | os.PathLike[str]) -> GradientCoil:
    """Read a coil's coefficients from a text file in Siemens's `.grad` form.

    A line `0.25 m = R0` gives the reference radius, and one line a term its number, kind, degree,
    order, value and axis, as in `1 A( 3, 0) -0.0913 z`. Other lines are comments. Terms of degree
    1 are the gradient itself and are left out.

    Raises
    ------
    InputError
        The file cannot be read, or has no radius or no terms.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read(1 << 20)
    except OSError as error:
        raise InputError(
            f"expected a text file of gradient coefficients at {path}, it cannot be read "
            f"({error.strerror}); check the path"
        ) from error
    radius = 0.0
    terms: dict[tuple[str, str, int, int], float] = {}
    for number, line in enumerate(data.decode("latin-1").splitlines(), 1):
        try:
            if found := _RADIUS.search(line):
                radius = 1000 * float(found["radius"])
            elif found := _TERM.match(line):
                n, m = int(found["n"]), int(found["m"])
                value = float(found["value"])
                if m > n or n > LARGEST_DEGREE:
                    raise ValueError(f"degree {n}, order {m}")
                if n > 1:
                    terms[found["axis"], found["kind"], n, m] = value
            elif _LIKE_TERM.match(line):
                raise ValueError("none of the form '1 A( 3, 0) -0.09 z'")
        except ValueError as error:
            raise InputError(
                f"expected a harmonic of degree at most {LARGEST_DEGREE}, no larger order and a "
                f"number in line {number} of {path}, got {line.strip()!r} ({error}); is it "
                "damaged, or has it decimal commas? Give the coil's .grad file from the scanner"
            ) from error
    if not 0 < radius < math.inf or not terms:
        missing = "terms such as '1 A( 3, 0) -0.09 z'" if radius else "a line '0.25 m = R0'"
        raise InputError(
            f"expected {missing} in {path}, found none; give the coil's .grad file from the scanner"
        )
    return GradientCoil(radius, terms, hashlib.sha256(data).hexdigest())


def correct_gradients(scan: Scan, coil: GradientCoil) -> tuple[Scan, npt.NDArray[np.float32]]:
    """Put every voxel of a scan back where it belongs, with the signal it has there.

    Parameters
    ----------
    scan : Scan
        Not yet corrected by the scanner, its affine in scanner coordinates. A sidecar beside its
        file is asked: ImageType, NonlinearGradientCorrection and PatientPosition.
    coil : GradientCoil
        Of the scanner that made it.

    Returns
    -------
    Scan
        On the same grid; cubic B-spline interpolation, air beyond the field of view.
    log_jacobian : (x, y, z) float32 array
        Log of the factor that the intensities were multiplied by.

    Raises
    ------
    InputError
        The affine is not in scanner coordinates, the sidecar says that the scanner has corrected
        the scan or that the patient did not lie head first and supine, or the coefficients fold
        the scan over itself.
    """
    if scan.source:
        _check_beside(sidecar_path(Path(scan.source)))
    code = int(scan.header["sform_code"]) or int(scan.header["qform_code"])
    if code != SCANNER_ANATOMICAL:
        raise InputError(
            f"expected a scan in scanner coordinates (sform or qform code 1), got code {code}; "
            "gradient nonlinearity can be corrected only before a scan is registered or reset"
        )
    jacobian = _on_grid(coil.jacobian, 3 * (coil.degree - 1), scan)[..., 0]
    if not jacobian.min() > 0:
        raise InputError(
            "expected gradient coefficients that keep the scan in one piece, these fold it over "
            "itself; are they another scanner's, or is the scan far from the isocentre?"
        )
    shift = _on_grid(coil.displacement, coil.degree, scan)
    data = warp(scan.data, shift @ np.linalg.inv(scan.affine[:3, :3]).T.astype(np.float32))
    return replace(scan, data=data * jacobian), np.log(jacobian)


def check_image(image_type: object, position: object) -> None:
    """Refuse an image that the scanner has corrected, or whose patient lies otherwise.

    Parameters
    ----------
    image_type, position : object
        DICOM's ImageType and PatientPosition, or anything else that stands there.

    Raises
    ------
    InputError
    """
    for word in CORRECTED:
        if isinstance(image_type, Sequence) and word in image_type:
            raise _already(f"{word} in its ImageType")
    if position != HEAD_FIRST_SUPINE:
        raise InputError(
            f"expected PatientPosition {HEAD_FIRST_SUPINE} for gradient coefficients, found "
            f"{repr(position) if position else 'none'}; leave --gradients out"
        )


def _check_beside(sidecar: Path) -> None:
    """Refuse, as `check_image` does, what a sidecar tells of; what it leaves out is let through."""
    said = said_beside(sidecar)
    if said.get("NonlinearGradientCorrection") is True:
        raise _already(f"NonlinearGradientCorrection in {sidecar}")
    check_image(said.get("ImageType"), said.get("PatientPosition") or HEAD_FIRST_SUPINE)


def _already(found: str) -> InputError:
    return InputError(
        f"expected a scan not yet corrected for gradient nonlinearity, found {found}: "
        "the scanner has done it; leave --gradients out"
    )


def warp(data: npt.NDArray[np.float32], shift: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Read a volume (x, y, z) at `index + shift`, shift (x, y, z, 3) in voxels.

    Cubic B-spline, kept within the volume's own range. Voxels are boxes: the outer ones reach half
    a voxel beyond their centres, which they are read at there. Beyond is the volume's minimum.
    """
    from scipy.ndimage import map_coordinates, spline_filter

    smallest, largest = data.min(), data.max()
    coefficients = spline_filter(data - smallest, order=3, output=np.float32, mode="mirror")
    across = np.indices(data.shape[1:], dtype=np.float32)
    out = np.empty_like(data)
    for x in range(len(data)):
        at = [x + shift[x, ..., 0], across[0] + shift[x, ..., 1], across[1] + shift[x, ..., 2]]
        at = [
            np.where((-0.5 <= i) & (i <= n - 0.5), np.clip(i, 0, n - 1), i)
            for i, n in zip(at, data.shape, strict=True)
        ]
        map_coordinates(coefficients, at, out[x], order=3, mode="constant", prefilter=False)
    return np.asarray(np.clip(out + smallest, smallest, largest))


def _on_grid(
    function: Callable[[FloatArray], FloatArray], degree: int, scan: Scan
) -> npt.NDArray[np.float32]:
    """A polynomial of the position, at every voxel: (x, y, z, components).

    Evaluated at (degree + 1)^3 Chebyshev nodes of the scan's box, whence it is known everywhere.
    """
    shape = scan.data.shape
    nodes = chebyshev.chebpts1(degree + 1)
    weights = np.linalg.inv(chebyshev.chebvander(nodes, degree))
    grids = [(nodes + 1) / 2 * n - 0.5 for n in shape]
    index = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1)
    values = function(index @ scan.affine[:3, :3].T + scan.affine[:3, 3])
    values = values.reshape(*values.shape[:3], -1)
    for axis, n in enumerate(shape):
        at = (np.arange(n) + 0.5) / n * 2 - 1
        matrix = chebyshev.chebvander(at, degree) @ weights
        if axis == 2:  # the full size: single precision is ample for a displacement
            values, matrix = values.astype(np.float32), matrix.astype(np.float32)
        values = np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(values, dtype=np.float32)
