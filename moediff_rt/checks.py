"""What a scan must be, and one clear line for each way it is not."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .grid import voxel_sizes
from .packing import unpacked

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header, Nifti1Image

MIN_VOXELS_PER_AXIS = 8
MIN_VOXEL_MM = 0.05
MAX_VOXEL_MM = 20.0


def checked_path(
    path: str | os.PathLike[str], what: str, remedy: str = "is a variable not set?"
) -> str:
    """Take a path; InputError where no file can have it.

    `what` is what messages call it, `remedy` what helps against an empty one.
    """
    text = os.fsdecode(path)
    if not text:
        raise InputError(f"expected {what}, got an empty path; {remedy}")
    if "\0" in text:
        raise InputError(f"expected {what}, got a path with a NUL, {text!r}; take the NUL out")
    return text


def check_file(path: Path) -> None:
    """Refuse a path that cannot be a NIfTI file; OSError where it cannot be looked at."""
    if path.is_dir():
        raise InputError(
            f"expected a NIfTI file, {path} is a folder; "
            "give one .nii or .nii.gz file (for DICOM: moediff_rt.dicom.load_series)"
        )
    if not path.exists():
        raise InputError(f"expected a NIfTI file, found nothing at {path}; check the path")
    if not path.is_file():
        raise InputError(
            f"expected a NIfTI file, {path} is a pipe or a device; write the scan to a file first"
        )
    if not path.name.endswith((".nii", ".nii.gz")):
        remedy = "convert it first (DICOM: dcm2niix, others: nibabel)"
        if path.name.lower().endswith((".nii", ".nii.gz")):
            remedy = "rename it with its ending in small letters"
        raise InputError(f"expected a NIfTI file named .nii or .nii.gz, got {path}; {remedy}")
    if path.stat().st_size == 0:
        raise InputError(f"expected a NIfTI file, {path} is empty (0 bytes); copy it again")


def check_packing(path: Path) -> None:
    """Refuse gzip data under a plain name and the reverse."""
    with open(path, "rb") as stream:
        packed_data = stream.read(2) == b"\x1f\x8b"
    if path.suffix != ".gz":
        if packed_data:
            raise InputError(
                f"expected a plain NIfTI file in {path}, found gzip data; "
                "it is a .nii.gz under a wrong name: rename it"
            )
    elif not packed_data:
        raise InputError(
            f"expected gzip data in {path}, found none; "
            "it may be an unpacked .nii under a wrong name: rename it, or copy it again"
        )


def check_raw_header(path: Path, image_class: type[Nifti1Image]) -> None:
    """Refuse what nibabel would repair in silence, or fail on with words of its own."""
    with unpacked(path) as stream:
        header = image_class.header_class.from_fileobj(stream, check=False)
    sizes = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    if not np.all(np.isfinite(sizes)) or np.any(sizes == 0):
        raise InputError(
            f"expected voxel sizes above zero, got {_numbers(sizes)} in {path}; "
            "its header is damaged: set pixdim from the scan protocol, or convert it again"
        )
    first = len(header.binaryblock)
    if path.name.endswith((".nii", ".nii.gz")) and not header["vox_offset"] >= first:
        raise InputError(
            f"expected voxels after the header of {first} bytes, vox_offset says byte "
            f"{float(header['vox_offset']):g} in {path}; its header is damaged: convert it again"
        )
    header.check_fix()
    check_qform(str(path), header)


def check_length(path: Path, image: Nifti1Image) -> None:
    """Refuse a header that promises more voxels than the file can hold, before reserving them."""
    voxels = math.prod(int(n) for n in image.shape)
    needed = voxels * image.get_data_dtype().itemsize
    size = path.stat().st_size
    # gzip packs at most 1032:1.
    if needed > (size * 1032 if path.suffix == ".gz" else size):
        raise InputError(
            f"expected {needed} bytes of voxels for shape {tuple(image.shape)}, {path} holds fewer "
            f"(file size {size} bytes); it is truncated or damaged: copy or convert it again"
        )


def usable_qform(header: Nifti1Header) -> npt.NDArray[np.float64] | None:
    """Affine of the qform in the header's unit; None where its quaternion gives none."""
    try:
        qform = header.get_qform()
    except ValueError:  # nibabel: b, c and d are longer than a unit quaternion
        return None
    return np.asarray(qform, dtype=np.float64) if np.all(np.isfinite(qform)) else None


def check_qform(name: str, header: Nifti1Header) -> None:
    """Refuse a quaternion that is no rotation, where it alone says how the scan lies."""
    needed = int(header["sform_code"]) <= 0 < int(header["qform_code"])
    if needed and usable_qform(header) is None:
        parts = [float(header[f"quatern_{axis}"]) for axis in "bcd"]
        raise InputError(
            f"expected a unit quaternion in the qform of {name}, found b, c, d = "
            f"{', '.join(f'{part:.9g}' for part in parts)} (b²+c²+d² = "
            f"{math.fsum(part * part for part in parts):.9g}); a converter's rounding? "
            "Set the sform too, or write the header again with another converter"
        )


