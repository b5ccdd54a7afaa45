"""The whole evaluation of a bundle: every subject, condition and method, and the report of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moediff_rt import Session
from moediff_rt.bias import n4_version
from moediff_rt.cache import default_bundle
from moediff_rt.grid import Grid
from moediff_rt.spacing import choose_output_shape

from ..config import EXPERT_NAMES
from ..data.held_out import Subject, load_subject, scan_shape
from ..data.own_subjects import read_pair, read_truth, scan_name
from ..data.subjects import SHARPNESS, SUBJECTS
from .claims import SCAN_RESOLUTION, TRUTH, check_claims
from .compare import Comparison, Findings, Scanned, acquired, simulated
from .conditions import CONDITIONS, Condition, conditions_of
from .lesions import SEED as LESION_SEED
from .methods import ONE_PLANE, OURS, bundle_methods, checkpoint_methods, interpolation_methods
from .provenance import describe_run, sha256
from .report import check_report, write_report
from .step_study import STEPS, study_steps

if TYPE_CHECKING:
    from moediff_rt._core import Bundle

Look = Callable[[Subject, Scanned], None]

SLICES = 24  # of a quick run and of the step study: axial, through the ventricles
QUICK_STEPS = STEPS[:-1]


def evaluate(
    bundle: Path | None,
    output_dir: Path,
    subjects: Sequence[str] = SUBJECTS,
    conditions: Sequence[Condition] = CONDITIONS,
    comparators: Mapping[str, Path] | None = None,
    quick: bool = False,
    *,
    truths: Sequence[Path] = (),
    pairs: Sequence[tuple[Path, Path]] = (),
    n4: bool = False,
    steps: int | None = None,
    seed: int = 0,
    threads: int = 0,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Evaluate a bundle on subjects it never saw; write `report.html`, `.json` and `.md`.

    Parameters
    ----------
    bundle : Path, optional
        The default bundle if none.
    output_dir : Path
        Made if it is not there.
    subjects : sequence of str
        Of `data.held_out.SUBJECTS`.
    conditions : sequence of Condition
        The first is also that of the gates and the step study, and the only one for the subjects
        that serve to compare sharpness.
    comparators : mapping of name to checkpoint, optional
        Trained models that are run in PyTorch; "single expert" is held against the mixture.
    quick : bool
        Use `SLICES` slices alone.
    truths : sequence of Path
        Sharp scans of one's own, evaluated after the subjects as those are, but for the lesion
        study: see `data.own_subjects.read_truth`.
    pairs : sequence of (Path, Path)
        Real 3T scans and their 7T partners, evaluated last, as they are and whole: see
        `data.own_subjects.read_pair`.
    n4 : bool
        Give each 7T scan of the pairs the receive field of its 3T scan.
    steps : int, optional
        Sampler steps; the bundle's own by default.
    seed : int
        Of the simulated noise and of the sampler's.
    threads : int
        CPU threads of the runtime; 0 for all cores.
    overwrite : bool
        Replace a report that is there.
    progress : callable, optional
        Called with a line of text after each piece of work.

    Returns
    -------
    dict
        What `report.json` holds, without the list of figures.

    Raises
    ------
    OutputError
        The report is there already, or the folder cannot be written.
    BundleError, CheckpointError, FileNotFoundError, ValueError
        The bundle, a comparator, a subject or a truth cannot be used.
    """
    bundle = Path(bundle or default_bundle())
    comparators = dict(comparators or {})
    check_report(output_dir, overwrite)
    if pairs and quick:
        raise ValueError(
            "evaluate: expected real pairs or quick, found both; quick cuts scans that are "
            "simulated, and those of pairs are not; leave one of the two out"
        )
    _check_names(subjects, truths, pairs)
    _check_comparators(comparators)
    settings = {
        "subjects": list(subjects),
        "truths": {str(path): sha256(path) for path in truths},
        "pairs": {str(path): sha256(path) for pair in pairs for path in pair},
        "n4": n4,
        "conditions": [asdict(condition) for condition in conditions],
        "quick": quick,
        "steps": steps,
        "seed": seed,
        "lesion_seed": LESION_SEED,
        "threads": threads,
    }
    findings = Findings()
    with Session(bundle, threads=threads) as session:
        # What may be wrong with somebody's own scans shows before the long part.
        for truth in map(read_truth, truths):
            grid = (truth.middle(SLICES) if quick else truth).grid
            for condition in conditions_of(truth.name, conditions):
                seen = grid.resized(scan_shape(grid.shape, condition.factors))
                _check_grid(truth.name, grid, seen, session.bundle)
        for pair in pairs:
            subject, scan, _ = read_pair(*pair)
            seen = Grid(scan.shape, scan.affine)
            _check_grid(subject.name, subject.grid, seen, session.bundle)
        if pairs and n4:
            n4_version()
        methods = [
            *interpolation_methods(),
            *checkpoint_methods(comparators, seed),
            *bundle_methods(session, steps, seed),
        ]
        precision = {"precision": session.model.precision}
        source = describe_run(bundle, comparators, settings | precision)
        comparison = Comparison(methods, seed, findings, progress or (lambda line: None))
        is_mixture = tuple(session.bundle.expert_names) == EXPERT_NAMES
        experts = partial(comparison.look_at_experts, session, bundle) if is_mixture else _skip
        # Each is read in its turn: a head takes hundreds of megabytes.
        sources = {name: partial(load_subject, name) for name in subjects}
        sources |= {scan_name(path): partial(read_truth, path) for path in truths}
        for load in sources.values():
            _simulate(comparison, experts, load(), conditions, quick)
        for pair in pairs:
            subject, scan, acquisition = read_pair(*pair, n4=n4)
            scanned = acquired(scan, acquisition)
            comparison.compare(subject, scanned, draw=True)
            experts(subject, scanned)
        if sources:
            name = "sharp" if "sharp" in sources else next(iter(sources))
            slab = sources[name]().middle(SLICES)
            counts = QUICK_STEPS if quick else STEPS
            default = steps or session.bundle.sampler.steps
            findings.steps += [
                {"subject": name, "condition": conditions[0].name, "default": default, **row}
                for row in study_steps(session, slab, conditions[0], counts, seed)
            ]
    results: dict[str, Any] = {"provenance": source, **findings.tables()}
    results["claims"] = [asdict(claim) for claim in check_claims(results)]
    write_report(output_dir, results, findings.figures, overwrite)
    return results


