"""The whole-volume loop of the C++ core."""

import threading

import contract_loop
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_bundle import CHANNELS, DIM, GATE, LATENT, TILE, card, make_bundle, write_card

from moediff_rt import _core
from moediff_rt.errors import BackendError, BundleError, Cancelled, EngineError, InputError


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return _core.load_bundle(str(tiny_bundle))


@pytest.fixture(scope="module")
def model(bundle):
    return _core.Model(bundle, precision="fp32", threads=2)


def scan(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random(shape, dtype=np.float32)


def full_boxes(shape):
    return np.tile(np.array([0, shape[1], 0, shape[2]], np.int32), (shape[0], 1))


def ragged_boxes(shape, seed=0):
    rng = np.random.default_rng(seed)
    boxes = np.zeros((shape[0], 4), np.int32)
    for z in range(shape[0]):
        boxes[z, :2] = np.sort(rng.integers(0, shape[1] + 1, 2))
        boxes[z, 2:] = np.sort(rng.integers(0, shape[2] + 1, 2))
    boxes[shape[0] // 2] = 0
    return boxes


SHAPES = [(1, 1, 1), (2, 20, 31), (3, 32, 32), (4, 33, 50), (5, 97, 70)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("boxes", [full_boxes, ragged_boxes])
def test_enhance_matches_the_plain_loop(model, tiny_bundle, shape, boxes):
    volume = scan(shape)
    expected, gates, calls = contract_loop.ContractLoop(tiny_bundle).enhance(
        volume, boxes(shape), seed=5
    )
    found = model.enhance(volume, boxes(shape), seed=5, save_gates=True)
    np.testing.assert_allclose(found.volume, expected, rtol=0, atol=2e-5)
    np.testing.assert_allclose(found.gates, 255 * gates, rtol=0, atol=0.51)
    assert found.volume.dtype == np.float32
    assert found.gates.dtype == np.uint8
    assert found.expert_calls == calls
    assert found.expert_calls + found.expert_calls_saved == 2 * 3 * found.tiles


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "ddim", "steps": 3},
        {"method": "dpmpp_2m", "steps": 5, "start_timestep": 60},
        {"method": "dpmpp_2m", "steps": 1},
        {"start": "noise", "steps": 4},
        {"start": "noise", "steps": 4, "method": "ddim", "seed": 2**63 + 11},
        {"gate_threshold": 0.0},
        {"gate_threshold": 0.33},
    ],
)
def test_every_setting_matches_the_plain_loop(model, tiny_bundle, settings):
    shape = (2, 50, 40)
    volume = scan(shape)
    loop = contract_loop.ContractLoop(tiny_bundle)
    expected, _, calls = loop.enhance(volume, full_boxes(shape), **settings)
    found = model.enhance(volume, full_boxes(shape), **settings)
    np.testing.assert_allclose(found.volume, expected, rtol=0, atol=2e-5)
    assert found.expert_calls == calls


@pytest.mark.parametrize("slices", [1, 5])
@pytest.mark.parametrize("shape", [(1, 20, 31), (7, 33, 50)])
def test_another_number_of_slices_matches_the_plain_loop(tmp_path, slices, shape):
    folder = make_bundle(tmp_path / "tiny", slices=slices)
    volume, boxes = scan(shape), full_boxes(shape)
    expected, _, _ = contract_loop.ContractLoop(folder).enhance(volume, boxes, seed=5)
    model = _core.Model(_core.load_bundle(str(folder)), precision="fp32", threads=2)
    found = model.enhance(volume, boxes, seed=5)
    np.testing.assert_allclose(found.volume, expected, rtol=0, atol=2e-5)


def test_stochastic_ddim_matches_the_plain_loop(tmp_path):
    folder = make_bundle(tmp_path / "eta")
    content = card(folder)
    content["sampler"].update(method="ddim", eta=1.0, steps=4)
    write_card(folder, content)
    volume, boxes = scan((2, 40, 40)), full_boxes((2, 40, 40))
    expected, _, _ = contract_loop.ContractLoop(folder).enhance(volume, boxes)
    model = _core.Model(_core.load_bundle(str(folder)), precision="fp32")
    found = model.enhance(volume, boxes)
    np.testing.assert_allclose(found.volume, expected, rtol=0, atol=2e-5)


