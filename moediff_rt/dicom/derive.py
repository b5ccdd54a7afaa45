"""A result as a new series of classic MR images beside its source."""

from __future__ import annotations

import datetime
import hashlib
import math
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from .. import __version__
from ..atomic import FolderWriter, Writer
from ..errors import InputError
from ..grid import LPS_TO_RAS, voxel_sizes
from ..provenance import NOTICE
from .character_set import hold_text
from .files import frame_count, read_header
from .intensity import Stored, decimal, store, window
from .kinds import MR_IMAGE, OURS, words
from .package import pydicom, quiet
from .series import Series
from .template import template_of

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
# UUIDs of this name space make UIDs under 2.25, as DICOM has it for whoever owns no root.
_NAME_SPACE = uuid.UUID("6f0d7f36-5b43-5d0e-9c1e-6f3c0d3f2a71")
_IMPLEMENTATION = f"2.25.{uuid.uuid5(_NAME_SPACE, 'moediff-rt').int}"
_LONG_STRING, _SHORT_TEXT, _LONG_TEXT = 64, 1024, 10240
_FILE_NAME = re.compile(r"[0-9]{5}\.dcm")


@dataclass(frozen=True)
class Derived:
    """A series of results, ready to be written.

    Attributes
    ----------
    uid : str
        Its SeriesInstanceUID, made of all that its images say but when they were made: equal
        results have equal ones, any others have others.
    source : Series
    template : pydicom Dataset
        What all its images say alike.
    stored : Stored
    affine : (4, 4) float64 array
        Index (column, row, slice) to RAS+ world, mm.
    backwards : bool
        Instance numbers fall along the slices, as the source's do.
    """

    uid: str
    source: Series
    template: Any
    stored: Stored
    affine: npt.NDArray[np.float64]
    backwards: bool

    def __len__(self) -> int:
        """Images in it."""
        return int(self.stored.numbers.shape[2])

    def datasets(self) -> Iterator[Any]:
        """Each image as a pydicom Dataset, by instance number."""
        for number in range(1, len(self) + 1):
            yield self.dataset(number)

    def dataset(self, number: int) -> Any:
        """The image with an instance number, from 1."""
        k = len(self) - number if self.backwards else number - 1
        with quiet():
            dataset = pydicom().Dataset()
            dataset.update(self.template)
            dataset.SOPInstanceUID = _uid(self.uid, str(number))
            dataset.file_meta = _file_meta(dataset.SOPInstanceUID)
            dataset.InstanceNumber = str(number)
            position = (LPS_TO_RAS @ self.affine @ [0, 0, k, 1])[:3]
            dataset.ImagePositionPatient = [decimal(x) for x in position.tolist()]
            normal = np.cross(*(np.array(dataset.ImageOrientationPatient).reshape(2, 3)))
            dataset.SliceLocation = decimal(float(position @ normal))
            dataset.SourceImageSequence = _sources(self.source, self.affine, k)
            dataset.PixelData = np.ascontiguousarray(self.stored.numbers[..., k].T).tobytes()
            dataset["PixelData"].VR = "OW"
        return dataset

    def folder(self) -> FolderWriter:
        """Its files by name, for `atomic.write_whole`."""
        return {file_name(number): self._writer(number) for number in range(1, len(self) + 1)}

    def _writer(self, number: int) -> Writer:
        def write(stream: BinaryIO) -> None:
            with quiet():
                self.dataset(number).save_as(stream, enforce_file_format=True)

        return write


def file_name(number: int) -> str:
    """Name of a result's file."""
    return f"{number:05d}.dcm"


def is_result(path: Path) -> bool:
    """Say whether a file is one of an earlier result: by its name, and by what is in it."""
    if not _FILE_NAME.fullmatch(path.name):
        return False
    try:
        return OURS in words(read_header(path, ("ImageType",)).get("ImageType"))
    except InputError:
        return False


def derivation(record: Mapping[str, Any]) -> str:
    """How a result was made, for DerivationDescription, of its sidecar's record."""
    backend, bundle, settings = record["Backend"], record["Bundle"], record["Settings"]
    before, after = (
        " x ".join(f"{size:.4g}" for size in record[key])
        for key in ("InputVoxelSize", "OutputVoxelSize")
    )
    parts = [
        f"MoEDiff-SR by moediff-rt {__version__} from the whole source series, {before} mm to "
        f"{after} mm",
        f"bundle {bundle['Name']} (SHA-256 {bundle['SHA256'][:16]})",
        f"{backend['Name']} {backend['Precision']}",
        f"steps {settings['Steps']}, seed {settings['Seed']}, samples {settings['Samples']}, "
        f"{' and '.join(settings['Planes'])} slices",
        f"data consistency {'on' if settings['DataConsistency'] else 'off'}",
        *(f"corrected for {correction['Name']}" for correction in record["Corrections"]),
    ]
    return f"{'; '.join(parts)}. {NOTICE}"


