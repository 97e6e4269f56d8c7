"""The numbers of a trial and the arithmetic on pairs of runs. Pure functions; nothing here makes a run.

Source of the rule and its parameters: DESIGN.md, "Statistics" (measured for the embedded objective, simulated on
sequences of 500 experiments). Effects are J = Δ ln(metric) + slope · ln(cost ratio); negative is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

from node.objective.schema import Statistics
from protocol.records import Effect, Experiment, Pair, Record, Replication

PRIOR_WEIGHT = 4  # degrees of freedom that s0 counts for
Z_ONE_SIDED = 1.64  # 95 %
Z_UNSUPPORTED = 2.33  # 99 %, for a claim that no report supports yet
SCREEN = 0.5  # a screening run must be better by this share of s0
ALPHA = 0.04  # 7.4 % of what is kept is false at the noisier of the simulated levels
SPEND = (0.05, 0.15, 0.2, 0.2, 0.2, 0.2)  # share of alpha spent at each look; the first once more at a screening
LEAST_CHANCE = 0.2  # of acceptance, below which a trial ends; .1 takes .07 more runs an idea, .3 gains 8 % less
OPPORTUNITY_SHARE = 0.5  # an idea is given up for others that promise over twice as much; 0 gains less early on
MAX_NOISE = 0.1  # of either kind: a machine on which it is more should not be believed to be so
DRIFT = 0.7  # ln of how much more CPU time the same work may take at another time: a core's other thread can double it
COST_Z = 2.0  # a difference in cost counts when it is this many of its standard errors
STANDARD_NORMAL = NormalDist()


@dataclass(frozen=True)
class Noise:
    """By how much the two runs of a pair differ by chance: standard deviations of Δ ln(metric) and Δ ln(cost)."""

    metric: float
    cost: float


def differences(pairs: Iterable[Pair]) -> list[float]:
    """ln(child/parent) of every pair in which both runs have a value."""
    return [
        math.log(pair.child.value / pair.parent.value)
        for pair in pairs
        if pair.child.value is not None and pair.parent.value is not None
    ]


def cost_ratio(pairs: Sequence[Pair]) -> float | None:
    """The child's CPU seconds per token over the parent's, all pairs together; None when it was not measured."""
    both = [p for p in pairs if p.child.value is not None and p.parent.value is not None]
    child, parent = (
        sum(run.cpu_seconds for run in runs) / max(1, sum(run.tokens for run in runs))
        for runs in ([p.child for p in both], [p.parent for p in both])
    )
    return child / parent if child > 0 and parent > 0 else None


def cost_differences(pairs: Iterable[Pair]) -> list[float]:
    """ln of the cost ratio of every pair in which both runs have a value and a cost."""
    ratios = (cost_ratio([pair]) for pair in pairs)
    return [math.log(ratio) for ratio in ratios if ratio is not None]


def cost_term(
    pairs: Sequence[Pair], noise: Noise, statistics: Statistics, drift: float = 0.0, optimistic: bool = False
) -> tuple[float, float]:
    """slope · ln(cost ratio) and its standard deviation per pair; nothing when the ratio may as well be chance.

    A slower child pays in full, but for `drift`, of which the machine may be the cause. A faster one is credited with
    what goes beyond chance, and with nothing by a single pair: a lucky measurement of time would otherwise pass for a
    discovery (see scripts/simulate_acceptance.py). For what is `optimistic` of more pairs, one will do.
    """
    ratio, n = cost_ratio(pairs), len(cost_differences(pairs))
    if ratio is None or (ratio < 1 and n == 1 and not optimistic):
        return 0.0, 0.0
    chance = max(statistics.cost_deadband, COST_Z * noise.cost / math.sqrt(n))
    if abs(math.log(ratio)) < chance:
        return 0.0, 0.0
    counted = max(0.0, math.log(ratio) - drift) if ratio > 1 else math.log(ratio) + chance
    if counted == 0:
        return 0.0, 0.0
    return statistics.slope * counted, statistics.slope * noise.cost


def shrunk_deviation(values: Sequence[float], s0: float) -> float:
    """The paired standard deviation, shrunk towards s0: s² = (4·s0² + SS) / (4 + n − 1)."""
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return math.sqrt((PRIOR_WEIGHT * s0**2 + squares) / (PRIOR_WEIGHT + len(values) - 1))


def shrunk_effect(values: Sequence[float], s0: float) -> Effect:
    """Mean and standard error of paired differences."""
    n = len(values)
    return Effect(math.fsum(values) / n, shrunk_deviation(values, s0) / math.sqrt(n), n)


def effect_of(
    pairs: Sequence[Pair], noise: Noise, statistics: Statistics, drift: float = 0.0, optimistic: bool = False
) -> Effect | None:
    """The effect that pairs show, cost included; None when none of them has both values.

    drift: by how much ln(cost) may have grown between the runs of a pair, where they were made at different times.
    hoped: what more pairs may show, which is to say that a single one is believed that the child is faster.
    """
    values = differences(pairs)
    if not values:
        return None
    metric = shrunk_effect(values, noise.metric)
    cost, deviation = cost_term(pairs, noise, statistics, drift, optimistic)
    return Effect(metric.mean + cost, math.hypot(metric.se, deviation / math.sqrt(metric.n)), metric.n)


@cache
def t_quantile(degrees: int, tail: float) -> float:
    """The value a t-distributed variable exceeds with probability `tail`, 0 to 1.

    Found by halving the angle atan(t / √degrees), in which the probability falls steadily from 1 at -π/2 to 0 at π/2.
    Right to 1e-11 of itself for tails of 0.001 and more, to 1e-9 for those of 1e-6, whatever the degrees up to 200.
    """
    low, high = -math.pi / 2, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if _t_tail(degrees, middle) > tail else (low, middle)
    return math.sqrt(degrees) * math.tan(middle)


def _t_tail(degrees: int, angle: float) -> float:
    """The probability that a t-distributed variable exceeds √degrees · tan(angle).

    A finite sum of powers of the cosine, for even and odd degrees: Abramowitz and Stegun, Handbook of Mathematical
    Functions, 26.7.3 and 26.7.4. Five degrees: 1/2 - (angle + sin (cos + 2/3 cos³)) / π.
    """
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2 == 1
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(1 if odd else 0, degrees - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    between = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return (1 - between) / 2


def bar(pairs: int) -> float:
    """The standard errors by which the gain of so many pairs must be beyond zero to be accepted."""
    return t_quantile(PRIOR_WEIGHT + pairs - 1, ALPHA * SPEND[min(pairs, len(SPEND)) - 1])


def chance_of_acceptance(
    effect: Effect, statistics: Statistics, look: int, wanted: float, screening: bool = False
) -> float:
    """The probability that the look after so many pairs accepts, by what the pairs seen so far leave open.

    wanted: the standard errors by which the gain must be beyond zero there. screening: what was seen is not counted
    among those pairs; else it is fewer than those.

    The mean after all N pairs is about normal around the mean of the n seen, with variance sd² (1/n − 1/N), or
    sd² (1/n + 1/N) where they are N others. Source: predictive power with a flat prior (Spiegelhalter, Freedman,
    Blackburn 1986).
    """
    deviation = effect.se * math.sqrt(effect.n)
    least = max(wanted * deviation / math.sqrt(look), statistics.minimum_effect)
    to_come = deviation * math.sqrt(1 / effect.n + (1 if screening else -1) / look)
    return STANDARD_NORMAL.cdf((-effect.mean - least) / to_come)


def worth_of_more(
    effect: Effect, statistics: Statistics, screening: bool = False, enough: Callable[[int], float] = bar
) -> float:
    """The gain that each run of more pairs promises, in ln(metric): what was seen, by the chance that it is accepted.

    The runs are those until the first look that would accept a gain as large as was seen. screening: it is to be seen
    again by fresh pairs. enough: the standard errors by which the gain must be beyond zero after so many pairs.
    """
    gain, deviation = -effect.mean, effect.se * math.sqrt(effect.n)
    made = 0 if screening else effect.n
    looks = range(made + 1, statistics.max_pairs + 1)
    look = next((n for n in looks if gain > enough(n) * deviation / math.sqrt(n)), statistics.max_pairs)
    return chance_of_acceptance(effect, statistics, look, enough(look), screening) * gain / (2 * (look - made))


def pooled_noise(trials: Sequence[Sequence[Pair]], statistics: Statistics) -> Noise:
    """What a machine's own trials show of its noise, the objective's figures counting for four degrees of freedom."""
    return Noise(
        _pooled([differences(pairs) for pairs in trials], statistics.s0),
        _pooled([cost_differences(pairs) for pairs in trials], statistics.cost_s0),
    )


def noise_of_feed(feed: Iterable[Record], statistics: Statistics) -> Noise:
    """How much paired runs differ by chance on a machine, learnt from the trials that its node has signed."""
    trials = [record.body.pairs for record in feed if isinstance(record.body, Experiment | Replication)]
    return pooled_noise(trials, statistics)


def _pooled(trials: Iterable[Sequence[float]], prior: float) -> float:
    """The standard deviation within trials."""
    squares, degrees = PRIOR_WEIGHT * prior**2, PRIOR_WEIGHT
    for values in trials:
        if len(values) < 2:
            continue
        mean = math.fsum(values) / len(values)
        squares += math.fsum((value - mean) ** 2 for value in values)
        degrees += len(values) - 1
    return min(MAX_NOISE, math.sqrt(squares / degrees))
