"""Evidence: from replications to the standing of a discovery at one node.

How much each report counts there is in `weights`; here is the arithmetic. docs/confirmation.md explains the rule and
shows how it does against liars who do what hurts most (scripts/simulate_liars.py). In short:

- A report has the precision 1/(max(SE, 0.2 %)² + (0.1 %)²): the inverse of its variance, as in a random-effects
  meta-analysis (DerSimonian and Laird, 1986), with a fixed deviation between machines. It counts by the weight of its
  author, as so much of a report; what this node ran itself, or ran again and found the same, in full.
- The z of the reports, each clipped to ±2.5, are combined by Stouffer's method with these (Liptak, 1958).
- What the reports *say*: that a claim holds at z > 2.5 with a positive weighted median, and that it does not at
  z < −0.3, or at z < 0.3 after 3 more; neither before there are 3 reports that count, and 1.5 of them together.
- The *verdict* is that, where this node's own runs on the claim point the same way: a report of its own, pairs of
  others' reports that it ran again, an adoption. Else it is open. So no number of keys brings one about alone.
- Where this node found reports on the claim to be made up, those that it has not run again count by the share of those
  it ran that held. A compute class is judged by its own reports.

Records hold effects as J (negative is better). Here z and gains are positive where the child is better.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from protocol.audits import SE_FLOOR, pair_effect, reports_on
from protocol.records import MAX_PAIRS, Audit, Effect, Experiment, Record, Replication
from protocol.weights import FULL_WEIGHT, Weights

BETWEEN_NODES = 0.001  # in ln: standard deviation of a true effect from machine to machine
Z_CLIP = 2.5  # the most that one report counts for, in standard errors
CONFIRM_Z = 2.5
REFUTE_Z = -0.3
REFUTE_Z_LATER = 0.3  # a claim that is no better than this after many reports is refuted too
REPORTS_NEEDED = 3  # that count, before they say anything
WEIGHT_NEEDED = 1.5  # of them together: so many reports in full
REPORTS_LATER = 6  # from which on REFUTE_Z_LATER holds
OWN_Z = 1.0  # what this node's own runs must show for a claim to be confirmed; below REFUTE_Z_LATER it may be refuted
MAX_REPORTS = 15  # of one class that are weighed, those that count most; more would hardly change a verdict


class Verdict(StrEnum):
    """What the reports on a claim come to together."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    REFUTED = "refuted"


@dataclass(frozen=True)
class Report:
    """What one replicator found, and what that counts at this node.

    upheld: this node made it, or ran a pair of it again and got the same. known: it has checked other reports of this
    author, or this one.
    """

    author: bytes
    compute_class: str
    effect: Effect
    weight: float
    upheld: bool
    known: bool


@dataclass(frozen=True)
class OwnRuns:
    """What this node's own runs on a claim showed in one compute class: effects, and how many reports they overturned.

    None of it is anybody's word.
    """

    effects: tuple[Effect, ...] = ()
    overturned: int = 0


@dataclass(frozen=True)
class Standing:
    """The standing of a discovery at one node, the claimant's own measurement left out.

    says: what the reports that count come to by themselves. verdict: the same where this node's own runs agree.
    """

    verdict: Verdict
    says: Verdict
    without_unchecked: Verdict  # the verdict on the reports of authors that this node has checked, and its own
    z: float  # combined; positive is better
    effect: Effect | None  # J of the reports that count combined, in all classes; None when there are none
    unchecked: Effect | None  # the same of some reports that do not count here, of whatever author; None where some do
    reports: int  # that count, in all classes
    known: int  # of those that decide: by authors this node has checked
    upheld: int  # of those that decide: made here, or run again here and found the same
    weight: float  # of those that decide together, in reports that count in full
    missing: int  # reports that count still needed before they say anything
    overturned: int  # reports on it that this node ran again and found to be something else
    keys: int  # different authors of reports, whether they count or not
    own_runs: bool  # whether this node has run the claim, or pairs of reports on it
    classes: tuple[str, ...]  # compute classes in which it is confirmed by their own reports

    @property
    def general(self) -> bool:
        """Whether it is confirmed in more than one compute class."""
        return len(self.classes) > 1


UNHEARD = Standing(  # of a peer's claim of which nobody has said anything
    verdict=Verdict.OPEN,
    says=Verdict.OPEN,
    without_unchecked=Verdict.OPEN,
    z=0.0,
    effect=None,
    unchecked=None,
    reports=0,
    known=0,
    upheld=0,
    weight=0.0,
    missing=REPORTS_NEEDED,
    overturned=0,
    keys=0,
    own_runs=False,
    classes=(),
)


