"""Engines against float32: on a GPU that is played by arrays and OpenVINO."""

from __future__ import annotations

import contextlib
import ctypes
import types

import numpy as np
import pytest

from moediff_rt import _core
from moediff_rt.errors import BackendError, EngineError
from moediff_rt.tensorrt import check, driver
from moediff_rt.tensorrt.accuracy import run_float32
from moediff_rt.tensorrt.build import Plan, Recipe, Tensor
from moediff_rt.tensorrt.check import Checker
from moediff_rt.tensorrt.graph import load_graph
from moediff_rt.tensorrt.package import Package
from moediff_rt.tensorrt.precision import to_precision
from moediff_rt.tensorrt.rounding import low_tensors, with_rounding

DTYPES = {1: "FLOAT", 10: "HALF", 16: "BF16"}


class PlayedMemory:
    """Device memory: arrays by address."""

    stream = 7

    def __init__(self):
        self.arrays = {}

    def put(self, array):
        address = 1000 + len(self.arrays)
        self.arrays[address] = np.array(array)
        return address

    def get(self, address, like):
        assert self.arrays[address].shape == like.shape
        return self.arrays[address]

    def free(self):
        self.arrays.clear()


class PlayedContext:
    """An execution context that computes with OpenVINO what `model` says."""

    def __init__(self, player):
        self.player = player
        self.addresses, self.batch = {}, 0

    def set_optimization_profile_async(self, profile, stream):
        assert stream == PlayedMemory.stream
        self.batch = self.player.batches[profile]
        return True

    def set_input_shape(self, name, shape):
        return shape[0] == self.batch

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        self.player.ran.append(self.batch)
        arrays = self.player.memory.arrays
        model = self.player.model
        names = [value.name for value in model.graph.input]
        feeds = {name: arrays[self.addresses[name]].astype(np.float32) for name in names}
        for value, found in zip(model.graph.output, run_float32(model, feeds), strict=True):
            target = arrays[self.addresses[value.name]]
            target[...] = self.player.spoil(found)
        return self.player.runs

    def get_runtime_config(self):
        return self.player.config


class PlayedLogger:
    """Says nothing."""

    INTERNAL_ERROR = 0

    def __init__(self, severity):
        assert severity == self.INTERNAL_ERROR


class Player:
    """The GPU, the package and what goes wrong with them."""

    def __init__(self, model, batches):
        self.model, self.batches = model, batches
        self.memory = PlayedMemory()
        self.ran: list[int] = []
        self.loads = self.runs = True
        self.spoil = lambda array: array
        kernels = types.SimpleNamespace(
            deserialize=self._take_kernels, serialize=lambda: b"compiled kernels"
        )
        self.taken = b""
        self.config = types.SimpleNamespace(
            create_runtime_cache=lambda: kernels,
            set_runtime_cache=lambda cache: None,
            get_runtime_cache=lambda: kernels,
        )
        self.trt = types.SimpleNamespace(
            Logger=PlayedLogger,
            Runtime=lambda log: types.SimpleNamespace(deserialize_cuda_engine=self._load),
            DynamicShapesKernelSpecializationStrategy=types.SimpleNamespace(EAGER="eager"),
        )

    def _take_kernels(self, content):
        self.taken = content

    def _load(self, blob):
        graph = self.model.graph
        names = [value.name for value in [*graph.input, *graph.output]]
        engine = types.SimpleNamespace(
            num_io_tensors=len(names),
            get_tensor_name=names.__getitem__,
            create_execution_context=lambda *config: PlayedContext(self),
            create_runtime_config=lambda: self.config,
        )
        return engine if self.loads else None


def loaded(folder):
    return _core.load_bundle(str(folder))


def make(tiny_bundle, monkeypatch, precision="fp16", backend="tensorrt-rtx", module="expert_0"):
    """A checker, what to check, and the GPU it is checked on."""
    model = load_graph((tiny_bundle / f"{module}.onnx").read_bytes(), module, loaded(tiny_bundle))
    typed = to_precision(model, module, precision)
    played = with_rounding(typed, low_tensors(typed), precision) if typed is not model else model
    player = Player(played, (1, 2, 4))

    def tensors(values):
        return tuple(
            Tensor(
                value.name,
                DTYPES[value.type.tensor_type.elem_type],
                tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)[1:],
            )
            for value in values
        )

    plan = Plan(b"engine", tensors(typed.graph.input), tensors(typed.graph.output), 1)

    @contextlib.contextmanager
    def on_gpu():
        yield player.memory

    monkeypatch.setattr(check, "on_gpu", on_gpu)
    package = Package(backend, "1.7", player.trt)
    checker = Checker(package, Recipe(precision, player.batches), "Some GPU", b"earlier kernels")
    return checker, (module, plan, model), player


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("module", ["expert_0", "conditioner", "decoder", "gate"])
def test_an_engine_that_agrees_passes_in_each_batch_size(
    tiny_bundle, monkeypatch, module, precision
):
    checker, work, player = make(tiny_bundle, monkeypatch, precision, module=module)
    result = checker.check(*work)
    assert player.ran == [1, 2, 4]
    assert 0 <= result.error <= result.limit < 0.05 and result.gpu == "Some GPU"
    assert precision == "fp32" or result.error > 0


