"""How far luck alone goes among what was tried, of a metric that is a Sharpe ratio.

Whoever tries a hundred strategies and shows the best shows mostly luck. Two figures say how much: the deflated Sharpe
ratio (Bailey and López de Prado 2014) and the probability of backtest overfitting (Bailey, Borwein, López de Prado and
Zhu 2017). Both are worked out from the runs that a ledger remembers. It knows no objective: a judge that reports
`observations`, `days_a_year`, `skew` and `kurtosis` beside its value has such a metric, and `sharpe_part_<k>` are the
ratios of parts of the time, in order.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist, fmean, stdev

from node.ledger.outcome import Outcome
from node.ledger.projections.leaderboard import author_bests
from node.ledger.store import Ledger

NEEDED = ("observations", "days_a_year", "skew", "kurtosis")
PART = "sharpe_part_"
EULER = 0.5772156649015329
FEWEST_SOURCES = 5  # below which a best one says nothing
NORMAL = NormalDist()


@dataclass(frozen=True)
class Overfitting:
    """How often the best source of one half of the time was below the median in the other, among runs of one seed."""

    probability: float
    sources: int
    splits: int


@dataclass(frozen=True)
class Luck:
    """The ratios are annual. expected_best: of so many tries without any skill, that differ as much as these do."""

    tries: int
    source: bytes  # this node's best, else the best of its runs
    sharpe: float
    expected_best: float
    deflated: float  # the probability that the source's true ratio is above zero, given so many tries
    overfitting: Overfitting | None
    metrics: Mapping[str, float]  # what else the judge reported of this source, the mean over its runs


def luck(ledger: Ledger) -> Luck | None:
    """What this ledger's own runs say of it; None where the metric is no Sharpe ratio, or little was tried."""
    runs = [
        (source, seed, outcome)
        for source, seed, outcome in ledger.all_runs()
        if outcome.value is not None and all(name in outcome.metrics for name in NEEDED)
    ]
    of_source: dict[bytes, list[Outcome]] = defaultdict(list)
    for source, _, outcome in runs:
        of_source[source].append(outcome)
    if len(of_source) < FEWEST_SOURCES:
        return None
    values = {source: _mean(found, None) for source, found in of_source.items()}
    best = max(values, key=lambda source: values[source])
    own = ledger.settings.author
    for author in author_bests(ledger.all_records(), ledger.settings.baseline, ledger.weights(own)):
        if author.author == own and author.source in values:
            best = author.source
    days = math.sqrt(_mean(of_source[best], "days_a_year"))
    highest = expected_best(stdev(values.values()), len(values))
    deflated = deflated_sharpe(
        values[best] / days,
        highest / days,
        _mean(of_source[best], "observations"),
        _mean(of_source[best], "skew"),
        _mean(of_source[best], "kurtosis"),
    )
    others = [name for name in of_source[best][0].metrics if not name.startswith(PART)]
    metrics = {name: _mean(of_source[best], name) for name in others}
    return Luck(len(values), best, values[best], highest, deflated, _overfitting(runs), metrics)


def _mean(outcomes: Sequence[Outcome], name: str | None) -> float:
    """The mean over runs of a metric; None: of the value."""
    return fmean((outcome.value or 0.0) if name is None else outcome.metrics.get(name, 0.0) for outcome in outcomes)


def expected_best(spread: float, tries: int) -> float:
    """The highest of so many independent values with mean 0 and this standard deviation, as is to be expected.

    Bailey and López de Prado 2014, by the extreme value theory of the normal distribution.
    """
    if tries < 2:
        return 0.0
    ordinary, rare = NORMAL.inv_cdf(1 - 1 / tries), NORMAL.inv_cdf(1 - 1 / (tries * math.e))
    return spread * ((1 - EULER) * ordinary + EULER * rare)


def deflated_sharpe(sharpe: float, threshold: float, observations: float, skew: float, kurtosis: float) -> float:
    """The probability that a ratio is truly above a threshold, with tails as they are. Both ratios by observation.

    kurtosis: 3 for a normal distribution. Example of the paper: 0.1581 a day from 1,250 days, skew -3, kurtosis 10, and
    the best of 100 tries expected at 0.1132: 0.90.
    """
    variance = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    return NORMAL.cdf((sharpe - threshold) * math.sqrt(max(observations - 1, 0)) / math.sqrt(max(variance, 1e-12)))


def overfitting_probability(parts: Sequence[Sequence[float]]) -> float:
    """How often the strategy that was best in half of the parts is in the lower half of all in the others.

    parts: for each strategy its performance in each part of the time, an even number of them. Combinatorially symmetric
    cross-validation: every half of the parts is once what was searched, and the rest what came of it.
    """
    count = len(parts[0])
    below = []
    for chosen in combinations(range(count), count // 2):
        others = [part for part in range(count) if part not in chosen]
        searched = [fmean(row[part] for part in chosen) for row in parts]
        came = [fmean(row[part] for part in others) for row in parts]
        best = max(range(len(parts)), key=searched.__getitem__)
        rank = sum(value < came[best] for value in came) + 1
        below.append(rank / (len(parts) + 1) <= 0.5)
    return fmean(below)


def _overfitting(runs: Sequence[tuple[bytes, int, Outcome]]) -> Overfitting | None:
    """Among the sources that were run at one seed, that with most of them: others were asked about other days."""
    at_seed: dict[int, dict[bytes, list[float]]] = defaultdict(dict)
    for source, seed, outcome in runs:
        parts = _parts(outcome.metrics)
        if len(parts) >= 4 and len(parts) % 2 == 0:
            at_seed[seed][source] = parts
    most = max(at_seed.values(), key=len, default={})
    same = [parts for parts in most.values() if len(parts) == len(next(iter(most.values())))]
    if len(same) < FEWEST_SOURCES:
        return None
    count = len(same[0])
    return Overfitting(overfitting_probability(same), len(same), math.comb(count, count // 2))


def _parts(metrics: Mapping[str, float]) -> list[float]:
    found: list[float] = []
    while f"{PART}{len(found) + 1}" in metrics and len(found) < 16:
        found.append(metrics[f"{PART}{len(found) + 1}"])
    return found
