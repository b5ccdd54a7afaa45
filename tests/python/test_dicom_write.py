"""The derived series: what it says of itself, of its source and of the patient."""

from __future__ import annotations

import datetime
import struct

import dicom_series as made
import numpy as np
import pytest

import moediff_rt
from moediff_rt import dicom
from moediff_rt.dicom.intensity import decimal, store

pytest.importorskip("pydicom", reason="pydicom is not installed: pip install '.[dicom]'")


@pytest.fixture(scope="module")
def session(tiny_bundle, tmp_path_factory):
    cache = tmp_path_factory.mktemp("engines")
    with moediff_rt.Session(tiny_bundle, threads=1, engines_dir=cache) as one:
        yield one


def enhanced(session, folder, images, **options):
    """The derived images of a series, and the series."""
    series = dicom.load_series(made.save(folder / "in", images))
    result = dicom.enhance(session, series, **options)
    dicom.write(result.derived, folder / "out")
    return made.read(folder / "out"), series, result


@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_the_derived_series_is_one_of_the_study_and_names_its_source(session, tmp_path, kind):
    images = made.classic() if kind == "classic" else [made.enhanced()]
    out, _series, result = enhanced(session, tmp_path, images)
    source = images[0]
    assert len(out) == len(result.derived) == 52
    assert len({image.SOPInstanceUID for image in out}) == 52
    assert {str(image.SeriesInstanceUID) for image in out} == {result.derived.uid}
    assert result.derived.uid != source.SeriesInstanceUID
    assert [image.InstanceNumber for image in out] == list(range(1, 53))
    for image in out:
        assert image.SOPClassUID == image.file_meta.MediaStorageSOPClassUID == made.MR
        assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID
        for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"):
            assert image[keyword].value == source[keyword].value
        assert image.ImageType == ["DERIVED", "PRIMARY", "M"] + (
            ["ND", "MOEDIFFSR"] if kind == "classic" else ["MOEDIFFSR"]
        )
        assert image.SeriesNumber == 701
        assert image.SeriesDescription == f"{source.SeriesDescription} MoEDiff-SR (research)"
        assert "not a medical device" in image.ImageComments
        assert "from the whole source series, 2 x 2 x 2 mm to 1 x 1 x 1 mm" in (
            image.DerivationDescription
        )
        assert image.DerivationCodeSequence[0].CodeValue == "113085"
        (equipment,) = image.ContributingEquipmentSequence
        assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
        assert equipment.ManufacturerModelName == "moediff-rt"
        assert equipment.SoftwareVersions == moediff_rt.__version__
        (referenced,) = image.ReferencedSeriesSequence
        assert referenced.SeriesInstanceUID == source.SeriesInstanceUID
        items = referenced.ReferencedInstanceSequence
        named = [item.ReferencedSOPInstanceUID for item in items]
        assert named == [one.SOPInstanceUID for one in images]
        assert image.BurnedInAnnotation == "NO" and image.LossyImageCompression == "00"
        assert image.Manufacturer == "Scanners Inc", "what made the scan stays named"
        assert image.EchoTime == 2.98 and image.RepetitionTime == 2300
        assert image.InversionTime == 900 and "IR" in image.ScanningSequence
        assert not [element for element in image if element.tag.is_private]
        assert not [element for element in image if 0x9000 <= element.tag.element < 0x9200]
    record = result.record["Dicom"]
    assert record["SourceSeriesInstanceUID"] == source.SeriesInstanceUID
    assert record["SeriesInstanceUID"] == result.derived.uid


@pytest.mark.parametrize(
    "shape",
    [{"plane": "axial"}, {"plane": "sagittal", "tilt": 0.2, "thicker": 2}],
    ids=["axial", "oblique"],
)
def test_each_image_lies_where_its_voxels_are(session, tmp_path, shape):
    out, series, _result = enhanced(session, tmp_path, made.classic(**shape))
    grid = series.scan.grid.resized((out[0].Columns, out[0].Rows, len(out)))
    again = dicom.series.stack_of(
        dicom.frames.frames_of([dicom.files.Instance(tmp_path, image) for image in out]), "out"
    )
    np.testing.assert_allclose(again.affine, grid.affine, atol=1e-6)
    for image in out:
        assert image.SliceThickness == image.SpacingBetweenSlices == pytest.approx(1, abs=1e-6)
        normal = np.cross(*np.array(image.ImageOrientationPatient).reshape(2, 3))
        assert image.SliceLocation == pytest.approx(normal @ image.ImagePositionPatient, abs=1e-5)


