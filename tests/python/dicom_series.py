"""DICOM series made from a volume: classic and enhanced, as a scanner would write them."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample_T1w.nii.gz"
MR, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
ROOT = "1.2.826.0.1.3680043.10.1.7"
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Axes (column index, row index, slice index) of the three planes, as they point; right-handed.
PLANES = {"axial": "LPS", "sagittal": "PIR", "coronal": "LIP"}


@functools.cache
def sample(size: int = 26) -> nib.Nifti1Image:
    """A corner of the sample scan's head, 2 mm, RAS+."""
    image = nib.as_closest_canonical(nib.load(SAMPLE))
    x, y, z = (n // 2 - size // 2 for n in image.shape)
    return image.slicer[x : x + size + 2, y : y + size + 4, z : z + size]


def volume(plane: str = "axial", tilt: float = 0.0, thicker: int = 1, image=None):
    """Voxels (column, row, slice) and RAS+ affine of the sample seen in a plane.

    `tilt` turns the slices, in radians, about two axes; `thicker` leaves slices out.
    """
    image = sample() if image is None else image
    wanted = nib.orientations.axcodes2ornt(PLANES[plane])
    image = image.as_reoriented(
        nib.orientations.ornt_transform(nib.io_orientation(image.affine), wanted)
    )
    affine = image.affine @ np.diag([1, 1, thicker, 1])
    c, s = np.cos(tilt), np.sin(tilt)
    about_x = np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]])
    about_z = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return np.asarray(image.dataobj)[..., ::thicker], about_x @ about_z @ affine


