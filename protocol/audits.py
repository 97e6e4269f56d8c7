"""Audits: what makes a valid report of a discovery, and whether a pair that is run again comes out as it was reported.

A report is a replication by another author than the claimant. Its seeds follow from the claim and its author's key, and
the proof in it shows that they do, so nobody can choose lucky ones; its effect must follow from its pairs. An audit is
one of its pairs, run again by somebody else. A training under a token budget gives the same numbers everywhere: to 1e-4
on the same platform, and up to step 100 on others. So an honest report repeats, and one that was made up does not.

Here records are compared and nobody is believed. How much the word of an author counts is in `weights`, and what the
reports on a claim come to together in `evidence`. Pure functions of records, whose order does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import UnsetType

from protocol.draw import pair_seed
from protocol.metric import LOSS, Metric
from protocol.records import Audit, Effect, Experiment, Pair, Record, Replication, Run, metric_of
from protocol.seeds import seeds_of

REPORT_PAIRS = 2
MOST_OF_ONE_AUTHOR = 8  # reports on one claim that are looked at: a machine's class changes rarely, and proofs cost
MOST_EFFECT = 100.0  # as records have it
SE_FLOOR = 0.002  # in ln: a report with a smaller standard error is taken to have this one
# Standard errors from zero at which one pair makes a report. No report counts for more (evidence.Z_CLIP), so a second
# pair would add little.
ONE_PAIR_Z = 2.5
EARLY_STEPS = 100  # checkpoints up to this step agree across platforms
SAME = 1e-4  # largest difference of two values that count as the same: of a loss in its units, else as an effect
DRIFT = 0.02  # largest difference of final values across platforms, as a share of a loss, else as an effect
MOST_COST_SLOPE = 0.5  # the largest part of an effect that is accepted as owed to cost, per ln(cost ratio)
# Of the spread by which a pair's effect may differ, run again, where runs do not repeat: one honest pair in 400 differs
# by more, two such effects having √2 of the spread.
MOST_SPREADS = 4.3
# There, the share of an effect that another kind of machine may show more or less of: a faster sort is not faster by as
# much everywhere. A guess.
MACHINE_SHARE = 0.5
COST_LIMIT = 0.4  # in ln: if two machines differ by more in the cost ratio of child and parent, they do not agree


def reports_on(claim: Record, records: Iterable[Record], counts: Callable[[bytes], bool]) -> dict[str, list[Record]]:
    """The valid reports on a claim, by compute class; records about anything else are ignored.

    counts: whether what an author says counts for anything; others' reports are not looked at, for to verify the proof
    of one takes .5 ms, and keys are free. Of several reports by one author in a class the first in its feed counts; of
    one author the first MOST_OF_ONE_AUTHOR are looked at.
    """
    assert isinstance(claim.body, Experiment)
    candidates = [
        (record.seq, record.id, record)
        for record in records
        if isinstance(record.body, Replication) and record.author != claim.author and counts(record.author)
    ]
    found: dict[str, dict[bytes, Record]] = {}
    looked_at: dict[bytes, int] = {}
    for _, _, record in sorted(candidates, key=lambda each: each[:2]):
        body = record.body
        assert isinstance(body, Replication)
        of_class = found.setdefault(body.compute_class, {})
        if body.discovery != claim.id or not body.pairs or record.author in of_class:
            continue
        looked_at[record.author] = looked_at.get(record.author, 0) + 1
        if looked_at[record.author] <= MOST_OF_ONE_AUTHOR and _is_valid(record, body, claim.body):
            of_class[record.author] = record
    return {name: [reports[author] for author in sorted(reports)] for name, reports in sorted(found.items()) if reports}


# ---- one report -------------------------------------------------------------------------------------------------


def is_report(record: Record) -> bool:
    """Whether this replication shows the pairs that its author was to run of a claim, as its proof says.

    To verify the proof takes .9 ms, and keys are free: for what only tells what an author says, see `has_report_form`.
    """
    if not has_report_form(record):
        return False
    body = record.body
    assert isinstance(body, Replication)
    if isinstance(body.proof, msgspec.UnsetType):
        return True
    value = record.proven_value
    return value is not None and [pair.seed for pair in body.pairs] == seeds_of(value, len(body.pairs))


def has_report_form(record: Record) -> bool:
    """Whether this replication is a report by what it says: it shows pairs, and names a proof of which pairs they are.

    Other replications only say what was adopted. Reports of the first versions have no proof: their seeds follow from
    public ids by hash, in the very first without the claim's.
    """
    body = record.body
    if not isinstance(body, Replication) or not 1 <= len(body.pairs) <= REPORT_PAIRS:
        return False
    if not isinstance(body.proof, msgspec.UnsetType):
        return True
    shown = [pair.seed for pair in body.pairs]
    return shown == public_seeds(body, body.discovery + record.author)[: len(shown)] or shown == public_seeds(
        body, record.author
    )


def public_seeds(body: Replication, salt: bytes) -> list[int]:
    """The seeds of a report of the first versions, which anybody can work out."""
    return [pair_seed(body.parent, body.child, number, salt) for number in range(1, REPORT_PAIRS + 1)]


def is_enough(effect: Effect) -> bool:
    """Whether the pairs that show this effect make a report: all REPORT_PAIRS, or one that is far from zero.

    One pair of −1 % ± 0.3 % is 3.3 standard errors from zero, which is enough; ± 0.5 % would be 2, which is not. Both
    directions count, so that stopping early favours neither the claim nor its opposite.
    """
    return effect.n == REPORT_PAIRS or (effect.n == 1 and abs(effect.mean) > ONE_PAIR_Z * max(effect.se, SE_FLOOR))


def _is_valid(record: Record, body: Replication, claim: Experiment) -> bool:
    """Whether a report is of the claim's sources and its author's own seeds, and its effect follows from its pairs.

    The effect is the mean difference of the metric, plus a part owed to cost. That part must have the sign of the
    measured ln(cost ratio), and at most MOST_COST_SLOPE of its size. For a child that takes 1.2 times the CPU time per
    token, ln 1.2 = 0.18: the effect may lie from 0 to 0.09 above the mean difference. Pairs whose runs did not take
    turns measure no cost.
    """
    if (body.parent, body.child) != (claim.parent, claim.child) or body.effect is None:
        return False
    if metric_of(body) != metric_of(claim):
        return False
    if body.effect.n != len(body.pairs) or not is_report(record) or not is_enough(body.effect):
        return False
    differences = [_difference(pair, metric_of(body)) for pair in body.pairs]
    if any(difference is None for difference in differences):
        return False
    owed_to_cost = body.effect.mean - math.fsum(d for d in differences if d is not None) / len(differences)
    cost = _ln_cost(_comparable(body.pairs, body.alternated)) or 0.0
    return abs(owed_to_cost) <= MOST_COST_SLOPE * abs(cost) + 1e-9 and owed_to_cost * cost >= -1e-9


def pair_effect(report: Replication, audit: Audit) -> Effect | None:
    """What an audited pair shows of a claim: its own difference, with the error that its report has for one pair.

    A report of two pairs of ± 0.2 % has ± 0.28 % for each. None where a run failed, or the report shows no effect.
    """
    difference = _difference(audit.pair, metric_of(audit))
    if difference is None or report.effect is None or not -MOST_EFFECT <= difference <= MOST_EFFECT:
        return None
    return Effect(difference, min(MOST_EFFECT, report.effect.se * math.sqrt(report.effect.n)), 1)


def _difference(pair: Pair, metric: Metric) -> float | None:
    """The effect that a pair's values show; None when a run failed."""
    if pair.parent.value is None or pair.child.value is None:
        return None
    return metric.difference(pair.parent.value, pair.child.value)


