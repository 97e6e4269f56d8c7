"""Transfers: which discoveries still gain at a larger scale, and which kinds of idea carry over. Pure functions.

A transfer counts whose discovery is held, whose sources are the discovery's, and whose seeds its proof shows, so that
nobody can choose the seeds at which an idea carries over, and whose author this node has found right before. What it
says is still its author's word: it is for choosing what to try and for showing, and nothing is adopted by it.

Two effects of a discovery are compared: at the scale where it was found, and at the larger one. Both are those on the
metric alone, since a cost of one scale says little of another's. A discovery is a chain of ideas as often as one; then
each category has as large a part in it, and counts for so much, as its ideas were given of the effect.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from protocol.metric import Metric
from protocol.records import Decision, Effect, Experiment, Pair, Record, Transfer, TransferDecision, metric_of
from protocol.seeds import seeds_of

MOST_OF_ONE_AUTHOR = 200  # transfers that are looked at; one takes minutes of a GPU at least
ALL = ""  # in the place of a category: all of them together
# Before anything was carried over: gains are expected to be as large at the larger scale as at the small one, give or
# take a half. Guesses; a handful of transfers outweighs them.
PRIOR_RATIO, PRIOR_DEVIATION = 1.0, 0.5
CATEGORY_DEVIATION = 0.4  # of a category's ratio from that of all, and of an idea's from its category's; a guess, too
LEAST_RATIO, MOST_RATIO = 0.1, 1.5  # by which a category's expected gain is weighed: transfers are their authors' word


@dataclass(frozen=True)
class Comparison:
    """One discovery at two scales, for one category. share: the part of the discovery that is of this category.

    small, large: its effects, negative is better; large is None where the child does not run there.
    """

    category: str
    share: float
    scale: str
    small: Effect
    large: Effect | None
    decision: TransferDecision


@dataclass(frozen=True)
class CarryOver:
    """How a category's gains carry over to a scale, by so many discoveries (a chain counts in parts).

    rate: the share that still gain there, and its standard error, by the rule of succession. ratio: the gain there over
    the gain at the small scale, None where nothing was measured. expected: the ratio to go by, drawn towards that of
    all categories where little is known.
    """

    category: str
    scale: str
    tried: float
    carried: float
    rate: float
    rate_error: float
    ratio: float | None
    ratio_error: float
    expected: float


def comparisons(records: Sequence[Record], is_proven: Callable[[bytes], bool]) -> list[Comparison]:
    """What the transfers among these records compare. Of each author's of a discovery and scale the first counts.

    Where several authors carried a discovery over to one scale, they share its weight. is_proven: whether this node has
    found an author right before, or it is this node; what others say counts for nothing and is not looked at, for keys
    are free and to verify a proof takes .9 ms. Of one author the first MOST_OF_ONE_AUTHOR are looked at.
    """
    claims = {
        record.id: record.body
        for record in records
        if isinstance(record.body, Experiment) and record.body.decision == Decision.IMPROVED
    }
    found: dict[tuple[bytes, str], dict[bytes, Transfer]] = {}
    looked_at: Counter[bytes] = Counter()
    told = [record for record in records if isinstance(record.body, Transfer) and is_proven(record.author)]
    for record in sorted(told, key=lambda record: (record.author, record.seq)):
        body = record.body
        assert isinstance(body, Transfer)
        looked_at[record.author] += 1
        if looked_at[record.author] > MOST_OF_ONE_AUTHOR or body.discovery not in claims:
            continue
        if _counts(record, body, claims[body.discovery]):
            found.setdefault((body.discovery, body.scale), {}).setdefault(record.author, body)
    return [
        each
        for (discovery, _), bodies in sorted(found.items())
        for body in bodies.values()
        for each in compared(claims[discovery], body, 1 / len(bodies))
    ]


def _counts(record: Record, body: Transfer, claim: Experiment) -> bool:
    """Whether a transfer is of the claim's sources, on its author's own seeds."""
    if (body.parent, body.child) != (claim.parent, claim.child):
        return False
    value = record.proven_value
    shown = [pair.seed for pair in body.pairs]
    return value is not None and shown == seeds_of(value, len(shown))


def compared(claim: Experiment, body: Transfer, weight: float = 1.0) -> list[Comparison]:
    """A claim and what it came to at a larger scale, in parts by category; none where its effects are not known."""
    small = _on_metric(claim.effect, claim.pairs, metric_of(claim))
    large = _on_metric(body.effect, body.pairs, metric_of(body))
    if small is None or small.mean >= 0 or (large is None and body.decision != TransferDecision.FAILED):
        return []
    return [
        Comparison(category, weight * part, body.scale, _part(small, part), large and _part(large, part), body.decision)
        for category, part in _parts(claim).items()
    ]


def _parts(claim: Experiment) -> dict[str, float]:
    """How much of a claim's gain is of each category; what lost within a chain has no part in its gain."""
    gains: dict[str, float] = {}
    for step in claim.chain:
        gains[step.category] = gains.get(step.category, 0.0) + max(0.0, -step.mean)
    total = math.fsum(gains.values())
    if total <= 0:
        return {claim.category: 1.0}
    return {category: gain / total for category, gain in gains.items() if gain > 0}