def test_confident_gates_save_expert_calls_at_a_bounded_error(tmp_path):
    folder = make_bundle(tmp_path / "sharp", sharpness=40.0)
    model = _core.Model(_core.load_bundle(str(folder)), precision="fp32")
    volume, boxes = scan((3, 70, 70)), full_boxes((3, 70, 70))
    all_run = model.enhance(volume, boxes, gate_threshold=0.0)
    some_run = model.enhance(volume, boxes, gate_threshold=0.3)
    assert all_run.expert_calls_saved == 0
    assert some_run.expert_calls_saved > 0
    expected, _, calls = contract_loop.ContractLoop(folder).enhance(
        volume, boxes, gate_threshold=0.3
    )
    assert some_run.expert_calls == calls
    np.testing.assert_allclose(some_run.volume, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_output_is_the_same_bits_for_any_batch_and_thread_count(bundle, model, threads, batch):
    shape = (5, 70, 70)
    volume, boxes = scan(shape), full_boxes(shape)
    expected = model.enhance(volume, boxes, save_gates=True)
    other = _core.Model(bundle, precision="fp32", threads=threads)
    found = other.enhance(volume, boxes, batch=batch, save_gates=True)
    np.testing.assert_array_equal(found.volume, expected.volume)
    np.testing.assert_array_equal(found.gates, expected.gates)


def test_the_tiles_are_the_size_that_the_plain_rule_finds(model, tiny_bundle):
    loop = contract_loop.ContractLoop(tiny_bundle)
    sizes = set()
    for seed in range(6):
        boxes = ragged_boxes((4, 40 + 9 * seed, 90), seed)
        found = model.enhance(scan((4, 40 + 9 * seed, 90)), boxes)
        (size,) = found.tile_sizes
        assert [size] * 4 == loop.sizes((4, 40 + 9 * seed, 90), boxes)
        sizes.add(size)
    assert len(sizes) > 2


def test_slices_with_tiles_of_their_own_sizes_follow_the_plain_loop(model, tiny_bundle):
    loop = contract_loop.ContractLoop(tiny_bundle)
    shape = (114, 40, 40)
    boxes = np.array([[0, 40, 0, 40]] * 4 + [[12, 28, 8, 24]] * 110, np.int32)
    volume = scan(shape)
    found = model.enhance(volume, boxes, save_gates=True)
    assert found.tile_sizes == [(24, 24), (16, 16)]
    expected, gates, calls = loop.enhance(volume, boxes)
    np.testing.assert_allclose(found.volume, expected, rtol=0, atol=2e-5)
    np.testing.assert_allclose(found.gates / 255, gates, rtol=0, atol=0.6 / 255)
    assert found.expert_calls == calls


def test_a_result_does_not_depend_on_which_sizes_the_model_had_before(bundle, model):
    volume, boxes = scan((2, 60, 60)), full_boxes((2, 60, 60))
    fresh = _core.Model(bundle, precision="fp32", threads=2).enhance(volume, boxes)
    for box in ([0, 16, 0, 16], [0, 24, 0, 32], [0, 32, 0, 24], [0, 16, 0, 24], [0, 24, 0, 24]):
        model.enhance(volume, np.array([box] * 2, np.int32))
    np.testing.assert_array_equal(model.enhance(volume, boxes).volume, fresh.volume)


def test_noise_is_the_same_wherever_the_tiles_lie(model):
    volume = np.full((1, 64, 64), 0.5, np.float32)  # nothing but noise tells places apart
    boxes = ([8, 40, 8, 40], [16, 40, 12, 44], [12, 44, 20, 44])
    runs = [
        model.enhance(volume, np.array([box], np.int32), start="noise", steps=1) for box in boxes
    ]
    sizes = [[(32, 32)], [(24, 32)], [(32, 24)]]
    assert [(run.tile_sizes, run.tiles) for run in runs] == [(size, 1) for size in sizes]
    inner = (0, slice(24, 32), slice(28, 32))  # further from each border than a voxel sees
    assert np.ptp(runs[0].volume[inner]) > 0.1
    for run in runs[1:]:
        np.testing.assert_allclose(run.volume[inner], runs[0].volume[inner], rtol=0, atol=1e-5)


def test_seed_changes_the_output(model):
    volume, boxes = scan((1, 32, 32)), full_boxes((1, 32, 32))
    one, two = (model.enhance(volume, boxes, seed=seed).volume for seed in (1, 2))
    assert not np.array_equal(one, two)


def test_background_is_left_as_it_was(model):
    volume = scan((3, 40, 40))
    volume[0] = np.nan
    boxes = np.zeros((3, 4), np.int32)
    found = model.enhance(volume, boxes, save_gates=True)
    np.testing.assert_array_equal(found.volume, volume)
    assert found.tiles == 0
    assert found.expert_calls == 0
    assert not found.gates.any()


def test_voxels_that_are_not_finite_are_reported(model):
    volume = scan((3, 40, 40))
    volume[1, 10, 10] = np.nan
    with pytest.raises(EngineError, match=r"found NaN or infinity in slice \d"):
        model.enhance(volume, full_boxes(volume.shape))


def test_the_input_is_not_changed(model):
    volume = scan((2, 40, 40))
    before = volume.copy()
    volume.setflags(write=False)
    model.enhance(volume, full_boxes(volume.shape))
    np.testing.assert_array_equal(volume, before)


def test_progress_rises_to_the_number_of_tiles(model):
    seen = []
    volume = scan((6, 70, 70))
    found = model.enhance(
        volume, full_boxes(volume.shape), progress=lambda done, total: seen.append((done, total))
    )
    done = [d for d, _ in seen]
    assert done == sorted(done)
    assert seen[-1] == (found.tiles, found.tiles)
    assert set(found.seconds) >= {"encoder", "experts", "decoder", "total"}


def test_cancel_stops_and_the_model_still_works(model):
    volume = scan((40, 70, 70))
    boxes = full_boxes(volume.shape)
    with pytest.raises(Cancelled, match="asked to stop"):
        model.enhance(volume, boxes, cancel=lambda: True)
    assert model.enhance(volume[:1].copy(), boxes[:1].copy()).tiles > 0


def test_an_error_in_a_callback_comes_back_as_it_was(model):
    volume = scan((4, 70, 70))

    def progress(done, total):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        model.enhance(volume, full_boxes(volume.shape), progress=progress)


def test_one_model_serves_several_threads(model):
    volume, boxes = scan((3, 70, 70)), full_boxes((3, 70, 70))
    expected = model.enhance(volume, boxes).volume
    found = {}

    def run(i):
        found[i] = model.enhance(volume, boxes).volume

    def stop():
        with pytest.raises(Cancelled):
            model.enhance(volume, boxes, cancel=lambda: True)

    workers = [threading.Thread(target=run, args=(i,)) for i in range(3)]
    workers.append(threading.Thread(target=stop))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for i in range(3):
        np.testing.assert_array_equal(found[i], expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"volume": np.zeros((2, 8, 8))}, "found float64"),
        ({"volume": np.zeros((2, 8, 8), np.float32).T}, "C-contiguous"),
        ({"volume": np.zeros((0, 8, 8), np.float32)}, "with voxels"),
        ({"boxes": np.zeros((2, 4), np.int64)}, "int32"),
        ({"boxes": np.zeros((3, 4), np.int32)}, "one box per slice"),
        ({"boxes": np.array([[0, 9, 0, 8]] * 2, np.int32)}, "within 8 x 8"),
        ({"boxes": np.array([[-1, 8, 0, 8]] * 2, np.int32)}, "within 8 x 8"),
        ({"steps": -1}, "steps"),
        ({"steps": 41}, "1 to 40 steps"),
        ({"method": "euler"}, "ddim or dpmpp_2m"),
        ({"start": "middle"}, "low_field or noise"),
        ({"start_timestep": 100}, "0 to 99"),
        ({"start": "noise", "start_timestep": 40}, "of 99"),
        ({"gate_threshold": 0.34}, "below 1/3"),
        ({"gate_threshold": float("nan")}, "gate threshold"),
        ({"batch": -1}, "batch"),
        ({"batch": 100000}, "batch"),
    ],
)
def test_wrong_calls_are_refused(model, change, words):
    call = {
        "volume": np.zeros((2, 8, 8), np.float32),
        "boxes": full_boxes((2, 8, 8)),
        **change,
    }
    with pytest.raises(InputError, match=words):
        model.enhance(call.pop("volume"), call.pop("boxes"), **call)


