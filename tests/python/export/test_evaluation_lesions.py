"""Lesions have the size and contrast they are given, and the study measures what was put in."""

import numpy as np
import pytest
from moediff_export.data.held_out import Subject
from moediff_export.evaluation import lesion_study, lesions
from scipy import ndimage

WHITE, GREY = 1000.0, 700.0


@pytest.fixture(scope="module")
def subject():
    """Plain white matter in a layer of grey matter."""
    shape = (72, 76, 64)
    white = np.zeros(shape, np.float32)
    white[6:-6, 6:-6, 6:-6] = 1
    brain = np.zeros(shape, bool)
    brain[2:-2, 2:-2, 2:-2] = True
    grey = (brain - white).astype(np.float32)
    truth = WHITE * white + GREY * grey
    regions = np.stack([white, grey, np.zeros_like(white)])
    return Subject("phantom", truth, np.eye(4), brain, grey, white, regions, (38, 32))


@pytest.fixture(scope="module")
def placed(subject):
    return lesions.place_lesions(subject, count=12, small=8)


def test_lesions_are_reproducible_and_apart_in_white_matter(subject, placed):
    again = lesions.place_lesions(subject, count=12, small=8)
    assert np.array_equal(placed.share, again.share)
    assert [lesion.small for lesion in placed.lesions] == [False] * 12 + [True] * 8
    assert ndimage.label(placed.share > 0)[1] == 20
    assert (placed.share[subject.white == 0] == 0).all()
    assert placed.search[placed.share > 0].all()


def test_an_ellipsoid_has_its_volume(placed):
    for lesion in placed.lesions:
        _, share = lesion.share(placed.share.shape)
        volume = 4 / 3 * np.pi * lesion.semi_axes.prod()
        assert share.sum() == pytest.approx(volume, rel=0.05 if lesion.small else 0.03)
        low, high = lesions.SMALL_SEMI_AXES_MM if lesion.small else lesions.SEMI_AXES_MM
        assert (lesion.semi_axes >= low).all() and (lesion.semi_axes <= high).all()


def test_lesions_have_the_intensity_of_grey_matter(subject, placed):
    assert placed.white_level == WHITE and placed.lesion_level == GREY
    ill = placed.add_to(subject.truth)
    assert np.allclose(ill[placed.share == 1], GREY)
    assert np.array_equal(ill[placed.share == 0], subject.truth[placed.share == 0])


def test_the_truth_itself_is_perfect(subject, placed):
    ill = placed.add_to(subject.truth)
    # A voxel exactly half lesion is labelled, but not below the threshold: none beyond rounding.
    study = lesion_study.study_lesions(ill, subject.truth, ill, placed)
    assert study["dice"] == pytest.approx(1, abs=1e-2)
    assert study["relative_contrast"] == pytest.approx(1)
    assert study["relative_contrast_small"] == pytest.approx(1)
    assert study["false_lesions"] == study["false_lesions_beside"] == 0


def test_contrast_to_noise_is_its_closed_form(subject, placed):
    sigma = 20.0
    ill = placed.add_to(subject.truth)
    noise = np.random.default_rng(0).normal(0, sigma, ill.shape).astype(np.float32)
    scores = lesion_study.score_lesions(ill + noise, ill, placed)
    assert len(scores) == 20
    for score in scores[:12]:
        expected = score.contrast / score.relative_contrast / sigma
        assert score.contrast_to_noise == pytest.approx(expected, rel=0.2)
        assert score.contrast <= WHITE - GREY + 10


def test_blur_lowers_contrast_and_dice_most_in_small_lesions(subject, placed):
    ill = placed.add_to(subject.truth)
    blurred = ndimage.gaussian_filter(ill, 1.5)
    study = lesion_study.study_lesions(blurred, blurred, ill, placed)
    assert study["relative_contrast_small"] < study["relative_contrast"] < 0.9
    assert study["dice_small"] < study["dice"] < 0.99


def test_a_lesion_that_is_none_is_counted_and_a_speck_is_not(subject, placed):
    ill = placed.add_to(subject.truth)
    far = ndimage.distance_transform_edt(placed.share == 0)
    inner = ndimage.binary_erosion(placed.search, iterations=3)
    x, y, z = np.unravel_index(np.argmax(np.where(inner, far, 0)), far.shape)
    invented, speck = ill.copy(), ill.copy()
    invented[x - 1 : x + 1, y - 1 : y + 1, z - 1 : z + 1] = GREY
    speck[x, y, z] = GREY
    count = lesion_study.count_false_lesions
    assert count(invented, placed, with_lesions=True) == 1
    assert count(speck, placed, with_lesions=True) == 0
    assert count(ill, placed, with_lesions=True) == 0
    assert count(ill, placed, with_lesions=False) == sum(
        (placed.labels == i + 1).sum() >= lesion_study.SMALLEST_MM3 for i in range(20)
    )


def test_dice_of_known_masks():
    a, b = np.zeros(10, bool), np.zeros(10, bool)
    a[:4], b[2:6] = True, True
    assert lesion_study.dice(a, b) == 0.5
    assert lesion_study.dice(a, a) == 1
    assert lesion_study.dice(a[:0], b[:0]) == 1