def _common(name: str) -> Dataset:
    """What classic and enhanced images say alike."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = "20250102"
    ds.StudyTime, ds.SeriesTime = "101500", "102000"
    ds.ContentTime = ds.AcquisitionTime = "102100"
    ds.AccessionNumber = "A1"
    ds.Modality = "MR"
    ds.Manufacturer, ds.ManufacturerModelName = "Scanners Inc", "Tesla 3"
    ds.SoftwareVersions, ds.DeviceSerialNumber = "V1", "4711"
    ds.InstitutionName = "H\u00f4pital"
    ds.ReferringPhysicianName = "Who^Doctor"
    ds.StudyDescription, ds.SeriesDescription = "Head", name
    ds.PatientName, ds.PatientID = "M\u00fcller^J\u00fcrgen", "P-1"
    ds.PatientBirthDate, ds.PatientSex = "19700101", "O"
    ds.PatientAge, ds.PatientWeight = "055Y", "70"
    ds.BodyPartExamined, ds.PatientPosition = "BRAIN", "HFS"
    ds.StudyInstanceUID = f"{ROOT}.1"
    ds.SeriesInstanceUID = f"{ROOT}.{sum(map(ord, name))}"
    ds.FrameOfReferenceUID = f"{ROOT}.9"
    ds.PositionReferenceIndicator = ""
    ds.StudyID, ds.SeriesNumber = "1", "7"
    ds.MagneticFieldStrength = "3"
    ds.ScanningSequence, ds.SequenceVariant = ["GR", "IR"], ["SP", "MP"]
    ds.ScanOptions, ds.MRAcquisitionType = "", "3D"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    return ds


def classic(plane: str = "axial", name: str = "t1 mprage", **options) -> list[Dataset]:
    """A series of classic MR images, one slice each, in the order of the slices."""
    data, affine = volume(plane, **options)
    lps, sizes = LPS @ affine, np.linalg.norm(affine[:3, :3], axis=0)
    images = []
    for k in range(data.shape[2]):
        ds = _common(name)
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = MR
        uid = f"{ds.SeriesInstanceUID}.{k + 1}"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = uid
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
        ds.InstanceNumber, ds.AcquisitionNumber = str(k + 1), "1"
        ds.RepetitionTime, ds.EchoTime, ds.InversionTime = "2300", "2.98", "900"
        ds.EchoTrainLength, ds.FlipAngle, ds.NumberOfAverages = "1", "9", "1"
        ds.EchoNumbers = "1"
        ds.SliceThickness = f"{sizes[2]:.6g}"
        ds.PixelSpacing = [f"{sizes[1]:.8g}", f"{sizes[0]:.8g}"]
        directions = (lps[:3, :2] / sizes[:2]).T.ravel()
        ds.ImageOrientationPatient = [f"{x:.12f}" for x in directions]
        position = lps @ [0, 0, k, 1]
        ds.ImagePositionPatient = [f"{x:.10f}"[:16] for x in position[:3]]
        ds.SliceLocation = f"{np.cross(directions[:3], directions[3:]) @ position[:3]:.8f}"
        ds.Columns, ds.Rows = data.shape[:2]
        ds.WindowCenter, ds.WindowWidth = "400", "900"
        ds.SmallestImagePixelValue, ds.LargestImagePixelValue = 0, 4095
        ds.add_new(0x00290010, "LO", "SIEMENS CSA HEADER")
        ds.add_new(0x00291010, "OB", b"of the source's own slice")
        ds.PixelData = np.ascontiguousarray(data[..., k].T.astype("<u2")).tobytes()
        ds["PixelData"].VR = "OW"
        images.append(ds)
    return images


def enhanced(plane: str = "axial", name: str = "t1 enhanced", **options) -> Dataset:
    """The same as one enhanced multi-frame image, its frames in no order."""
    images = classic(plane, name, **options)
    order = np.random.default_rng(5).permutation(len(images))
    first = images[0]
    ds = _common(name)
    for keyword in ("ScanningSequence", "SequenceVariant", "ScanOptions"):
        del ds[keyword]
    ds.EchoPulseSequence, ds.InversionRecovery = "GRADIENT", "YES"
    ds.SegmentedKSpaceTraversal, ds.SteadyStatePulseSequence = "FULL", "NONE"
    ds.Spoiling, ds.OversamplingPhase = "RF", "NONE"
    ds.file_meta = copy.deepcopy(first.file_meta)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = ENHANCED_MR
    ds.SOPInstanceUID = f"{ds.SeriesInstanceUID}.1"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.InstanceNumber = "1"
    ds.AcquisitionDateTime, ds.AcquisitionDuration = "20250102102100", 300.0
    del ds.AcquisitionDate, ds.AcquisitionTime
    ds.PixelPresentation, ds.ComplexImageComponent = "MONOCHROME", "MAGNITUDE"
    ds.VolumetricProperties, ds.VolumeBasedCalculationTechnique = "VOLUME", "NONE"
    ds.AcquisitionContrast, ds.ResonantNucleus = "T1", "1H"
    ds.Rows, ds.Columns, ds.NumberOfFrames = first.Rows, first.Columns, str(len(images))
    ds.SharedFunctionalGroupsSequence = [_shared_groups(first)]
    ds.PerFrameFunctionalGroupsSequence = [_own_groups(images[i], i) for i in order]
    ds.PixelData = b"".join(images[i].PixelData for i in order)
    ds["PixelData"].VR = "OW"
    return ds


def _item(**attributes) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _shared_groups(first: Dataset) -> Dataset:
    return _item(
        PixelMeasuresSequence=[
            _item(PixelSpacing=first.PixelSpacing, SliceThickness=first.SliceThickness)
        ],
        PlaneOrientationSequence=[_item(ImageOrientationPatient=first.ImageOrientationPatient)],
        MRTimingAndRelatedParametersSequence=[
            _item(RepetitionTime="2300", FlipAngle="9", EchoTrainLength="1")
        ],
        MREchoSequence=[_item(EffectiveEchoTime=2.98)],
        MRModifierSequence=[_item(InversionTimes=[900.0])],
        MRAveragesSequence=[_item(NumberOfAverages="1")],
        MRFOVGeometrySequence=[_item(InPlanePhaseEncodingDirection="COLUMN")],
        PixelValueTransformationSequence=[
            _item(RescaleSlope="0.5", RescaleIntercept="-10", RescaleType="US")
        ],
        MRImageFrameTypeSequence=[
            _item(
                FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
                ComplexImageComponent="MAGNITUDE",
            )
        ],
    )


def _own_groups(image: Dataset, place: int) -> Dataset:
    return _item(
        PlanePositionSequence=[_item(ImagePositionPatient=image.ImagePositionPatient)],
        FrameContentSequence=[
            _item(StackID="1", InStackPositionNumber=int(place) + 1, TemporalPositionIndex=1)
        ],
    )


def every(images: list[Dataset], **attributes) -> list[Dataset]:
    """The images themselves, each with these attributes."""
    for image in images:
        for keyword, value in attributes.items():
            setattr(image, keyword, value)
    return images


def save(folder: Path, images, *, shuffled: bool = False) -> Path:
    """Write images into a folder: under telling names, or under names that say nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    images = [images] if isinstance(images, Dataset) else list(images)
    order = np.random.default_rng(3).permutation(len(images)) if shuffled else range(len(images))
    for number, image in zip(order, images, strict=True):
        name = f"x{number * 7919 % 10007:05d}" if shuffled else f"{number + 1:04d}.dcm"
        image.save_as(folder / name, enforce_file_format=True)
    return folder


def implicit(images: list[Dataset]) -> list[Dataset]:
    """The same images in the default transfer syntax."""
    for image in images:
        image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return images


def compressed(images: list[Dataset], syntax: str) -> list[Dataset]:
    """The same images, their voxels encoded by pydicom."""
    for image in images:
        image.compress(syntax, generate_instance_uid=False)
    return images


def read(folder: Path) -> list[Dataset]:
    """Every image of a folder, by instance number."""
    images = [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]
    return sorted(images, key=lambda image: int(image.InstanceNumber))


def new_uid() -> str:
    """A UID that nobody has."""
    return str(generate_uid())