def _precision(effect: Effect) -> float:
    """The inverse variance. For SE = 0.3 %: 1/(0.003² + 0.001²) = 100,000."""
    return 1.0 / (max(effect.se, SE_FLOOR) ** 2 + BETWEEN_NODES**2)


def combine(effects: Sequence[Effect], weights: Sequence[float] | None = None) -> Effect | None:
    """The weighted mean of independent effects, with its standard error and all their pairs; None when there are none.

    weights: what each counts; in full where they are left out. Two effects of −1 % ± 0.3 % are −1 % ± 0.22 %.
    """
    if not effects:
        return None
    precisions = _precisions(effects, weights)
    total = math.fsum(precisions)
    mean = math.fsum(w * effect.mean for w, effect in zip(precisions, effects, strict=True)) / total
    pairs = min(MAX_PAIRS, sum(effect.n for effect in effects))
    return Effect(mean, math.sqrt(1.0 / total), pairs)


def evidence_z(effects: Sequence[Effect], weights: Sequence[float] | None = None) -> float:
    """The combined z of the gains: Σ w·√p·z / √Σ w·p, each z = gain·√p clipped to ±Z_CLIP, p the precision.

    With all weights w = 1 it is Stouffer's. Three reports of a gain of 1 % ± 0.3 % each have z = 0.01 · √100,000 = 3.2,
    clipped to 2.5; together 2.5 · √3 = 4.3. Counting a half each, 2.5 · √1.5 = 3.1: as one and a half reports.
    """
    if not effects:
        return 0.0
    roots = [math.sqrt(_precision(effect)) for effect in effects]
    counted = weights if weights is not None else [FULL_WEIGHT] * len(effects)
    clipped = [min(Z_CLIP, max(-Z_CLIP, -effect.mean * root)) for root, effect in zip(roots, effects, strict=True)]
    total = math.fsum(w * root * z for w, root, z in zip(counted, roots, clipped, strict=True))
    return total / math.sqrt(math.fsum(_precisions(effects, weights)))


def weighted_median_gain(effects: Sequence[Effect], weights: Sequence[float] | None = None) -> float:
    """The smallest gain such that it and smaller ones have half the weight; 0 when there are no effects."""
    ordered = sorted((-effect.mean, w) for effect, w in zip(effects, _precisions(effects, weights), strict=True))
    half = math.fsum(weight for _, weight in ordered) / 2
    below = 0.0
    for gain, weight in ordered:
        below += weight
        if below >= half:
            return gain
    return 0.0


def _precisions(effects: Sequence[Effect], weights: Sequence[float] | None) -> list[float]:
    """The precision of each effect, times what it counts."""
    counted = weights if weights is not None else [FULL_WEIGHT] * len(effects)
    return [w * _precision(effect) for w, effect in zip(counted, effects, strict=True)]


# ---- from records -----------------------------------------------------------------------------------------------


def standing_of(claim: Record, records: Iterable[Record], weights: Weights) -> Standing:
    """The standing of a claim, given the replications and audits among these records; their order does not matter."""
    assert isinstance(claim.body, Experiment)
    about = [r for r in records if isinstance(r.body, Replication | Audit) and r.body.discovery == claim.id]
    if not about and claim.author != weights.root:
        return UNHEARD  # most claims, and all of a flood of them
    by_class = reports_on(claim, about, lambda author: weights.counts(author))
    reports = [_report(report, weights) for of_class in by_class.values() for report in of_class]
    keys = {r.author for r in about if isinstance(r.body, Replication) and r.body.pairs and r.author != claim.author}
    judged = standing(claim.body, reports, own_runs(claim, about, weights), len(keys))
    return judged if judged.reports else replace(judged, unchecked=_unchecked(about))


def _unchecked(about: Iterable[Record]) -> Effect | None:
    """What a few replications show whose authors do not count here, for people to see; nothing rests on it."""
    shown = (r for r in about if isinstance(r.body, Replication) and r.body.pairs and r.body.effect is not None)
    few = heapq.nsmallest(MAX_REPORTS, shown, key=lambda r: (r.seq, r.id))
    return combine([r.body.effect for r in few if isinstance(r.body, Replication) and r.body.effect is not None])


def _report(record: Record, weights: Weights) -> Report:
    assert isinstance(record.body, Replication)
    assert record.body.effect is not None
    own = record.author == weights.root
    return Report(
        author=record.author,
        compute_class=record.body.compute_class,
        effect=record.body.effect,
        weight=weights.of_report(record),
        upheld=own or record.id in weights.upheld,
        known=own or record.id in weights.upheld or record.author in weights.checked,
    )


