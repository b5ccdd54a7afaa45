"""A new grid keeps the world coordinates of the volume's faces; axes go to RAS+ and back."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from moediff_rt.grid import AxisOrder, Grid, resized_affine, resized_shape, voxel_sizes

sizes = st.integers(min_value=8, max_value=301)
edges = st.floats(min_value=0.3, max_value=5.0)
angles = st.floats(min_value=-3.1, max_value=3.1)
shapes = st.tuples(sizes, sizes, sizes)


def oblique_affine(spacing: tuple[float, ...], turn: tuple[float, ...], flip: bool) -> np.ndarray:
    rotation = nib.eulerangles.euler2mat(*turn)
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.asarray(spacing)
    if flip:
        affine[:3, 0] *= -1
    affine[:3, 3] = (-91.3, 12.7, -45.1)
    return affine


def face_corners(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    ends = [(-0.5, n - 0.5) for n in shape]
    return nib.affines.apply_affine(affine, list(itertools.product(*ends)))


@given(
    shapes, shapes, st.tuples(edges, edges, edges), st.tuples(angles, angles, angles), st.booleans()
)
def test_a_resized_grid_keeps_the_corners_of_the_box(shape, new_shape, spacing, turn, flip):
    affine = oblique_affine(spacing, turn, flip)
    grid = Grid(shape, affine).resized(new_shape)
    np.testing.assert_allclose(
        face_corners(grid.affine, new_shape), face_corners(affine, shape), atol=1e-6
    )
    expected = np.asarray(shape) * voxel_sizes(affine) / new_shape
    np.testing.assert_allclose(grid.spacing, expected, rtol=1e-9)


@given(shapes, st.tuples(edges, edges, edges), st.floats(min_value=0.4, max_value=3.0))
def test_the_resized_voxel_is_as_near_as_whole_voxels_allow(shape, spacing, wanted):
    new_shape = resized_shape(shape, spacing, (wanted,) * 3)
    for n, old, m in zip(shape, spacing, new_shape, strict=True):
        length = n * old
        assert m >= 1
        assert abs(length / wanted - m) <= 0.5 + 1e-9 or m == 1


def test_halving_the_voxel_doubles_odd_and_even_sizes():
    assert resized_shape((91, 108, 7), (2, 2, 2), (1, 1, 1)) == (182, 216, 14)
    affine = resized_affine(np.diag([2.0, 2.0, 2.0, 1.0]), (91, 108, 7), (182, 216, 14))
    np.testing.assert_allclose(
        affine, [[1, 0, 0, -0.5], [0, 1, 0, -0.5], [0, 0, 1, -0.5], [0, 0, 0, 1]]
    )


@given(st.tuples(angles, angles, angles), st.booleans())
def test_axes_go_to_ras_and_back_unchanged(turn, flip):
    affine = oblique_affine((1.0, 2.0, 3.0), turn, flip)
    data = np.arange(4 * 5 * 6 * 2).reshape(4, 5, 6, 2)
    axes = AxisOrder.nearest_ras(affine)
    there = axes.to_ras(data)
    np.testing.assert_array_equal(axes.from_ras(there), data)
    reference = nib.as_closest_canonical(nib.Nifti1Image(data.astype(np.int16), affine))
    np.testing.assert_array_equal(there, np.asarray(reference.dataobj))
    np.testing.assert_allclose(
        axes.spacing_to_ras((1.0, 2.0, 3.0)), voxel_sizes(reference.affine), rtol=1e-6
    )
