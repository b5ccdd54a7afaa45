"""TensorRT's engines behind the scheduler's interface, with a package that only takes notes."""

import gc
import weakref
from types import SimpleNamespace

import pytest

from moediff_rt import _core
from moediff_rt.errors import EngineError
from moediff_rt.tensorrt.build import Plan, Tensor
from moediff_rt.tensorrt.executor import MOST_CONTEXTS, Loaded, TensorRTExecutor
from moediff_rt.tensorrt.package import Package

BATCHES = (1, 2, 4)
INPUTS = (
    Tensor("t", "FLOAT", ()),
    Tensor("z_t", "HALF", (4, 8, 8)),
    Tensor("z_c", "HALF", (8, 8, 6)),
)
OUTPUTS = (Tensor("z0", "HALF", (4, 8, 8)),)


class Context:
    def __init__(self, settings, failing):
        self.settings = settings
        self.failing = failing
        self.calls = []

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append((name, *arguments))
            return name not in self.failing

        return call


class Cache:
    def __init__(self):
        self.taken = []

    def deserialize(self, blob):
        self.taken.append(blob)


class Engine:
    def __init__(self, failing):
        self.failing = failing
        self.contexts = []
        self.caches = []

    def make_cache(self):
        self.caches.append(Cache())
        return self.caches[-1]

    def get_device_memory_size_for_profile_v2(self, profile):
        return 1000 * (profile + 1)

    def create_runtime_config(self):
        config = SimpleNamespace(strategy=None, cache=None)
        config.set_execution_context_allocation_strategy = lambda s: setattr(config, "strategy", s)
        config.create_runtime_cache = self.make_cache
        config.set_runtime_cache = lambda cache: setattr(config, "cache", cache)
        return config

    def create_execution_context(self, settings):
        if "create" in self.failing:
            return None
        self.contexts.append(Context(settings, self.failing))
        return self.contexts[-1]


def fake_package(backend, engine):
    trt = SimpleNamespace(
        Runtime=lambda log: SimpleNamespace(deserialize_cuda_engine=lambda blob: engine),
        Logger=lambda severity: None,
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="user managed"),
        DynamicShapesKernelSpecializationStrategy=SimpleNamespace(EAGER="eager"),
        CudaGraphStrategy=SimpleNamespace(DISABLED="disabled"),
    )
    trt.Logger.INTERNAL_ERROR = 0
    return Package(backend, "1.2.3", trt)


def load(backend="tensorrt", failing=(), engine=None, kernels=b""):
    engine = engine or Engine(failing)
    report = _core.EngineReport(
        module="expert_0", backend=backend, device="a GPU", precision="fp16"
    )
    loaded = Loaded(Plan(b"engine", INPUTS, OUTPUTS, 3), report)
    executor = TensorRTExecutor(
        fake_package(backend, engine), {"expert_0": loaded}, BATCHES, kernels
    )
    assert (executor.device, executor.precision, executor.largest_batch) == ("a GPU", "fp16", 4)
    return executor.load("expert_0", "", "", ("z_t", "z_c", "t"), ("z0",)), engine


def test_tensors_are_in_the_order_that_the_scheduler_gives_them():
    module, _ = load()
    assert module.inputs == [
        ("z_t", (4, 8, 8), "float16"),
        ("z_c", (8, 8, 6), "float16"),
        ("t", (), "float32"),
    ]
    assert module.outputs == [("z0", (4, 8, 8), "float16")]
    assert [module.scratch_bytes(batch) for batch in BATCHES] == [1000, 2000, 3000]


def test_a_call_sets_memory_and_addresses_and_queues():
    module, engine = load()
    module.enqueue(2, [10, 20, 30], [40], 50, 60)
    (context,) = engine.contexts
    assert context.settings == "user managed"
    assert context.calls == [
        ("set_optimization_profile_async", 1, 60),
        ("set_input_shape", "z_t", (2, 4, 8, 8)),
        ("set_input_shape", "z_c", (2, 8, 8, 6)),
        ("set_input_shape", "t", (2,)),
        ("set_device_memory", 50, 2000),
        ("set_tensor_address", "z_t", 10),
        ("set_tensor_address", "z_c", 20),
        ("set_tensor_address", "t", 30),
        ("set_tensor_address", "z0", 40),
        ("execute_async_v3", 60),
    ]


