"""A bundle's model on this computer's GPU, with TensorRT's engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BackendError
from .driver import find_gpu
from .engines import BATCHES, BuiltEngine, build_engines, kept_kernels
from .executor import Loaded, TensorRTExecutor
from .package import find_package

if TYPE_CHECKING:
    from .._core import Bundle, EngineReport, Model


def open_model(
    bundle: Bundle,
    backend: str,
    folder: Path,
    *,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    max_memory: int = 0,
    force: bool = False,
    on_engine: Callable[[EngineReport], None] | None = None,
) -> Model:
    """Build or load the engines for the GPU here, and give them to the scheduler.

    Parameters and errors are those of `open_executor`; another device is a `BackendError`, too.

    Parameters
    ----------
    device : str
        "auto" or "0": the first GPU.
    threads : int
        CPU threads for what the GPU does not do; 0: every core that this process may use.
    max_memory : int
        Bytes that a run may take on the GPU; 0: nine tenths of what is free.
    """
    from .. import _core

    if device not in ("auto", "0"):
        raise BackendError(
            f"{backend}: expected device auto or 0, found {device}; only the first GPU is used; "
            "for another one, put its number into the environment's CUDA_VISIBLE_DEVICES"
        )
    executor = open_executor(
        bundle, backend, folder, precision=precision, force=force, on_engine=on_engine
    )
    return _core.gpu_model(bundle, executor, threads=threads, memory_limit=max_memory)


def open_executor(
    bundle: Bundle,
    backend: str,
    folder: Path,
    *,
    precision: str = "auto",
    force: bool = False,
    on_engine: Callable[[EngineReport], None] | None = None,
) -> TensorRTExecutor:
    """Build or load the engines for the GPU here.

    Parameters
    ----------
    bundle : Bundle
    backend : str
        "tensorrt" or "tensorrt-rtx".
    folder : Path
        Of the engine cache.
    precision : str
        "auto" or one of `PRECISIONS`.
    force : bool
        Build even what is cached.
    on_engine : callable, optional
        Called with a report after each engine is there.

    Raises
    ------
    BackendError
        The package, a driver or a GPU is not there, this build has no CUDA, or the GPU has too
        little memory.
    EngineError
        An engine cannot be built or loaded, or is too far from float32.
    """
    from .. import _core

    if not _core.cuda_built():
        raise BackendError(
            f"{backend}: expected a build with CUDA, found one without; nvcc was probably not "
            "there when moediff-rt was built; install it where nvcc is on PATH, or use the "
            "openvino backend"
        )
    package = find_package(backend)
    try:
        gpu = find_gpu()
    except BackendError as error:
        raise BackendError(f"{backend}: {error}") from error
    if package.targets and gpu.target not in package.targets:
        raise BackendError(
            f"{backend}: expected a GPU among {', '.join(package.targets)}, found {gpu.name} "
            f"({gpu.target}); release {package.version} does not run on it; use the tensorrt or "
            "the openvino backend"
        )
    engines: dict[str, Loaded] = {}

    def keep(built: BuiltEngine) -> None:
        report = _report(built)
        engines[built.module] = Loaded(built.plan, report)
        if on_engine:
            on_engine(report)

    build_engines(
        bundle,
        backend,
        folder,
        precision=precision,
        force=force,
        on_engine=keep,
    )
    first = next(iter(engines.values())).report
    kernels = kept_kernels(package, folder, first.device)
    return TensorRTExecutor(package, engines, BATCHES, kernels)


def _report(built: BuiltEngine) -> EngineReport:
    from .. import _core

    return _core.EngineReport(
        module=built.module,
        backend=built.backend,
        device=built.device,
        precision=built.precision,
        path=built.path,
        bytes=built.bytes,
        seconds=built.seconds,
        cached=built.cached,
        reason=built.reason,
    )