def test_only_openvino_is_there_and_the_others_say_why():
    infos = {info.name: info for info in _core.backends()}
    assert set(infos) == {"openvino", "tensorrt", "tensorrt-rtx"}
    assert infos["openvino"].available
    assert "fp32" in infos["openvino"].precisions
    for name in ("tensorrt", "tensorrt-rtx"):
        assert not infos[name].available
        assert "use the openvino backend" in infos[name].reason


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"backend": "onnx"}, "found onnx"),
        ({"backend": "tensorrt"}, "made without TENSORRT_ROOT"),
        ({"device": "GPU.9"}, "found GPU.9"),
        ({"precision": "int4"}, "found int4"),
    ],
)
def test_unknown_backends_devices_and_precisions_are_refused(bundle, settings, words):
    with pytest.raises(BackendError, match=words):
        _core.Model(bundle, **settings)


def test_bf16_is_refused_where_the_processor_has_none(bundle):
    (info,) = (i for i in _core.backends() if i.name == "openvino")
    if "bf16" in info.precisions:
        assert _core.Model(bundle, precision="bf16").precision == "bf16"
        # Intel's bfloat16 is slower than float32 where there is no AMX.
        assert _core.Model(bundle).precision in ("bf16", "fp32")
    else:
        assert _core.Model(bundle).precision == "fp32"
        with pytest.raises(BackendError, match="no instructions for it"):
            _core.Model(bundle, precision="bf16")


