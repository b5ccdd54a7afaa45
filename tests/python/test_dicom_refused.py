"""Each way in which a DICOM series is no usable scan is refused by name, in one line."""

from __future__ import annotations

import copy
import os
import warnings

import dicom_series as made
import numpy as np
import pytest

from moediff_rt import cli, dicom
from moediff_rt.errors import InputError

pytest.importorskip("pydicom", reason="pydicom is not installed: pip install '.[dicom]'")


def gap(images):
    del images[10]


def two_gaps(images):
    del images[14], images[10:12]


def uneven(images):
    images[4].ImagePositionPatient[2] += 0.4


def copied(images):
    images.append(copy.deepcopy(images[3]))


def same_place(images):
    extra = copy.deepcopy(images[3])
    extra.SOPInstanceUID = extra.file_meta.MediaStorageSOPInstanceUID = made.new_uid()
    extra.AcquisitionNumber = "2"
    images.append(extra)


def twice(images):
    for image in copy.deepcopy(images):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = made.new_uid()
        image.InversionTime = "2500"
        images.append(image)


def two_echoes(images):
    for image in copy.deepcopy(images):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = made.new_uid()
        image.EchoTime = "7.5"
        images.append(image)


def phase_too(images):
    for image in copy.deepcopy(images):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = made.new_uid()
        image.ImageType = ["ORIGINAL", "PRIMARY", "P", "ND"]
        images.append(image)


def localizer(images):
    for image in images[9:]:
        image.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]


def beside(images):
    images[5].ImagePositionPatient[0] += 3


def sheared(images):
    for k, image in enumerate(images):
        image.ImagePositionPatient[0] += 0.5 * k


def one_larger(images):
    images[2].Rows, images[2].Columns = images[2].Columns, images[2].Rows


def one_finer(images):
    images[2].PixelSpacing = ["1.5", "1.5"]


def few(images):
    del images[5:]


def without(keyword):
    def damage(images):
        delattr(images[7], keyword)

    damage.__name__ = f"without_{keyword}"
    return damage


def with_all(words=None, **attributes):
    def damage(images):
        made.every(images, **attributes)

    damage.__name__ = "_".join(attributes)
    return damage


def colour(images):
    made.every(images, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)


def of_ct(images):
    made.every(images, SOPClassUID="1.2.840.10008.5.1.4.1.1.2", Modality="CT")


def spectroscopy(images):
    made.every(images, SOPClassUID="1.2.840.10008.5.1.4.1.1.4.2")


def two_studies(images):
    images[3].StudyInstanceUID = made.new_uid()


def two_frames_of_reference(images):
    images[3].FrameOfReferenceUID = made.new_uid()


def two_patients(images):
    images[3].PatientID = "P-2"


def two_names(images):
    images[3].PatientName = "M\u00fcller^Jens"


def one_without_a_name(images):
    del images[3].PatientName


def video(images):
    import pydicom.encaps
    from pydicom.uid import HEVCMP51

    for image in images:
        image.PixelData = pydicom.encaps.encapsulate([image.PixelData])
        image.file_meta.TransferSyntaxUID = HEVCMP51


def black(images):
    for image in images:
        image.PixelData = bytes(len(image.PixelData))


def signed_beyond(images):
    made.every(images, PixelRepresentation=1)
    stored = np.array([-2048, 2047, -2049], "<i2").tobytes()
    images[3].PixelData = stored + images[3].PixelData[len(stored) :]


def overlay_of_its_own(images):
    for image in made.every(images, BitsStored=8, HighBit=7):
        image.add_new(0x60000102, "US", 0)


