"""Scans from NIfTI files, checked, and results back into the input's kind of file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from .acquisition import Acquisition, read_beside
from .atomic import Writer
from .checks import (
    check_file,
    check_geometry,
    check_kind,
    check_length,
    check_packing,
    check_qform,
    check_raw_header,
    check_values,
    checked_path,
    unreadable,
    usable_qform,
)
from .errors import InputError
from .grid import Grid, resized_affine, voxel_sizes
from .packing import packed, read_voxels
from .quiet import quieted

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header, Nifti1Image

# Unscaled integers that span at least this many levels are written back unscaled.
MIN_UNSCALED_LEVELS = 200

_UNIT_MM = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}


@dataclass(frozen=True)
class Scan:
    """One 3-D scan as its file has it.

    Attributes
    ----------
    data : (x, y, z) float32 array
        Voxel values with the file's scaling applied, in the file's own axes.
    affine : (4, 4) float64 array
        Voxel index to RAS+ world, mm (whatever unit the file uses).
    header : nibabel NIfTI header
        A copy of the file's header, extensions included.
    image_class : type
        The nibabel image class the scan came as (NIfTI-1 or 2).
    scaled : bool
        The file stores its values with a slope or an intercept.
    source : str
        The path it was read from, or "" for an image in memory.
    sha256 : str
        SHA-256 of the file's bytes, or "" for an image in memory.
    acquisition : Acquisition or None
        Where the JSON beside the file or DICOM says it.
    """

    data: npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64]
    header: Nifti1Header
    image_class: type[Nifti1Image]
    scaled: bool
    source: str
    sha256: str
    acquisition: Acquisition | None = None

    @property
    def grid(self) -> Grid:
        """The scan's voxel grid, mm."""
        x, y, z = self.data.shape
        return Grid((x, y, z), self.affine)

    @property
    def unit_mm(self) -> float:
        """Length of the header's spatial unit, mm."""
        return _unit_mm(self.header)

    @property
    def name(self) -> str:
        """What messages call this scan: its file name."""
        return Path(self.source).name if self.source else "the image"