def own_runs(claim: Record, about: Iterable[Record], weights: Weights) -> dict[str, OwnRuns]:
    """What the root's own runs on a claim showed, by compute class.

    Its claim, if it is its own, its report, its adoption after a local trial, and the pairs of others' reports that it
    ran again and found the same.
    """
    assert isinstance(claim.body, Experiment)
    effects: dict[str, list[Effect]] = {}
    overturned: dict[str, int] = {}
    if claim.author == weights.root and claim.body.effect is not None:
        effects.setdefault(claim.body.compute_class, []).append(claim.body.effect)
    for record in about:
        body = record.body
        if not isinstance(body, Replication):
            continue
        found: list[Effect | None] = []
        if record.author == weights.root:
            found = [body.effect if body.pairs else None, body.adoption]
        elif record.id in weights.upheld:
            again = weights.upheld[record.id].body
            assert isinstance(again, Audit)
            found = [pair_effect(body, again)]
        overturned[body.compute_class] = overturned.get(body.compute_class, 0) + (record.id in weights.overturned)
        effects.setdefault(body.compute_class, []).extend(effect for effect in found if effect is not None)
    return {
        name: OwnRuns(tuple(sorted(effects.get(name, []), key=lambda e: (e.mean, e.se))), overturned.get(name, 0))
        for name in sorted(effects.keys() | overturned.keys())
    }


# ---- the verdict ------------------------------------------------------------------------------------------------


def standing(claim: Experiment, reports: Sequence[Report], own: Mapping[str, OwnRuns], keys: int) -> Standing:
    """The standing of a claim, given the reports that count, this node's own runs by class, and how many keys reported.

    The class of the claim decides; where nothing is known of it, the one class whose reports count most.
    """
    classes: dict[str, list[Report]] = {}
    for report in reports:
        if report.weight > 0:
            classes.setdefault(report.compute_class, []).append(report)
    cases = {name: _weighed(found, own.get(name, OwnRuns())) for name, found in sorted(classes.items())}
    deciding = claim.compute_class
    if deciding not in cases and cases:
        deciding = max(cases, key=lambda name: (math.fsum(report.weight for report in cases[name]), name))
    judged, runs = cases.get(deciding, []), own.get(deciding, OwnRuns())
    counting = [report for found in cases.values() for report in found]
    known = [report for report in judged if report.known]
    effects, weights = _counted(judged)
    return Standing(
        verdict=_verdict(judged, runs),
        says=_says(judged),
        without_unchecked=_verdict(known, runs),
        z=evidence_z(effects, weights),
        effect=combine(*_counted(counting)),
        unchecked=None,
        reports=len(counting),
        known=len(known),
        upheld=sum(report.upheld for report in judged),
        weight=math.fsum(weights),
        missing=max(0, REPORTS_NEEDED - len(judged)),
        overturned=sum(each.overturned for each in own.values()),
        keys=keys,
        own_runs=any(each.effects or each.overturned for each in own.values()),
        classes=tuple(
            name for name, found in cases.items() if _verdict(found, own.get(name, OwnRuns())) == Verdict.CONFIRMED
        ),
    )


def _weighed(reports: Sequence[Report], own: OwnRuns) -> list[Report]:
    """The reports of one class that are weighed, at most MAX_REPORTS, those that count most.

    Where this node found one of two that it ran to be made up, all the others count half.
    """
    held = sum(report.upheld for report in reports)
    share = held / (held + own.overturned) if own.overturned else 1.0
    found = [
        report if report.upheld else replace(report, weight=report.weight * share)
        for report in reports
        if report.upheld or share > 0
    ]
    return sorted(found, key=lambda report: (-report.weight, not report.upheld, report.author))[:MAX_REPORTS]


def _counted(reports: Sequence[Report]) -> tuple[list[Effect], list[float]]:
    return [report.effect for report in reports], [report.weight for report in reports]


def _says(reports: Sequence[Report]) -> Verdict:
    """What the reports of one class come to by themselves."""
    effects, weights = _counted(reports)
    if len(reports) < REPORTS_NEEDED or math.fsum(weights) < WEIGHT_NEEDED:
        return Verdict.OPEN
    z = evidence_z(effects, weights)
    if z > CONFIRM_Z and weighted_median_gain(effects, weights) > 0:
        return Verdict.CONFIRMED
    if z < REFUTE_Z or (len(reports) >= REPORTS_LATER and z < REFUTE_Z_LATER):
        return Verdict.REFUTED
    return Verdict.OPEN


def _verdict(reports: Sequence[Report], own: OwnRuns) -> Verdict:
    """What the reports of one class say, where this node's own runs point the same way; else open."""
    said, z = _says(reports), evidence_z(own.effects)
    if not own.effects or (said == Verdict.CONFIRMED and z <= OWN_Z):
        return Verdict.OPEN
    return Verdict.OPEN if said == Verdict.REFUTED and z >= REFUTE_Z_LATER else said
