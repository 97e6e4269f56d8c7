"""The numbers of a trial and the arithmetic on pairs of runs. Pure functions; nothing here makes a run.

Effects are stored as J = difference of the metric (protocol.metric) + slope · ln(cost ratio), child against parent:
negative is better. In words and
in every variable called a gain the sign is turned, gain = −J: positive is better. Worked example: a child with 4 % less
loss at 1.5 times the cost, slope 0.15: J = ln 0.96 + 0.15 · ln 1.5 = −0.041 + 0.061 = +0.020, a gain of −2.0 %.

Why the test has these parameters: docs/decisions/sequential-test.md. What comes of them in a search is simulated by
scripts/simulate_acceptance.py, see docs/confirmation.md.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

from node.objective.schema import Statistics
from protocol.metric import MOST_EFFECT, Metric
from protocol.records import MOST_COST_RATIO, Effect, Experiment, Pair, Record, Replication, Run

PRIOR_WEIGHT = 4  # degrees of freedom that s0 counts for
Z_ONE_SIDED = 1.64  # standard errors: one-sided 95 %
ALPHA = 0.04  # a trial's chance to accept what is no better
# Share of ALPHA spent at each look, by the number of pairs. Small at first, where one lucky pair would
# be enough; then even. A guess, not varied.
ALPHA_SHARES = (0.05, 0.15, 0.2, 0.2, 0.2, 0.2)
MIN_PREDICTIVE_POWER = 0.2  # stop when the chance of acceptance is below this
MAX_NOISE = 0.1  # as an effect, of either kind: more than a machine's own figures can make this node believe
COST_Z = 2.0  # a difference in cost counts from this many of its standard errors on
STANDARD_NORMAL = NormalDist()


@dataclass(frozen=True)
class Noise:
    """Standard deviations of what chance alone makes of a pair: of its effect on the metric and of Δ ln(cost)."""

    metric: float
    cost: float


def differences(pairs: Iterable[Pair], metric: Metric) -> list[float]:
    """The effect on the metric, of a loss ln(child/parent), of every pair in which both runs have a value."""
    return [
        metric.difference(pair.parent.value, pair.child.value)
        for pair in pairs
        if pair.child.value is not None and pair.parent.value is not None
    ]


def cost_ratio(pairs: Sequence[Pair]) -> float | None:
    """The child's CPU seconds per token over the parent's, all pairs together; None when it was not measured.

    It is within what a record holds: a command of an hour may have a child that ends at once.
    """
    complete = [pair for pair in pairs if pair.child.value is not None and pair.parent.value is not None]
    child = _cost([pair.child for pair in complete])
    parent = _cost([pair.parent for pair in complete])
    return min(MOST_COST_RATIO, max(1 / MOST_COST_RATIO, child / parent)) if child > 0 and parent > 0 else None


def _cost(runs: Sequence[Run]) -> float:
    """CPU seconds per token of all these runs together; 0 of none."""
    return sum(run.cpu_seconds for run in runs) / max(1, sum(run.tokens for run in runs))


def cost_differences(pairs: Iterable[Pair]) -> list[float]:
    """ln of the cost ratio of every pair in which both runs have a value and a cost."""
    ratios = (cost_ratio([pair]) for pair in pairs)
    return [math.log(ratio) for ratio in ratios if ratio is not None]


def cost_term(
    pairs: Sequence[Pair], noise: Noise, statistics: Statistics, optimistic: bool = False
) -> tuple[float, float]:
    """slope · ln(cost ratio) and its standard deviation per pair; both 0 when the ratio may as well be chance.

    pairs: those whose runs took turns; CPU times of others say more of the machine than of the source.

    A slower child pays in full. A faster one is credited with what goes beyond chance, and with nothing on the evidence
    of a single pair: a lucky measurement of time would otherwise pass for a discovery (see
    scripts/simulate_acceptance.py). `optimistic`: one pair is enough for it.

    Worked example, one pair, cost noise 0.05, dead band 0.05: ratios within exp(±0.1), 0.90 to 1.11, count as 1. A
    ratio of 2 costs 0.15 · 0.693 = 0.104. A ratio of 0.5 is credited with 0.15 · (0.693 − 0.1) = 0.089 if `optimistic`,
    else with nothing.
    """
    ratio = cost_ratio(pairs)
    n = len(cost_differences(pairs))
    if ratio is None or (ratio < 1 and n == 1 and not optimistic):
        return 0.0, 0.0
    chance = max(statistics.cost_deadband, COST_Z * noise.cost / math.sqrt(n))
    if abs(math.log(ratio)) < chance:
        return 0.0, 0.0
    counted = math.log(ratio) if ratio > 1 else math.log(ratio) + chance
    return statistics.slope * counted, statistics.slope * noise.cost


def shrunk_deviation(values: Sequence[float], s0: float) -> float:
    """The standard deviation of paired differences, shrunk towards s0: s² = (4·s0² + SS) / (4 + n − 1).

    SS: the sum of squares around the mean. The scaled inverse chi-squared posterior of a variance has this scale, s0
    counting as four earlier degrees of freedom. Differences −3.1 % and −2.5 %, s0 1 %: SS = 2 · 0.003² = 0.000018, s² =
    (0.0004 + 0.000018) / 5 = 0.0000836, s = 0.91 %.
    """
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return math.sqrt((PRIOR_WEIGHT * s0**2 + squares) / (PRIOR_WEIGHT + len(values) - 1))


def shrunk_effect(values: Sequence[float], s0: float) -> Effect:
    """Mean and standard error of paired differences."""
    n = len(values)
    return Effect(math.fsum(values) / n, shrunk_deviation(values, s0) / math.sqrt(n), n)


def effect_of(
    pairs: Sequence[Pair],
    alternated: Collection[int],
    noise: Noise,
    statistics: Statistics,
    optimistic: bool = False,
) -> Effect | None:
    """The effect J that pairs show, cost included; None when none of them has both values.

    alternated: seeds of the pairs whose runs took turns. The cost is measured by those alone; without any it counts as
    the parent's.
    optimistic: as more pairs may show it: a single pair is enough to credit the child with being faster.
    """
    values = differences(pairs, statistics.metric)
    if not values:
        return None
    metric = shrunk_effect(values, noise.metric)
    comparable = in_turns(pairs, alternated)
    cost, deviation = cost_term(comparable, noise, statistics, optimistic)
    error = math.hypot(metric.se, deviation / math.sqrt(max(1, len(comparable))))
    # Within what a record holds: on a linear scale a child can be worse by any number, and cost more besides.
    mean = min(MOST_EFFECT, max(-MOST_EFFECT, metric.mean + cost))
    return Effect(mean, min(MOST_EFFECT, error), metric.n)


def in_turns(pairs: Iterable[Pair], alternated: Collection[int]) -> list[Pair]:
    """The pairs whose runs took turns, by their seeds."""
    return [pair for pair in pairs if pair.seed in alternated]


@cache
def t_quantile(degrees: int, tail: float) -> float:
    """The value a t-distributed variable exceeds with probability `tail`, 0 to 1.

    Found by bisecting the angle atan(t / √degrees), in which the probability falls steadily from 1 at -π/2 to 0 at π/2,
    until two neighbouring floats are left. Relative error under 1e-11 for tails of 0.001 and more, under 1e-9 for those
    of 1e-6, for degrees up to 200.
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


