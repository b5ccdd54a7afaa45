"""A bundle's TensorRT engines: found in the cache, or built, checked and kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .. import __version__
from ..atomic import write_whole
from ..errors import BackendError, BundleError, OutputError
from .build import Builder, Plan, Recipe, Tensor
from .driver import Gpu, find_gpu
from .package import Package, check_precision, choose_targets, find_package

if TYPE_CHECKING:
    import onnx

    from .._core import Bundle, EngineKey, ModuleFile
    from .check import Check

BATCHES = (1, 2, 4, 8, 16)

OnEngine = Callable[["BuiltEngine"], None]
# Told the module under way and how far its build is, from 0 to 1.
OnBuilding = Callable[[str, float], None]


@dataclass(frozen=True)
class BuiltEngine:
    """How one engine came to be; as `_core.EngineReport`, and how far it is from float32.

    `device` is the GPU it was built for, or its targets. `error` and `limit` are None where the
    engine was not run, which needs a GPU; `unchecked` says why, else it is "".
    """

    module: str
    backend: str
    device: str
    precision: str
    path: str
    bytes: int
    seconds: float
    cached: bool
    reason: str
    error: float | None
    limit: float | None
    unchecked: str
    plan: Plan = field(repr=False)


def build_engines(
    bundle: Bundle,
    backend: str,
    folder: Path,
    *,
    precision: str = "auto",
    targets: str | None = None,
    batches: Sequence[int] = BATCHES,
    force: bool = False,
    on_engine: OnEngine | None = None,
    on_building: OnBuilding | None = None,
) -> list[BuiltEngine]:
    """Build every engine of a bundle, or find it in the cache.

    Where there is a GPU that can run them, each engine is run against float32, also one that was
    built on a computer without; an engine above its limit is refused and not kept.

    Parameters
    ----------
    bundle : Bundle
    backend : str
        "tensorrt" or "tensorrt-rtx".
    folder : Path
        Of the engine cache.
    precision : str
        "auto" or one of `PRECISIONS`.
    targets : str, optional
        For `choose_targets`; only for tensorrt-rtx.
    batches : sequence of int
        Batch sizes to prepare for, rising.
    force : bool
        Build even what is cached.
    on_engine : callable, optional
        Called with each engine's report.
    on_building : callable, optional
        Called while an engine is built.

    Returns
    -------
    list of BuiltEngine
        In the order of the bundle's modules.

    Raises
    ------
    BackendError
        The package, a target, the precision, or for tensorrt the GPU is not there.
    EngineError
        An engine cannot be built, or is too far from float32.
    BundleError
        A module was replaced since the bundle was loaded.
    """
    workshop = _Workshop(find_package(backend), folder, precision, targets, tuple(batches), force)
    reports = []
    for file in bundle.modules:
        report = workshop.engine(bundle, file, on_building)
        reports.append(report)
        if on_engine:
            on_engine(report)
    workshop.close()
    return reports


@dataclass(frozen=True)
class _Entry:
    """An engine in the cache: the plan, the time it took to build, and how it was checked."""

    plan: Plan
    seconds: float
    check: Check | None

    @classmethod
    def read(cls, blob: bytes, manifest: str) -> _Entry | None:
        """From the cache; None where the manifest lacks something."""
        from .check import Check

        try:
            found = json.loads(manifest)
            details = found["details"]
            plan = Plan(
                blob,
                tuple(_tensor(**tensor) for tensor in details["inputs"]),
                tuple(_tensor(**tensor) for tensor in details["outputs"]),
                int(details["layers"]),
            )
            check = Check(**details["check"]) if details["check"] else None
            return cls(plan, float(found["build_seconds"]), check)
        except (KeyError, TypeError, ValueError):
            return None

    def details(self, recipe: Recipe) -> str:
        """What its manifest says besides the key."""
        return json.dumps(
            {
                "inputs": [asdict(tensor) for tensor in self.plan.inputs],
                "outputs": [asdict(tensor) for tensor in self.plan.outputs],
                "layers": self.plan.layers,
                "batches": recipe.batches,
                "targets": recipe.targets,
                "check": asdict(self.check) if self.check else None,
                "moediff_rt": __version__,
            }
        )


class _Workshop:
    """One package, one recipe, one folder, and the GPU if there is one to run engines on."""

    def __init__(
        self,
        package: Package,
        folder: Path,
        precision: str,
        targets: str | None,
        batches: tuple[int, ...],
        force: bool,
    ) -> None:
        from .._core import EngineCache
        from .check import Checker

        self.package = package
        self.folder = folder
        self.cache = EngineCache(str(folder))
        self.force = force
        precision = check_precision(package.backend, precision)
        place = _choose_place(package, targets, precision)
        self.device, self.unchecked = place.device, place.unchecked
        self.recipe = Recipe(precision, batches, place.targets)
        self.builder = Builder(package, self.recipe, self._kept("timing"))
        self.checker = None
        if place.gpu is not None:
            self.checker = Checker(package, self.recipe, place.gpu.name, self._kept("kernels"))

    def engine(
        self, bundle: Bundle, file: ModuleFile, on_building: OnBuilding | None
    ) -> BuiltEngine:
        """Find or make one module's engine."""
        begin = time.perf_counter()
        key = self._key(bundle, file)
        entry, reason = self._find(key)
        cached = entry is not None
        graph = None
        if entry is None or self._unknown_here(entry):
            graph = _load(bundle, file)
        if entry is None:
            plan = self._build(file.name, graph, on_building)
            entry = _Entry(plan, time.perf_counter() - begin, None)
        path = self.cache.path(key)
        if graph is not None:
            if self.checker:
                entry = replace(entry, check=self.checker.check(file.name, entry.plan, graph))
            failure = self.cache.store(
                key, entry.plan.blob, entry.seconds, entry.details(self.recipe)
            )
            reason, path = (failure, "") if failure else (reason, path)
        return BuiltEngine(
            module=file.name,
            backend=self.package.backend,
            device=self.device,
            precision=self.recipe.precision,
            path=path,
            bytes=len(entry.plan.blob) if path else 0,
            seconds=time.perf_counter() - begin,
            cached=cached,
            reason=reason,
            error=entry.check.error if entry.check else None,
            limit=entry.check.limit if entry.check else None,
            unchecked="" if entry.check else self.unchecked,
            plan=entry.plan,
        )

    def close(self) -> None:
        """Keep what makes the next build and the next start faster."""
        self._keep("timing", self.builder.timing)
        if self.checker:
            self._keep("kernels", self.checker.cache)

    def _find(self, key: EngineKey) -> tuple[_Entry | None, str]:
        """What the cache has, and why it is not to be used."""
        blob, manifest, reason = self.cache.find(key)
        if blob is None:
            return None, reason
        if self.force:
            return None, "forced"
        entry = _Entry.read(blob, manifest)
        return entry, "" if entry else "damaged: its manifest is incomplete"

    def _unknown_here(self, entry: _Entry) -> bool:
        """Whether an engine can be run here and was not yet: engines travel with their checks."""
        if self.checker is None:
            return False
        return entry.check is None or entry.check.gpu != self.checker.gpu

    def _key(self, bundle: Bundle, file: ModuleFile) -> EngineKey:
        from .._core import TENSORRT_GRAPH_VERSION, EngineKey

        sizes = "-".join(map(str, self.recipe.batches))
        tile = "x".join(map(str, bundle.tile))  # the file may leave it free
        return EngineKey(
            module=file.name,
            onnx_sha256=file.sha256,
            backend=self.package.backend,
            backend_version=self.package.version,
            device="GPU",
            device_name=self.device,
            precision=self.recipe.precision,
            profile=f"b{sizes}-t{tile}-g{TENSORRT_GRAPH_VERSION}",
        )

    def _build(self, module: str, graph: onnx.ModelProto, on_building: OnBuilding | None) -> Plan:
        from .precision import to_precision

        typed = to_precision(graph, module, self.recipe.precision)

        def on_fraction(fraction: float) -> None:
            if on_building:
                on_building(module, fraction)

        return self.builder.build(module, typed.SerializeToString(), on_fraction)

    def _kept(self, kind: str) -> bytes:
        return _read(_side_file(self.folder, self.package, self.device, kind))

    def _keep(self, kind: str, content: bytes) -> None:
        def write(stream: BinaryIO) -> None:
            stream.write(content)

        if content and content != self._kept(kind):
            # A folder that cannot be written costs time at the next build, nothing else.
            with contextlib.suppress(OutputError):
                place = _side_file(self.folder, self.package, self.device, kind)
                write_whole({place: write}, overwrite=True)