def _part(effect: Effect, part: float) -> Effect:
    return Effect(part * effect.mean, part * effect.se, effect.n)


def _on_metric(effect: Effect | None, pairs: Sequence[Pair], metric: Metric) -> Effect | None:
    """An effect without what it owes to cost: the mean over its pairs of the difference of the metric."""
    values = [
        metric.difference(pair.parent.value, pair.child.value)
        for pair in pairs
        if pair.parent.value is not None and pair.child.value is not None
    ]
    return None if effect is None or not values else Effect(math.fsum(values) / len(values), effect.se, effect.n)


# ---- by category -----------------------------------------------------------------------------------------------------


def carry_over(compared: Iterable[Comparison], scale: str) -> list[CarryOver]:
    """How each category carries over to a scale, and all together (`ALL`) first; [] where nothing was tried there."""
    rows = [row for row in compared if row.scale == scale]
    if not rows:
        return []
    together = _carry_over(ALL, scale, rows, PRIOR_RATIO, PRIOR_DEVIATION)
    by_category: dict[str, list[Comparison]] = {}
    for row in rows:
        by_category.setdefault(row.category, []).append(row)
    return [
        together,
        *(
            _carry_over(category, scale, found, together.expected, CATEGORY_DEVIATION)
            for category, found in sorted(by_category.items())
        ),
    ]


def expected_ratios(found: Sequence[CarryOver]) -> Mapping[str, float]:
    """By which the gain expected of a category is weighed for the larger scale; `ALL` for one that was never tried."""
    return {each.category: min(MOST_RATIO, max(LEAST_RATIO, each.expected)) for each in found}


def _carry_over(category: str, scale: str, rows: Sequence[Comparison], prior: float, deviation: float) -> CarryOver:
    """prior, deviation: of the ratio, before these rows.

    The rate after k of n is (k + 1) / (n + 2), its error that of Beta(k + 1, n − k + 1): 3 of 3 are 0.80 ± 0.16.
    """
    tried = math.fsum(row.share for row in rows)
    carried = math.fsum(row.share for row in rows if row.decision == TransferDecision.CARRIES_OVER)
    rate = (carried + 1) / (tried + 2)
    ratio, error = _ratio(rows)
    known = 0.0 if ratio is None else 1 / (error**2 + CATEGORY_DEVIATION**2 / tried)
    before = 1 / deviation**2
    expected = (before * prior + known * (ratio or 0.0)) / (before + known)
    return CarryOver(
        category, scale, tried, carried, rate, math.sqrt(rate * (1 - rate) / (tried + 3)), ratio, error, expected
    )


def _ratio(rows: Sequence[Comparison]) -> tuple[float | None, float]:
    """The gain at the larger scale over that at the small one, by least squares through zero, and its standard error.

    Each row weighs by its errors and by its share: a part p of a discovery has p times its effects and errors, so the
    quotient w·s·l below is that of the whole whatever p is, and the share is what makes it count for less. What does
    not run at the larger scale gains nothing there. The error is that of the measurements, or what the rows differ
    by where that is more: gains of 10 % and 4 % that become 10 % and 0 % have a ratio of 0.86 ± 0.24.
    """
    terms = []
    for row in rows:
        small, large = -row.small.mean, -row.large.mean if row.large is not None else 0.0
        variance = row.small.se**2 + (row.large.se**2 if row.large is not None else row.small.se**2)
        if variance > 0:
            terms.append((row.share / variance, small, large, variance))
    below = math.fsum(weight * small**2 for weight, small, _, _ in terms)
    if below <= 0:
        return None, 0.0
    ratio = math.fsum(weight * small * large for weight, small, large, _ in terms) / below
    measured = math.fsum((weight * small) ** 2 * variance for weight, small, _, variance in terms)
    spread = math.fsum((weight * small * (large - ratio * small)) ** 2 for weight, small, large, _ in terms)
    spread *= len(terms) / max(1, len(terms) - 1)
    return ratio, math.sqrt(max(measured, spread)) / below