def test_a_wrong_thread_count_is_refused(bundle):
    with pytest.raises(InputError, match="threads"):
        _core.Model(bundle, threads=-1)


def test_a_request_that_fails_inside_the_engine_names_its_module(tmp_path):
    folder = make_bundle(tmp_path / "failing")
    latent = [1, CHANNELS, LATENT, LATENT]
    # As many values as the image has voxels that are not 0: nothing before the run can know.
    nodes = [
        helper.make_node("NonZero", ["image"], ["places"]),
        helper.make_node("Cast", ["places"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["values", "shape"], ["z"]),
    ]
    shape = numpy_helper.from_array(np.array(latent, np.int64), "shape")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, TILE, TILE])
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, latent)
    graph = helper.make_graph(nodes, "encoder", [image], [z], [shape])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10),
        folder / "encoder.onnx",
    )
    write_card(folder, card(folder))
    failing = _core.Model(_core.load_bundle(str(folder)))
    with pytest.raises(EngineError, match=r"engine: expected encoder to run, found .*; .*; build"):
        failing.enhance(scan((1, 32, 32)), full_boxes((1, 32, 32)))


def test_an_output_that_is_a_single_number_is_refused(tmp_path):
    folder = make_bundle(tmp_path / "scalar")
    node = helper.make_node("ReduceMax", ["tokens"], ["gates"], keepdims=0)
    tokens = helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["N", GATE, GATE, DIM])
    gates = helper.make_tensor_value_info("gates", TensorProto.FLOAT, [])
    graph = helper.make_graph([node], "gate", [tokens], [gates])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10),
        folder / "gate.onnx",
    )
    write_card(folder, card(folder))
    with pytest.raises(BundleError, match=r"in gate, found f32 \[\] for gates"):
        _core.Model(_core.load_bundle(str(folder)))
