"""`moediff-rt infer`: one scan, its result and its record, all written or none."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .atomic import FolderWriter, Writer, check_writable, write_whole
from .cli_options import open_session, why_backend
from .errors import InputError
from .io import Scan, image_writer, load_scan, nifti_stem, record_writer, sidecar_path
from .progress import answer, progress_on, say
from .results import Inferred

if TYPE_CHECKING:
    from .acquisition import Acquisition

# BIDS suffixes of anatomical scans: kept as they are, after the new `desc` entity.
_SUFFIX = re.compile(r"_(?P<suffix>T1w|T2w|FLAIR|PDw|PDT2|T2starw|UNIT1|inplaneT1|inplaneT2)$")
_DESC = re.compile(r"_desc-[a-zA-Z0-9]+")


@dataclass(frozen=True)
class OutputPaths:
    """Where each file of one run goes (`image`: a file or a folder); None for what nobody asked."""

    image: Path
    sidecar: Path
    gates: Path | None
    deviation: Path | None
    figure: Path | None

    def all(self) -> list[Path]:
        """Every file that will be written."""
        asked = (self.image, self.sidecar, self.gates, self.deviation, self.figure)
        return [path for path in asked if path is not None]


def default_output(path: Path) -> Path:
    """Name of the result beside a scan, as BIDS derivatives are named.

    Examples
    --------
    >>> default_output(Path("sub-01_T1w.nii.gz")).name
    'sub-01_desc-moediffsr_T1w.nii.gz'
    >>> default_output(Path("scan.nii")).name
    'scan_desc-moediffsr_T1w.nii.gz'
    """
    entities, suffix = _entities_and_suffix(path)
    return path.with_name(f"{entities}_desc-moediffsr_{suffix}.nii.gz")


def _entities_and_suffix(path: Path) -> tuple[str, str]:
    """A file name's BIDS entities without any `desc`, and its suffix; T1w where it has none."""
    stem = nifti_stem(path)
    match = _SUFFIX.search(stem)
    entities = _DESC.sub("", stem[: match.start()] if match else stem)
    return entities, match["suffix"] if match else "T1w"


def output_paths(
    source: Path, output: str | None, *, save_gates: bool, save_deviation: bool, figure: str | None
) -> OutputPaths:
    """Where each file goes.

    Raises
    ------
    InputError
        A name has the wrong ending, or would replace the input, its sidecar or another output.
    """
    image = Path(output) if output else default_output(source)
    if not image.name.endswith((".nii", ".nii.gz")):
        raise InputError(
            f"expected an output named .nii or .nii.gz, got {image}; give such a name with -o"
        )
    drawing = check_figure(figure)
    entities, suffix = _entities_and_suffix(image)
    gates = image.with_name(f"{entities}_desc-gates_probseg.nii.gz") if save_gates else None
    deviation = (
        image.with_name(f"{entities}_desc-uncertainty_{suffix}.nii.gz") if save_deviation else None
    )
    paths = OutputPaths(image, sidecar_path(image), gates, deviation, drawing)
    check_names(paths, source)
    if real(paths.sidecar) == real(sidecar_path(source)):
        raise InputError(
            f"expected an output whose sidecar is not the input's, got {paths.sidecar} for both; "
            "the original is never replaced: give another name with -o"
        )
    return paths


def real(path: Path) -> Path:
    """A path without links; unlike `Path.resolve`, also of one that links to itself.

    Raises
    ------
    InputError
        It is relative, and the working folder was removed.
    """
    try:
        return Path(os.path.realpath(path))
    except FileNotFoundError:
        raise InputError(
            f"expected a path that leads somewhere, got {path}, and the folder this was started in "
            "is gone; cd to another, or give the path from / on"
        ) from None


def check_figure(figure: str | None) -> Path | None:
    """Take a figure's name; InputError unless it is one of a .png."""
    if figure is not None and not figure.lower().endswith(".png"):
        raise InputError(f"expected a figure named .png, got {figure}; give such a name")
    return Path(figure) if figure else None


def check_names(paths: OutputPaths, source: Path) -> None:
    """Refuse outputs that would replace the input or one another."""
    resolved = [real(path) for path in paths.all()]
    if real(source) in resolved:
        raise InputError(
            f"expected an output other than the input, got {source} for both; "
            "the original is never replaced: give another name with -o"
        )
    if len(set(resolved)) != len(resolved):
        raise InputError(f"expected different names for the outputs of {source}, got one twice")


def infer(options: argparse.Namespace) -> int:
    """Run the command on a NIfTI file or DICOM; errors are the caller's to report."""
    from .dicom.files import is_dicom

    if is_dicom(options.input):
        from .cli_infer_dicom import infer_dicom

        return infer_dicom(options)
    if options.series is not None:
        raise InputError(
            f"expected a DICOM folder or file for --series, got {options.input}; leave --series out"
        )
    scan = load_scan(options.input)
    paths = output_paths(
        Path(options.input),
        options.output,
        save_gates=options.save_gates,
        save_deviation=options.samples > 1,
        figure=options.figure,
    )
    for path in paths.all():
        check_writable(path, overwrite=options.overwrite)
    ran = run_scan(options, scan)
    writers: dict[Path, Writer | FolderWriter] = {
        paths.image: image_writer(
            ran.result.image, compress=paths.image.suffix == ".gz", threads=options.threads
        ),
        paths.sidecar: record_writer(ran.record),
        **map_writers(paths, ran),
    }
    write_whole(writers, overwrite=options.overwrite)
    say_written(options, paths, ran.record)
    return 0


