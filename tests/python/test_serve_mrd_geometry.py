"""MRD headers to grids and back, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ismrmrd", reason="needs the extra mrd")

from mrd_peer import AXIAL, head, image_of, slices_of

from moediff_rt.errors import InputError
from moediff_rt.serve.mrd.geometry import box_of, stack_grid, volume_grid
from moediff_rt.serve.mrd.images import MrdImage
from moediff_rt.serve.mrd.structures import ImageHeader

# As DICOM writes them: rows to the left, columns to the back; sagittal from the right; coronal.
SAGITTAL = ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0), (-1.0, 0.0, 0.0))
CORONAL = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))


def received(image) -> MrdImage:
    """The image as the server has it."""
    attributes = image.attribute_string.encode()
    head_ = ImageHeader.from_buffer_copy(bytes(image.getHead()))
    return MrdImage(head_, attributes, image.data.tobytes())


def oblique(degrees_x: float, degrees_z: float) -> tuple:
    a, b = np.radians([degrees_x, degrees_z])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return tuple(map(tuple, (about_z @ about_x).T))


def world(grid, index) -> np.ndarray:
    """RAS world of a voxel index."""
    return (grid.affine @ [*index, 1.0])[:3]


DIRECTIONS = {
    "axial": AXIAL,
    "sagittal": SAGITTAL,
    "coronal": CORONAL,
    "oblique": oblique(23, -41),
    "left-handed": (*AXIAL[:2], (0.0, 0.0, -1.0)),
}


def test_an_axial_stack_in_numbers():
    # 4 x 2 voxels of 2 x 3 mm, three slices of 5 mm, centre at L10 P20 S30.
    images = slices_of(head((4, 2, 3)), centre=(10, 20, 30), spacing=(2, 3, 5))
    order, grid = stack_grid([received(image) for image in images])
    assert [image.head.slice for image in order] == [0, 1, 2]
    # First voxel: L 10 - 1.5 * 2 = 7, P 20 - 0.5 * 3 = 18.5, S 25; RAS has the other signs.
    np.testing.assert_allclose(world(grid, (0, 0, 0)), (-7, -18.5, 25))
    np.testing.assert_allclose(world(grid, (3, 1, 2)), (-13, -21.5, 35))


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("shape", [(4, 6, 8), (5, 7, 9), (4, 7, 3)])
def test_a_stack_and_a_volume_have_the_same_grid(name, shape, rng):
    directions, spacing = DIRECTIONS[name], (1.1, 0.9, 2.3)
    centre = rng.uniform(-50, 50, 3)
    volume = head(shape)
    fields = {"centre": centre, "spacing": spacing, "directions": directions}
    stack = [received(image) for image in slices_of(volume, **fields)]
    rng.shuffle(stack)
    _order, grid = stack_grid(stack)
    size = np.multiply(shape, spacing)
    deep = volume_grid(received(image_of(volume, centre, size, directions)))
    assert grid.shape == deep.shape == shape
    np.testing.assert_allclose(grid.affine, deep.affine, atol=1e-4)
    # Closed form: the middle voxel index is the centre, and columns are directions times spacing.
    middle = (np.array(shape) - 1) / 2
    np.testing.assert_allclose(world(grid, middle) * (-1, -1, 1), centre, atol=1e-4)
    for axis in range(3):
        column = np.multiply(directions[axis], spacing[axis]) * (-1, -1, 1)
        np.testing.assert_allclose(grid.affine[:3, axis], column, atol=1e-5)


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("new_shape", [(8, 12, 16), (7, 11, 13), (5, 7, 9)])
def test_a_new_grid_covers_the_same_box(name, new_shape, rng):
    shape, spacing, centre = (5, 7, 9), (1.1, 0.9, 2.3), rng.uniform(-50, 50, 3)
    directions = DIRECTIONS[name]
    size = np.multiply(shape, spacing)
    grid = volume_grid(received(image_of(head(shape), centre, size, directions)))
    new = grid.resized(new_shape)
    found_centre, found_size = box_of(new, 0, new_shape[2])
    np.testing.assert_allclose(found_centre, centre, atol=1e-4)
    np.testing.assert_allclose(found_size, size, atol=1e-4)
    # Every new slice: along slice_dir from the box's face, by its own thickness.
    thickness = size[2] / new_shape[2]
    for k in range(new_shape[2]):
        place, slab = box_of(new, k, 1)
        offset = -size[2] / 2 + (k + 0.5) * thickness
        np.testing.assert_allclose(place, centre + np.multiply(directions[2], offset), atol=1e-4)
        np.testing.assert_allclose(slab, (size[0], size[1], thickness), atol=1e-4)


@pytest.mark.parametrize("descending", [False, True])
def test_slices_are_sorted_by_place_in_the_sense_of_their_numbers(descending, rng):
    images = slices_of(head((4, 5, 9)), spacing=(2, 2, 3))
    if descending:
        for image in images:
            image.image_index = 10 - image.image_index
    stack = [received(image) for image in images]
    rng.shuffle(stack)
    order, grid = stack_grid(stack)
    numbers = [image.head.image_index for image in order]
    assert numbers == sorted(numbers)
    heights = [image.head.position[2] for image in order]
    assert heights == sorted(heights, reverse=descending)
    for k, image in enumerate(order):
        place = world(grid, (1.5, 2, k)) * (-1, -1, 1)
        np.testing.assert_allclose(place, image.head.position, atol=1e-4)


def test_the_left_stays_left():
    # Bright where L is large: at the end of the rows, which run to the left.
    volume = np.zeros((8, 4, 4), np.uint16)
    volume[7] = 1
    _order, grid = stack_grid([received(image) for image in slices_of(volume)])
    assert world(grid, (7, 0, 0))[0] < world(grid, (0, 0, 0))[0], "RAS: the left is negative"


def test_directions_in_the_attributes_are_those_of_the_voxels():
    # Turned after reconstruction: the header keeps the directions of the acquisition.
    meta = {"ImageRowDir": ["0", "1", "0"], "ImageColumnDir": ["0", "0", "-1"]}
    plain = [received(image) for image in slices_of(head((4, 5, 6)), directions=SAGITTAL)]
    turned = slices_of(head((4, 5, 6)), directions=SAGITTAL, meta=meta)
    for image in turned:
        image.read_dir, image.phase_dir = SAGITTAL[1], SAGITTAL[0]
    _, grid = stack_grid([received(image) for image in turned])
    np.testing.assert_allclose(grid.affine, stack_grid(plain)[1].affine, atol=1e-5)


def test_slices_with_a_usual_gap_are_as_far_apart_as_they_are():
    images = slices_of(head((8, 8, 9)), spacing=(2, 2, 3))
    for image in images:
        image.field_of_view = (16, 16, 2.5)
    assert stack_grid([received(image) for image in images])[1].spacing[2] == pytest.approx(3)


def test_rounded_positions_are_still_evenly_spaced():
    images = slices_of(head((8, 8, 40)), spacing=(1, 1, 0.8), directions=oblique(11, 7))
    for image in images:
        image.position = tuple(round(value, 3) for value in image.position)
    assert stack_grid([received(image) for image in images])[1].spacing[2] == pytest.approx(
        0.8, abs=1e-3
    )


def spoiled(how: str) -> list:
    images = slices_of(head((8, 8, 9)))
    if how == "missing":
        del images[4]
    elif how == "every second":
        images = images[::2]
    elif how == "twice":
        images.append(images[3])
    elif how == "sheared":
        for k, image in enumerate(images):
            image.position = (0.5 * k, 0, image.position[2])
    elif how == "turned":
        images[2].read_dir, images[2].phase_dir = (0, 1, 0), (-1, 0, 0)
    elif how == "other size":
        images[2] = image_of(head((9, 8, 1)), images[2].position, (18, 16, 2))
    elif how == "other type":
        images[2] = image_of(
            head((8, 8, 1)).astype(np.float32), images[2].position, (16, 16, 2), number=3
        )
    elif how == "single":
        images = images[:1]
    elif how == "no directions":
        for image in images:
            image.read_dir = image.phase_dir = image.slice_dir = (0, 0, 0)
    elif how == "skewed directions":
        for image in images:
            image.phase_dir = (0.6, 0.8, 0)
    elif how == "no field of view":
        for image in images:
            image.field_of_view = (0, 0, 0)
    elif how == "not numbers":
        images[2].position = (np.nan, 0, 0)
    elif how == "bad attribute":
        images[0].meta = {"ImageRowDir": ["left", "a", "bit"]}
    return [received(image) for image in images]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "is one missing"),
        ("every second", "are some missing"),
        ("twice", "one slice in a place"),
        ("sheared", "shifted sideways"),
        ("turned", "one direction"),
        ("other size", "one size"),
        ("other type", "one size and type"),
        ("single", "a single slice"),
        ("no directions", "direction of length 1"),
        ("skewed directions", "right angle"),
        ("no field of view", "field of view"),
        ("not numbers", "finite"),
        ("bad attribute", "three numbers as ImageRowDir"),
    ],
)
def test_slices_that_make_no_box_are_refused_by_name(how, words):
    with pytest.raises(InputError, match=words):
        stack_grid(spoiled(how))


def test_a_volume_whose_slice_direction_is_no_normal_is_refused():
    image = image_of(head((8, 8, 8)), (0, 0, 0), (16, 16, 16), (*AXIAL[:2], (0, 0.6, 0.8)))
    with pytest.raises(InputError, match="slice_dir"):
        volume_grid(received(image))