def off_in_one_row(array):
    array = array.copy()
    array[-1] *= 1.1
    return array


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda array: np.full_like(array, np.nan), "found inf"),
        (np.zeros_like, "found 1"),
        (off_in_one_row, "found 0."),
    ],
)
def test_an_engine_that_is_too_far_is_refused(tiny_bundle, monkeypatch, spoil, found):
    checker, work, player = make(tiny_bundle, monkeypatch)
    player.spoil = spoil
    with pytest.raises(EngineError, match=f"expert_0 in fp16 within .* {found}.*Some GPU.*1.7"):
        checker.check(*work)


def test_an_engine_that_writes_nothing_is_refused(tiny_bundle, monkeypatch):
    checker, work, _ = make(tiny_bundle, monkeypatch)
    monkeypatch.setattr(PlayedContext, "execute_async_v3", lambda self, stream: True)
    with pytest.raises(EngineError, match="found inf"):
        checker.check(*work)


def test_a_failed_run_is_an_error(tiny_bundle, monkeypatch):
    checker, work, player = make(tiny_bundle, monkeypatch)
    player.runs = False
    with pytest.raises(EngineError, match="expert_0 to run a batch of 1"):
        checker.check(*work)


def test_an_engine_that_does_not_load_is_an_error(tiny_bundle, monkeypatch):
    checker, work, player = make(tiny_bundle, monkeypatch)
    player.loads = False
    with pytest.raises(EngineError, match=r"expert_0 to load .*Some GPU.*another GPU"):
        checker.check(*work)


def test_an_engine_of_other_tensors_is_an_error(tiny_bundle, monkeypatch):
    checker, (module, plan, model), player = make(tiny_bundle, monkeypatch)
    gate = (tiny_bundle / "gate.onnx").read_bytes()
    player.model = load_graph(gate, "gate", loaded(tiny_bundle))
    with pytest.raises(EngineError, match=r"its network's tensors, not \['gates', 'tokens'\]"):
        checker.check(module, plan, model)


def test_rtx_keeps_the_kernels_it_compiled(tiny_bundle, monkeypatch):
    checker, work, player = make(tiny_bundle, monkeypatch)
    checker.check(*work)
    assert player.taken == b"earlier kernels" and checker.cache == b"compiled kernels"
    checker, work, player = make(tiny_bundle, monkeypatch, backend="tensorrt")
    checker.check(*work)
    assert player.taken == b"" and checker.cache == b"earlier kernels"


class PlayedDriver:
    """The driver's library, with one GPU of capability 8.9, or a fault."""

    def __init__(self, start=0):
        self.start = start

    def cuInit(self, flags):
        return self.start

    def cuDeviceGet(self, device, number):
        return 0

    def cuDeviceGetName(self, name, size, device):
        ctypes.memmove(name, b"Some GPU\0", 9)
        return 0

    def cuDeviceGetAttribute(self, number, attribute, device):
        number._obj.value = {75: 8, 76: 9}[attribute]
        return 0

    def cuMemAlloc_v2(self, pointer, size):
        return 2


def test_the_gpu_is_named_with_its_generation(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: PlayedDriver())
    assert driver.find_gpu() == driver.Gpu("Some GPU", (8, 9))
    assert driver.find_gpu().target == "sm89"
    assert driver.has_gpu()


@pytest.mark.parametrize(
    ("status", "words"), [(100, "found no GPU"), (999, "found CUDA error 999")]
)
def test_a_driver_without_a_gpu_is_named(monkeypatch, status, words):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: PlayedDriver(status))
    with pytest.raises(BackendError, match=words):
        driver.find_gpu()
    assert not driver.has_gpu()


def test_a_missing_driver_is_named(monkeypatch):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(BackendError, match=r"no libcuda\.so\.1; .*install it, or use the openvino"):
        driver.find_gpu()


def test_a_full_gpu_is_an_error_with_its_call():
    memory = driver.DeviceMemory(PlayedDriver(), 0)
    with pytest.raises(EngineError, match="carry out cuMemAlloc_v2, found CUDA error 2"):
        memory.put(np.zeros(4, np.float32))


@pytest.mark.gpu
def test_memory_on_this_gpu_gives_back_what_was_put():
    try:
        driver.find_gpu()
    except BackendError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng()
    with driver.on_gpu() as memory:
        for dtype in (np.float16, np.float32):
            array = rng.standard_normal((3, 5)).astype(dtype)
            np.testing.assert_array_equal(memory.get(memory.put(array), array), array)
