"""Evidence: from replications to the standing of a discovery.

Pure arithmetic over reports. The rule and its figures are those of DESIGN.md, "Believing a peer" (simulated with up
to a third of the reporters lying): weights 1/(max(SE, 0.2 %)² + (0.1 %)²), each report's z clipped to ±2.5,
confirmed at z > 2.5 with a positive weighted median and 3 audited reports, refuted at z < −0.3, or z < 0.3 after 3
more reports.

Effects are J (negative is better); z is counted as gain (positive is better).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from protocol.records import Effect, Experiment

SE_FLOOR = 0.002
BETWEEN_NODES = 0.001  # standard deviation of a true effect from machine to machine
Z_CLIP = 2.5
CONFIRM_Z = 2.5
REFUTE_Z = -0.3
REFUTE_Z_LATER = 0.3
REPORTS_NEEDED = 3
REPORTS_LATER = 6


@dataclass(frozen=True)
class Report:
    """What one replicator found. `audited`: somebody else re-ran one of its pairs and got the same."""

    author: bytes
    compute_class: str
    effect: Effect
    audited: bool


@dataclass(frozen=True)
class Standing:
    """What is thought of a discovery on the reports held. `effect` is the replicated one, never the claimant's own."""

    verdict: str
    z: float
    effect: Effect | None
    reports: int
    keys: int
    classes: tuple[str, ...]

    @property
    def general(self) -> bool:
        """Whether it holds in more than one compute class."""
        return len(self.classes) > 1


def _weight(effect: Effect) -> float:
    return 1.0 / (max(effect.se, SE_FLOOR) ** 2 + BETWEEN_NODES**2)


def combine(effects: Sequence[Effect]) -> Effect | None:
    """The weighted mean of independent effects; None of none. n counts all pairs, at most what a record can hold."""
    if not effects:
        return None
    weights = [_weight(effect) for effect in effects]
    total = math.fsum(weights)
    mean = math.fsum(w * effect.mean for w, effect in zip(weights, effects, strict=True)) / total
    return Effect(mean, math.sqrt(1.0 / total), sum(effect.n for effect in effects))


def evidence_z(effects: Sequence[Effect]) -> float:
    """The combined z of the gains, no report counting for more than ±Z_CLIP of its own standard errors."""
    if not effects:
        return 0.0
    weights = [_weight(effect) for effect in effects]
    clipped = [
        min(Z_CLIP, max(-Z_CLIP, -effect.mean * math.sqrt(w))) for w, effect in zip(weights, effects, strict=True)
    ]
    return math.fsum(z * math.sqrt(w) for z, w in zip(clipped, weights, strict=True)) / math.sqrt(math.fsum(weights))


def weighted_median_gain(effects: Sequence[Effect]) -> float:
    """The gain at which half the weight lies below. 0 of no effects."""
    ordered = sorted((-effect.mean, _weight(effect)) for effect in effects)
    half = math.fsum(weight for _, weight in ordered) / 2
    below = 0.0
    for gain, weight in ordered:
        below += weight
        if below >= half:
            return gain
    return 0.0


def standing(claim: Experiment, reports: Sequence[Report]) -> Standing:
    """The standing of a claim on these reports; their order does not matter.

    The claim's own compute class is judged first; while it has no reports, all classes together are.
    """
    ordered = sorted(reports, key=lambda report: (report.author, report.effect.mean, report.effect.se))
    own_class = [report for report in ordered if report.compute_class == claim.compute_class]
    judged = own_class or ordered
    effects = [report.effect for report in judged]
    z = evidence_z(effects)
    audited = sum(report.audited for report in judged)
    verdict = "open"
    if z > CONFIRM_Z and audited >= REPORTS_NEEDED and weighted_median_gain(effects) > 0:
        verdict = "confirmed"
    elif len(judged) >= REPORTS_NEEDED and (z < REFUTE_Z or (len(judged) >= REPORTS_LATER and z < REFUTE_Z_LATER)):
        verdict = "refuted"
    return Standing(
        verdict=verdict,
        z=z,
        effect=combine([report.effect for report in ordered]),
        reports=len(ordered),
        keys=len({report.author for report in ordered}),
        classes=_classes_with_gain(ordered),
    )


def _classes_with_gain(reports: Sequence[Report]) -> tuple[str, ...]:
    classes = sorted({report.compute_class for report in reports})
    return tuple(
        name for name in classes if evidence_z([r.effect for r in reports if r.compute_class == name]) > CONFIRM_Z
    )