def check_kind(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Refuse voxels that are not real numbers, and shapes that are not a 3-D volume."""
    if dtype.kind == "V":
        raise InputError(
            f"expected a scan of one value per voxel, got RGB colours in {name}; "
            "it is a picture of a scan: use the scan it was made from"
        )
    if dtype.kind not in "biufc":
        raise InputError(
            f"expected numbers as voxel values, got {dtype} in {name}; "
            "convert them first, for example with numpy.asarray(values, dtype=float)"
        )
    if dtype.kind == "c":
        raise InputError(
            f"expected real voxel values, got complex ones in {name}; "
            "take the magnitude first, for example numpy.abs"
        )
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        raise InputError(
            f"expected a 3-D volume, got shape {shape} in {name}; "
            + (
                "a time series or several contrasts? Extract one volume first"
                if len(shape) > 3
                else "a single slice? Give the whole volume"
            )
        )
    if min(shape[:3]) < MIN_VOXELS_PER_AXIS:
        raise InputError(
            f"expected at least {MIN_VOXELS_PER_AXIS} voxels along each axis, got shape "
            f"{shape[:3]} in {name}; a localizer or a cut-out? Give the whole volume"
        )


def check_geometry(
    name: str, affine: npt.NDArray[np.float64], pixdim: npt.NDArray[np.float64]
) -> None:
    """Refuse affines (mm) and header voxel sizes (mm) that no scanner makes."""
    sizes = voxel_sizes(affine)
    if not np.all(np.isfinite(affine)):
        raise InputError(
            f"expected finite numbers in the affine of {name}, found NaN or infinity; "
            "its header is damaged: convert it again"
        )
    for found in (sizes, pixdim):
        if np.any(found < MIN_VOXEL_MM) or np.any(found > MAX_VOXEL_MM):
            raise InputError(
                f"expected voxel sizes from {MIN_VOXEL_MM:g} to {MAX_VOXEL_MM:g} mm, got "
                f"{_numbers(found)} mm in {name}; a wrong unit or a damaged header? "
                "Correct pixdim, sform or xyzt_units"
            )
    if abs(np.linalg.det(affine[:3, :3] / sizes)) < 0.1:
        raise InputError(
            f"expected three independent axes in the affine of {name}, found a singular one; "
            "its header is damaged: convert it again"
        )


def check_values(name: str, data: npt.NDArray[np.float32], original: npt.ArrayLike) -> None:
    """Refuse values that are not finite, not above zero anywhere, or all the same.

    `original` is `data` before it was made float32: looked at to tell an overflow from infinity.
    """
    low, high = float(data.min()), float(data.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        count = int(data.size - np.count_nonzero(np.isfinite(data)))
        too_large = count - int(np.count_nonzero(~np.isfinite(np.asarray(original))))
        if too_large > 0:
            raise InputError(
                f"expected voxel values up to {np.finfo(np.float32).max:.2g}, which float32 "
                f"holds, found {too_large} beyond in {name}; "
                "a wrong slope or a damaged file? Correct it, or divide the values first"
            )
        raise InputError(
            f"expected finite voxel values, found {count} NaN or infinite of {data.size} in "
            f"{name}; a masked or failed reconstruction? Replace them, as numpy.nan_to_num does"
        )
    if low == high:
        what = "all voxels are zero" if low == 0 else f"all voxels are {low:g}"
        raise InputError(
            f"expected a scan with contrast, {what} in {name}; "
            "an empty export or a mask? Check the file in a viewer"
        )
    if high <= 0:
        raise InputError(
            f"expected voxel values above zero, the largest is {high:g} in {name}; "
            "a wrong scl_slope? Correct it, or give the magnitude image"
        )


def unreadable(path: Path, error: Exception) -> InputError:
    """Say why a file cannot be read."""
    if isinstance(error, PermissionError):
        return InputError(
            f"expected a readable file, found no permission to read {path}; "
            "ask its owner, or change its mode (chmod)"
        )
    if isinstance(error, OSError) and error.errno is not None:
        return InputError(
            f"expected a readable file, {path} cannot be read: {error.strerror}; "
            "check the path and the disk it is on"
        )
    detail = " ".join(str(error).split()) or type(error).__name__
    return InputError(
        f"expected a whole NIfTI file, {path} cannot be read to its end ({detail}); "
        "it is truncated or damaged: copy or convert it again"
    )


def _numbers(values: npt.ArrayLike) -> str:
    return " x ".join(f"{value:g}" for value in np.asarray(values, dtype=np.float64))