def derive(
    source: Series,
    data: npt.NDArray[np.float32],
    how: str,
    *,
    created: datetime.datetime | None = None,
) -> Derived:
    """Make a series of a result.

    Parameters
    ----------
    source : Series
    data : (columns, rows, slices) float32 array
        Over the same box as the source's volume, in its unit.
    how : str
        How it was made, in a sentence or two; for DerivationDescription.
    created : datetime, optional
        Default: now, in the local time zone. Written in the source's, where it says one.

    Returns
    -------
    Derived
    """
    shape = data.shape[:3]
    affine = source.scan.grid.resized(shape).affine
    stored = store(data, source.scan.data, whole=source.whole)
    backwards = _numbered_backwards(source)
    with quiet():
        template = template_of([instance.header for instance in source.instances])
        how = hold_text(template, how)
        _describe(template, source, how)
        _describe_grid(template, affine, shape)
        _describe_voxels(template, source, stored, window(data, source.frames))
        slices = [(frame.instance.header.SOPInstanceUID, frame.index) for frame in source.frames]
        said = _said(template), slices, how, affine.tolist(), backwards
        digest = hashlib.sha256(ascii(said).encode())
        for k in range(shape[2]):
            digest.update(stored.numbers[..., k].tobytes(order="F"))
        uid = _uid(source.uid, digest.hexdigest())
        _stamp(template, uid, created or datetime.datetime.now().astimezone())
    return Derived(uid, source, template, stored, affine, backwards)


def _said(dataset: Any) -> list[Any]:
    """What a dataset says, however its file was encoded."""
    return [
        (int(element.tag), list(map(_said, element.value)) if element.VR == "SQ" else element.value)
        for element in dataset
    ]


def _stamp(template: Any, uid: str, created: datetime.datetime) -> None:
    """Name a result, and say when it was made: equal ones may be made at other times."""
    template.SeriesInstanceUID = uid
    created = _in_zone_of(template, created)
    date, time = created.strftime("%Y%m%d"), created.strftime("%H%M%S.%f")
    for what in ("InstanceCreation", "Series", "Content"):
        setattr(template, f"{what}Date", date)
        setattr(template, f"{what}Time", time)
    equipment = template.ContributingEquipmentSequence[-1]
    equipment.ContributionDateTime = created.strftime("%Y%m%d%H%M%S.%f%z")


def _describe(template: Any, source: Series, how: str) -> None:
    header = source.header
    template.SOPClassUID = MR_IMAGE
    template.Modality = "MR"
    template.FrameOfReferenceUID = header.get("FrameOfReferenceUID") or _uid(source.uid, "frame")
    template.SeriesNumber = _series_number(header)
    size = min(voxel_sizes(source.scan.affine))
    suffix = " MoEDiff-SR (research)"
    said = str(header.get("SeriesDescription") or f"{size:.3g} mm")
    template.SeriesDescription = said[: _LONG_STRING - len(suffix)] + suffix
    # Words of enhanced images are of another list.
    kept = words(header.get("ImageType"))[2:] if header.SOPClassUID == MR_IMAGE else []
    template.ImageType = ["DERIVED", "PRIMARY", *(kept or ["M"]), OURS]
    comments = str(header.get("ImageComments") or "")
    template.ImageComments = f"{NOTICE} {comments}".strip()[:_LONG_TEXT]
    template.DerivationDescription = how[:_SHORT_TEXT]
    template.DerivationCodeSequence = [_code("113085", "Spatial resampling")]
    template.ReferencedSeriesSequence = [_referenced_series(source)]
    template.ContributingEquipmentSequence = [
        *(template.get("ContributingEquipmentSequence") or []),
        _equipment(how),
    ]


def _in_zone_of(template: Any, created: datetime.datetime) -> datetime.datetime:
    """The same time in the zone that all of an image's times are said to be in, if one is."""
    try:
        said = datetime.datetime.strptime(str(template.get("TimezoneOffsetFromUTC")), "%z")
    except ValueError:
        return created
    return created.astimezone(said.tzinfo)


