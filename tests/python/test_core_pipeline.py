"""The whole way from a scan to its result in the C++ core."""

from __future__ import annotations

import numpy as np
import oracle.consistency
import oracle.foreground
import oracle.noise
import oracle.resample
import oracle.slice_profile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moediff_rt import _core
from moediff_rt.errors import Cancelled, InputError
from moediff_rt.grid import resized_shape
from moediff_rt.spacing import choose_output_shape

SHAPE = (20, 30, 28)
SPACING = (3.0, 2.0, 2.0)


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return _core.load_bundle(str(tiny_bundle))


@pytest.fixture(scope="module")
def model(bundle):
    return _core.Model(bundle, precision="fp32", threads=2)


def head(shape: tuple[int, int, int] = SHAPE, level: float = 800.0) -> np.ndarray:
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    tissue = (sum(axis**2 for axis in grid) < 0.5) * (1 + 0.2 * np.sin(9 * grid[0]))
    noise = np.random.default_rng(0).standard_normal((2, *shape))
    return np.hypot(level * tissue + 8 * noise[0], 8 * noise[1]).astype(np.float32)


def prepared(bundle, scan: np.ndarray, spacing: tuple[float, ...], shape: tuple[int, ...]):
    return _core.prepare(
        scan, spacing, shape, percentile=bundle.percentile, value=bundle.intensity_value
    )


def test_the_result_is_the_steps_one_after_the_other(model, bundle):
    scan = head()
    found = model.enhance_scan(scan, SPACING, seed=3, save_gates=True)
    foreground = oracle.foreground.find_foreground(scan, SPACING)
    inside = scan[foreground.voxels()].astype(np.float64)
    scale = np.percentile(inside, bundle.percentile) / bundle.intensity_value
    measured = scan / scale
    shape = (60, 60, 56)
    volume = oracle.resample.interpolate(measured, shape).astype(np.float32)
    enhanced = model.enhance(volume, foreground.boxes(shape), seed=3, save_gates=True)
    sigma = oracle.noise.noise_sigma(measured, foreground)
    axis, squared = oracle.slice_profile.fall_off(measured, SPACING, sigma)
    assert axis == 0 and found.slice_profile == (1 if squared > 0.6 else -1)
    profile = (0, max(found.slice_profile, 0))
    result, largest = oracle.consistency.enforce_consistency(
        enhanced.volume, measured, sigma, profile=profile
    )
    assert found.volume.shape == shape
    np.testing.assert_allclose(found.volume, scale * result, rtol=0, atol=1e-4 * scan.max())
    assert np.count_nonzero(found.gates != enhanced.gates) < 1e-3 * found.gates.size
    assert found.noise_sigma == pytest.approx(scale * sigma, rel=1e-4)
    assert found.largest_correction == pytest.approx(scale * largest, rel=1e-2)
    assert found.spacing == pytest.approx((1, 1, 1))
    assert (found.tiles, found.expert_calls) == (enhanced.tiles, enhanced.expert_calls)
    assert found.deviation is None


@pytest.mark.parametrize(
    ("spacing", "planes"),
    [
        ((3.0, 2.0, 2.0), (0,)),
        ((3.0, 2.0, 2.0), (0, 1)),
        ((2.0, 2.01, 2.0), (0, 1, 2)),
        ((2.0, 2.0, 2.5), (2,)),
        ((2.0, 2.0, 2.5), (2, 0)),
        ((2.0, 3.0, 2.5), (1, 2)),
        ((2.0, 3.0, 2.5), (1, 2, 0)),
    ],
)
def test_planes_are_enhanced_as_volumes_of_their_own_and_averaged(model, bundle, spacing, planes):
    scan = head((18, 30, 26))  # no two axes alike
    found = model.enhance_scan(
        scan, spacing, seed=3, planes=len(planes), save_gates=True, data_consistency=False
    )
    shape = found.volume.shape
    assert len(set(shape)) == 3 and found.planes == planes
    volume = prepared(bundle, scan, spacing, shape)
    results, tiles = [], 0
    for axis in planes:
        turned = np.ascontiguousarray(volume.volume.swapaxes(0, axis))
        edges = list(spacing)
        edges[0], edges[axis] = edges[axis], edges[0]
        foreground = _core.find_foreground(np.ascontiguousarray(scan.swapaxes(0, axis)), edges)
        boxes = foreground.boxes(turned.shape)
        np.testing.assert_array_equal(volume.foreground.boxes(shape, axis), boxes)
        seed = 3 ^ (axis * 0x9E3779B97F4A7C15 % 2**64)
        one = model.enhance(turned, boxes, seed=seed, save_gates=True)
        results.append(one.volume.swapaxes(0, axis))
        tiles += one.tiles
        if axis == planes[0]:
            assert one.gates.any()
            np.testing.assert_array_equal(found.gates, one.gates.swapaxes(1, 1 + axis))
    apart = np.abs(results[-1] - results[0]).max()
    assert len(planes) == 1 or apart > 0.01, "the planes must differ for this to say anything"
    average = volume.scale * np.mean(results, axis=0)
    np.testing.assert_allclose(found.volume, average, rtol=1e-5, atol=1e-5 * average.max())
    assert found.tiles == tiles


