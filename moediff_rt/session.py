"""The library's door: a bundle, a backend, and scans through them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import cache
from .acquisition import Acquisition, known_acquisition
from .forks import check_process
from .grid import AxisOrder
from .interchange import like
from .io import Scan, as_scan, to_deviation_image, to_gate_image, to_image
from .request import (
    PLANES,
    checked_array,
    checked_memory,
    checked_name,
    checked_planes,
    checked_samples,
    checked_sampling,
    checked_spacing,
    checked_threads,
)
from .results import Enhanced, Inferred
from .spacing import checked_output_spacing, choose_output_shape

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

    from ._core import Bundle, EngineReport, Model

Progress = Callable[[int, int], None]
Cancel = Callable[[], bool]


class Session:
    """A bundle on a backend, ready for scans. Engines are built or loaded at first use.

    One thread at a time may use a session; its runs use several threads inside.

    Parameters
    ----------
    bundle : path, optional
        Bundle folder; default: the one in the package.
    backend : str
        "auto", "openvino", "tensorrt" or "tensorrt-rtx".
    device : str
        "auto", or a device that `moediff-rt info` lists; with TensorRT "auto" or "0", for the
        first GPU.
    precision : str
        "auto", or a precision that `moediff-rt info` lists; "int8" of a bundle that has it.
    threads : int
        CPU threads; 0: as many as the computer has cores.
    engines_dir : path, optional
        Folder of cached engines; default: `moediff_rt.cache.engines_dir()`. Where that is None,
        for want of a home folder, OpenVINO's are built anew each time, and TensorRT's are refused.
    max_memory : number
        Bytes that a run may take beside the scan and the engines, its results included: fewer tiles
        are under way, and what does not fit is refused before it is run. With TensorRT it is the
        GPU's memory. 0: no limit, on a GPU nine tenths of what is free.

    Raises
    ------
    BundleError
        The bundle is missing, damaged, or of an unknown format.
    InputError
        A setting cannot be used, or a path is empty, has a NUL or is not UTF-8.

    Examples
    --------
    >>> import moediff_rt
    >>> with moediff_rt.Session() as session:  # doctest: +SKIP
    ...     session.infer("scan.nii.gz").to_filename("sharper.nii.gz")
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str] | None = None,
        backend: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        threads: int = 0,
        engines_dir: str | os.PathLike[str] | None = None,
        max_memory: float = 0,
    ) -> None:
        from . import _core

        threads = checked_threads(threads)
        folder = cache.engines_dir() if engines_dir is None else engines_dir
        self.engines_dir = None if folder is None else Path(cache.engines_path(folder))
        self.bundle: Bundle = _core.load_bundle(cache.bundle_path(bundle))
        self._max_memory = checked_memory(max_memory)
        self._choice: dict[str, Any] = {
            "backend": checked_name("backend", backend),
            "device": checked_name("device", device),
            "precision": checked_name("precision", precision),
            "threads": threads,
        }
        self._model: Model | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the engines; the next use loads them again."""
        self._model = None

    @property
    def model(self) -> Model:
        """The compiled engines, built or loaded now if they are not there yet."""
        return self.build()

    @property
    def why_not_kept(self) -> str:
        """One line on why engines are not kept for the next session, "" where they are."""
        reasons = [engine.reason for engine in self.model.engines if not engine.path]
        if not reasons:
            return ""
        found = f"found {reasons[0].removeprefix('not kept: ')}"
        if self.engines_dir is None:
            found = cache.NO_HOME
        return (
            f"expected a folder to keep engines in, {found}; they are built again each time: set "
            "MOEDIFF_RT_CACHE to a folder that can be written"
        )

    def build(
        self,
        *,
        force: bool = False,
        on_engine: Callable[[EngineReport], None] | None = None,
    ) -> Model:
        """Build the engines, or load them from the cache.

        Parameters
        ----------
        force : bool
            Build even what is cached.
        on_engine : callable, optional
            Called with a report after each engine, in the order in which they are ready.

        Raises
        ------
        BackendError
            The backend, device or precision is unknown or not available here.
        EngineError
            An engine cannot be built or loaded; or this process was forked from one that has used
            a session.
        InputError
            TensorRT's engines have no folder to be kept in.
        """
        check_process()
        if self._model is None or force:
            self._model = self._open(force, on_engine)
        return self._model

    def _open(self, force: bool, on_engine: Callable[[EngineReport], None] | None) -> Model:
        from . import _core
        from .tensorrt.package import BACKENDS

        backend = self._choice["backend"]
        if backend in BACKENDS:
            from .tensorrt.model import open_model

            return open_model(
                self.bundle,
                backend,
                Path(cache.engines_path(self.engines_dir)),
                device=self._choice["device"],
                precision=self._choice["precision"],
                threads=self._choice["threads"],
                max_memory=self._max_memory,
                force=force,
                on_engine=on_engine,
            )
        return _core.Model(
            self.bundle,
            engines_dir="" if self.engines_dir is None else os.fspath(self.engines_dir),
            force=force,
            on_engine=on_engine,
            **self._choice,
        )

    def enhance(
        self,
        array: npt.ArrayLike,
        spacing: float | Sequence[float],
        *,
        output_spacing: float | None = None,
        steps: int | None = None,
        seed: int = 0,
        samples: int = 1,
        planes: int | None = None,
        data_consistency: bool = True,
        acquisition: str | Acquisition | None = None,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> npt.NDArray[np.float32]:
        """Sharpen a volume. `run` gives the same and how it was made.

        Parameters
        ----------
        array : (x, y, z) array
            Brain MRI, real, finite, any intensity unit; of NumPy, or of another library that has
            DLPack (PyTorch, CuPy, JAX), on any device. Axes in RAS+ order: the last one goes from
            foot to head.
        spacing : float or 3 floats
            Voxel edges, mm.
        output_spacing : float, optional
            Edge of the isotropic output voxels, mm; default: half the smallest input edge, within
            what the bundle was trained for.
        steps : int, optional
            Sampler steps; default: the bundle's.
        seed : int
            Noise seed, 0 to 2**64 - 1: the same scan, seed and settings give the same result.
        samples : int
            Results averaged, with the seeds from `seed` on, each with slices mirrored in another
            way, up to four; `run` gives their spread, too. Each takes as long again.
        planes : int, optional
            In how many planes slices are enhanced, from 1 to 3, and the results averaged; each
            takes as long again. The first one's slices lie along the coarsest axis, or the last one
            (axial) where edges are alike; then come coronal ones, along the second axis, and
            sagittal ones, along the first. Default: the bundle's number where edges are alike, else
            one; fewer for slabs thinner than half a tile.
        data_consistency : bool
            Make the result agree with the input at the input's resolution.
        acquisition : str or Acquisition, optional
            "2D" where the scanner excited slices one by one, "3D" where it encoded them: what
            data consistency takes thick slices for. With gaps between them, or where they overlap,
            `Acquisition("2D", slice_thickness=4)`. Default: what the array's own spectrum shows.
        progress : callable, optional
            Called with (tiles done, tiles in all).
        cancel : callable, optional
            Asked a few times a second; True stops the run.

        Returns
        -------
        (x', y', z') float32 array
            In the input's intensity unit, over the same box; of the input's library, on its device.

        Raises
        ------
        InputError
            The array, a spacing or a setting cannot be used.
        Cancelled
            `cancel` returned True.

        Examples
        --------
        >>> import numpy as np, moediff_rt
        >>> volume = np.random.default_rng(0).random((64, 64, 32))
        >>> with moediff_rt.Session() as session:  # doctest: +SKIP
        ...     session.enhance(volume, 2.0).shape
        (128, 128, 64)
        """
        run = self.run(
            array,
            spacing,
            output_spacing=output_spacing,
            steps=steps,
            seed=seed,
            samples=samples,
            planes=planes,
            data_consistency=data_consistency,
            acquisition=acquisition,
            progress=progress,
            cancel=cancel,
        )
        # Typed for NumPy: an array of another library comes back as one of that library.
        data: npt.NDArray[np.float32] = like(array, run.data)
        return data

    def run(
        self,
        array: npt.ArrayLike,
        spacing: float | Sequence[float],
        *,
        output_spacing: float | None = None,
        steps: int | None = None,
        seed: int = 0,
        samples: int = 1,
        planes: int | None = None,
        data_consistency: bool = True,
        acquisition: str | Acquisition | None = None,
        save_gates: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Enhanced:
        """Sharpen a volume and say how. Parameters and errors are those of `enhance`.

        Parameters
        ----------
        save_gates : bool
            Also return which expert had how much say where.

        Returns
        -------
        Enhanced
        """
        scan = np.ascontiguousarray(checked_array(array).T)
        x, y, z = checked_spacing(spacing)
        steps, seed = checked_sampling(steps, seed, self.bundle)
        samples = checked_samples(samples)
        in_planes = checked_planes(planes)
        known = known_acquisition(acquisition)
        slice_profile = known.profile((x, y, z)) if known else 0.0
        output_spacing = checked_output_spacing(output_spacing, self.bundle)
        # Refused, if it must be, before engines are built.
        choose_output_shape(scan.shape[::-1], (x, y, z), output_spacing, self.bundle)
        begin = time.perf_counter()
        model = self.model
        seconds = {"engines": time.perf_counter() - begin}
        result = model.enhance_scan(
            scan,
            (z, y, x),
            output_spacing=output_spacing or 0.0,
            steps=steps or 0,
            seed=seed,
            samples=samples,
            planes=in_planes,
            data_consistency=data_consistency,
            slice_profile=slice_profile,
            save_gates=save_gates,
            progress=progress,
            cancel=cancel,
            memory_limit=self._max_memory,
        )
        dz, dy, dx = result.spacing
        return Enhanced(
            data=result.volume.T,
            spacing=(dx, dy, dz),
            noise_sigma=result.noise_sigma,
            slice_profile=max(result.slice_profile, 0.0),
            largest_correction=result.largest_correction,
            gates=None if result.gates is None else result.gates.T,
            standard_deviation=None if result.deviation is None else result.deviation.T,
            acquisition=known,
            steps=result.steps,
            seed=seed,
            samples=samples,
            planes=tuple(PLANES[axis] for axis in result.planes),
            tiles=result.tiles,
            expert_calls=result.expert_calls,
            expert_calls_saved=result.expert_calls_saved,
            tile_sizes=tuple(result.tile_sizes),
            seconds=seconds | result.seconds,
        )

    def infer(
        self,
        scan: str | os.PathLike[str] | Nifti1Image | Scan,
        *,
        spacing: float | None = None,
        steps: int | None = None,
        seed: int = 0,
        samples: int = 1,
        planes: int | None = None,
        data_consistency: bool = True,
        acquisition: str | Acquisition | None = None,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Nifti1Image:
        """Sharpen a scan. The result has the input's axes, codes, units, data type and header.

        Parameters
        ----------
        scan : path, nibabel NIfTI image or Scan
        spacing : float, optional
            As `output_spacing` of `enhance`, mm.
        steps, seed, samples, planes, data_consistency, progress, cancel
            As in `enhance`.
        acquisition : str or Acquisition, optional
            As in `enhance`; default: what the scan's DICOM header or sidecar says, which also tells
            how thick the slices are where it says the same kind.

        Returns
        -------
        nibabel image of the input's class

        Raises
        ------
        InputError
            The file or image is not a usable 3-D scan, or a setting cannot be used.
        Cancelled
            `cancel` returned True.
        """
        return self.infer_scan(
            as_scan(scan),
            spacing=spacing,
            steps=steps,
            seed=seed,
            samples=samples,
            planes=planes,
            data_consistency=data_consistency,
            acquisition=acquisition,
            progress=progress,
            cancel=cancel,
        ).image

    def infer_scan(
        self,
        scan: Scan,
        *,
        spacing: float | None = None,
        steps: int | None = None,
        seed: int = 0,
        samples: int = 1,
        planes: int | None = None,
        data_consistency: bool = True,
        acquisition: str | Acquisition | None = None,
        save_gates: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Inferred:
        """As `infer`, with the expert weights, the spread and an account of the run.

        Of a scan without voxels below zero, a magnitude, neither has the result, `Inferred.run`'s
        included: `run` and `enhance` leave the model's ringing below zero as it is.
        """
        axes = AxisOrder.nearest_ras(scan.affine)
        run = self.run(
            axes.to_ras(scan.data),
            axes.spacing_to_ras(scan.grid.spacing),
            output_spacing=spacing,
            steps=steps,
            seed=seed,
            samples=samples,
            planes=planes,
            data_consistency=data_consistency,
            acquisition=known_acquisition(acquisition, scan.acquisition),
            save_gates=save_gates,
            progress=progress,
            cancel=cancel,
        )
        data = axes.from_ras(run.data)
        if scan.data.min() >= 0:
            np.maximum(data, 0, out=data)
        affine = scan.grid.resized(data.shape).affine
        gates = None
        if run.gates is not None:
            gates = to_gate_image(axes.from_ras(run.gates), affine, scan)
        deviation = None
        if run.standard_deviation is not None:
            deviation = to_deviation_image(axes.from_ras(run.standard_deviation), affine, scan)
        return Inferred(to_image(data, affine, scan), gates, deviation, run)
