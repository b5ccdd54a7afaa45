"""What the model must show, next to what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt
from statistics import mean, stdev
from typing import Any

from ..config import EXPERT_NAMES
from .methods import CUBIC, OURS

SINGLE_EXPERT = "single expert"  # the comparator of this name is what the mixture must beat
TRUTH = "truth"
SCAN_RESOLUTION = "truth at the scan's resolution"

# Gain over cubic B-spline in the brain, dB: of each subject under each condition.
GAINS_DB = {
    ("mni152", "x2, 1 % noise"): 1.5,
    ("mni152", "x2, 3 % noise"): 2.5,
    ("sharp", "x2, 1 % noise"): 3.0,
    ("sharp", "x2, 3 % noise"): 4.0,
}
MIXTURE_GAIN_DB = 0.2
OWN_GATE = 0.5
STEPS_LOSS_DB = 0.1
FEW_STEPS = 4


@dataclass(frozen=True)
class Claim:
    """A target, what was measured, and whether that meets it."""

    what: str
    target: str
    measured: str
    met: bool


def check_claims(results: Mapping[str, Any]) -> list[Claim]:
    """Every claim that the results of `run.evaluate` can decide."""
    return [
        *_quality(results["scores"]),
        *_mixture(results["scores"]),
        *_gates(results["gates"]),
        *_lesions(results["lesions"]),
        *_consistency(results["consistency"]),
        *_steps(results["steps"]),
    ]


def by_place(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows as (subject, condition) -> method -> row."""
    places: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        places.setdefault((row["subject"], row["condition"]), {})[row["method"]] = row
    return places


def _quality(scores: Sequence[Mapping[str, Any]]) -> list[Claim]:
    claims = []
    for place, methods in by_place(scores).items():
        if place not in GAINS_DB:
            continue
        ours, cubic = (methods[name]["masks"]["brain"] for name in (OURS, CUBIC))
        where = ", ".join(place)
        gain, target = ours["psnr"] - cubic["psnr"], GAINS_DB[place]
        claims.append(
            Claim(
                f"PSNR over cubic, brain: {where}",
                f"at least {target:+.1f} dB",
                f"{gain:+.2f} dB",
                gain >= target,
            )
        )
        for metric, label in (("ssim", "SSIM"), ("haarpsi", "HaarPSI")):
            claims.append(
                Claim(
                    f"{label}, brain: {where}",
                    f"above cubic's {cubic[metric]:.4f}",
                    f"{ours[metric]:.4f}",
                    ours[metric] > cubic[metric],
                )
            )
    return claims


def _mixture(scores: Sequence[Mapping[str, Any]]) -> list[Claim]:
    claims = []
    for place, methods in by_place(scores).items():
        if place not in GAINS_DB or SINGLE_EXPERT not in methods:
            continue
        for region in ("cortex", "junction"):
            ours, single = (methods[n]["masks"][region]["psnr"] for n in (OURS, SINGLE_EXPERT))
            claims.append(
                Claim(
                    f"PSNR over a single expert, {region}: {', '.join(place)}",
                    f"at least {MIXTURE_GAIN_DB:+.1f} dB",
                    f"{ours - single:+.2f} dB",
                    ours - single >= MIXTURE_GAIN_DB,
                )
            )
    return claims


def _gates(tables: Sequence[Mapping[str, Any]]) -> list[Claim]:
    claims = []
    for table in tables:
        for i, name in enumerate(EXPERT_NAMES):
            row = table["mean"][i]
            own = row[i]
            claims.append(
                Claim(
                    f"mean gate of {name} in its own region: {table['subject']}",
                    f"highest, at least {OWN_GATE}",
                    f"{own:.2f} (others {', '.join(f'{g:.2f}' for g in row[:i] + row[i + 1 :])})",
                    own >= OWN_GATE and own == max(row),
                )
            )
    return claims


def _lesions(rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
    claims = []
    for place, methods in by_place(rows).items():
        where = ", ".join(place)
        ours, cubic, scan = (methods[name] for name in (OURS, CUBIC, SCAN_RESOLUTION))
        for key, what in (
            ("false_lesions", "false lesions in a lesion-free brain"),
            ("false_lesions_beside", "false lesions beside true ones"),
        ):
            claims.append(
                Claim(
                    f"{what}: {where}",
                    f"at most cubic's {cubic[key]}",
                    str(ours[key]),
                    ours[key] <= cubic[key],
                )
            )
        for key, what in (
            ("relative_contrast", "lesion contrast"),
            ("relative_contrast_small", "contrast of small lesions"),
        ):
            if isnan(scan[key]):  # there are none
                continue
            claims.append(
                Claim(
                    f"{what}, of the truth's: {where}",
                    f"at least {scan[key]:.3f}, {SCAN_RESOLUTION}",
                    f"{ours[key]:.3f} ({_paired(ours, scan, key)})",
                    ours[key] >= scan[key],
                )
            )
    return claims


def _paired(ours: Mapping[str, Any], scan: Mapping[str, Any], key: str) -> str:
    """The mean difference over the lesions that ``key`` is of, and its standard error."""
    gaps = [
        a["relative_contrast"] - b["relative_contrast"]
        for a, b in zip(ours["each"], scan["each"], strict=True)
        if a["small"] == key.endswith("_small")
    ]
    error = stdev(gaps) / sqrt(len(gaps)) if len(gaps) > 1 else nan
    return f"{mean(gaps):+.3f}, standard error {error:.3f}"


def _consistency(rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
    ours = [row for row in rows if row["method"] == OURS]
    if not ours:
        return []
    worst = max(row["rms"] for row in ours)
    return [
        Claim(
            "|y - |A x|| over the noise's standard deviation, root mean square, worst scan",
            "at most 1",
            f"{worst:.2f}",
            worst <= 1,
        )
    ]


def _steps(rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
    few = [row for row in rows if row["steps"] == rows[0]["default"] and row["steps"] <= FEW_STEPS]
    if not few or not any(row["steps"] == 50 for row in rows):
        return []
    best = max(rows, key=lambda row: row["psnr"])
    loss = best["psnr"] - few[0]["psnr"]
    return [
        Claim(
            f"PSNR lost by {few[0]['steps']} steps against the best number up to 50",
            f"at most {STEPS_LOSS_DB} dB",
            f"{loss:.2f} dB ({best['steps']} steps)",
            loss <= STEPS_LOSS_DB,
        )
    ]
