"""What a derived image keeps of its source's attributes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from .character_set import UTF_8
from .files import PATIENT
from .intensity import decimal
from .kinds import words
from .package import pydicom

# True of the source's voxels, grid, files or series alone; or written anew.
_LEFT_OUT = frozenset(
    """
    SOPClassUID SOPInstanceUID SeriesInstanceUID SeriesNumber SeriesDescription SeriesDate
    SeriesTime InstanceNumber InstanceCreationDate InstanceCreationTime InstanceCreatorUID
    InstanceCoercionDateTime ContentDate ContentTime ImageType ImageComments
    SeriesDescriptionCodeSequence RequestAttributesSequence
    Rows Columns PixelSpacing SliceThickness SpacingBetweenSlices SliceLocation
    ImagePositionPatient ImageOrientationPatient NumberOfFrames ImagesInAcquisition
    TemporalPositionIdentifier NumberOfTemporalPositions PixelAspectRatio
    SamplesPerPixel PhotometricInterpretation BitsAllocated BitsStored HighBit PixelRepresentation
    PlanarConfiguration PixelData PixelPaddingValue PixelPaddingRangeLimit PixelPresentation
    SmallestImagePixelValue LargestImagePixelValue SmallestPixelValueInSeries
    LargestPixelValueInSeries ICCProfile ColorSpace IconImageSequence
    RescaleSlope RescaleIntercept RescaleType WindowCenter WindowWidth
    WindowCenterWidthExplanation VOILUTSequence VOILUTFunction PresentationLUTShape
    RealWorldValueMappingSequence ExtendedOffsetTable ExtendedOffsetTableLengths
    BurnedInAnnotation LossyImageCompression LossyImageCompressionRatio
    LossyImageCompressionMethod
    DerivationDescription DerivationCodeSequence DerivationImageSequence SourceImageSequence
    ReferencedImageSequence ReferencedInstanceSequence ReferencedSeriesSequence
    StudiesContainingOtherReferencedInstancesSequence RelatedSeriesSequence
    ReferencedPerformedProcedureStepSequence
    PerFrameFunctionalGroupsSequence SharedFunctionalGroupsSequence DimensionOrganizationSequence
    DimensionIndexSequence DimensionOrganizationType ConcatenationUID
    SOPInstanceUIDOfConcatenationSource InConcatenationNumber InConcatenationTotalNumber
    ConcatenationFrameOffsetNumber RepresentativeFrameNumber FrameIncrementPointer
    ContributingSOPInstancesReferenceSequence ContributingSourcesSequence
    ConversionSourceAttributesSequence ReferencedImageEvidenceSequence SourceImageEvidenceSequence
    MACParametersSequence DigitalSignaturesSequence EncryptedAttributesSequence
    HL7StructuredDocumentReferenceSequence RetrieveAETitle RetrieveURL InstanceAvailability
    StorageMediaFileSetUID StorageMediaFileSetID
    """.split()
)
# The first image speaks for all.
_OF_FIRST = (*PATIENT, "ContributingEquipmentSequence")
# Curves, audio and overlays: repeating groups, drawn on the source's grid.
_DRAWN_GROUPS = (0x5000, 0x6000)
# Tags 0008,92xx, 0018,90xx and 0018,91xx: of enhanced images alone.
_ENHANCED_ONLY = (0x000892, 0x001890, 0x001891)
# The standard wants them in an MR image, where need be without a value.
_REQUIRED = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "Manufacturer",
    "ReferringPhysicianName",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "ScanOptions",
    "MRAcquisitionType",
    "RepetitionTime",
    "EchoTime",
    "EchoTrainLength",
    "StudyID",
    "PositionReferenceIndicator",
)
# Classic attribute: where enhanced files have it.
_FUNCTIONAL_GROUPS = {
    "RepetitionTime": ("MRTimingAndRelatedParametersSequence", "RepetitionTime"),
    "InversionTime": ("MRModifierSequence", "InversionTimes"),
    "FlipAngle": ("MRTimingAndRelatedParametersSequence", "FlipAngle"),
    "EchoTrainLength": ("MRTimingAndRelatedParametersSequence", "EchoTrainLength"),
    "EchoTime": ("MREchoSequence", "EffectiveEchoTime"),
    "NumberOfAverages": ("MRAveragesSequence", "NumberOfAverages"),
    "ReceiveCoilName": ("MRReceiveCoilSequence", "ReceiveCoilName"),
    "TransmitCoilName": ("MRTransmitCoilSequence", "TransmitCoilName"),
    "PixelBandwidth": ("MRImagingModifierSequence", "PixelBandwidth"),
    "ImagingFrequency": ("MRImagingModifierSequence", "TransmitterFrequency"),
    "PercentSampling": ("MRFOVGeometrySequence", "PercentSampling"),
    "PercentPhaseFieldOfView": ("MRFOVGeometrySequence", "PercentPhaseFieldOfView"),
    "InPlanePhaseEncodingDirection": ("MRFOVGeometrySequence", "InPlanePhaseEncodingDirection"),
    "AnatomicRegionSequence": ("FrameAnatomySequence", "AnatomicRegionSequence"),
}


def template_of(headers: Sequence[Any]) -> Any:
    """Gather what all images of a series say alike and what stays true of a derived one.

    Private attributes are left out, in sequences too: vendors keep in them what holds for their own
    voxels and grid, and readers trust it more than the standard's.

    Parameters
    ----------
    headers : sequence of pydicom Dataset

    Returns
    -------
    pydicom Dataset
        The General, MR and patient attributes of a classic MR image that the source has, and those
        that the standard requires.
    """
    template = pydicom().Dataset()
    first = headers[0]
    is_enhanced = "PerFrameFunctionalGroupsSequence" in first
    for element in first:
        tag = element.tag
        if tag.is_private or tag.element == 0 or (tag.group & 0xFF00) in _DRAWN_GROUPS:
            continue
        if element.keyword in _LEFT_OUT or (is_enhanced and (tag >> 8) in _ENHANCED_ONLY):
            continue
        said_by_all = all(tag in header and header[tag] == element for header in headers[1:])
        if said_by_all or element.keyword in _OF_FIRST:
            template[tag] = copy.deepcopy(element)
    if len({tuple(words(header.get("SpecificCharacterSet"))) for header in headers}) > 1:
        # Each was decoded from its own; this one has the letters of all.
        template.SpecificCharacterSet = UTF_8
    _add_times(template, headers)
    if is_enhanced:
        _add_functional_groups(template, first)
    if not template.get("ScanningSequence"):
        template.ScanningSequence = _scanning_sequence(first)
    if not template.get("SequenceVariant"):
        template.SequenceVariant = _sequence_variant(first)
    _agree_on_inversion(template)
    if "PatientOrientationCodeSequence" not in template and "PatientPosition" not in template:
        template.PatientPosition = ""
    for keyword in _REQUIRED:
        if keyword not in template:
            setattr(template, keyword, None)
    template.remove_private_tags()
    return template


def _add_times(template: Any, headers: Sequence[Any]) -> None:
    """When the acquisition began, where the slices say it apart."""
    whole = [str(header.get("AcquisitionDateTime") or "") for header in headers]
    if all(whole):
        template.AcquisitionDateTime = min(whole)
    starts = [
        (str(header.get("AcquisitionDate") or ""), str(header.get("AcquisitionTime") or ""))
        for header in headers
    ]
    if not all(date and time for date, time in starts):
        starts = [(text[:8], text[8:].partition("+")[0].partition("-")[0]) for text in whole]
    date, time = min(starts)
    if date and time:
        template.AcquisitionDate, template.AcquisitionTime = date, time


def _add_functional_groups(template: Any, header: Any) -> None:
    """Put the functional groups of an enhanced file's first frame where classic files have them."""
    groups = [
        item
        for keyword in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
        for item in list(header.get(keyword) or [])[:1]
    ]
    for keyword, (sequence, inner) in _FUNCTIONAL_GROUPS.items():
        items = [group[sequence][0] for group in groups if group.get(sequence)]
        value = next((item.get(inner) for item in items if item.get(inner) is not None), None)
        if value is None:
            continue
        if keyword == "InPlanePhaseEncodingDirection":
            value = {"COLUMN": "COL"}.get(value, value)
        if keyword == "InversionTime" and not isinstance(value, float):
            value = value[0]
        value = decimal(value) if isinstance(value, float) else copy.deepcopy(value)
        setattr(template, keyword, value)


