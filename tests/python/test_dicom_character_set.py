"""The character set of a derived series holds its source's text and what is added to it."""

from __future__ import annotations

import dicom_series as made
import numpy as np
import pytest

from moediff_rt import dicom

pytest.importorskip("pydicom", reason="pydicom is not installed: pip install '.[dicom]'")


def written_first(folder, images, how):
    """The first image of a series derived without a model, read from its file."""
    series = dicom.load_series(made.save(folder / "in", images))
    dicom.write(dicom.derive(series, np.asfortranarray(series.scan.data), how), folder / "out")
    return made.read(folder / "out")[0]


@pytest.mark.parametrize(
    ("named", "patient", "how", "written"),
    [
        (None, "Doe^A", "bundle \u00fc \u6a21", "ISO_IR 192"),
        ("", "Doe^A", "bundle \u00fc", "ISO_IR 192"),
        ("ISO_IR 6", "Doe^A", "bundle \u00fc", "ISO_IR 192"),
        ("ISO_IR 100", "M\u00fcller^J", "bundle \u00fc", "ISO_IR 100"),
        ("ISO_IR 100", "M\u00fcller^J", "bundle \u6a21", "ISO_IR 192"),
        (["", "ISO 2022 IR 87"], "\u5c71\u7530^A", "bundle \u00fc", "ISO_IR 192"),
        ("ISO_IR 192", "\u5c71\u7530^A", "bundle \u00fc", "ISO_IR 192"),
        ("ISO_IR 100", "M\u00fcller^J", "bundle", "ISO_IR 100"),
    ],
)
def test_a_character_set_holds_what_is_added(tmp_path, named, patient, how, written):
    images = made.classic()
    for image in images:
        image.SpecificCharacterSet = named
        image.PatientName, image.InstitutionName = patient, "Hopital"
    image = written_first(tmp_path, images, how)
    assert image.SpecificCharacterSet == written
    assert image.PatientName == patient
    assert image.DerivationDescription == how
    assert image.ContributingEquipmentSequence[0].ContributionDescription == how


def test_beside_text_of_a_set_that_is_not_named_what_is_added_is_ascii(tmp_path):
    raw = "\u00c4".encode().decode("latin-1")
    images = made.every(made.classic(), SpecificCharacterSet=None, InstitutionName=raw)
    made.every(images, PatientName="Doe^A")
    image = written_first(tmp_path, images, "bundle \u6a21")
    assert not image.get("SpecificCharacterSet")
    assert image.InstitutionName == raw
    assert image.DerivationDescription == r"bundle \u6a21"