MATRIX = [
    (gap, "a gap of 4 mm between 0010.dcm and 0011.dcm in in: 1 missing"),
    (two_gaps, "3 missing"),
    (uneven, "slices of uneven distance"),
    (copied, "with one SOPInstanceUID; a file copied twice"),
    (same_place, "at the same place, that differ in AcquisitionNumber (1 and 2)"),
    (twice, "that differ in InversionTime (900 and 2500); several volumes in one series"),
    (two_echoes, "found EchoTime 2.98 ms (26 images), 7.5 ms (26 images)"),
    (phase_too, "found 26 magnitude and 26 phase images"),
    (with_all(ImageType=["ORIGINAL", "PRIMARY", "P", "ND"]), "found 26 phase images"),
    (with_all(ImageType=["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]), "phase images"),
    (with_all(ImageType=["ORIGINAL", "PRIMARY", "R_IR", "R", "IR"]), "26 real images"),
    (with_all(ComplexImageComponent="IMAGINARY"), "26 imaginary images"),
    (localizer, "0001.dcm and 0010.dcm in in at an angle; a localizer"),
    (beside, "0006.dcm in in 3 mm beside it"),
    (sheared, "a tilted stack"),
    (one_larger, "found 28 x 30 (25 slices), 30 x 28 (1 slices)"),
    (one_finer, "found 2 x 2 mm in 0001.dcm and 1.5 x 1.5 mm in 0003.dcm"),
    (few, "at least 8 slices, found 5"),
    (without("ImagePositionPatient"), "expected ImagePositionPatient in 0008.dcm, found none"),
    (without("ImageOrientationPatient"), "expected ImageOrientationPatient in 0008.dcm"),
    (without("PixelSpacing"), "expected PixelSpacing in 0008.dcm, found none"),
    (without("SOPInstanceUID"), "expected SOPInstanceUID in 0008.dcm, found none"),
    (without("PixelData"), "expected voxels in 0008.dcm, found none"),
    (without("PhotometricInterpretation"), "MONOCHROME2, found none in 0008.dcm"),
    (without("Rows"), "expected Rows in 0008.dcm"),
    (with_all(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), "two unit vectors at a right angle"),
    (with_all(ImageOrientationPatient=[2, 0, 0, 0, 1, 0]), "found lengths 2 and 1"),
    (with_all(PixelSpacing=["0.001", "2"]), "voxel sizes from 0.05 to 20 mm, found 2 x 0.001 x 2"),
    (with_all(PixelSpacing=["0", "2"]), "voxel sizes from 0.05"),
    (with_all(RescaleSlope="0", RescaleIntercept="0"), "RescaleSlope other than 0"),
    (with_all(PhotometricInterpretation="MONOCHROME1"), "found MONOCHROME1"),
    (with_all(BurnedInAnnotation="YES"), "text burned into"),
    (with_all(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), "a mosaic"),
    (with_all(ImageType=["DERIVED", "SECONDARY", "PROJECTION IMAGE"]), "a projection"),
    (with_all(ImageType=["DERIVED", "PRIMARY", "M", "MOEDIFFSR"]), "a result of moediff-rt"),
    (with_all(NumberOfFrames="3"), "without PerFrameFunctionalGroupsSequence"),
    (with_all(BitsAllocated=32, BitsStored=32), "found BitsAllocated 32"),
    (with_all(Rows=999), "truncated or damaged"),
    (with_all(HighBit=15), "found BitsStored 12 with HighBit 15 in 0001.dcm"),
    (with_all(HighBit=7), "found BitsStored 12 with HighBit 7"),
    (with_all(BitsStored=8, HighBit=7), "voxels of 8 bits (BitsStored), found larger ones in 0"),
    (signed_beyond, "voxels of 12 bits (BitsStored), found larger ones in 0004.dcm"),
    (overlay_of_its_own, "voxels of 8 bits (BitsStored)"),
    (colour, "a colour image"),
    (of_ct, "found #7 't1 mprage' (26 images, CT Image Storage"),
    (spectroscopy, "MR Spectroscopy Storage"),
    (two_studies, "expected one StudyInstanceUID"),
    (two_frames_of_reference, "expected one FrameOfReferenceUID"),
    (two_patients, "expected one PatientID in a series, found several"),
    (two_names, "expected one PatientName in a series, found several"),
    (one_without_a_name, "expected one PatientName in a series, found several"),
    (video, "HEVC/H.265"),
    (black, "all voxels are zero"),
]


@pytest.mark.parametrize(("damage", "words"), MATRIX, ids=lambda x: getattr(x, "__name__", ""))
def test_a_classic_series_that_is_no_scan(tmp_path, damage, words):
    images = made.classic()
    damage(images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's remarks on what the test breaks
        folder = save_as_it_is(tmp_path / "in", images)
    with warnings.catch_warnings(), pytest.raises(InputError) as refusal:
        warnings.simplefilter("error")
        dicom.load_series(folder)
    said = str(refusal.value)
    assert words in said
    assert said.startswith("expected ") and ";" in said and "\n" not in said
    assert "ller" not in said, "no message names the patient"


def save_as_it_is(folder, images):
    folder.mkdir()
    for number, image in enumerate(images):
        image.save_as(folder / f"{number + 1:04d}.dcm", enforce_file_format=False)
    return folder


def no_position(image):
    del image.PerFrameFunctionalGroupsSequence[4].PlanePositionSequence


def group_missing(image):
    del image.PerFrameFunctionalGroupsSequence[4]


def no_spacing(image):
    del image.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence


def two_volumes(image):
    groups = image.PerFrameFunctionalGroupsSequence
    again = copy.deepcopy(list(groups))
    for item in again:
        item.FrameContentSequence[0].TemporalPositionIndex = 2
    image.PerFrameFunctionalGroupsSequence = [*groups, *again]
    image.NumberOfFrames = str(2 * len(groups))
    image.PixelData += image.PixelData


def frame_echo(image):
    echo = copy.deepcopy(image.SharedFunctionalGroupsSequence[0].MREchoSequence)
    echo[0].EffectiveEchoTime = 9.0
    image.PerFrameFunctionalGroupsSequence[4].MREchoSequence = echo


def frame_phase(image):
    group = copy.deepcopy(image.SharedFunctionalGroupsSequence[0].MRImageFrameTypeSequence)
    group[0].ComplexImageComponent = "PHASE"
    image.PerFrameFunctionalGroupsSequence[4].MRImageFrameTypeSequence = group


def voxels_cut(image):
    image.PixelData = image.PixelData[: len(image.PixelData) // 2]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_position, "expected ImagePositionPatient in 0001.dcm, frame 5, found none"),
        (group_missing, "found 25 of 26"),
        (no_spacing, "expected PixelSpacing in 0001.dcm, found none"),
        (two_volumes, "that differ in TemporalPositionIndex"),
        (frame_echo, "EffectiveEchoTime"),
        (frame_phase, "found 25 magnitude and 1 phase images"),
        (voxels_cut, "truncated or damaged"),
    ],
)
def test_an_enhanced_image_that_is_no_scan(tmp_path, damage, words):
    image = made.enhanced()
    damage(image)
    with pytest.raises(InputError) as refusal:
        dicom.load_series(made.save(tmp_path / "in", image))
    assert words in str(refusal.value)


def test_a_number_of_frames_that_is_two_numbers_is_refused(tmp_path):
    image = made.enhanced()
    image.NumberOfFrames = ["2", "13"]
    with pytest.raises(InputError, match=r"one number as NumberOfFrames in 0001\.dcm"):
        dicom.load_series(made.save(tmp_path / "in", image))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("nothing", "found nothing at"),
        ("empty", "found no file;"),
        ("text", "none among 1 files;"),
        ("link", r"found no file \(links to folders are not followed: scans\);"),
    ],
)
def test_no_dicom_at_all(tmp_path, what, words):
    source = tmp_path / "in"
    if what != "nothing":
        source.mkdir()
    if what == "text":
        (source / "notes.txt").write_text("none")
    if what == "link":
        (source / "scans").symlink_to(made.save(tmp_path / "elsewhere", made.classic()))
    with pytest.raises(InputError, match=words):
        dicom.load_series(source)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--series", "3"], "no series so named"),
        (["-o", "{in}"], "never replaced nor added to"),
        (["-o", "{in}/out"], "never replaced nor added to"),
        (["-o", "{in}/.."], "never replaced nor added to"),
        (["-o", "{out}.nii.gz"], "a folder for a DICOM series"),
        (["-o", "{out}/deeper/still"], "existing folder"),
        (["--figure", "{out}.jpg"], ".png"),
        (["--spacing", "9"], "output spacing"),
        (["--steps", "41"], "from 1 to 40 steps"),
        (["--gradients", "{in}/0001.dcm"], "found DIS3D"),
    ],
)
def test_a_wrong_option_is_refused_and_nothing_is_written(
    tmp_path, tiny_bundle, capsys, options, words
):
    images = made.every(made.classic(), ImageType=["ORIGINAL", "PRIMARY", "M", "DIS3D"])
    source = made.save(tmp_path / "in", images)
    options = [text.format(**{"in": source, "out": tmp_path / "out"}) for text in options]
    before = sorted(os.listdir(tmp_path)), sorted(os.listdir(source))
    assert cli.main(["infer", str(source), "--bundle", str(tiny_bundle), *options]) == 2
    said = capsys.readouterr()
    assert words in said.err and len(said.err.splitlines()) == 1 and not said.out
    assert (sorted(os.listdir(tmp_path)), sorted(os.listdir(source))) == before