@dataclass(frozen=True)
class Ran:
    """A run of the command: the scan as corrected, its result, and the sidecar's record."""

    scan: Scan
    result: Inferred
    record: dict[str, Any]


def run_scan(options: argparse.Namespace, scan: Scan) -> Ran:
    """Take a scan through the corrections and the model, as the options ask."""
    from .corrections import plan_corrections
    from .provenance import describe
    from .request import checked_planes, checked_samples, checked_sampling
    from .spacing import choose_output_shape
    from .tensorrt.driver import has_gpu

    def note(text: str) -> None:
        if not options.quiet:
            say(text, sys.stderr)

    corrections = plan_corrections(options.gradients, n4=options.n4)
    with open_session(options) as session:
        # A scan or setting that cannot be used is refused before engines are built.
        checked_sampling(options.steps, options.seed, session.bundle)
        checked_samples(options.samples)
        checked_planes(options.planes)
        acquisition = _acquisition(options, scan)
        choose_output_shape(scan.grid.shape, scan.grid.spacing, options.spacing, session.bundle)
        for correction in corrections:
            scan = correction.apply(scan)
        if options.verbose:
            model = session.build(
                on_engine=lambda engine: note(
                    f"engine {engine.module}: "
                    + ("cached" if engine.cached else f"built in {engine.seconds:.1f} s")
                )
            )
            note(f"{model.backend} on {model.device}, {model.precision}, {model.threads} threads")
        with progress_on(sys.stderr, quiet=options.quiet) as progress:
            result = session.infer_scan(
                scan,
                spacing=options.spacing,
                steps=options.steps,
                seed=options.seed,
                samples=options.samples,
                planes=options.planes,
                data_consistency=options.data_consistency,
                acquisition=acquisition,
                save_gates=options.save_gates,
                progress=progress,
            )
        if lost := session.why_not_kept:
            note(lost)
        if options.backend == "auto" and (options.verbose or has_gpu()):
            note(why_backend(session.model.backend))
        record = describe(
            scan,
            result.run,
            session,
            corrections=corrections,
            data_consistency=options.data_consistency,
        )
    if options.verbose:
        for stage, spent in result.run.seconds.items():
            note(f"{stage}: {spent:.2f} s")
    return Ran(scan, result, record)


def _acquisition(options: argparse.Namespace, scan: Scan) -> Acquisition | None:
    """What the options and the scan say; one that cannot be of this scan is refused."""
    from .acquisition import Acquisition, known_acquisition

    known = known_acquisition(options.acquisition, scan.acquisition)
    if options.slice_thickness is None:
        if known is not None:
            known.profile(scan.grid.spacing)
        return known
    if known is None or known.kind != "2D":
        raise InputError(
            "expected --slice-thickness of slices that were excited one by one, got it of "
            f"{known.kind if known else 'a scan that does not say so'}; slices that were encoded "
            "have none: give --acquisition 2D if these were excited, or leave it out"
        )
    known = Acquisition("2D", options.slice_thickness)
    if not known.profile(scan.grid.spacing):
        edges = " x ".join(f"{edge:g}" for edge in scan.grid.spacing)
        raise InputError(
            f"expected --slice-thickness of slices along one coarsest edge, got voxels of {edges} "
            "mm; along which edge they lie is not known: leave it out"
        )
    return known


def map_writers(paths: OutputPaths, ran: Ran) -> dict[Path, Writer | FolderWriter]:
    """Writers of what was asked for beside the scan: gates, deviation, figure."""
    scan, result = ran.scan, ran.result
    writers: dict[Path, Writer | FolderWriter] = {}
    if paths.gates is not None and result.gates is not None:
        writers[paths.gates] = image_writer(result.gates, compress=True)
    if paths.deviation is not None and result.deviation is not None:
        writers[paths.deviation] = image_writer(result.deviation, compress=True)
    if paths.figure is not None:
        from .figure import Picture, draw_before_after

        values = np.asanyarray(result.image.dataobj)
        drawing = draw_before_after(
            Picture.of(scan.data, scan.affine),
            Picture.of(values, scan.grid.resized(values.shape).affine),
        )
        writers[paths.figure] = lambda stream: drawing.save(stream, "PNG")
    return writers


def say_written(options: argparse.Namespace, paths: OutputPaths, record: Mapping[str, Any]) -> None:
    """Say on stdout what was written, as the options ask."""
    written = {
        "output": str(paths.image),
        "sidecar": str(paths.sidecar),
        "gates": str(paths.gates) if paths.gates else None,
        "uncertainty": str(paths.deviation) if paths.deviation else None,
        "figure": str(paths.figure) if paths.figure else None,
    }
    done = f"the result is in {paths.image}"
    if options.json:
        answer(json.dumps({**written, "provenance": record}), done)
    elif not options.quiet:
        answer("\n".join(map(str, paths.all())), done)