def boundary(pairs: int) -> float:
    """The standard errors by which the gain must be beyond zero after this many pairs for the child to be accepted.

    5.95, 3.85, 3.32, 3.16, 3.04 and 2.96 after one to six. Student's t, for the deviation is estimated: with the
    prior's four degrees of freedom and one less than there are pairs.
    """
    return t_quantile(PRIOR_WEIGHT + pairs - 1, ALPHA * ALPHA_SHARES[min(pairs, len(ALPHA_SHARES)) - 1])


def chance_of_acceptance(effect: Effect, statistics: Statistics, pairs: int) -> float:
    """The probability that the look after `pairs` pairs accepts, given the effect of the first few: predictive power.

    The mean after all N pairs is about normal around the mean of the n seen, with variance sd² (1/n − 1/N).
    Source: predictive power with a flat prior (Spiegelhalter, Freedman, Blackburn 1986).

    Worked example: two pairs of six gained 0.8 % on average at a deviation of 1 %. The last look accepts from 2.96 · 1
    % / √6 = 1.21 % on. The final mean is 0.8 % ± 1 % · √(1/2 − 1/6) = 0.58 %, so the chance is Φ(−0.41 / 0.58) = 0.24.
    """
    deviation = effect.se * math.sqrt(effect.n)
    gain_needed = max(boundary(pairs) * deviation / math.sqrt(pairs), statistics.minimum_effect)
    uncertainty = deviation * math.sqrt(1 / effect.n - 1 / pairs)
    return STANDARD_NORMAL.cdf((-effect.mean - gain_needed) / uncertainty)


def pooled_noise(trials: Sequence[tuple[Sequence[Pair], Collection[int]]], statistics: Statistics) -> Noise:
    """The noise of a machine by its own trials, with the objective's figures as a prior of four degrees of freedom.

    trials: the pairs of each, and the seeds of those whose runs took turns.
    """
    return Noise(
        pooled_deviation([differences(pairs, statistics.metric) for pairs, _ in trials], statistics.s0),
        pooled_deviation(
            [cost_differences(in_turns(pairs, alternated)) for pairs, alternated in trials], statistics.cost_s0
        ),
    )


def noise_of_feed(feed: Iterable[Record], statistics: Statistics) -> Noise:
    """How much paired runs differ by chance on a machine, learnt from the trials that its node has signed.

    Most ideas are run once. So what a chain of them showed at its screening seed, from its beginning to its end, counts
    as one more pair of the claim that measured it at others. It was chosen for what it showed, and if anything makes
    the noise too large.
    """
    records = list(feed)
    experiments = {record.id: record.body for record in records if isinstance(record.body, Experiment)}
    trials = []
    for record in records:
        body = record.body
        if isinstance(body, Experiment | Replication):
            first = _first_pair(body, experiments) if isinstance(body, Experiment) else None
            pairs = body.pairs if first is None else (first, *body.pairs)
            trials.append((pairs, body.alternated or ()))
    return pooled_noise(trials, statistics)


def _first_pair(body: Experiment, experiments: Mapping[bytes, Experiment]) -> Pair | None:
    """The pair at the screening seed: of an idea its screening, of a chain its beginning and its end there."""
    if not body.chain:
        return body.screening
    steps = [experiments.get(step.record) for step in body.chain]
    screenings = [step.screening for step in steps if step is not None and step.screening is not None]
    if len(screenings) < len(steps) or len({screening.seed for screening in screenings}) > 1:
        return None
    return Pair(screenings[0].seed, screenings[0].parent, screenings[-1].child)


def pooled_deviation(trials: Iterable[Sequence[float]], prior: float) -> float:
    """The pooled standard deviation within trials, each around its own mean; a trial of one pair says nothing of it."""
    squares = PRIOR_WEIGHT * prior**2
    degrees = PRIOR_WEIGHT
    for values in trials:
        if len(values) < 2:
            continue
        mean = math.fsum(values) / len(values)
        squares += math.fsum((value - mean) ** 2 for value in values)
        degrees += len(values) - 1
    return min(MAX_NOISE, math.sqrt(squares / degrees))