def _comparable(pairs: Sequence[Pair], alternated: Sequence[int] | UnsetType) -> list[Pair]:
    """The pairs that measure cost: those whose runs took turns; in a record of an earlier version, all of them."""
    return [pair for pair in pairs if isinstance(alternated, UnsetType) or pair.seed in alternated]


def _ln_cost(pairs: Sequence[Pair]) -> float | None:
    """ln of the cost ratio, child to parent, over all pairs; None when one of them has no measured cost."""
    child = _cost([pair.child for pair in pairs])
    parent = _cost([pair.parent for pair in pairs])
    return math.log(child / parent) if child > 0 and parent > 0 else None


def _cost(runs: Sequence[Run]) -> float:
    """CPU seconds per token."""
    return math.fsum(run.cpu_seconds for run in runs) / max(1, sum(run.tokens for run in runs))


# ---- one pair ---------------------------------------------------------------------------------------------------


def repeats(report: Replication, audit: Audit) -> bool | None:
    """Whether the audited pair came out as reported, as far as the two platforms can be compared.

    None where the audit is not of a pair of this report, in its class.
    """
    if audit.compute_class != report.compute_class:
        return None
    reported = next((pair for pair in report.pairs if pair.seed == audit.pair.seed), None)
    return None if reported is None else _same_outcome(report, reported, audit)


