"""Evidence: from replications to the standing of a discovery.

`audits` decides which reports count; here is the arithmetic. docs/confirmation.md explains the rule and shows how it
does with up to a third of the reporters lying (scripts/simulate_liars.py). In short:

- A report weighs 1/(max(SE, 0.2 %)² + (0.1 %)²): the inverse of its variance, as in a random-effects meta-analysis
  (DerSimonian and Laird, 1986), with a fixed deviation between machines.
- The z of the reports are combined by Stouffer's method with these weights (Liptak, 1958), each clipped to ±2.5, so
  that one wild report cannot decide.
- Confirmed at z > 2.5 with a positive weighted median; refuted at z < −0.3, or at z < 0.3 after 3 more reports; neither
  before 3 reports are audited. A compute class is judged by its own reports.

Records hold effects as J (negative is better). Here z and gains are positive where the child is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from protocol.audits import SE_FLOOR, case_of
from protocol.records import Effect, Experiment, Record, Replication

BETWEEN_NODES = 0.001  # in ln: standard deviation of a true effect from machine to machine
Z_CLIP = 2.5  # the most that one report counts for, in standard errors
CONFIRM_Z = 2.5
REFUTE_Z = -0.3
REFUTE_Z_LATER = 0.3  # a claim that is no better than this after many reports is refuted too
REPORTS_NEEDED = 3  # audited, before there is a verdict
REPORTS_LATER = 6  # from which on REFUTE_Z_LATER holds


class Verdict(StrEnum):
    """What the reports on a claim come to together."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    REFUTED = "refuted"


@dataclass(frozen=True)
class Report:
    """What one replicator found. `audited`: another author re-ran one of its pairs and got the same."""

    author: bytes
    compute_class: str
    effect: Effect
    audited: bool


@dataclass(frozen=True)
class Standing:
    """The standing of a discovery on the reports held, the claimant's own measurement left out."""

    verdict: Verdict
    z: float  # combined; positive is better
    effect: Effect | None  # J of the reports combined; None when there are none
    reports: int  # that count, in all classes
    audited: int  # of those that decide the verdict
    missing: int  # audited reports still needed before a verdict is possible
    disputed: int  # authors that do not count, because an audit is in dispute or was decided against them
    keys: int  # different authors of reports
    classes: tuple[str, ...]  # compute classes in which it is confirmed by their own reports

    @property
    def general(self) -> bool:
        """Whether it is confirmed in more than one compute class."""
        return len(self.classes) > 1


def _weight(effect: Effect) -> float:
    """The inverse variance. For SE = 0.3 %: 1/(0.003² + 0.001²) = 100,000."""
    return 1.0 / (max(effect.se, SE_FLOOR) ** 2 + BETWEEN_NODES**2)


def combine(effects: Sequence[Effect]) -> Effect | None:
    """The weighted mean of independent effects, with its standard error and all their pairs; None when there are none.

    Two effects of −1 % ± 0.3 % are −1 % ± 0.22 %.
    """
    if not effects:
        return None
    weights = [_weight(effect) for effect in effects]
    total = math.fsum(weights)
    mean = math.fsum(w * effect.mean for w, effect in zip(weights, effects, strict=True)) / total
    return Effect(mean, math.sqrt(1.0 / total), sum(effect.n for effect in effects))


def evidence_z(effects: Sequence[Effect]) -> float:
    """The combined z of the gains (Stouffer): Σ √w·z / √Σw, each z = gain·√w clipped to ±Z_CLIP.

    Three reports of a gain of 1 % ± 0.3 % each have z = 0.01 · √100,000 = 3.2, clipped to 2.5; together 2.5 · √3 = 4.3.
    """
    if not effects:
        return 0.0
    weights = [_weight(effect) for effect in effects]
    clipped = [
        min(Z_CLIP, max(-Z_CLIP, -effect.mean * math.sqrt(w))) for w, effect in zip(weights, effects, strict=True)
    ]
    return math.fsum(z * math.sqrt(w) for z, w in zip(clipped, weights, strict=True)) / math.sqrt(math.fsum(weights))


def weighted_median_gain(effects: Sequence[Effect]) -> float:
    """The smallest gain such that it and smaller ones have half the weight; 0 when there are no effects."""
    ordered = sorted((-effect.mean, _weight(effect)) for effect in effects)
    half = math.fsum(weight for _, weight in ordered) / 2
    below = 0.0
    for gain, weight in ordered:
        below += weight
        if below >= half:
            return gain
    return 0.0


def standing_of(claim: Record, records: Iterable[Record]) -> Standing:
    """The standing of a claim, given the replications and audits among these records; their order does not matter."""
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
    """The standing of a claim, given these reports. While its own class has none, all classes are judged together."""
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
    """The verdict on the reports of one class."""
    if sum(report.audited for report in reports) < REPORTS_NEEDED:
        return Verdict.OPEN
    effects = [report.effect for report in reports]
    z = evidence_z(effects)
    if z > CONFIRM_Z and weighted_median_gain(effects) > 0:
        return Verdict.CONFIRMED
    if z < REFUTE_Z or (len(reports) >= REPORTS_LATER and z < REFUTE_Z_LATER):
        return Verdict.REFUTED
    return Verdict.OPEN