def test_boxes_are_refused_for_a_plane_that_there_is_not():
    foreground = _core.find_foreground(head(), SPACING)
    for plane in (-1, 3):
        with pytest.raises(InputError, match=f"plane from 0 to 2, found {plane}"):
            foreground.boxes(SHAPE, plane)


def test_the_result_has_the_same_bits_for_any_number_of_threads(model):
    settings = {"samples": 2, "planes": 3}
    one = model.enhance_scan(head(), SPACING, **settings, threads=1)
    for threads in (0, 3):
        other = model.enhance_scan(head(), SPACING, **settings, threads=threads)
        np.testing.assert_array_equal(other.volume, one.volume)
        np.testing.assert_array_equal(other.deviation, one.deviation)
        assert other.noise_sigma == one.noise_sigma


def mirrored_boxes(boxes: np.ndarray, shape: tuple[int, int, int], axes: list[int]) -> np.ndarray:
    inside = np.zeros(shape, bool)
    for here, (y0, y1, x0, x1) in zip(inside, boxes, strict=True):
        here[y0:y1, x0:x1] = True
    mirrored = np.zeros_like(boxes)
    for box, here in zip(mirrored, np.flip(inside, axes), strict=True):
        if here.any():
            ys, xs = np.nonzero(here.any(1))[0], np.nonzero(here.any(0))[0]
            box[:] = ys[0], ys[-1] + 1, xs[0], xs[-1] + 1
    return mirrored


def samples(model, volume, seed: int, count: int, planes: tuple[int, ...] = (0,)):
    """Results of a prepared volume, whose slices of the first plane are mirrored, and back."""
    shape = volume.volume.shape
    columns, rows = (axis for axis in (2, 1, 0) if axis != planes[0])
    for number in range(count):
        ways = ([], [columns], [rows], [rows, columns])
        mirrored = ways[number % 4]
        seen = np.flip(volume.volume, mirrored)
        results, tiles = [], 0
        for plane in planes:
            turned = np.ascontiguousarray(seen.swapaxes(0, plane))
            swapped = [{0: plane, plane: 0}.get(axis, axis) for axis in mirrored]
            boxes = mirrored_boxes(volume.foreground.boxes(shape, plane), turned.shape, swapped)
            own = (seed + number) % 2**64 ^ (plane * 0x9E3779B97F4A7C15 % 2**64)
            one = model.enhance(turned, boxes, seed=own)
            results.append(one.volume.swapaxes(0, plane))
            tiles += one.tiles
        yield np.flip(np.mean(results, axis=0), mirrored), tiles


@pytest.mark.parametrize(
    ("spacing", "planes"),
    [
        ((2.0, 2.0, 2.0), (0,)),
        ((2.0, 2.0, 2.0), (0, 1, 2)),
        ((2, 2.5, 2), (1,)),
        ((2, 2, 2.5), (2,)),
    ],
)
def test_samples_are_of_mirrored_slices_and_their_spread_is_told(model, bundle, spacing, planes):
    scan = head((18, 30, 26))  # no two axes alike
    scan[:, :9], scan[..., 20:] = scan[0, 0, 0], scan[0, 0, 0]  # and no symmetry
    seed, count = 2**64 - 1, 5  # the fifth as the first, but for its seed
    found = model.enhance_scan(
        scan,
        spacing,
        seed=seed,
        samples=count,
        planes=len(planes),
        save_gates=True,
        data_consistency=False,
    )
    volume = prepared(bundle, scan, spacing, found.volume.shape)
    single = list(samples(model, volume, seed, count, planes))
    results = volume.scale * np.array([result for result, _ in single], np.float64)
    for other in results[1:]:
        assert np.abs(other - results[0]).max() > 1, "they must differ for this to say anything"
    np.testing.assert_allclose(found.volume, results.mean(axis=0), rtol=1e-5, atol=1e-2)
    np.testing.assert_allclose(found.deviation, results.std(axis=0, ddof=1), rtol=1e-2, atol=1e-2)
    assert found.tiles == sum(tiles for _, tiles in single)
    one = model.enhance_scan(scan, spacing, seed=seed, planes=len(planes), save_gates=True)
    np.testing.assert_array_equal(found.gates, one.gates)


def test_each_sample_is_made_consistent_with_the_scan(model, bundle):
    scan = head()
    found = model.enhance_scan(scan, SPACING, seed=5, samples=3)
    volume = prepared(bundle, scan, SPACING, found.volume.shape)
    made = [
        oracle.consistency.enforce_consistency(
            result,
            scan / volume.scale,
            found.noise_sigma / volume.scale,
            profile=(0, max(found.slice_profile, 0)),
        )
        for result, _ in samples(model, volume, 5, 3)
    ]
    results = volume.scale * np.array([result for result, _ in made])
    np.testing.assert_allclose(found.volume, results.mean(axis=0), rtol=0, atol=1e-4 * scan.max())
    largest = volume.scale * max(largest for _, largest in made)
    assert found.largest_correction == pytest.approx(largest, rel=1e-2)


