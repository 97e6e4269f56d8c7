"""Evidence that may be looked at any time: which of two variants people answer more often. Pure arithmetic.

A visitor gets one of two variants by a fair coin. Say that each answers with probability p at the one and r·p at the
other. Then an answer that arrives came from the second with probability r / (1 + r), whatever p is, whoever the visitor
was and however p changes with the hour. So a claim "the ratio is at most r" is a claim about a coin, and a bettor who
grows rich against it has evidence: the wealth `e` of a fair bet passes 1/a with probability a at most, at any time
whatever (Ville 1939). Only answers count, so a visitor who may still answer does not have to be waited for.

The bet is a mixture over many ratios (mSPRT: Robbins 1970; Johari, Koomen, Pekelis, Walsh 2022, "Always valid
inference"), here on a grid, so that it is one-sided and exact at any number of answers: no normal approximation. For
r0 >= r the wealth under r is largest in expectation at r = r0, since the likelihood ratio is monotone; so a bet against
"r = r0" holds against "r <= r0" too. All ratios that no such bet refutes are a confidence sequence (Howard, Ramdas,
McAuliffe, Sekhon 2021; Waudby-Smith, Ramdas 2023).

Not answering says something too where many answer. It is not used: of the information in all visitors the answers have
the share 1 - p, so a tenth is lost at a rate of 10 %, and half at 50 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

STEPS = np.concatenate([np.linspace(0.01, 0.5, 50), np.linspace(0.55, 3.0, 50)])  # of ln(ratio), which are bet on
TYPICAL_LIFT = (
    0.25  # ln(ratio): larger ones are bet on less. Differences seen in the field are mostly smaller (a guess)
)
_LOG_WEIGHTS = np.array([math.log(width) for width in np.diff(STEPS, prepend=0.0)]) - STEPS / TYPICAL_LIFT
_LOG_WEIGHTS -= np.logaddexp.reduce(_LOG_WEIGHTS)
WIDEST = 8.0  # ln(ratio) beyond which an interval is called open
BISECTIONS = 40


@dataclass(frozen=True)
class Interval:
    """A ratio of two rates with bounds that hold at all times together. high: inf where nothing bounds it."""

    ratio: float
    low: float
    high: float


def log_evidence_above(ours: int, theirs: int, ratio: float = 1.0) -> float:
    """ln of the evidence that people answer the first more than `ratio` times as often as the second.

    ours, theirs: answers of visitors whom a fair coin sent to the first or the second.
    """
    return _log_wealth(ours, theirs, math.log(ratio), STEPS)


def log_evidence_below(ours: int, theirs: int, ratio: float = 1.0) -> float:
    """ln of the evidence that people answer the first less than `ratio` times as often as the second."""
    return _log_wealth(ours, theirs, math.log(ratio), -STEPS)


def log_evidence_apart(ours: int, theirs: int, ratio: float = 1.0) -> float:
    """ln of the evidence that the ratio is not `ratio`: half of the stake on each side."""
    sides = log_evidence_above(ours, theirs, ratio), log_evidence_below(ours, theirs, ratio)
    return float(np.logaddexp(*sides)) - math.log(2)


def interval(ours: int, theirs: int, level: float) -> Interval:
    """All ratios that the evidence does not refute at a level, now or at any other time with probability 1 - level."""
    if ours + theirs == 0:
        return Interval(1.0, 0.0, math.inf)
    middle = math.log((ours + 0.5) / (theirs + 0.5))  # refuted by nothing, and defined without answers too
    limit = -math.log(level)

    def bound(direction: int) -> float:
        inside, outside = middle, middle + direction * WIDEST
        if log_evidence_apart(ours, theirs, math.exp(outside)) < limit:
            return direction * math.inf
        for _ in range(BISECTIONS):
            between = (inside + outside) / 2
            if log_evidence_apart(ours, theirs, math.exp(between)) < limit:
                inside = between
            else:
                outside = between
        return outside

    return Interval(math.exp(middle), math.exp(bound(-1)), math.exp(bound(1)))


def _log_wealth(ours: int, theirs: int, null: float, steps: np.ndarray) -> float:
    """ln of the mixture's likelihood over that of ln(ratio) = null. steps: what is bet on, from there."""
    bets = null + steps
    gained = ours * (_log_share(bets) - _log_share(null)) + theirs * (_log_share(-bets) - _log_share(-null))
    return float(np.logaddexp.reduce(_LOG_WEIGHTS + gained))


def _log_share(log_ratio: np.ndarray | float) -> np.ndarray:
    """ln(r / (1 + r)), which is stable for every r."""
    return np.asarray(-np.logaddexp(0.0, -np.asarray(log_ratio)))
