"""The numbers of a trial and the arithmetic on pairs of runs. Pure functions; nothing here makes a run.

Source of the rule and its parameters: DESIGN.md, "Statistics" (measured for the embedded objective, simulated on
sequences of 500 experiments). Effects are J = Δ ln(metric) + slope · ln(cost ratio); negative is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from protocol.records import Effect, Pair

PRIOR_WEIGHT = 4  # degrees of freedom that s0 counts for
Z_ONE_SIDED = 1.64  # 95 %
SCREEN = 0.5  # a screening run must be better by this share of s0
ALPHA = 0.05
SPEND = (0.05, 0.15, 0.2, 0.2, 0.2, 0.2)  # share of alpha spent at each look
MAX_POOLED_S0 = 0.05


@dataclass(frozen=True)
class Statistics:
    """What an objective says about its own noise and cost, in units of ln(metric)."""

    s0: float = 0.01
    slope: float = 0.15
    cost_deadband: float = 0.05
    minimum_effect: float = 0.002
    max_pairs: int = 6


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


def cost_term(pairs: Sequence[Pair], statistics: Statistics) -> float:
    """slope · ln(cost ratio), 0 inside the dead band."""
    ratio = cost_ratio(pairs)
    if ratio is None or abs(math.log(ratio)) < statistics.cost_deadband:
        return 0.0
    return statistics.slope * math.log(ratio)


def shrunk_deviation(values: Sequence[float], s0: float) -> float:
    """The paired standard deviation, shrunk towards s0: s² = (4·s0² + SS) / (4 + n − 1)."""
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return math.sqrt((PRIOR_WEIGHT * s0**2 + squares) / (PRIOR_WEIGHT + len(values) - 1))


def shrunk_effect(values: Sequence[float], s0: float, cost: float = 0.0) -> Effect:
    """Mean and standard error of paired differences, the cost term added to the mean."""
    n = len(values)
    return Effect(math.fsum(values) / n + cost, shrunk_deviation(values, s0) / math.sqrt(n), n)


def effect_of(pairs: Sequence[Pair], s0: float, statistics: Statistics) -> Effect | None:
    """The effect that pairs show; None when none of them has both values."""
    values = differences(pairs)
    return shrunk_effect(values, s0, cost_term(pairs, statistics)) if values else None


def t_quantile(degrees: int, tail: float) -> float:
    """The value a t-distributed variable exceeds with probability `tail`."""
    from scipy.special import stdtrit  # a heavy import that nothing but a trial needs

    return float(stdtrit(degrees, 1.0 - tail))


def pooled_s0(trials: Iterable[Sequence[Pair]], prior: float) -> float:
    """The paired standard deviation over all of a node's trials, `prior` counting for four degrees of freedom."""
    squares, degrees = PRIOR_WEIGHT * prior**2, PRIOR_WEIGHT
    for pairs in trials:
        values = differences(pairs)
        if len(values) < 2:
            continue
        mean = math.fsum(values) / len(values)
        squares += math.fsum((value - mean) ** 2 for value in values)
        degrees += len(values) - 1
    return min(MAX_POOLED_S0, math.sqrt(squares / degrees))