def kept_kernels(package: Package, folder: Path, device: str) -> bytes:
    """What RTX compiled for engines of a device when they were checked; b"" where there is none."""
    return _read(_side_file(folder, package, device, "kernels"))


def _side_file(folder: Path, package: Package, device: str, kind: str) -> Path:
    """Of what the package itself keeps for this release and device."""
    digest = hashlib.sha256(f"{package.version} {device}".encode()).hexdigest()[:8]
    return folder / f"{package.backend}-{digest}.{kind}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@dataclass(frozen=True)
class _Place:
    """What engines are built for: targets, or the GPU here; and the GPU to run them on."""

    device: str
    targets: tuple[str, ...]
    gpu: Gpu | None
    unchecked: str  # why engines are not run, "" where they are


def _choose_place(package: Package, wanted: str | None, precision: str) -> _Place:
    if not package.targets:
        if wanted is not None:
            raise BackendError(
                f"{package.backend}: expected no --target, found {wanted}; it builds for the GPU "
                "it runs on; leave the target out, or use --backend tensorrt-rtx"
            )
        try:
            gpu = find_gpu()
        except BackendError as error:
            raise BackendError(f"{package.backend}: {error}") from error
        return _Place(f"{gpu.name} ({gpu.target})", (), gpu, "")
    targets = choose_targets(package, wanted, precision)
    device = "+".join(targets)
    try:
        gpu = find_gpu()
    except BackendError as error:
        return _Place(device, targets, None, str(error))
    if gpu.target in targets:
        return _Place(device, targets, gpu, "")
    return _Place(device, targets, None, f"{gpu.name} is {gpu.target}, not one of the targets")


def _load(bundle: Bundle, file: ModuleFile) -> onnx.ModelProto:
    """Read the module that the key names, even where the file was replaced meanwhile."""
    from .graph import load_graph

    path = Path(bundle.path) / file.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"engine: expected a readable module, found {error.strerror}: {path}; the bundle was "
            "probably moved since it was loaded; load it again"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256:
        raise BundleError(
            f"engine: expected SHA-256 {file.sha256[:16]}..., found {found[:16]}... in {path}; the "
            "file was probably replaced since the bundle was loaded; load the bundle again"
        )
    return load_graph(data, file.name, bundle)


def _tensor(name: str, dtype: str, shape: list[int]) -> Tensor:
    return Tensor(name, dtype, tuple(shape))