def _describe_grid(template: Any, affine: npt.NDArray[np.float64], shape: tuple[int, ...]) -> None:
    # Rounded far below any scanner's precision: 1, not 0.99999999999994.
    sizes = [round(size, 9) for size in voxel_sizes(affine).tolist()]
    directions = (LPS_TO_RAS @ affine)[:3, :2] / voxel_sizes(affine)[:2]
    template.Columns, template.Rows = shape[0], shape[1]
    template.PixelSpacing = [decimal(sizes[1]), decimal(sizes[0])]
    template.SliceThickness = template.SpacingBetweenSlices = decimal(sizes[2])
    template.ImageOrientationPatient = [
        decimal(round(x, 12)) for x in directions.T.ravel().tolist()
    ]


def _describe_voxels(template: Any, source: Series, stored: Stored, shown: tuple[str, str]) -> None:
    template.SamplesPerPixel = 1
    template.PhotometricInterpretation = "MONOCHROME2"
    template.BitsAllocated = template.BitsStored = 16
    template.HighBit = 15
    template.PixelRepresentation = int(stored.numbers.dtype.kind == "i")
    template.RescaleSlope, template.RescaleIntercept = stored.slope, stored.intercept
    template.RescaleType = "US"
    template.WindowCenter, template.WindowWidth = shown
    template.BurnedInAnnotation = "NO"
    lossy = [instance.header for instance in source.instances if _is_lossy(instance.header)]
    template.LossyImageCompression = "01" if lossy else "00"
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if lossy and lossy[0].get(keyword) is not None:
            setattr(template, keyword, lossy[0].get(keyword))


def _is_lossy(header: Any) -> bool:
    """Say whether an image has ever been compressed with loss."""
    return str(header.get("LossyImageCompression") or "00") == "01"


def _series_number(header: Any) -> str | None:
    """A number beside the source's that no scanner gives: 7 becomes 701."""
    try:
        number = 100 * int(header.SeriesNumber) + 1
    except (AttributeError, TypeError, ValueError):
        return None
    return str(number) if abs(number) < 2**31 else None


def _numbered_backwards(source: Series) -> bool:
    numbers = []
    for frame in (source.frames[0], source.frames[-1]):
        try:
            numbers.append(int(frame.instance.header.InstanceNumber))
        except (AttributeError, TypeError, ValueError):
            return False
    return numbers[0] > numbers[1]


def _sources(source: Series, affine: npt.NDArray[np.float64], k: int) -> list[Any]:
    """Items for the source's slices whose slabs this slice's slab lies in."""
    thickness = np.linalg.norm(source.scan.affine[:3, 2])
    here = (np.linalg.inv(source.scan.affine) @ affine @ [0, 0, k, 1])[2]
    half = 0.5 * np.linalg.norm(affine[:3, 2]) / thickness
    last = len(source.frames) - 1
    # Two slabs that only share a face share no voxel.
    first = min(max(math.floor(here - half + 0.5 + 1e-6), 0), last)
    end = min(max(math.ceil(here + half - 0.5 - 1e-6), first), last)
    items: dict[str, Any] = {}
    for frame in source.frames[first : end + 1]:
        uid = str(frame.instance.header.SOPInstanceUID)
        if uid not in items:
            items[uid] = _reference(frame.instance.header)
            items[uid].PurposeOfReferenceCodeSequence = [
                _code("121322", "Source image for image processing operation")
            ]
        if frame_count(frame.instance.header, frame.instance.name) > 1:
            numbers = [*(items[uid].get("ReferencedFrameNumber") or []), frame.index + 1]
            items[uid].ReferencedFrameNumber = numbers
    return list(items.values())


def _referenced_series(source: Series) -> Any:
    item = pydicom().Dataset()
    item.SeriesInstanceUID = source.uid
    item.ReferencedInstanceSequence = [_reference(one.header) for one in source.instances]
    return item


def _reference(header: Any) -> Any:
    item = pydicom().Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return item


def _code(value: str, meaning: str) -> Any:
    item = pydicom().Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _equipment(how: str) -> Any:
    item = pydicom().Dataset()
    item.PurposeOfReferenceCodeSequence = [_code("109102", "Processing Equipment")]
    item.Manufacturer = item.ManufacturerModelName = "moediff-rt"
    item.SoftwareVersions = __version__
    item.ContributionDescription = how[:_SHORT_TEXT]
    return item


def _file_meta(uid: str) -> Any:
    meta = pydicom().dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = MR_IMAGE
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = EXPLICIT_LITTLE_ENDIAN
    meta.ImplementationClassUID = _IMPLEMENTATION
    meta.ImplementationVersionName = f"MOEDIFF_RT_{__version__}"[:16]
    return meta


def _uid(*parts: str) -> str:
    """UID of a name, the same whenever it is asked for."""
    return f"2.25.{uuid.uuid5(_NAME_SPACE, '/'.join(parts)).int}"