def test_a_context_is_not_changed_after_its_first_call():
    module, engine = load()
    for batch, place in ((1, 1), (4, 1), (1, 7), (1, 1), (4, 1), (4, 1)):
        module.enqueue(batch, [place, 2, 3], [4], 5, 6)
    assert len(engine.contexts) == 3
    for context in engine.contexts:
        names = [name for name, *_ in context.calls]
        assert names.count("set_optimization_profile_async") == 1
        assert names.count("set_device_memory") == 1
        first = names.index("execute_async_v3")
        assert set(names[first:]) == {"execute_async_v3"}
    assert sum(len(c.calls) for c in engine.contexts) == 3 * 9 + 6


def test_contexts_of_memory_that_is_gone_are_dropped():
    module, engine = load()
    for place in range(MOST_CONTEXTS + 1):
        module.enqueue(1, [place, 2, 3], [4], 5, 6)
    module.enqueue(1, [1, 2, 3], [4], 5, 6)
    assert len(engine.contexts) == MOST_CONTEXTS + 1
    module.enqueue(1, [0, 2, 3], [4], 5, 6)
    assert len(engine.contexts) == MOST_CONTEXTS + 2


def test_rtx_compiles_each_shape_at_once_and_captures_nothing_of_its_own():
    module, engine = load("tensorrt-rtx")
    module.enqueue(1, [1, 2, 3], [4], 5, 6)
    settings = engine.contexts[0].settings
    assert settings.strategy == "user managed"
    assert settings.dynamic_shapes_kernel_specialization_strategy == "eager"
    assert settings.cuda_graph_strategy == "disabled"
    assert settings.cache is not None


def test_rtx_has_one_cache_of_kernels_that_takes_up_the_kept_ones():
    module, engine = load("tensorrt-rtx", kernels=b"kept")
    for batch in BATCHES:
        module.enqueue(batch, [1, 2, 3], [4], 5, 6)
    (cache,) = engine.caches
    assert cache.taken == [b"kept"]
    assert all(context.settings.cache is cache for context in engine.contexts)


def test_the_cache_of_kernels_goes_after_the_last_context():
    module, engine = load("tensorrt-rtx")
    for batch in BATCHES:
        module.enqueue(batch, [1, 2, 3], [4], 5, 6)
    gone = []
    for context in engine.contexts:
        context.settings.cache = None
        weakref.finalize(context, gone.append, "context")
    weakref.finalize(engine.caches[0], gone.append, "cache")
    engine.contexts.clear()
    engine.caches.clear()
    del context, module
    gc.collect()
    assert gone == ["context"] * len(BATCHES) + ["cache"]


@pytest.mark.parametrize(
    ("failing", "words"),
    [
        ("execute_async_v3", "queue a batch of 1 of expert_0"),
        ("set_tensor_address", "take the address of z_t"),
        ("set_input_shape", "take z_t in batches of 1"),
        ("set_optimization_profile_async", "take batches of 1"),
        ("create", "take batches of 1"),
    ],
)
def test_what_tensorrt_does_not_do_is_an_error_and_not_zeros(failing, words):
    module, _ = load(failing=(failing,))
    with pytest.raises(EngineError, match=words):
        module.enqueue(1, [1, 2, 3], [4], 5, 6)


def test_a_batch_without_a_profile_and_an_engine_that_does_not_load_are_refused():
    module, _ = load()
    with pytest.raises(EngineError, match="a batch among"):
        module.enqueue(8, [1, 2, 3], [4], 5, 6)
    package = fake_package("tensorrt", None)
    report = _core.EngineReport(module="gate", backend="tensorrt", device="x", precision="fp16")
    executor = TensorRTExecutor(package, {"gate": Loaded(Plan(b"", (), (), 0), report)}, BATCHES)
    with pytest.raises(EngineError, match="engine of gate to load"):
        executor.load("gate", "", "", (), ())
