"""The held-out subjects are what they are named for, and their scans cover the same box."""

import numpy as np
import pytest
from moediff_export.data.held_out import (
    FULL_SCALE,
    SUBJECTS,
    load_subject,
    noise_free_scan,
    simulate_scan,
)
from scipy import ndimage

from moediff_rt.grid import resized_shape, voxel_sizes


def face(affine, shape, side):
    """World coordinates of the volume's outer corner, low (side 0) or high (side 1)."""
    index = np.array(shape) - 0.5 if side else np.full(3, -0.5)
    return affine[:3, :3] @ index + affine[:3, 3]


@pytest.mark.parametrize("factors", [(2, 2, 2), (1.5, 1.5, 1.5), (1, 1, 3)])
@pytest.mark.parametrize("slab", [None, (80, 104)])
def test_a_scan_has_the_truths_faces_and_leads_back_to_its_grid(factors, slab):
    subject = load_subject("mni152")
    subject = subject.slab(*slab) if slab else subject
    scan = simulate_scan(subject, 1.0, factors)
    for side in (0, 1):
        np.testing.assert_allclose(
            face(scan.affine, scan.shape, side),
            face(subject.affine, subject.truth.shape, side),
            atol=1e-9,
        )
    assert resized_shape(scan.shape, voxel_sizes(scan.affine), (1, 1, 1)) == subject.truth.shape
    assert np.allclose(voxel_sizes(scan.affine), factors, atol=0.03)


def test_the_same_seed_gives_the_same_scan():
    subject = load_subject("mni152").slab(80, 88)
    first, again, other = (
        np.asarray(simulate_scan(subject, 3.0, seed=s).dataobj) for s in (1, 1, 2)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_noise_is_what_was_asked_for():
    subject = load_subject("mni152").slab(60, 100)
    noisy = np.asarray(simulate_scan(subject, 2.0).dataobj)
    clean = noise_free_scan(subject.truth, (2, 2, 2))
    bright = clean > 0.5 * FULL_SCALE
    assert (noisy - clean)[bright].std() == pytest.approx(0.02 * FULL_SCALE, rel=0.02)


def test_thick_slices_go_through_a_slice_profile():
    # One bright slice: a cut of k-space alone rings below zero around it.
    truth = np.zeros((8, 8, 90), np.float32)
    truth[..., 45] = 1
    thick = noise_free_scan(truth, (1, 1, 3))
    cut = noise_free_scan(truth, (3, 3, 3))
    assert thick.shape == (8, 8, 30) and thick.sum() == pytest.approx(64 / 3, rel=0.01)
    assert -thick.min() / thick.max() < 0.6 * -cut.min() / cut.max()


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_subject_is_scaled_and_its_masks_fit(name):
    subject = load_subject(name)
    assert subject.truth.shape == subject.brain.shape == subject.regions.shape[1:]
    bright = np.percentile(subject.truth[subject.brain], 99.5)
    assert bright == pytest.approx(FULL_SCALE, rel=0.03)
    assert subject.truth.min() >= 0
    air = ~ndimage.binary_dilation(subject.brain, iterations=4)
    assert subject.truth[air].max() < 1e-3 * FULL_SCALE
    assert subject.regions.min() >= 0 and subject.regions.sum(0).max() <= 1 + 1e-5
    white, cortex, junction = subject.regions
    assert np.average(subject.white, weights=white) > 0.8
    assert np.average(subject.grey, weights=cortex) > 0.7
    assert 0.3 < np.average(subject.white, weights=junction) < 0.7


def test_the_sharp_subject_is_sharper_than_the_template_and_than_itself_blurred():
    def steepness(name):
        subject = load_subject(name)
        edges = ndimage.gaussian_gradient_magnitude(subject.truth, 0.5)
        inside = ndimage.binary_erosion(subject.brain, iterations=4)
        return np.percentile(edges[inside], 99)

    values = [steepness(n) for n in ("sharp", "sharp_blur04", "sharp_blur08", "mni152")]
    assert values[0] > values[1] > values[2]
    assert values[0] > values[3]


def test_an_unknown_subject_is_refused_by_name():
    with pytest.raises(ValueError, match="expected one of mni152, sharp"):
        load_subject("colin27")
