"""Every method on one simulated scan after the other, and what is found of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray

from moediff_rt import Acquisition, Session
from moediff_rt.grid import Grid
from moediff_rt.noise import noise_sigma
from moediff_rt.postprocess import find_slice_profile
from moediff_rt.resample import resample_kspace

from ..bundle import load_reference
from ..config import EXPERT_NAMES
from ..data import scanner
from ..data.held_out import FULL_SCALE, Subject, noise_free_scan, simulate_scan
from ..data.own_subjects import LARGEST_RATIO
from . import figures, lesions
from .baselines import zero_filling
from .claims import SCAN_RESOLUTION, TRUTH
from .conditions import Condition
from .consistency import scan_residual
from .experts import gates_by_region, read_gates, run_each_expert
from .lesion_study import study_lesions
from .methods import CUBIC, NON_LOCAL_MEANS, OURS, Method, prepare_for_model, read_scan
from .metrics import Weights, head_mask, inner_brain, peak_intensity, score
from .report import Figure

Volume = NDArray[np.float32]

LESIONS_SHOWN = 4


@dataclass
class Findings:
    """What has been measured so far: rows of each table, and the figures."""

    scores: list[dict[str, Any]] = field(default_factory=list)
    consistency: list[dict[str, Any]] = field(default_factory=list)
    lesions: list[dict[str, Any]] = field(default_factory=list)
    lesion_sets: dict[str, dict[str, Any]] = field(default_factory=dict)
    gates: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    def tables(self) -> dict[str, Any]:
        """All but the figures, by name."""
        return {k: v for k, v in vars(self).items() if k != "figures"}


def masks_of(subject: Subject) -> dict[str, Weights]:
    """Head, brain, the brain without its rim, and each expert's region, by name."""
    regions = dict(zip(EXPERT_NAMES, subject.regions, strict=True))
    inner = inner_brain(subject.brain)
    return {
        "head": head_mask(subject.brain),
        "brain": subject.brain,
        "inner_brain": inner if inner.any() else subject.brain,
        **regions,
    }


@dataclass(frozen=True)
class Scanned:
    """A subject's scan.

    Attributes
    ----------
    name : str
        Of the acquisition.
    scan : Nifti1Image
        In RAS+ order, over the subject's box.
    sigma : float
        Its noise standard deviation, in its unit.
    plane : str
        See `Condition.plane`.
    see : callable
        What the acquisition shows of a volume on the subject's grid, without noise.
    acquisition : Acquisition, optional
        Where it is known to who enhances the scan.
    """

    name: str
    scan: Nifti1Image
    sigma: float
    plane: str
    see: Callable[[Volume], Volume]
    acquisition: Acquisition | None = None


def simulated(subject: Subject, condition: Condition, seed: int) -> Scanned:
    """A subject as the condition's acquisition shows it."""
    scan = simulate_scan(subject, condition.noise_percent, condition.factors, seed)
    sigma = condition.noise_percent / 100 * FULL_SCALE

    def see(volume: Volume) -> Volume:
        return noise_free_scan(volume, condition.factors)

    return Scanned(condition.name, scan, sigma, condition.plane, see)


def acquired(scan: Nifti1Image, acquisition: Acquisition | None = None) -> Scanned:
    """A real scan, in RAS+ order; its noise, and what is not known of it, as the runtime finds."""
    grid = Grid(scan.shape, scan.affine)
    prepared = prepare_for_model(scan, grid)
    sigma = noise_sigma(prepared.measured, prepared.foreground) * prepared.scale
    x, y, z = grid.spacing
    spacing = grid.spacing[::-1]
    measured_sigma = sigma / prepared.scale
    profile = find_slice_profile(prepared.measured, spacing, measured_sigma, acquisition)

    def see(volume: Volume) -> Volume:
        axis = 2 - profile.axis
        thickness = profile.width * volume.shape[axis] / grid.shape[axis]
        if thickness:
            volume = scanner.slice_profile(volume, thickness, axis)
        return resample_kspace(volume, grid.shape)

    plane = "coronal" if z > LARGEST_RATIO * max(x, y) else "axial"
    return Scanned("as acquired", scan, sigma, plane, see, acquisition)


