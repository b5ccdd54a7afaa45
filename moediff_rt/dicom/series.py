"""DICOM series: which are there, the one that is asked for, and its scan."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..acquisition import Acquisition, acquisition_of
from ..checks import check_values
from ..errors import InputError
from ..grid import voxel_sizes
from ..io import MIN_UNSCALED_LEVELS, Scan
from .files import PATIENT, Instance, find_files, frame_count, named_dicom, plain, read_header
from .frames import Frame, frames_of
from .kinds import OURS, READ, check_kind_of, is_standard, sop_class_name, words
from .package import quiet
from .stack import stack_of
from .voxels import read_voxels

_LISTED = (
    "SOPClassUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "Modality",
    "NumberOfFrames",
    "ImageType",
    "Rows",
)
# Without one of these an MR image's header ends early: it would be a series of its own, or none.
_WHOLE = ("SOPClassUID", "SeriesInstanceUID", "Rows")
_NEEDED = ("SOPInstanceUID", "StudyInstanceUID")
# Relative difference of what is the same in two headers, which round.
_ALIKE = 1e-3


@dataclass(frozen=True)
class Listed:
    """A series as a list of them shows it.

    Attributes
    ----------
    uid : str
    number : int or None
    description, modality, kind : str
        `kind` is the SOP class's name.
    images : int
        Frames in all.
    paths : tuple of Path
    readable : bool
        It is of MR images.
    result : bool
        It was made by moediff-rt.
    """

    uid: str
    number: int | None
    description: str
    modality: str
    kind: str
    images: int
    paths: tuple[Path, ...]
    readable: bool
    result: bool

    def __str__(self) -> str:
        number = "" if self.number is None else f"#{self.number} "
        kind = "" if self.readable else f", {self.kind}"
        if self.result:
            kind = ", a result of moediff-rt"
        description = " ".join(plain(self.description).split())
        return f"{number}'{description}' ({self.images} images{kind}, {self.uid})"


@dataclass(frozen=True)
class Series:
    """A series that is one volume.

    Attributes
    ----------
    scan : Scan
        Its voxels, (column, row, slice), and affine; the header is a plain NIfTI one.
    frames : tuple of Frame
        The slices, in the order of the volume.
    instances : tuple of Instance
        The files, in the order of their first slice.
    whole : bool
        Its values are the whole numbers that are stored, over a wide range.
    """

    scan: Scan
    frames: tuple[Frame, ...]
    instances: tuple[Instance, ...]
    whole: bool

    @property
    def header(self) -> Any:
        """The first file's attributes (pydicom Dataset)."""
        return self.instances[0].header

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return str(self.header.SeriesInstanceUID)


def list_series(source: str | os.PathLike[str]) -> list[Listed]:
    """Every series among the DICOM files of a folder, by number.

    Raises
    ------
    InputError
        There is no DICOM file, or one is damaged.
    """
    groups: dict[str, list[tuple[Path, Any]]] = {}
    for path in find_files(source):
        header = read_header(path, _LISTED)
        _check_whole(header, path.name)
        if header.get("SOPClassUID"):
            groups.setdefault(str(header.get("SeriesInstanceUID") or ""), []).append((path, header))
    if not groups:
        raise InputError(
            f"expected DICOM images in {source}, found a directory file or none that says what "
            "it is; give the folder of one MR series"
        )
    found = [_listed(uid, files) for uid, files in groups.items()]
    return sorted(found, key=lambda one: (one.number is None, one.number or 0, one.uid))


def _check_whole(header: Any, name: str) -> None:
    said = (header.get("SOPClassUID"), header.file_meta.get("MediaStorageSOPClassUID"))
    dataset_class, file_class = (str(uid or "") for uid in said)
    # Only a directory has its class in the file meta alone.
    nameless = not dataset_class and not is_standard(file_class)
    cut = nameless and (header.preamble is not None or named_dicom(name))
    if not cut and not {dataset_class, file_class} & set(READ):
        return
    for keyword in _WHOLE:
        if not header.get(keyword):
            raise InputError(
                f"expected {keyword} in {name}, found none; it was probably cut short, or its "
                "header stripped: copy or export it again"
            )


def _listed(uid: str, files: Sequence[tuple[Path, Any]]) -> Listed:
    header = files[0][1]
    try:
        number = None if header.get("SeriesNumber") is None else int(header.SeriesNumber)
    except (TypeError, ValueError):
        number = None
    classes = {str(other.SOPClassUID) for _path, other in files}
    return Listed(
        uid=uid,
        number=number,
        description=str(header.get("SeriesDescription") or ""),
        modality=str(header.get("Modality") or ""),
        kind=sop_class_name(str(header.SOPClassUID)),
        images=sum(frame_count(other, path.name) for path, other in files),
        paths=tuple(path for path, _header in files),
        readable=bool(classes & set(READ)),
        result=all(OURS in words(other.get("ImageType")) for _path, other in files),
    )


