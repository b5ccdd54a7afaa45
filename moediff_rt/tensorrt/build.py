"""One engine: a graph, a builder's settings, and what the builder says meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..errors import EngineError
from .package import Package

# How far a build is, from 0 to 1.
OnFraction = Callable[[float], None]


@dataclass(frozen=True)
class Tensor:
    """An input or output of an engine; `shape` is without the batch, `dtype` is TensorRT's name."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Recipe:
    """How engines are built.

    Attributes
    ----------
    precision : str
        One of `PRECISIONS`; the graph has its types already.
    batches : tuple of int
        Batch sizes; each has an optimisation profile of its own, whose shapes are fixed, so the
        builder and a CUDA graph know them; the weights are shared.
    targets : tuple of str
        GPU generations to build for ahead of time; none: for the GPU of this computer.
    """

    precision: str
    batches: tuple[int, ...]
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A serialised engine and what its network listed."""

    blob: bytes
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    layers: int


class Builder:
    """Builds engines with one package, one recipe and one timing cache.

    Parameters
    ----------
    package : Package
    recipe : Recipe
    timing : bytes
        Timing cache of earlier builds; b"" for a new one.
    """

    def __init__(self, package: Package, recipe: Recipe, timing: bytes = b"") -> None:
        self.package = package
        self.recipe = recipe
        self.timing = timing

    def build(self, module: str, onnx: bytes, on_fraction: OnFraction) -> Plan:
        """Build a module's engine.

        Parameters
        ----------
        module : str
            Its name, for errors.
        onnx : bytes
            Graph in the recipe's precision.
        on_fraction : callable
            Told how far the build is, on the builder's thread; what it raises ends the build and
            comes back.

        Raises
        ------
        EngineError
            TensorRT refuses the graph, a setting, or the build.
        """
        trt = self.package.trt
        log = _make_log(trt)
        builder = trt.Builder(log)
        network = builder.create_network(_network_flags(trt))
        parser = trt.OnnxParser(network, log)
        if not parser.parse(onnx):
            errors = [str(parser.get_error(number)) for number in range(parser.num_errors)]
            raise self._refused(module, "parse the graph", errors)
        config = builder.create_builder_config()
        monitor = _make_monitor(trt, on_fraction)
        config.progress_monitor = monitor
        self._set_precision(config)
        self._set_targets(module, config)
        self._set_profiles(module, builder, network, config)
        # What is built ahead of time is not timed.
        timing = None if self.recipe.targets else self._attach_timing(config)
        blob = _interruptible(
            lambda: builder.build_serialized_network(network, config), monitor.cancel
        )
        if monitor.stopped is not None:
            raise monitor.stopped
        if blob is None:
            raise self._refused(module, "build the engine", log.errors[-1:])
        if timing is not None:
            self.timing = bytes(timing.serialize())
        return Plan(
            bytes(blob),
            _tensors(network.get_input(number) for number in range(network.num_inputs)),
            _tensors(network.get_output(number) for number in range(network.num_outputs)),
            network.num_layers,
        )

    def _attach_timing(self, config: Any) -> Any:
        """Give the builder the times that earlier builds measured, or an empty cache to fill."""
        cache = config.create_timing_cache(self.timing)
        if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
            cache = config.create_timing_cache(b"")
            config.set_timing_cache(cache, ignore_mismatch=False)
        return cache

    def _set_precision(self, config: Any) -> None:
        # On by default, which would make fp32 something else.
        flag = self.package.trt.BuilderFlag.TF32
        if self.recipe.precision == "tf32":
            config.set_flag(flag)
        else:
            config.clear_flag(flag)

    def _set_targets(self, module: str, config: Any) -> None:
        if not self.recipe.targets:
            return
        config.num_compute_capabilities = len(self.recipe.targets)
        for place, target in enumerate(self.recipe.targets):
            capability = self.package.trt.ComputeCapability.__members__[target.upper()]
            if not config.set_compute_capability(capability, place):
                raise self._refused(module, f"build for {target}", [])

    def _set_profiles(self, module: str, builder: Any, network: Any, config: Any) -> None:
        for batch in self.recipe.batches:
            profile = builder.create_optimization_profile()
            for number in range(network.num_inputs):
                tensor = network.get_input(number)
                shape = (batch, *tuple(tensor.shape)[1:])
                profile.set_shape(tensor.name, shape, shape, shape)
            if config.add_optimization_profile(profile) < 0:
                raise self._refused(module, f"plan for batches of {batch}", [])

    def _refused(self, module: str, what: str, errors: Sequence[str]) -> EngineError:
        said = "; ".join(" ".join(error.split()) for error in errors) or "no engine and no reason"
        return EngineError(
            f"engine: expected {self.package.backend} {self.package.version} to {what} of "
            f"{module} in {self.recipe.precision}, found: {said}; probably an operator or a "
            "type that this release or target lacks; try another precision, or release"
        )


def _interruptible(work: Callable[[], Any], cancel: Callable[[], None]) -> Any:
    """What `work` returns, run on a thread of its own; Ctrl-C and the like cancel it.

    A signal's exception is raised on the main thread, wherever it is in Python; inside one of the
    builder's callbacks it would be lost.
    """
    with ThreadPoolExecutor(1) as thread:
        result = thread.submit(work)
        try:
            return result.result()
        except BaseException:
            cancel()
            raise


def _network_flags(trt: Any) -> int:
    """Strongly typed; since TensorRT 11 networks always are, and the flag may be gone."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _tensors(found: Any) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(tensor.name, tensor.dtype.name, tuple(int(n) for n in tensor.shape)[1:])
        for tensor in found
    )


