"""The C++ core of moediff-rt."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .gpu import Executor

__version__: str
# Of the graphs that TensorRT's engines are built from; part of their key in the cache.
TENSORRT_GRAPH_VERSION: int

class ModuleFile:
    """One ONNX file of a bundle; ``bytes`` is its size."""

    @property
    def name(self) -> str: ...
    @property
    def file(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def bytes(self) -> int: ...

class SamplerSettings:
    """A bundle's default sampler."""

    @property
    def method(self) -> str: ...
    @property
    def start(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def start_timestep(self) -> int: ...
    @property
    def eta(self) -> float: ...
    @property
    def planes(self) -> int: ...

class Bundle:
    """A verified bundle. Sizes in pixels, latent cells or gate cells; spacings in mm.

    A tile may have any height and width from `smallest_tile` to `tile` that are multiples of
    `tile_pitch`; `latent` and `gate` are those of the largest.
    """

    @property
    def path(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def hash(self) -> str:
        """SHA-256 of bundle.json."""
    @property
    def json(self) -> str:
        """The whole text of bundle.json."""
    @property
    def format_version(self) -> int: ...
    @property
    def tile(self) -> tuple[int, int, int]:
        """(height, width, slices) of the largest."""
    @property
    def smallest_tile(self) -> tuple[int, int]:
        """(height, width)."""
    @property
    def tile_pitch(self) -> tuple[int, int]:
        """Step of its (height, width)."""
    @property
    def latent(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
    @property
    def gate(self) -> tuple[int, int, int]:
        """(experts, height, width)."""
    @property
    def expert_names(self) -> list[str]: ...
    @property
    def alphas_cumprod(self) -> list[float]: ...
    @property
    def sampler(self) -> SamplerSettings: ...
    @property
    def percentile(self) -> float: ...
    @property
    def intensity_value(self) -> float: ...
    @property
    def gate_threshold(self) -> float: ...
    @property
    def tile_overlap(self) -> int: ...
    @property
    def output_min_mm(self) -> float: ...
    @property
    def output_max_mm(self) -> float: ...
    @property
    def input_min_mm(self) -> float: ...
    @property
    def input_max_mm(self) -> float: ...
    @property
    def modules(self) -> list[ModuleFile]: ...
    @property
    def int8_modules(self) -> list[ModuleFile]:
        """8-bit forms of some of `modules`; may be none."""

def load_bundle(path: str) -> Bundle:
    """Read a bundle folder and verify the size and SHA-256 of every file.

    Raises
    ------
    BundleError
        Before anything is loaded: no bundle, an unknown version, a missing, damaged or replaced
        file, a card that contradicts itself.
    """

class BackendInfo:
    """A backend and what it can use on this computer; ``reason`` says why it is not available."""

    @property
    def name(self) -> str: ...
    @property
    def available(self) -> bool: ...
    @property
    def reason(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def devices(self) -> list[str]: ...
    @property
    def precisions(self) -> list[str]: ...

def backends() -> list[BackendInfo]:
    """Every known backend, usable or not, in the order in which "auto" tries them."""

class EngineReport:
    """How one engine came to be.

    ``bytes`` and ``path`` are the cached engine's (0 and "" when it is not kept); ``seconds`` is
    the time to build or load it; ``reason`` says why it was built or not kept, "" when it came
    from the cache.
    """

    def __init__(
        self,
        *,
        module: str,
        backend: str,
        device: str,
        precision: str,
        path: str = "",
        bytes: int = 0,
        seconds: float = 0.0,
        cached: bool = False,
        reason: str = "",
    ) -> None: ...
    @property
    def module(self) -> str: ...
    @property
    def backend(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def cached(self) -> bool: ...
    @property
    def reason(self) -> str: ...

class EngineKey:
    """Everything that decides whether a kept engine may be used.

    ``device`` is short ("CPU", "GPU"); ``device_name`` is what the device calls itself, or the
    targets it is built for; ``profile`` says the shapes.
    """

    def __init__(
        self,
        *,
        module: str,
        onnx_sha256: str,
        backend: str,
        backend_version: str,
        device: str,
        device_name: str,
        precision: str,
        profile: str,
    ) -> None: ...

class EngineCache:
    """Engines on disk, one file each: a manifest (JSON on one line), then the engine.

    Made by one rename, so an entry is whole or not there.
    """

    def __init__(self, folder: str) -> None: ...
    def find(self, key: EngineKey) -> tuple[bytes | None, str, str]:
        """The engine or None, its manifest, and why there is none to use."""
    def store(self, key: EngineKey, blob: bytes, seconds: float, details: str = "{}") -> str:
        """Keep an engine, with a JSON object of more for its manifest; "" or why it is not kept."""
    def path(self, key: EngineKey) -> str:
        """Where the engine is kept."""

class EnhanceResult:
    """What :meth:`Model.enhance` returns.

    ``volume`` is (nz, ny, nx) float32. ``gates`` is None or (experts, nz, ny, nx) uint8, the gates
    that were applied in 1/255, 0 where no tile was. ``seconds`` is the busy time of each stage
    summed over threads, and ``total``, the time that passed.
    """

    @property
    def volume(self) -> NDArray[np.float32]: ...
    @property
    def gates(self) -> NDArray[np.uint8] | None: ...
    @property
    def tiles(self) -> int: ...
    @property
    def tile_sizes(self) -> list[tuple[int, int]]:
        """Every (height, width) that tiles have, as they come: see :func:`fit_tiles`."""
    @property
    def expert_calls(self) -> int: ...
    @property
    def expert_calls_saved(self) -> int: ...
    @property
    def seconds(self) -> dict[str, float]: ...

class Model:
    """A bundle's engines on one device; several threads may enhance with it at once.

    Parameters
    ----------
    bundle
        From :func:`load_bundle`.
    backend, device, precision
        "auto" lets the program choose. Precision "auto" is int8 where the bundle has 8-bit modules
        and the processor AVX-512 VNNI but no AMX; else bf16 where that is faster than fp32.
    threads
        0 means every core that this process may use.
    engines_dir
        Where engines are kept; "" keeps none.
    force
        Build every engine again.
    on_engine
        Called with each engine's report as soon as it is ready.

    Raises
    ------
    BackendError
        The backend, device or precision is unknown or not there.
    BundleError
        A module's tensors are not those that bundle.json promises.
    EngineError
        An engine cannot be built.
    InputError
        An impossible thread count.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        backend: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        threads: int = 0,
        engines_dir: str = "",
        force: bool = False,
        on_engine: Callable[[EngineReport], object] | None = None,
    ) -> None: ...
    @property
    def engines(self) -> list[EngineReport]: ...
    @property
    def backend(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def threads(self) -> int: ...
    def enhance(
        self,
        volume: NDArray[np.float32],
        boxes: NDArray[np.int32],
        *,
        steps: int = 0,
        seed: int = 0,
        method: str = "",
        start: str = "",
        start_timestep: int = -1,
        gate_threshold: float = -1.0,
        batch: int = 0,
        save_gates: bool = False,
        progress: Callable[[int, int], object] | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> EnhanceResult:
        """Enhance a normalised volume that already lies on the target grid.

        The result is the same, bit for bit, for any ``batch`` and thread count.

        Parameters
        ----------
        volume
            (nz, ny, nx) float32, C-contiguous.
        boxes
            (nz, 4) int32, C-contiguous: the foreground of each slice as [y0, y1, x0, x1) in
            voxels, empty when y1 <= y0. Where no tile is, the volume comes back as it was. On a
            device that takes any size (OpenVINO's), the tiles are fitted to the boxes, and their
            engines are built or loaded when a size is first used.
        steps, method, start, start_timestep, gate_threshold
            0, "", "", -1 and -1 mean the bundle's own setting.
        seed
            Of the noise, 0 to 2**64 - 1.
        batch
            Tiles under way at once; 0 means the best for the device.
        save_gates
            Also return the gates.
        progress
            Called with (tiles done, tiles in all) about ten times a second.
        cancel
            Asked about ten times a second; True stops. Ctrl-C is seen then too.

        Raises
        ------
        InputError
            A wrong array or an impossible setting.
        EngineError
            An engine failed, or the result is not finite.
        Cancelled
            ``cancel`` returned True.
        """
    def enhance_scan(
        self,
        scan: NDArray[np.float32],
        spacing: tuple[float, float, float],
        *,
        output_spacing: float = 0.0,
        steps: int = 0,
        seed: int = 0,
        samples: int = 1,
        planes: int = 0,
        data_consistency: bool = True,
        slice_profile: float = 0.0,
        save_gates: bool = False,
        progress: Callable[[int, int], object] | None = None,
        cancel: Callable[[], bool] | None = None,
        memory_limit: int = 0,
        threads: int = 0,
    ) -> ScanResult:
        """The whole way: intensity scale, interpolation, :meth:`enhance`, consistency, and back.

        The result is the same, bit for bit, for any thread count.

        Parameters
        ----------
        scan
            (nz, ny, nx) float32, C-contiguous, in any intensity unit; z from foot to head.
        spacing
            (z, y, x) voxel edges, mm.
        output_spacing
            Edge of the isotropic output voxels, mm; 0: half the smallest input edge, within what
            the bundle was trained for.
        steps, seed, save_gates, progress, cancel
            As in :meth:`enhance`; progress is that of all samples and planes, the gates are those
            of the first sample and plane.
        samples
            Results averaged, with the seeds from ``seed`` on, each with slices mirrored in
            another way, up to four.
        planes
            In how many planes slices are enhanced, along the coarsest axis first, and the results
            averaged. 0: the bundle's own number where the edges are alike, else one; fewer where
            slices would be less than half a tile high or wide.
        data_consistency
            Make the result agree with the scan at the scan's resolution.
        slice_profile
            Full width at half maximum of the slices' profile along the coarsest edge, in slice
            distances, up to 4: their thickness over the distance of their centres; 0: found in the
            scan; below 0: none.
        memory_limit
            Bytes that a run on a CPU may take beside the scan and the engines; 0: no limit.
        threads
            Of what is not done by an engine; 0 means the model's.

        Raises
        ------
        InputError
            A scan, a spacing or a setting that cannot be used, a memory limit that is too low.
        EngineError, Cancelled
            As :meth:`enhance`.
        """

class ScanResult:
    """What :meth:`Model.enhance_scan` returns; intensities are in the scan's unit.

    ``volume`` and ``deviation`` (None of a single sample) are (nz, ny, nx) float32, ``gates`` as in
    :class:`EnhanceResult`; ``spacing`` is (z, y, x) in mm. ``largest_correction`` is None without
    data consistency. ``seconds`` is the time that passed in "prepare", "model" and "consistency",
    and the busy time of each of the model's stages.
    """

    @property
    def volume(self) -> NDArray[np.float32]: ...
    @property
    def gates(self) -> NDArray[np.uint8] | None: ...
    @property
    def deviation(self) -> NDArray[np.float32] | None: ...
    @property
    def spacing(self) -> tuple[float, float, float]: ...
    @property
    def noise_sigma(self) -> float: ...
    @property
    def slice_profile(self) -> float:
        """Width of the slices' profile, in slice distances; -1: none, or no data consistency."""
    @property
    def largest_correction(self) -> float | None: ...
    @property
    def steps(self) -> int: ...
    @property
    def planes(self) -> tuple[int, ...]:
        """The axis of (z, y, x) that slices lay along, the first plane's first."""
    @property
    def tiles(self) -> int: ...
    @property
    def tile_sizes(self) -> list[tuple[int, int]]: ...
    @property
    def expert_calls(self) -> int: ...
    @property
    def expert_calls_saved(self) -> int: ...
    @property
    def seconds(self) -> dict[str, float]: ...

def gpu_model(
    bundle: Bundle,
    executor: Executor,
    *,
    index: int = 0,
    threads: int = 0,
    memory_limit: int = 0,
    on_engine: Callable[[EngineReport], None] | None = None,
) -> Model:
    """A bundle's engines on a GPU, for the CUDA scheduler.

    Parameters
    ----------
    bundle
        From :func:`load_bundle`.
    executor
        Loads and queues the modules.
    index
        Which GPU.
    threads
        CPU threads for what the GPU does not do; 0: every core that this process may use.
    memory_limit
        Bytes that one run may take on it; 0: nine tenths of what is free then.
    on_engine
        Called with each engine's report as soon as it is ready.

    Raises
    ------
    BackendError
        No CUDA in this build, no driver, no such GPU; or, in a run, too little memory.
    BundleError
        A module's tensors are not those that bundle.json promises, or types do not fit together.
    """

def gated_step(
    z_t: NDArray[np.float32],
    experts: Sequence[NDArray[np.float32]],
    gates: NDArray[np.float32],
    z0_prev: NDArray[np.float32] | None,
    c_z: float,
    c_0: float,
    c_1: float,
    c_n: float,
    seed: int,
    origin: tuple[int, int, int],
    noise_index: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One denoising step of one tile: (z_s, z0), each (C, h, w).

    z0 = sum_i g_i experts_i and z_s = c_z z_t + c_0 z0 + c_1 z0_prev + c_n n, where g is ``gates``
    (experts, gh, gw), bilinear to (h, w), and n is :func:`normal`.
    """

def normal(
    seed: int, noise_index: int, origin: tuple[int, int, int], shape: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Noise of one tile, (C, h, w): Philox4x32-10 (Salmon et al. 2011) and Box-Muller.

    ``origin`` is the tile's first latent cell (x, y) and its slice z.
    """

def start_latent(
    z_low: NDArray[np.float32] | None,
    shape: tuple[int, int, int],
    signal: float,
    spread: float,
    seed: int,
    origin: tuple[int, int, int],
) -> NDArray[np.float32]:
    """The state from which one tile's sampling starts, (C, h, w).

    signal z_low + spread n (Song et al. 2021, eq. 4), where n is :func:`normal` of index 0, or n
    itself without ``z_low``.
    """

def cuda_built() -> bool:
    """Whether this build has the CUDA ops below."""

def gated_step_cuda(
    *,
    shape: tuple[int, int, int, int],
    gate: tuple[int, int],
    z_t: int,
    experts: Sequence[int],
    expert_type: str,
    slots: int,
    gates: int,
    z0_prev: int,
    origins: int,
    c_z: float,
    c_0: float,
    c_1: float,
    c_n: float,
    seed: int,
    noise_index: int,
    z_s: int,
    z0: int,
    expert_z: Sequence[int] = (),
    stream: int = 0,
) -> None:
    """:func:`gated_step` of a batch in device memory, queued on a stream.

    Arguments without a shape here are addresses of C-contiguous device memory, as
    ``torch.Tensor.data_ptr()`` and ``cupy.ndarray.data.ptr`` give them; they are not checked. Only
    z_s = z_t and z0 = z0_prev may overlap.

    Parameters
    ----------
    shape
        (tiles, C, h, w) of ``z_t``, ``z0_prev``, ``z_s`` and ``z0``, all float32.
    gate
        (gh, gw) of ``gates``, (tiles, experts, gh, gw) float32.
    experts
        Each expert's outputs, (rows, C, h, w) of ``expert_type``.
    expert_type
        "float32", "float16" or "bfloat16".
    slots
        (tiles, experts) int32: the tile's row in the expert's batch, negative where it was skipped.
    z0_prev
        May be 0 where c_1 is 0.
    origins
        (tiles, 3) int32, x, y and z as in :func:`normal`; may be 0 where c_n is 0.
    expert_z
        Empty, or one per expert: where it is not 0, z_s is also written there in ``expert_type``,
        to the rows that ``slots`` names. Experts that share a batch need it in one of them.
    stream
        A cudaStream_t; 0 is the default stream.

    Raises
    ------
    InputError
        An impossible size or a missing address.
    BackendError
        The launch failed, or this build has no CUDA.
    """

def start_latent_cuda(
    *,
    shape: tuple[int, int, int, int],
    z_low: int,
    signal: float,
    spread: float,
    seed: int,
    origins: int,
    slots: int,
    experts: int,
    expert_type: str,
    z: int,
    expert_z: Sequence[int] = (),
    stream: int = 0,
) -> None:
    """:func:`start_latent` of a batch in device memory, queued on a stream.

    ``z_low`` (0: none) and ``z`` are (tiles, C, h, w) float32 and may be the same; ``experts`` is
    their number. Everything else is as in :func:`gated_step_cuda`.
    """

def gather_rows_cuda(
    *,
    tiles: int,
    row: int,
    expert_type: str,
    slots: int,
    source: int,
    to: Sequence[int],
    stream: int = 0,
) -> None:
    """Put rows of a batch where each expert's own batch has them, queued on a stream.

    ``source`` is (tiles, row) of ``expert_type``, ``to`` one batch of such rows per expert, 0 where
    it needs none. ``slots`` and errors are as in :func:`gated_step_cuda`.
    """

def blend_add_cuda(
    *,
    shape: tuple[int, int, int],
    slice_shape: tuple[int, int],
    images: int,
    places: int,
    sum: int,
    weight: int,
    stream: int = 0,
) -> None:
    """Add a batch of tiles to the sums and weights of their slices, queued on a stream.

    The order of additions is that of the tiles, so the result has the bits of the CPU.

    Parameters
    ----------
    shape
        (tiles, height, width) of ``images``, float32.
    slice_shape
        (ny, nx) of the slices in ``sum`` and ``weight``, float32.
    places
        (tiles, 7) int32: the tile's slice, y and x, and the voxels over which its weight rises at
        its first row, falls at its last, rises at its first column and falls at its last. Tiles of
        one slice follow each other, and a negative slice leaves the tile out.

    Raises
    ------
    InputError, BackendError
        As :func:`gated_step_cuda`.
    """

def blend_finish_cuda(
    *, sum: int, weight: int, input: int, count: int, out: int, stream: int = 0
) -> None:
    """The blended voxels of ``count`` finished sums, float32, queued on a stream.

    (sum + max(0, 1 - weight) input) / max(1, weight); ``out`` may be ``sum``. Errors are as in
    :func:`gated_step_cuda`.
    """

def timesteps(K: int, start_timestep: int) -> list[int]:
    """Timestep at the start of each of K steps, falling from ``start_timestep``."""

def step_coefficients(
    method: str, alphas_cumprod: Sequence[float], K: int, start_timestep: int, eta: float
) -> NDArray[np.float64]:
    """(K, 4): c_z, c_0, c_1, c_n of each step of "ddim" or "dpmpp_2m"."""

def tile_starts(n: int, lo: int, hi: int, tile: int, overlap: int, align: int) -> list[int]:
    """Tile starts that cover [lo, hi) of an axis of n voxels."""

def fit_tiles(
    shape: tuple[int, int, int],
    boxes: NDArray[np.int32],
    *,
    smallest: tuple[int, int],
    largest: tuple[int, int],
    pitch: tuple[int, int],
    overlap: int,
    align: tuple[int, int],
) -> list[tuple[int, int]]:
    """(height, width) of each slice's tiles.

    First the one that covers all boxes with the fewest pixels, or the largest where all are empty;
    then another, for the slices that need fewer pixels with it, if that saves what 16 of the
    largest tiles have.

    ``boxes`` are (nz, 4) as for :meth:`Model.enhance`, ``align`` pixels per latent cell. Raises
    InputError when the sizes or boxes are impossible.
    """

def interpolate(
    volume: NDArray[np.float32], shape: tuple[int, int, int], *, threads: int = 0
) -> NDArray[np.float32]:
    """Resample a C-contiguous volume on a grid of ``shape`` over the same box.

    Cubic B-spline towards finer voxels, k-space cut towards coarser ones. ``threads`` 0 means every
    core that this process may use, here and below; the result does not depend on it.
    """

def resample_kspace(
    volume: NDArray[np.float32], shape: tuple[int, int, int], *, threads: int = 0
) -> NDArray[np.float32]:
    """Resample a C-contiguous volume: k-space cut towards coarser voxels, zeros towards finer."""

def check_output_spacing(bundle: Bundle, output_spacing: float) -> None:
    """InputError for an output voxel edge (mm) outside what the bundle was trained for."""

def output_shape(
    bundle: Bundle,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    output_spacing: float = 0.0,
) -> tuple[int, int, int]:
    """Shape of the output over the box of a scan of ``shape`` voxels with edges ``spacing``, mm.

    ``output_spacing`` is as in :meth:`Model.enhance_scan`. InputError when the scan has fewer
    than 8 or more than 8192 voxels along an axis or is too large, a voxel size is outside what the
    bundle was trained for, or no computer this is meant for holds the output.
    """

class Foreground:
    """A mask over blocks of a scan's voxels; axes are z, y, x.

    ``inside`` are the blocks of the head, holes filled; ``reach`` is that grown by a margin.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the scan."""
    @property
    def block(self) -> tuple[int, int, int]:
        """Voxels of the scan per block."""
    @property
    def inside(self) -> NDArray[np.bool_]: ...
    @property
    def reach(self) -> NDArray[np.bool_]: ...
    def voxels(self) -> NDArray[np.bool_]:
        """``inside`` on the scan's grid."""
    def reach_voxels(self) -> NDArray[np.bool_]:
        """``reach`` on the scan's grid."""
    def boxes(self, output_shape: tuple[int, int, int], plane: int = 0) -> NDArray[np.int32]:
        """Bounding box of ``reach`` in each slice of a grid over the same box.

        (nz, 4) of [y0, y1, x0, x1), zeros where a slice has no foreground; for plane 1 or 2, of
        the volume with axes z and y or z and x swapped.
        """

def find_foreground(
    volume: NDArray[np.float32], spacing: tuple[float, float, float], *, threads: int = 0
) -> Foreground:
    """The head in a C-contiguous scan, or all of it where there is no background around it."""

def noise_sigma(volume: NDArray[np.float32], foreground: Foreground, *, threads: int = 0) -> float:
    """Noise standard deviation of a C-contiguous magnitude scan, inside the head."""

class Prepared:
    """A scan ready for the model; arrays are (z, y, x), C order.

    ``measured`` is the scan in the model's intensity unit (``scan = scale * measured``), ``volume``
    that interpolated on the output grid, ``boxes`` the foreground of each output slice as
    :meth:`Model.enhance` takes it.
    """

    @property
    def measured(self) -> NDArray[np.float32]: ...
    @property
    def volume(self) -> NDArray[np.float32]: ...
    @property
    def boxes(self) -> NDArray[np.int32]: ...
    @property
    def foreground(self) -> Foreground: ...
    @property
    def scale(self) -> float: ...

def prepare(
    scan: NDArray[np.float32],
    spacing: tuple[float, float, float],
    output_shape: tuple[int, int, int],
    *,
    percentile: float,
    value: float,
    threads: int = 0,
) -> Prepared:
    """Scale a C-contiguous scan so that ``percentile`` of its foreground becomes ``value``.

    InputError when that percentile is not above zero.
    """

# How large, in noise standard deviations, what a result leaves out of the scan may be.
KAPPA: float

def enforce_consistency(
    result: NDArray[np.float32],
    scan: NDArray[np.float32],
    sigma: float,
    *,
    kappa: float = ...,
    profile_axis: int = 0,
    profile_width: float = 0.0,
    threads: int = 0,
) -> float:
    """Put back into ``result``, in place, what of ``scan`` it has lost; both C-contiguous.

    Returns the largest correction made at the scan's resolution.
    """

def has_thick_slices(spacing: tuple[float, float, float]) -> bool:
    """Whether the coarsest of a scan's edges (z, y, x) so stands out that slices lie along it."""

def find_slice_profile(
    scan: NDArray[np.float32],
    spacing: tuple[float, float, float],
    sigma: float,
    *,
    threads: int = 0,
) -> tuple[int, float]:
    """Axis of the coarsest edge, and the width of the slices' profile along it, 0 for none.

    ``scan`` is C-contiguous, ``spacing`` along its axes, mm.
    """