@dataclass(frozen=True)
class Comparison:
    """Every method on one scan after the other; what it finds goes to ``findings``."""

    methods: Sequence[Method]
    seed: int
    findings: Findings
    tell: Callable[[str], None]

    def compare(self, subject: Subject, scanned: Scanned, draw: bool) -> dict[str, Volume]:
        """Score every method on one scan; what each made of it, by name."""
        place = {"subject": subject.name, "condition": scanned.name}
        scan = scanned.scan
        masks = masks_of(subject)
        peak = peak_intensity(subject.truth, subject.brain)
        volumes = {}
        for method in self.methods:
            start = perf_counter()
            volume = method.upsample(scan, subject.grid, scanned.acquisition)
            seconds = perf_counter() - start
            row = {**place, "method": method.name, "seconds": seconds}
            row["masks"] = score(volume, subject.truth, masks, peak)
            self.findings.scores.append(row)
            residual = scan_residual(scanned.see(volume), read_scan(scan), scanned.sigma)
            self.findings.consistency.append({**place, "method": method.name, **residual})
            volumes[method.name] = volume
            quality = row["masks"]["brain"]["psnr"]
            self.tell(f"{subject.name}, {scanned.name}: {method.name} {quality:.2f} dB")
        if draw:
            self._draw(subject, scanned, volumes, peak)
        return volumes

    def look_at_experts(
        self, session: Session, bundle: Path, subject: Subject, scanned: Scanned
    ) -> None:
        """Mean gates by region, and a few slices as each expert alone makes them."""
        gates = read_gates(session, scanned.scan, subject.grid.spacing[2])
        _, z = subject.shown
        each = run_each_expert(load_reference(bundle), scanned.scan, subject, z, self.seed)
        self.findings.gates.append(
            {
                "subject": subject.name,
                "condition": scanned.name,
                "regions": list(EXPERT_NAMES),
                "experts": list(EXPERT_NAMES),
                "mean": gates_by_region(gates, subject.regions).tolist(),
                "slices": each.mixture.shape[2],
                "psnr": each.psnr_by_region(subject),
            }
        )
        png = figures.draw_experts(
            each.mixture[..., z - each.first],
            each.alone[..., z - each.first],
            gates[:, :, z].transpose(2, 0, 1),
            subject.regions[..., z],
            EXPERT_NAMES,
            peak_intensity(subject.truth, subject.brain),
        )
        caption = (
            f"{subject.name}, {scanned.name}: the mixture, and what each expert alone makes "
            "otherwise (before data consistency); its gate; its region"
        )
        self.findings.figures.append(Figure(f"experts_{subject.name}", png, caption, "experts"))
        self.tell(f"{subject.name}: experts and gates")

    def _draw(
        self, subject: Subject, scanned: Scanned, volumes: Mapping[str, Volume], peak: float
    ) -> None:
        coronal, axial = subject.shown
        at = axial if scanned.plane == "axial" else coronal
        shown = {name: volumes[name] for name in (CUBIC, NON_LOCAL_MEANS, OURS)}
        png = figures.draw_comparison(
            subject.truth,
            read_scan(scanned.scan),
            shown,
            subject.regions[EXPERT_NAMES.index("junction")],
            scanned.plane,
            at,
            peak,
        )
        number = sum(figure.section == "scores" for figure in self.findings.figures)
        caption = f"{subject.name}, {scanned.name}: {scanned.plane} plane, close-up, error"
        self.findings.figures.append(
            Figure(f"comparison_{number}_{subject.name}", png, caption, "scores")
        )

    def study_lesions(
        self, subject: Subject, condition: Condition, lesion_free: Mapping[str, Volume]
    ) -> None:
        """Every method on the same scan with lesions in the truth; without them it was made."""
        place = {"subject": subject.name, "condition": condition.name}
        placed = lesions.place_lesions(subject)
        self.findings.lesion_sets[subject.name] = {
            "count": sum(not lesion.small for lesion in placed.lesions),
            "semi_axes_mm": lesions.SEMI_AXES_MM,
            "small": sum(lesion.small for lesion in placed.lesions),
            "small_semi_axes_mm": lesions.SMALL_SEMI_AXES_MM,
            "white_level": placed.white_level,
            "lesion_level": placed.lesion_level,
            "threshold": placed.threshold,
        }
        ill = replace(subject, truth=placed.add_to(subject.truth))
        scanned = simulated(ill, condition, self.seed)
        volumes = {TRUTH: ill.truth, SCAN_RESOLUTION: _at_scan_resolution(ill, condition)}
        free = {TRUTH: subject.truth, SCAN_RESOLUTION: _at_scan_resolution(subject, condition)}
        volumes |= {
            m.name: m.upsample(scanned.scan, subject.grid, scanned.acquisition)
            for m in self.methods
        }
        free |= lesion_free
        for name, volume in volumes.items():
            study = study_lesions(volume, free[name], ill.truth, placed)
            self.findings.lesions.append({**place, "method": name, **study})
        self.tell(f"{subject.name}, {condition.name}: {len(placed.lesions)} lesions")
        last = len(placed.lesions) - 1
        chosen = [placed.lesions[i] for i in np.linspace(0, last, LESIONS_SHOWN).astype(int)]
        centres = [np.rint(lesion.centre).astype(int).tolist() for lesion in chosen]
        shown = (TRUTH, SCAN_RESOLUTION, CUBIC, NON_LOCAL_MEANS, OURS)
        png = figures.draw_lesions({name: volumes[name] for name in shown}, centres)
        noise = f"{condition.noise_percent:g}".replace(".", "_")
        caption = f"{subject.name}, {condition.name}: lesions from the largest to the smallest"
        self.findings.figures.append(
            Figure(f"lesions_{subject.name}_noise{noise}", png, caption, "lesions")
        )


def _at_scan_resolution(subject: Subject, condition: Condition) -> Volume:
    return zero_filling(noise_free_scan(subject.truth, condition.factors), subject.truth.shape)