@pytest.mark.parametrize("planes", [1, 3])
def test_progress_runs_once_from_the_first_sample_to_the_last(model, planes):
    seen = []
    found = model.enhance_scan(
        head(),
        SPACING,
        samples=3,
        planes=planes,
        progress=lambda *at: seen.append(at),
        data_consistency=False,
    )
    assert seen[-1] == (found.tiles, found.tiles)
    assert {total for _, total in seen} == {found.tiles}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_stages_are_told_in_their_order(model):
    seconds = model.enhance_scan(head(), SPACING).seconds
    stages = [stage for stage in seconds if "." not in stage]
    assert stages == ["prepare", "model", "consistency"]
    assert {"model.encoder", "model.experts", "model.decoder", "model.total"} <= set(seconds)
    assert all(spent >= 0 for spent in seconds.values())


def test_the_scan_is_left_as_it_is(model):
    scan = head()
    scan.flags.writeable = False
    model.enhance_scan(scan, SPACING)
    np.testing.assert_array_equal(scan, head())


def test_cancel_stops_it_and_errors_of_the_callbacks_come_through(model):
    with pytest.raises(Cancelled):
        model.enhance_scan(head(), SPACING, cancel=lambda: True)

    def fails(*_: int) -> None:
        raise RuntimeError("the caller's own")

    with pytest.raises(RuntimeError, match="own"):
        model.enhance_scan(head(), SPACING, progress=fails)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scan": head().astype(np.float64)}, "float32"),
        ({"scan": head()[..., ::2]}, "not C-contiguous"),
        ({"scan": head()[0]}, "any, any, any"),
        ({"scan": np.ones((0, 9, 9), np.float32)}, r"with voxels, .* shape \(0, 9, 9\)"),
        (
            {"scan": np.ones((7, 9, 9), np.float32)},
            "at least 8 voxels along each axis, got 9 x 9 x",
        ),
        ({"scan": np.where(head() > 800, np.float32(np.nan), head())}, "NaN or infinite of 16800"),
        ({"scan": np.where(head() > 800, np.float32(np.inf), head())}, "NaN or infinite"),
        ({"scan": np.full(SHAPE, np.nan, np.float32)}, "found 16800 NaN"),
        ({"scan": np.zeros(SHAPE, np.float32)}, "all voxels are 0"),
        ({"scan": -head()}, "above zero"),
        ({"spacing": (0.0, 2.0, 2.0)}, "above zero in mm, got 2 x 2 x 0 mm"),
        ({"spacing": (2.0, np.nan, 2.0)}, "above zero"),
        ({"spacing": (2.0, 2.0, np.inf)}, "above zero"),
        ({"spacing": (9.0, 2.0, 1.0)}, "got 1 x 2 x 9 mm; the bundle was not trained"),
        ({"planes": -1}, "1 to 3 planes"),
        ({"planes": 4}, "1 to 3 planes"),
        ({"output_spacing": 0.01}, "output spacing"),
        ({"output_spacing": -1.0}, "output spacing"),
        ({"output_spacing": np.nan}, "output spacing"),
        ({"samples": 0}, "from 1 to 1000 samples, got 0"),
        ({"samples": 1001}, "got 1001"),
        ({"threads": -1}, "1024 threads, got -1"),
        ({"steps": -1}, "steps"),
        ({"steps": 10**6}, "steps"),
    ],
)
def test_what_cannot_be_enhanced_is_refused(model, change, words):
    request = {"scan": head(), "spacing": SPACING} | change
    with pytest.raises(InputError, match=words) as caught:
        model.enhance_scan(request.pop("scan"), request.pop("spacing"), **request)
    assert "\n" not in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(*[st.integers(8, 120)] * 3),
    st.tuples(*[st.floats(0.6, 4.9)] * 3),
    st.floats(0.6, 1.2),
)
def test_the_output_keeps_the_scans_box(bundle, shape, spacing, wanted):
    found = choose_output_shape(shape, spacing, wanted, bundle)
    assert found == resized_shape(shape, spacing, (wanted,) * 3)


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [((2.0, 2.0, 2.0), 1.0), ((1.0, 1.0, 3.0), 0.5), ((0.6, 3.0, 3.0), 0.5), ((4.0,) * 3, 1.25)],
)
def test_by_default_the_smallest_edge_is_halved_within_the_bundles_range(bundle, spacing, expected):
    assert (bundle.output_min_mm, bundle.output_max_mm) == (0.5, 1.25)
    shape = (40, 50, 60)
    assert choose_output_shape(shape, spacing, None, bundle) == resized_shape(
        shape, spacing, (expected,) * 3
    )


def test_an_output_that_no_computer_holds_is_refused(bundle):
    with pytest.raises(InputError, match="at most 1500000000 output voxels, the spacing asks for"):
        choose_output_shape((1000, 1000, 1000), (2.0, 2.0, 2.0), 0.5, bundle)