def test_the_voxels_are_those_of_the_result(session, tmp_path):
    out, _series, result = enhanced(session, tmp_path, made.classic("sagittal"))
    values = np.asanyarray(result.inferred.image.dataobj)
    for k, image in enumerate(out):
        stored = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
        np.testing.assert_allclose(stored.T, np.clip(values[..., k], 0, None), atol=0.51)
        assert (image.BitsAllocated, image.BitsStored, image.HighBit) == (16, 16, 15)
        assert (image.WindowCenter, image.WindowWidth) == (400, 900), "as the scan was shown"


def test_instance_numbers_run_as_the_source_s(session, tmp_path):
    images = made.classic()
    for number, image in enumerate(reversed(images)):
        image.InstanceNumber = str(number + 1)
    out, _series, _result = enhanced(session, tmp_path, images)
    heights = [image.SliceLocation for image in out]
    assert heights == sorted(heights, reverse=True)
    assert [image.InstanceNumber for image in out] == list(range(1, 53))


def test_each_image_names_the_slices_it_lies_in(session, tmp_path):
    images = made.classic()
    out, _series, _result = enhanced(session, tmp_path, images)
    for k, image in enumerate(out):
        named = [item.ReferencedSOPInstanceUID for item in image.SourceImageSequence]
        assert named == [images[k // 2].SOPInstanceUID]
        purpose = image.SourceImageSequence[0].PurposeOfReferenceCodeSequence[0]
        assert purpose.CodeValue == "121322"


def test_an_image_of_an_enhanced_source_names_the_frame(session, tmp_path):
    source = made.enhanced()
    out, _series, _result = enhanced(session, tmp_path, source)
    places = [
        item.FrameContentSequence[0].InStackPositionNumber
        for item in source.PerFrameFunctionalGroupsSequence
    ]
    for k, image in enumerate(out):
        (item,) = image.SourceImageSequence
        assert item.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert places[item.ReferencedFrameNumber - 1] == k // 2 + 1


def test_equal_results_have_equal_uids_and_others_have_others(session, tmp_path):
    series = dicom.load_series(made.save(tmp_path / "in", made.classic()))
    when = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    first, again, other = (
        dicom.enhance(session, series, seed=seed, created=when).derived for seed in (1, 1, 2)
    )
    assert first.uid == again.uid != other.uid
    dicom.write(first, tmp_path / "a")
    dicom.write(again, tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    uids = {str(image.SOPInstanceUID) for image in (*first.datasets(), *other.datasets())}
    assert len(uids) == 2 * len(first)
    for uid in (first.uid, *uids):
        assert len(uid) <= 64 and 0 < int(uid.removeprefix("2.25.")) < 2**128


def derived_from(folder, images, how="how", day=1, **options):
    """A series derived without a model, whose voxels are its source's."""
    series = dicom.load_series(made.save(folder, images, **options))
    when = datetime.datetime(2026, 1, day, tzinfo=datetime.timezone.utc)
    return dicom.derive(series, np.asfortranarray(series.scan.data), how, created=when)


@pytest.mark.parametrize(
    "attributes",
    [
        {"PatientID": "P-2"},
        {"PatientName": "Other^Person"},
        {"StudyDate": "20250103"},
        {"InstitutionName": "Elsewhere"},
        {"ImageComments": "moved"},
        {"RepetitionTime": "2301"},
        {"WindowCenter": "401"},
        {"ProcedureCodeSequence": [made._item(CodeMeaning="Skull")]},
    ],
    ids=lambda attributes: next(iter(attributes)),
)
def test_images_that_say_anything_else_have_other_uids(tmp_path, attributes):
    images = made.every(made.classic(), ProcedureCodeSequence=[made._item(CodeMeaning="Head")])
    one = derived_from(tmp_path / "a", images)
    other = derived_from(tmp_path / "b", made.every(images, **attributes))
    uids = {str(image.SOPInstanceUID) for image in (*one.datasets(), *other.datasets())}
    assert one.uid != other.uid and len(uids) == len(one) + len(other)


def test_images_made_later_of_the_same_series_sent_otherwise_have_the_same_uids(tmp_path):
    item = made._item(CodeMeaning="Head")
    one = derived_from(tmp_path / "a", made.every(made.classic(), ProcedureCodeSequence=[item]))
    images = made.implicit(made.every(made.classic(), ProcedureCodeSequence=[item]))
    for image in images:
        image["ProcedureCodeSequence"].is_undefined_length = True
    later = derived_from(tmp_path / "b", images, day=2, shuffled=True)
    assert one.uid == later.uid
    assert one.dataset(1).SOPInstanceUID == later.dataset(1).SOPInstanceUID
    assert one.dataset(1).ContentDate != later.dataset(1).ContentDate


def test_what_a_description_cannot_hold_tells_results_apart(tmp_path):
    one, other = (
        derived_from(tmp_path / end, made.classic(), how="x" * 1024 + end) for end in "ab"
    )
    assert one.template.DerivationDescription == other.template.DerivationDescription
    assert one.uid != other.uid


@pytest.mark.parametrize(
    ("offset", "date", "time", "zone"),
    [
        ("-0330", "20260101", "233405.000000", "-0330"),
        ("+1400", "20260102", "170405.000000", "+1400"),
        ("home", "20260102", "030405.000000", "+0000"),
        (None, "20260102", "030405.000000", "+0000"),
    ],
)
def test_creation_times_are_in_the_zone_that_the_source_says(
    session, tmp_path, offset, date, time, zone
):
    images = made.classic()
    for image in images:
        if offset is not None:
            image.TimezoneOffsetFromUTC = offset
    when = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    out, _series, _result = enhanced(session, tmp_path, images, created=when)
    for what in ("InstanceCreation", "Series", "Content"):
        assert (out[0][f"{what}Date"].value, out[0][f"{what}Time"].value) == (date, time)
    equipment = out[0].ContributingEquipmentSequence[0]
    assert equipment.ContributionDateTime == f"{date}{time}{zone}"


def test_what_differs_from_slice_to_slice_is_not_said_of_the_result(session, tmp_path):
    images = made.classic()
    for k, image in enumerate(images):
        image.AcquisitionTime = f"1021{59 - k:02d}"
        image.TriggerTime = str(k)
        image.add_new(0x60000010, "US", 5)  # rows of an overlay
        image.PatientComments = "kept"
    out, _series, _result = enhanced(session, tmp_path, images)
    assert "TriggerTime" not in out[0] and 0x60000010 not in out[0]
    assert out[0].PatientComments == "kept"
    assert out[0].AcquisitionTime == "102134", "when the acquisition began"
    assert "LargestImagePixelValue" not in out[0]


@pytest.mark.parametrize("patient", ["", "P-1", "P\u00e4\u00df"])
def test_the_patient_is_the_source_s_whoever_it_is(session, tmp_path, patient):
    images = made.classic()
    for k, image in enumerate(images):
        image.PatientID = image.PatientName = patient
        image["PatientID"].VR = "SH" if k % 2 else "LO"
    out, _series, _result = enhanced(session, tmp_path, images)
    assert all(image.PatientID == image.PatientName == patient for image in out)


@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_nothing_private_is_written_at_any_depth(session, tmp_path, kind):
    images = made.classic() if kind == "classic" else [made.enhanced()]
    for image in images:
        inner, outer = made._item(CodeMeaning="kept"), made._item(CodeMeaning="kept")
        outer.EquivalentCodeSequence = [inner]
        for item in (inner, outer):
            item.add_new(0x00290010, "LO", "SIEMENS CSA HEADER")
            item.add_new(0x00291010, "LO", "secret")
        image.ProcedureCodeSequence = image.ContributingEquipmentSequence = [outer]
        if kind == "enhanced":
            anatomy = made._item(AnatomicRegionSequence=[outer])
            image.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy]
    out, series, _result = enhanced(session, tmp_path, images)
    for image in out:
        said = ["ProcedureCodeSequence", "ContributingEquipmentSequence"]
        for keyword in said + ["AnatomicRegionSequence"] * (kind == "enhanced"):
            item = image[keyword][0]
            assert item.CodeMeaning == item.EquivalentCodeSequence[0].CodeMeaning == "kept"
        assert not [element for element in image.iterall() if element.tag.is_private]
    assert series.header.ProcedureCodeSequence[0][0x00291010].value == "secret", "still as read"


def test_a_bare_source_gives_what_the_standard_requires(session, tmp_path):
    keep = "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID ImagePositionPatient"
    keep += " ImageOrientationPatient PixelSpacing Rows Columns SamplesPerPixel BitsAllocated"
    keep += " BitsStored HighBit PixelRepresentation PhotometricInterpretation PixelData"
    images = made.classic()
    for image in images:
        for element in list(image):
            if element.keyword not in keep.split():
                del image[element.tag]
    out, _series, _result = enhanced(session, tmp_path, images)
    assert out[0].ScanningSequence == "RM" and out[0].SequenceVariant == "NONE"
    assert out[0].PatientName == "" and out[0].StudyDate == ""
    assert out[0].FrameOfReferenceUID == out[-1].FrameOfReferenceUID != ""
    assert out[0].SeriesNumber is None and out[0].SeriesDescription.startswith("2 mm MoEDiff")
    assert float(out[0].WindowWidth) > 100


@pytest.mark.parametrize(
    ("named", "text"),
    [(None, "\u00c4-\u00df1".encode()), (["", "ISO 2022 IR 87"], b"\x1b$B;3ED\x1b(B")],
    ids=["UTF-8 that is not named", "JIS"],
)
def test_text_is_written_as_it_came_whatever_its_character_set(session, tmp_path, named, text):
    images = made.classic()
    for image in images:
        image.PatientName, image.InstitutionName = "Muller", "Hopital"
        image.PatientID = "mark"
        image.SpecificCharacterSet = named
    folder = made.save(tmp_path / "in", images)
    for path in folder.iterdir():
        explicit = b"LO" + struct.pack("<H", len(text)) + text
        path.write_bytes(path.read_bytes().replace(b"LO\x04\0mark", explicit))
    series = dicom.load_series(folder)
    dicom.write(dicom.enhance(session, series).derived, tmp_path / "out")
    assert text in (tmp_path / "out" / "00001.dcm").read_bytes()


@pytest.mark.parametrize("first", ["ISO_IR 192", "ISO_IR 100", None])
def test_text_of_several_character_sets_is_written_in_one_that_is_named(session, tmp_path, first):
    images = made.classic()
    for k, image in enumerate(images):
        image.SpecificCharacterSet = "ISO_IR 100" if k % 2 else "ISO_IR 192"
        image.ProcedureCodeSequence = [made._item(CodeMeaning="Sch\u00e4del")]
    if first is None:
        del images[0].SpecificCharacterSet
    else:
        images[0].SpecificCharacterSet = first
    out, _series, _result = enhanced(session, tmp_path, images)
    for image in out:
        assert image.SpecificCharacterSet == "ISO_IR 192"
        assert image.PatientName == "M\u00fcller^J\u00fcrgen"
        assert image.InstitutionName == "H\u00f4pital"
        assert image.ProcedureCodeSequence[0].CodeMeaning == "Sch\u00e4del"


def test_long_comments_are_cut_to_what_the_standard_allows(tmp_path):
    images = made.every(made.classic(), ImageComments="x" * 10230)
    comments = derived_from(tmp_path / "in", images).dataset(1).ImageComments
    assert len(comments) == 10240 and "not a medical device" in comments


def test_lossy_compression_of_the_source_stays_said(session, tmp_path):
    images = made.classic()
    images[3].LossyImageCompression = "01"
    images[3].LossyImageCompressionRatio = "9.5"
    out, _series, _result = enhanced(session, tmp_path, images)
    assert {image.LossyImageCompression for image in out} == {"01"}
    assert out[0].LossyImageCompressionRatio == 9.5


def test_a_long_description_keeps_what_the_result_is(session, tmp_path):
    images = made.classic(name="x" * 64)
    out, _series, _result = enhanced(session, tmp_path, images)
    assert out[0].SeriesDescription == "x" * 42 + " MoEDiff-SR (research)"


@pytest.mark.parametrize(
    ("low", "high", "kind", "slope"),
    [(0, 5, "u2", None), (-3, 900, "u2", None), (-2000, 9000, "i2", 1), (0, 2e6, "u2", None)],
)
def test_values_are_stored_to_a_thousandth_whatever_their_range(rng, low, high, kind, slope):
    data = np.asfortranarray(rng.uniform(low, high, (9, 9, 9)).astype(np.float32))
    stored = store(data, data, whole=False)
    assert stored.numbers.dtype == kind and stored.numbers.max() <= 32767
    assert slope is None or float(stored.slope) == slope
    values = stored.numbers * float(stored.slope) + float(stored.intercept)
    np.testing.assert_allclose(values, data, atol=(high - low) / 2000)


@pytest.mark.parametrize(
    ("low", "high", "bound"), [(-0.2, 5, 5e-4), (-40, 990, 0.04), (-40, 3000, 0.5), (-2, -1, 0)]
)
def test_nothing_below_zero_is_stored_where_the_source_has_nothing_there(rng, low, high, bound):
    data = np.asfortranarray(rng.uniform(low, high, (9, 9, 9)).astype(np.float32))
    stored = store(data, np.abs(data), whole=False)
    assert stored.numbers.dtype == "u2" and float(stored.intercept) == 0 and float(stored.slope) > 0
    values = stored.numbers * float(stored.slope)
    np.testing.assert_allclose(values, np.clip(data, 0, None), atol=bound)


def test_numbers_fit_a_decimal_string(rng):
    for value in (rng.standard_normal(2000) * 10.0 ** rng.integers(-12, 12, 2000)).tolist():
        text = decimal(value)
        assert len(text) <= 16
        assert float(text) == pytest.approx(value, rel=1e-8)


def test_write_replaces_an_earlier_result_and_nothing_else(tmp_path):
    derived = derived_from(tmp_path / "in", made.classic())
    dicom.write(derived, tmp_path / "out")
    with pytest.raises(moediff_rt.OutputError, match="overwrite"):
        dicom.write(derived, tmp_path / "out")
    assert len(dicom.write(derived, tmp_path / "out", overwrite=True)) == len(derived)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(moediff_rt.OutputError, match=r"found notes\.txt"):
        dicom.write(derived, tmp_path / "out", overwrite=True)