def choose_series(
    found: Sequence[Listed], wanted: str | None, source: str | os.PathLike[str]
) -> Listed:
    """Pick a series: the wanted one, or the only one of MR images that is no result of ours.

    Parameters
    ----------
    found : sequence of Listed
    wanted : str or None
        A SeriesInstanceUID or a series number.
    source : path
        Where they are, for messages.

    Raises
    ------
    InputError
        Not exactly one fits.
    """
    if wanted is not None:
        fit = [one for one in found if wanted == one.uid or wanted.lstrip("#") == str(one.number)]
        if len(fit) == 1:
            return fit[0]
        what = "no series" if not fit else f"{len(fit)} series"
        raise InputError(
            f"expected one series {wanted} in {source}, found {what} so named among "
            f"{_list(found)}; give one of these UIDs with --series"
        )
    scans = [one for one in found if one.readable and not one.result]
    if len(scans) == 1:
        return scans[0]
    if not scans:
        raise InputError(
            f"expected a series of MR images in {source}, found {_list(found)}; "
            "give the folder of an MR scan"
        )
    raise InputError(
        f"expected one MR series in {source}, found {len(scans)}: {_list(scans)}; "
        "pick one with --series NUMBER or --series UID"
    )


def _list(found: Sequence[Listed]) -> str:
    shown = ", ".join(map(str, found[:20]))
    return shown + (f" and {len(found) - 20} more" if len(found) > 20 else "")


def load_series(source: str | os.PathLike[str], series: str | None = None) -> Series:
    """Read one MR series.

    Parameters
    ----------
    source : path
        A folder, searched with all its folders, or one DICOM file.
    series : str, optional
        SeriesInstanceUID or series number; needed where there are several of MR images.

    Returns
    -------
    Series

    Raises
    ------
    InputError
        There is no such series, or it is not one volume of grey magnitude MR images, whole and
        with its geometry.

    Examples
    --------
    >>> from moediff_rt import dicom
    >>> series = dicom.load_series("study", series="5")  # doctest: +SKIP
    >>> series.scan.data.shape, series.scan.grid.spacing  # doctest: +SKIP
    ((256, 256, 176), (1.0, 1.0, 1.0))
    """
    with quiet():
        return _load(source, series)


def _load(source: str | os.PathLike[str], series: str | None) -> Series:
    chosen = choose_series(list_series(source), series, source)
    instances = [Instance(path, read_header(path)) for path in chosen.paths]
    check_kind_of(instances)
    _check_identity(instances)
    name = Path(source).resolve().name
    stack = stack_of(frames_of(instances), name)
    data, digest = read_voxels(stack.frames)
    check_values(name, data, data)
    scaling = {(frame.slope, frame.intercept) for frame in stack.frames}
    whole = scaling == {(1.0, 0.0)} and float(np.ptp(data)) >= MIN_UNSCALED_LEVELS
    ordered = tuple({frame.instance.path: frame.instance for frame in stack.frames}.values())
    first = ordered[0].header
    said = acquisition_of(
        first.get("MRAcquisitionType"),
        first.get("ImageType"),
        _common_thickness(stack.frames),
        voxel_sizes(stack.affine).tolist(),
        axis=2,
    )
    scan = _scan(data, stack.affine, source=str(source), sha256=digest, acquisition=said)
    return Series(scan, stack.frames, ordered, whole)


def _common_thickness(frames: Sequence[Frame]) -> float | None:
    """How thick all slices are, mm; None where one differs or does not say it."""
    known = [frame.thickness for frame in frames if frame.thickness is not None]
    alike = len(known) == len(frames) and np.allclose(known, known[0], rtol=_ALIKE)
    return known[0] if alike else None


def _check_identity(instances: Sequence[Instance]) -> None:
    """Refuse files that do not say what they are, or of several studies, frames or patients."""
    for instance in instances:
        for keyword in _NEEDED:
            if not instance.header.get(keyword):
                raise InputError(
                    f"expected {keyword} in {instance.name}, found none; "
                    "its header was stripped: export the series again"
                )
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", *PATIENT):
        if len({str(instance.header.get(keyword, "")) for instance in instances}) > 1:
            raise InputError(
                f"expected one {keyword} in a series, found several among "
                f"{len(instances)} files; files of several scans mixed? Export them again"
            )


def _scan(
    data: Any, affine: Any, *, source: str, sha256: str, acquisition: Acquisition | None
) -> Scan:
    from nibabel.nifti1 import Nifti1Header, Nifti1Image

    header = Nifti1Header()
    header.set_data_shape(data.shape)
    header.set_data_dtype(np.float32)
    header.set_xyzt_units("mm", "sec")
    # DICOM's patient coordinates are those that NIfTI calls the scanner's.
    header.set_qform(affine, code="scanner")
    header.set_sform(affine, code="scanner")
    return Scan(
        data=data,
        affine=affine,
        header=header,
        image_class=Nifti1Image,
        scaled=False,
        source=source,
        sha256=sha256,
        acquisition=acquisition,
    )


def check_uncorrected(series: Series) -> None:
    """Refuse a series whose gradient nonlinearity cannot be corrected any more, or not by ours.

    Raises
    ------
    InputError
    """
    from ..gradients import check_image

    header = series.header
    check_image(header.get("ImageType"), header.get("PatientPosition"))