def _make_log(trt: Any) -> Any:
    """A logger that keeps the errors instead of printing them."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

    return Log()


@dataclass
class _Phase:
    """A phase of a build: part of one step of its parent."""

    parent: str | None
    steps: int
    done: float = 0.0


class Phases:
    """How far a build is, from the nested phases that TensorRT reports.

    Examples
    --------
    >>> phases = Phases()
    >>> phases.start("build", None, 2)
    >>> phases.start("tactics", "build", 4)
    >>> phases.step("tactics", 1)
    0.25
    >>> phases.step("build", 0)
    0.5
    """

    def __init__(self) -> None:
        self._phases: dict[str, _Phase] = {}
        self._fraction = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Note a phase of so many steps."""
        self._phases[name] = _Phase(parent, max(steps, 1))

    def step(self, name: str, number: int) -> float:
        """Note that step `number`, from 0, is done; the whole build's fraction, never falling."""
        phase = self._phases.get(name)
        if phase is None:
            return self._fraction
        phase.done = max(phase.done, number + 1.0)
        while phase.parent in self._phases:
            parent = self._phases[phase.parent]
            inner = min(phase.done / phase.steps, 1.0)
            parent.done = max(parent.done, int(parent.done) + min(inner, 0.999))
            phase = parent
        self._fraction = max(self._fraction, min(phase.done / phase.steps, 1.0))
        return self._fraction

    def finish(self, name: str) -> None:
        """Note the end of a phase."""
        self._phases.pop(name, None)


def _make_monitor(trt: Any, on_fraction: OnFraction) -> Any:
    """A progress monitor; the builder's threads may call it at the same time."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.stopped: BaseException | None = None
            self._cancelled = False
            self._phases = Phases()
            self._lock = threading.Lock()

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            with self._lock:
                self._phases.start(name, parent, steps)

        def step_complete(self, name: str, step: int) -> bool:
            # An exception must not cross the builder, which would lose it.
            try:
                with self._lock:
                    if self._goes_on():
                        on_fraction(self._phases.step(name, step))
            except BaseException as error:
                self.stopped = error
            return self._goes_on()

        def phase_finish(self, name: str) -> None:
            with self._lock:
                self._phases.finish(name)

        def cancel(self) -> None:
            self._cancelled = True

        def _goes_on(self) -> bool:
            return self.stopped is None and not self._cancelled

    return Monitor()