def agree(one: Audit, other: Audit) -> bool | None:
    """Whether two audits of one report found the same; None where they are of different pairs."""
    if one.compute_class != other.compute_class or one.pair.seed != other.pair.seed:
        return None
    return _same_outcome(one, one.pair, other)


def _same_outcome(one: Replication | Audit, reported: Pair, audit: Audit) -> bool:
    metric = metric_of(one)
    if metric != metric_of(audit):
        return False
    comparable = same_platform((one.platform, one.device), (audit.platform, audit.device))
    if metric.spread:
        return is_same_effect(reported, audit.pair, metric, comparable)
    if not _same_run(reported.parent, audit.pair.parent, comparable, metric):
        return False
    if not _same_run(reported.child, audit.pair.child, comparable, metric):
        return False
    reported_cost = _ln_cost(_comparable([reported], one.alternated))
    found_cost = _ln_cost(_comparable([audit.pair], audit.alternated))
    return reported_cost is None or found_cost is None or abs(reported_cost - found_cost) <= COST_LIMIT


def is_same_effect(reported: Pair, found: Pair, metric: Metric, comparable: bool) -> bool:
    """Whether a pair shows the same effect as before, where its runs do not repeat; also where both times it failed.

    comparable: both were run on machines of one kind.

    With a spread of 1 % and a reported gain of 10 %, one of 5.7 % to 14.3 % is the same on a machine of its kind; on
    another, where 4.3 % and half of the larger effect are allowed, one of 2.9 % as well.
    """
    before, now = _difference(reported, metric), _difference(found, metric)
    if before is None or now is None:
        return before is now
    between_machines = 0.0 if comparable else MACHINE_SHARE * max(abs(before), abs(now))
    return abs(before - now) <= MOST_SPREADS * metric.spread + between_machines


def same_platform(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether two machines, each a (platform, device), are so alike that trainings end in the same numbers.

    Records of the first version name no platform; "" is not the same as anything.
    """
    return one == other and bool(one[0])


def _same_run(reported: Run, found: Run, comparable: bool, metric: Metric) -> bool:
    """Whether two runs of one source and seed are the same, within SAME up to EARLY_STEPS, and at the end.

    Rounding differs between platforms and grows in training, so there the final values may differ by DRIFT.
    """
    if reported.value is None or found.value is None:
        return reported.value is found.value
    early_reported = _early_scores(reported)
    early_found = _early_scores(found)
    if early_reported.keys() != early_found.keys():
        return False
    if _distance(reported.value, found.value, metric, final=not comparable) > (SAME if comparable else DRIFT):
        return False
    return all(_distance(score, early_found[step], metric) <= SAME for step, score in early_reported.items())


def _distance(reported: float, found: float, metric: Metric, final: bool = False) -> float:
    """How far two values are from each other: as an effect; of a loss in its own units, as in the first version.

    final: as a share of a loss.
    """
    if metric == LOSS:
        return abs(reported - found) / (abs(found) if final else 1.0)
    if metric.fits(reported) and metric.fits(found):
        return abs(metric.difference(reported, found))
    return 0.0 if reported == found else math.inf


def _early_scores(run: Run) -> dict[int, float]:
    return {step: score for step, score in run.checkpoints if step <= EARLY_STEPS}