def _scanning_sequence(header: Any) -> list[str]:
    """ScanningSequence of an enhanced file's pulse sequence; research mode if it says nothing."""
    found = {"SPIN": ["SE"], "GRADIENT": ["GR"], "BOTH": ["SE", "GR"]}.get(
        header.get("EchoPulseSequence", ""), []
    )
    if header.get("InversionRecovery") == "YES":
        found = [*found, "IR"]
    if header.get("EchoPlanarPulseSequence") == "YES":
        found = [*found, "EP"]
    return found or ["RM"]


def _sequence_variant(header: Any) -> list[str]:
    """SequenceVariant of an enhanced file's pulse sequence."""
    found = []
    if header.get("SegmentedKSpaceTraversal") in ("PARTIAL", "FULL"):
        found.append("SK")
    for variant, keyword in (
        ("SS", "SteadyStatePulseSequence"),
        ("SP", "Spoiling"),
        ("OSP", "OversamplingPhase"),
    ):
        if header.get(keyword) not in (None, "", "NONE"):
            found.append(variant)
    return found or ["NONE"]


def _agree_on_inversion(template: Any) -> None:
    """Let ScanningSequence have IR where there is an inversion time, and only there."""
    sequence = words(template.ScanningSequence)
    if template.get("InversionTime"):
        if "IR" not in sequence:
            template.ScanningSequence = [*sequence, "IR"]
    elif "IR" in sequence:
        template.InversionTime = None
    elif "InversionTime" in template:
        del template.InversionTime