def load_scan(path: str | os.PathLike[str]) -> Scan:
    """Read and check a 3-D NIfTI scan (.nii or .nii.gz), and the BIDS sidecar beside it.

    Parameters
    ----------
    path : path
        NIfTI-1 or NIfTI-2, any data type but RGB and complex, either byte order.

    Returns
    -------
    Scan

    Raises
    ------
    InputError
        The file is missing, damaged or not NIfTI, or what it holds is not a usable 3-D scan.
    """
    path = Path(checked_path(path, "a NIfTI file"))
    from nibabel.filebasedimages import ImageFileError
    from nibabel.loadsave import load
    from nibabel.nifti1 import Nifti1Image
    from nibabel.nifti2 import Nifti2Image
    from nibabel.spatialimages import HeaderDataError

    try:
        check_file(path)
        digest = _sha256(path)
        check_packing(path)
        with quieted("nibabel.global"):
            for image_class in (Nifti1Image, Nifti2Image):
                if image_class.path_maybe_image(path)[0]:
                    check_raw_header(path, image_class)
            image = load(path, mmap=False)
    except OSError as error:
        raise unreadable(path, error) from error
    except HeaderDataError as error:
        raise InputError(
            f"expected a sound NIfTI header, found a damaged one in {path} ({error}); "
            "convert it again"
        ) from error
    except ImageFileError as error:
        raise InputError(
            f"expected a NIfTI file (.nii or .nii.gz), {path} is not one; "
            "convert it first (DICOM: dcm2niix, others: nibabel)"
        ) from error
    except InputError:
        raise
    except (ValueError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from error
    if not isinstance(image, Nifti1Image):
        raise InputError(
            f"expected a NIfTI file (.nii or .nii.gz), {path} is {type(image).__name__}; "
            "convert it first, for example with nibabel"
        )
    check_length(path, image)
    return _scan_from(
        image, partial(read_voxels, path, image.dataobj), source=str(path), sha256=digest
    )


def scan_from_image(image: Any) -> Scan:
    """Check a nibabel NIfTI image in memory and take it as a `Scan`.

    Parameters
    ----------
    image : nibabel Nifti1Image, Nifti2Image or their pair classes

    Raises
    ------
    InputError
        It is not a NIfTI image, or not a usable 3-D scan.
    """
    from nibabel.nifti1 import Nifti1Image

    if not isinstance(image, Nifti1Image):
        raise InputError(
            f"expected a path or a nibabel NIfTI image, got {type(image).__name__}; "
            "for an array use Session.enhance(array, spacing)"
        )
    read = partial(image.get_fdata, dtype=np.float32, caching="unchanged")
    return _scan_from(image, read, source=image.get_filename() or "", sha256="")


def as_scan(source: str | os.PathLike[str] | Nifti1Image | Scan) -> Scan:
    """Take a `Scan` from a path, a nibabel image, or itself."""
    if isinstance(source, Scan):
        return source
    if isinstance(source, (str, os.PathLike)):
        return load_scan(source)
    return scan_from_image(source)


def to_image(data: npt.NDArray[Any], affine: npt.NDArray[np.float64], like: Scan) -> Nifti1Image:
    """Put a result into the same kind of image as the scan it came from.

    Keeps the class, byte order, data type on disk, qform and sform codes, units, description and
    header extensions; the new grid's geometry replaces the old. Integers that were stored
    unscaled over a wide range are rounded and clipped; others get a slope when saved.

    Parameters
    ----------
    data : (x, y, z) array
        Values in the scan's own intensity units, on the new grid, in the file's axes.
    affine : (4, 4) array
        Of the new grid, mm.
    like : Scan

    Returns
    -------
    nibabel image of class `like.image_class`
    """
    header = _regridded_header(data.shape, affine, like)
    on_disk = header.get_data_dtype()
    values = _rounded(data, on_disk, like) if on_disk.kind in "iu" else data
    return like.image_class(values, header.get_best_affine(), header)


def to_gate_image(
    gates: npt.NDArray[np.uint8], affine: npt.NDArray[np.float64], like: Scan
) -> Nifti1Image:
    """Put gate maps into a 4-D image of the scan's kind.

    Parameters
    ----------
    gates : (x, y, z, experts) uint8 array
        Expert weights times 255.
    affine : (4, 4) array
        Of the gates' grid, mm.
    like : Scan

    Returns
    -------
    nibabel image of class `like.image_class`
        Its array is `gates` as it is; its header has the slope 1/255, so that whoever reads the
        saved file gets weights in [0, 1].
    """
    header = _map_header(gates, affine, like, b"moediff-rt expert weights")
    image = like.image_class(gates, header.get_best_affine(), header)
    image.header.set_slope_inter(1 / 255, 0.0)
    return image


def to_deviation_image(
    deviation: npt.NDArray[np.float32], affine: npt.NDArray[np.float64], like: Scan
) -> Nifti1Image:
    """Put a standard deviation (x, y, z) into a float32 image of the scan's kind.

    Parameters
    ----------
    deviation : (x, y, z) float32 array
        In the scan's own intensity units.
    affine : (4, 4) array
        Of its grid, mm.
    like : Scan

    Returns
    -------
    nibabel image of class `like.image_class`
    """
    header = _map_header(deviation, affine, like, b"moediff-rt standard deviation")
    return like.image_class(deviation, header.get_best_affine(), header)


def image_writer(image: Nifti1Image, *, compress: bool, threads: int = 0) -> Writer:
    """Make a writer of the image for `atomic.write_whole`; gzip when `compress`.

    Packing takes `threads` threads (0: those of this process, at most 8); equal results are equal
    files, whatever their number.
    """

    def write(stream: BinaryIO) -> None:
        if not compress:
            image.to_stream(cast(io.IOBase, stream))
            return
        with packed(stream, threads) as out:
            image.to_stream(out)

    return write


def record_writer(record: Mapping[str, Any]) -> Writer:
    """Make a writer of the record as JSON for `atomic.write_whole`."""
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"

    def write(stream: BinaryIO) -> None:
        # A file name that is no UTF-8 becomes a JSON escape.
        stream.write(text.encode(errors="backslashreplace"))

    return write


def sidecar_path(path: Path) -> Path:
    """Name the JSON file beside a NIfTI file."""
    return path.with_name(nifti_stem(path) + ".json")


def nifti_stem(path: Path) -> str:
    """File name without .nii or .nii.gz."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _unit_mm(header: Nifti1Header) -> float:
    try:
        unit = header.get_xyzt_units()[0]
    except KeyError:
        return 1.0
    return _UNIT_MM[unit]


def _regridded_header(
    shape: tuple[int, ...], affine: npt.NDArray[np.float64], like: Scan
) -> Nifti1Header:
    """Make the scan's header over a new grid: qform and sform each resized under its own code."""
    header: Nifti1Header = like.header.copy()
    # Slice timing belonged to the slices that were acquired, not to these.
    for field in ("slice_start", "slice_end", "slice_code", "slice_duration"):
        header[field] = 0
    header.set_data_shape(shape)
    old_shape, new_shape = like.data.shape, shape[:3]
    sizes = np.asarray(like.header.get_zooms()[:3], dtype=np.float64)
    zooms = sizes * np.asarray(old_shape) / np.asarray(new_shape)
    header.set_zooms([*zooms, *([1.0] * (len(shape) - 3))])
    world = np.array(affine, dtype=np.float64)
    world[:3] /= like.unit_mm
    if qform_code := int(like.header["qform_code"]):
        qform = usable_qform(like.header)
        if qform is None:
            # Other programs stumble over it too: a valid one instead, marked as not to be used.
            header.set_qform(world, code=0)
        else:
            header.set_qform(resized_affine(qform, old_shape, new_shape), code=qform_code)
    if sform_code := int(like.header["sform_code"]):
        header.set_sform(world, code=sform_code)
    return header


def _map_header(
    values: npt.NDArray[Any], affine: npt.NDArray[np.float64], like: Scan, description: bytes
) -> Nifti1Header:
    """Header for a map of something else than intensity: the values' own type, no extensions."""
    header = _regridded_header(values.shape, affine, like)
    header.extensions.clear()
    header.set_data_dtype(values.dtype)
    header["descrip"] = description
    header["cal_min"] = header["cal_max"] = 0
    return header


def _rounded(data: npt.NDArray[Any], on_disk: np.dtype[Any], like: Scan) -> npt.NDArray[Any]:
    if like.scaled or float(np.ptp(like.data)) < MIN_UNSCALED_LEVELS:
        return data
    limits = np.iinfo(on_disk)
    out = np.empty(data.shape, dtype=on_disk, order="F")
    for k in range(data.shape[2]):
        out[..., k] = np.clip(np.rint(data[..., k].astype(np.float64)), limits.min, limits.max)
    return out


def _scan_from(
    image: Nifti1Image, read: Callable[[], npt.NDArray[np.float32]], *, source: str, sha256: str
) -> Scan:
    name = source or "the image"
    header = image.header
    shape = tuple(int(n) for n in image.shape)
    check_kind(name, header.get_data_dtype(), shape)
    check_qform(name, header)
    # An image made in memory without an affine has only its header's.
    affine = header.get_best_affine() if image.affine is None else image.affine
    affine = np.array(affine, dtype=np.float64)
    affine[:3] *= _unit_mm(header)
    pixdim = np.asarray(header.get_zooms()[:3], dtype=np.float64) * _unit_mm(header)
    check_geometry(name, affine, pixdim)
    try:
        with np.errstate(over="ignore"):
            values = read()
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise unreadable(Path(name), error) from error
    data = np.asfortranarray(np.asarray(values).reshape(shape[:3]))
    check_values(name, data, image.dataobj)
    slope, inter = _scaling(image)
    spacing = voxel_sizes(affine).tolist()
    return Scan(
        data=data,
        affine=affine,
        header=header.copy(),
        image_class=type(image),
        scaled=(slope, inter) != (1.0, 0.0),
        source=source,
        sha256=sha256,
        acquisition=read_beside(sidecar_path(Path(source)), spacing) if source else None,
    )


def _scaling(image: Nifti1Image) -> tuple[float, float]:
    proxy = image.dataobj
    return float(getattr(proxy, "slope", 1.0)), float(getattr(proxy, "inter", 0.0))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
