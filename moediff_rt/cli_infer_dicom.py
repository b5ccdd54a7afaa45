"""`moediff-rt infer` on DICOM: one series, its derived series and its record, all or none."""

from __future__ import annotations

import argparse
from pathlib import Path

from .atomic import FolderWriter, Writer, check_folder_writable, check_writable, write_whole
from .cli_infer import (
    OutputPaths,
    check_figure,
    check_names,
    map_writers,
    real,
    run_scan,
    say_written,
)
from .errors import InputError
from .io import record_writer


def default_folder(source: Path) -> Path:
    """Name of the result's folder beside a DICOM folder or file, or beside the link to it.

    Examples
    --------
    >>> default_folder(Path("/data/t1_mprage")).name
    't1_mprage_desc-moediffsr'
    >>> default_folder(Path("/data/scan.dcm")).name
    'scan_desc-moediffsr'
    """
    if source.name in ("", ".."):
        source = real(source)
    name = source.name.removesuffix(".dcm") or "series"
    return source.with_name(f"{name}_desc-moediffsr")


def folder_paths(
    source: Path, output: str | None, *, save_gates: bool, save_deviation: bool, figure: str | None
) -> OutputPaths:
    """Where each file goes: the images into a folder, all else beside it under its name.

    Raises
    ------
    InputError
        A name is missing or has the wrong ending, or the folder is in the input, around it, or the
        input itself.
    """
    folder = Path(output) if output else default_folder(source)
    if folder.name.endswith((".nii", ".nii.gz", ".dcm")):
        raise InputError(
            f"expected a folder for a DICOM series, got {folder}; give a folder's name with -o "
            "(for NIfTI convert the result with dcm2niix)"
        )
    ours, theirs = real(folder), real(source)
    if ours == theirs or ours in theirs.parents or theirs in ours.parents:
        raise InputError(
            f"expected an output apart from the input, got {folder} for {source}; "
            "the original is never replaced nor added to: give another folder with -o"
        )
    if folder.name in ("", ".."):
        raise InputError(
            f"expected a folder with a name of its own for the result, got {folder}; give one "
            "with -o"
        )
    name = ours.name
    paths = OutputPaths(
        image=folder,
        sidecar=folder.with_name(f"{name}.json"),
        gates=folder.with_name(f"{name}_gates.nii.gz") if save_gates else None,
        deviation=folder.with_name(f"{name}_uncertainty.nii.gz") if save_deviation else None,
        figure=check_figure(figure),
    )
    check_names(paths, source)
    return paths


def infer_dicom(options: argparse.Namespace) -> int:
    """Run the command; errors are the caller's to report."""
    from .dicom.derive import is_result
    from .dicom.enhance import derived_of
    from .dicom.series import check_uncorrected, load_series

    source = Path(options.input)
    series = load_series(source, options.series)
    if options.gradients is not None:
        check_uncorrected(series)
    paths = folder_paths(
        source,
        options.output,
        save_gates=options.save_gates,
        save_deviation=options.samples > 1,
        figure=options.figure,
    )
    check_folder_writable(paths.image, overwrite=options.overwrite, ours=is_result)
    for path in paths.all()[1:]:
        check_writable(path, overwrite=options.overwrite)
    ran = run_scan(options, series.scan)
    made = derived_of(series, ran.result, ran.record)
    writers: dict[Path, Writer | FolderWriter] = {
        paths.image: made.derived.folder(),
        paths.sidecar: record_writer(made.record),
        **map_writers(paths, ran),
    }
    write_whole(writers, overwrite=options.overwrite, ours=is_result)
    say_written(options, paths, made.record)
    return 0
