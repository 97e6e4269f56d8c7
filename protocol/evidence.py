"""Evidence: from replications to the standing of a discovery.

Which reports count, `audits` sorts out; here is the arithmetic. The rule is that of DESIGN.md, "Believing a peer"
(simulated with up to a third of the reporters lying, see scripts/simulate_liars.py): weights 1/(max(SE, 0.2 %)² +
(0.1 %)²), each report's z clipped to ±2.5, confirmed at z > 2.5 with a positive weighted median, refuted at z < −0.3,
or z < 0.3 after 3 more reports; neither before 3 reports are audited. A compute class is judged by its own reports.

Effects are J (negative is better); z is counted as gain (positive is better).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from protocol.audits import SE_FLOOR, case_of
from protocol.records import Effect, Experiment, Record, Replication

BETWEEN_NODES = 0.001  # standard deviation of a true effect from machine to machine
Z_CLIP = 2.5
CONFIRM_Z = 2.5
REFUTE_Z = -0.3
REFUTE_Z_LATER = 0.3
REPORTS_NEEDED = 3
REPORTS_LATER = 6


class Verdict(StrEnum):
    """What the reports on a claim come to together."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    REFUTED = "refuted"


@dataclass(frozen=True)
class Report:
    """What one replicator found. `audited`: somebody else re-ran one of its pairs and got the same."""

    author: bytes
    compute_class: str
    effect: Effect
    audited: bool


@dataclass(frozen=True)
class Standing:
    """What is thought of a discovery on the reports held. `effect` is the replicated one, never the claimant's own.

    `missing` is how many audited reports of the claim's class are still to come before a verdict is possible;
    `disputed` how many authors do not count because an audit is in dispute, or was and they lost.
    """

    verdict: Verdict
    z: float
    effect: Effect | None
    reports: int
    audited: int
    missing: int
    disputed: int
    keys: int
    classes: tuple[str, ...]

    @property
    def general(self) -> bool:
        """Whether it is confirmed in more than one compute class."""
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


def standing_of(claim: Record, records: Iterable[Record]) -> Standing:
    """The standing of a claim on the replications and audits among these records; their order does not matter."""
    assert isinstance(claim.body, Experiment)
    about = [r for r in records if not isinstance(r.body, Experiment)]
    found: list[Report] = []
    disputed: set[bytes] = set()
    for name in sorted({r.body.compute_class for r in about if isinstance(r.body, Replication)}):
        case = case_of(claim, about, name)
        disputed |= case.liars | case.suspended
        for report in case.counting():
            assert isinstance(report.body, Replication)
            assert report.body.effect is not None
            found.append(Report(report.author, name, report.body.effect, case.audited(report)))
    return standing(claim.body, found, len(disputed))


def standing(claim: Experiment, reports: Sequence[Report], disputed: int = 0) -> Standing:
    """The standing of a claim on these reports. While its own class has none, all classes are judged together."""
    ordered = sorted(reports, key=lambda report: (report.author, report.compute_class, report.effect.mean))
    judged = [report for report in ordered if report.compute_class == claim.compute_class] or ordered
    audited = sum(report.audited for report in judged)
    classes = sorted({report.compute_class for report in ordered})
    return Standing(
        verdict=_verdict(judged),
        z=evidence_z([report.effect for report in judged]),
        effect=combine([report.effect for report in ordered]),
        reports=len(ordered),
        audited=audited,
        missing=max(0, REPORTS_NEEDED - audited),
        disputed=disputed,
        keys=len({report.author for report in ordered}),
        classes=tuple(
            name for name in classes if _verdict([r for r in ordered if r.compute_class == name]) == Verdict.CONFIRMED
        ),
    )


def _verdict(reports: Sequence[Report]) -> Verdict:
    """confirmed, refuted or open, on the reports of one class."""
    if sum(report.audited for report in reports) < REPORTS_NEEDED:
        return Verdict.OPEN
    effects = [report.effect for report in reports]
    z = evidence_z(effects)
    if z > CONFIRM_Z and weighted_median_gain(effects) > 0:
        return Verdict.CONFIRMED
    if z < REFUTE_Z or (len(reports) >= REPORTS_LATER and z < REFUTE_Z_LATER):
        return Verdict.REFUTED
    return Verdict.OPEN