def _skip(subject: Subject, scanned: Scanned) -> None:
    """What is looked at of the experts of a bundle that is no mixture: nothing."""


def _check_names(
    subjects: Sequence[str], truths: Sequence[Path], pairs: Sequence[tuple[Path, Path]]
) -> None:
    """Refuse nothing to evaluate, and scans that the report could not tell apart."""
    scans = [*truths, *(low for low, _ in pairs)]
    if not subjects and not scans:
        raise ValueError(
            "evaluate: expected a subject, a truth or a pair at least, found none; the lists are "
            "probably those of an empty folder; name one"
        )
    names = [scan_name(path) for path in scans]
    for path, name in zip(scans, names, strict=True):
        if name in SUBJECTS or names.count(name) > 1:
            raise ValueError(
                f"evaluate: expected scans of different names, none that of a held-out subject, "
                f"found another {name} in {path}; the report would mix them up; rename the file"
            )


def _check_comparators(names: Iterable[str]) -> None:
    """Refuse a comparator that the report would show as a method of the evaluation's own."""
    own = [m.name for m in interpolation_methods()] + [OURS, ONE_PLANE, TRUTH, SCAN_RESOLUTION]
    for name in names:
        if name.casefold() in (other.casefold() for other in own):
            raise ValueError(
                f"evaluate: expected a comparator of a name of its own, got {name!r}; the report "
                f"would mix it up with one of {', '.join(own)}; name it otherwise"
            )


def _check_grid(name: str, grid: Grid, scan: Grid, bundle: Bundle) -> None:
    """Refuse a truth of whose scan the bundle makes no result, or one on another grid."""
    found = choose_output_shape(scan.shape, scan.spacing, grid.spacing[2], bundle)
    if found != grid.shape:
        raise ValueError(
            f"evaluate: expected results on the grid {grid.shape} of {name}, its scan would give "
            f"{found}; its box probably ends in half a voxel; resample it to isotropic ones"
        )


def _simulate(
    comparison: Comparison,
    experts: Look,
    subject: Subject,
    conditions: Sequence[Condition],
    quick: bool,
) -> None:
    """A subject under each condition, and of the first one its experts."""
    subject = subject.middle(SLICES) if quick else subject
    for condition in conditions_of(subject.name, conditions):
        first = condition is conditions[0]
        scanned = simulated(subject, condition, comparison.seed)
        made = comparison.compare(subject, scanned, draw=first or not quick)
        studied = subject.name in SUBJECTS and not SHARPNESS.get(subject.name)
        if condition.lesions and studied:
            comparison.study_lesions(subject, condition, made)
        if first and not SHARPNESS.get(subject.name):
            experts(subject, scanned)