def test_gradients_need_a_patient_who_lies_as_the_coil_has_it(tmp_path, tiny_bundle, capsys):
    source = made.save(tmp_path / "in", made.every(made.classic(), PatientPosition="FFS"))
    options = ["--bundle", str(tiny_bundle), "--gradients", str(source / "0001.dcm")]
    assert cli.main(["infer", str(source), *options]) == 2
    assert "expected PatientPosition HFS" in capsys.readouterr().err


def test_a_result_needs_a_folder_with_a_name(tmp_path, tiny_bundle, capsys, monkeypatch):
    source = made.save(tmp_path / "in", made.classic())
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert cli.main(["infer", str(source), "--bundle", str(tiny_bundle), "-o", "."]) == 2
    assert "a name of its own" in capsys.readouterr().err


def test_series_is_for_dicom_alone(tmp_path, capsys):
    assert cli.main(["infer", str(made.SAMPLE), "--series", "3"]) == 2
    assert "leave --series out" in capsys.readouterr().err


def test_a_lookup_table_for_the_voxels_is_refused(tmp_path):
    images = made.classic()
    table = made._item(LUTDescriptor=[2, 0, 16], LUTData=np.array([0, 9], "u2").tobytes())
    table["LUTDescriptor"].VR = "US"
    table["LUTData"].VR = "OW"
    made.every(images, ModalityLUTSequence=[table])
    with pytest.raises(InputError, match="lookup table"):
        dicom.load_series(made.save(tmp_path / "in", images))
