"""What a node believes of its arms, and how it samples the next one: Thompson sampling, as pure functions.

An arm is a category of ideas with a proposer that has some. Its score is the gain expected of a second spent on it:
success rate × gain of a success ÷ seconds of a trial on this machine. The success rate has a Beta posterior, from which
it is sampled (Thompson 1933; Chapelle and Li 2011); gain and seconds are shrunk means. Results of other compute
classes, parents and proposers count with less weight. docs/strategy.md explains the rule, scripts/simulate_strategy.py
tries it in a made-up world.

It knows results and figures, no ledger, no proposer and no clock, so that a node, a table and a simulation can all run
the same code. Gains are −J, in ln(metric), positive is better.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from node.objective.schema import Prior
from node.proposers.proposer import TriedResult
from protocol.records import Decision

PRIOR_TRIALS = 6.0  # trials that the prior success rate counts for
PRIOR_GAINS = 2.0  # successes that the prior gain counts for
PRIOR_COSTS = 4.0  # trials that the expected number of runs counts for
OTHER_CLASS = 0.3  # weight of a result from another compute class
OTHER_PARENT = 0.5  # weight of a result on another parent
OTHER_PROPOSER = 0.3  # weight of a result of another proposer's idea of the category
EXPLORED = 0.1  # share of the choices that are made evenly among all arms (epsilon-greedy), so that none is given up
CLEAR = 2.5  # standard errors by which a gain must be beyond zero in the sequential test, roughly
FALSE_START_RUNS = 1.0  # by which an idea without a gain exceeds its screening run, on average
DRAWS = 2000  # samples for a shown probability, which is then right to about one per cent
ANY_CATEGORY = "whatever"  # the category of the arm of a proposer that has none
LEAST_SUCCESS_RATE = 0.005  # Beta needs both parameters above 0, however large the gain at hand
LEAST_SHARE = 0.2  # of a category's expected gain, however many peers say that they are trying it
MOST_GAIN = 0.5  # ln(metric) that one result can teach: records are their authors' word
MOST_COST = 4.0  # factor, either way, that one result can teach


@dataclass(frozen=True, order=True)
class Arm:
    """A category of ideas, asked of one proposer."""

    category: str
    proposer: str


@dataclass(frozen=True)
class Machine:
    """What trials cost here. seconds_per_run: wall time. noise: the standard deviation of a pair's Δ ln(metric).
    thinking: the seconds that each proposer takes for an idea."""

    compute_class: str
    seconds_per_run: float
    noise: float
    max_pairs: int
    thinking: Mapping[str, float]


@dataclass(frozen=True)
class Belief:
    """What is believed of an arm. The success rate is distributed as Beta(successes, failures), prior included.

    gain: ln(metric) expected of a success. runs, seconds: expected of a trial. tried, kept: results of this arm's own
    proposer, unweighted, for views.
    """

    arm: Arm
    successes: float
    failures: float
    gain: float
    runs: float
    seconds: float
    tried: int
    kept: int

    @property
    def chance(self) -> float:
        """The mean of the success rate."""
        return self.successes / (self.successes + self.failures)

    @property
    def deviation(self) -> float:
        """The standard deviation of the success rate: that of Beta(a, b) is √(m (1 − m) / (a + b + 1)), m its mean."""
        return math.sqrt(self.chance * (1 - self.chance) / (self.successes + self.failures + 1))

    @property
    def score(self) -> float:
        """Gain, in ln(metric), expected per second of this machine."""
        return self.chance * self.gain / self.seconds

    def draw(self, rng: random.Random) -> float:
        """A score whose success rate is sampled from its distribution."""
        return rng.betavariate(self.successes, self.failures) * self.gain / self.seconds


DEFAULT_PRIOR = Prior(0.1, 0.01)  # of a category for which the objective names none: one in ten helps, by 1 %


def beliefs(
    arms: Iterable[Arm],
    priors: Mapping[str, Prior],
    results: Sequence[TriedResult],
    source_id: bytes,
    gain_by_category: Mapping[str, float],
    machine: Machine,
) -> list[Belief]:
    """The belief of each arm for a hypothesis on this source, in the order of the arms.

    gain_by_category: the gain (ln) that the source already has from each category. Ideas of a category replace rather
    than add to one another, so a success on another source counts by what it exceeds that gain; and if gains are
    exponentially distributed, the share of ideas that beat the present gain is exp(−present gain / usual gain): with a
    usual gain of 0.10, a source that has 0.25 from the category leaves it exp(−2.5) = 8 % of its prior success rate.
    """
    by_category: dict[str, list[TriedResult]] = {}
    by_proposer: dict[str, list[TriedResult]] = {}
    for result in results:
        by_category.setdefault(result.category, []).append(result)
        by_proposer.setdefault(result.proposer, []).append(result)
    believed = []
    for arm in arms:
        if arm.category == ANY_CATEGORY:
            name, about = arm.proposer, by_proposer.get(arm.proposer, [])
        else:
            name, about = arm.category, by_category.get(arm.category, [])
        present_gain = gain_by_category.get(arm.category, 0.0)
        believed.append(_belief(arm, priors.get(name, DEFAULT_PRIOR), about, source_id, present_gain, machine))
    return believed


def _belief(
    arm: Arm, prior: Prior, results: Sequence[TriedResult], source_id: bytes, present_gain: float, machine: Machine
) -> Belief:
    share_that_beats = math.exp(-present_gain / _usual_gain(prior, results, machine))
    rate = min(1 - LEAST_SUCCESS_RATE, max(LEAST_SUCCESS_RATE, prior.success * share_that_beats))
    successes = PRIOR_TRIALS * rate
    failures = PRIOR_TRIALS * (1 - rate)
    gains = _ShrunkMean(prior.gain, PRIOR_GAINS)
    runs = _ShrunkMean(_runs_expected(prior, machine), PRIOR_COSTS)
    log_costs = _ShrunkMean(0.0, PRIOR_COSTS)  # a run is expected to cost as much as its parent's
    tried = kept = 0
    for result in results:
        own = result.proposer == arm.proposer
        here = result.parent == source_id
        weight = (1.0 if own else OTHER_PROPOSER) * _class_weight(result, machine)
        # Runs and costs are counted at full weight from any parent: they hardly depend on it.
        runs.add(result.runs, weight)
        if result.cost_ratio is not None:
            log_costs.add(math.log(min(MOST_COST, max(1 / MOST_COST, result.cost_ratio))), weight)
        gain = _gain(result)
        tried += own
        kept += own and gain is not None
        weight *= 1.0 if here else OTHER_PARENT
        if gain is None:
            failures += 0.0 if result.deferred else weight  # a deferred idea is neither a success nor a failure
            continue
        # On another source the idea started from less: here it would add only what it exceeds the present gain by.
        excess = gain - (0.0 if here else present_gain)
        if excess > 0:
            successes += weight
            gains.add(excess, weight)
    seconds_per_run = machine.seconds_per_run * math.exp(log_costs.mean)
    seconds = machine.thinking.get(arm.proposer, 0.0) + seconds_per_run * runs.mean
    return Belief(arm, successes, failures, gains.mean, runs.mean, max(seconds, 1e-9), tried, kept)


class _ShrunkMean:
    """A weighted mean that begins at a prior, which counts with a weight of its own."""

    def __init__(self, prior: float, weight: float) -> None:
        self._total = weight * prior
        self._weight = weight

    def add(self, value: float, weight: float) -> None:
        self._total += weight * value
        self._weight += weight

    @property
    def mean(self) -> float:
        return self._total / self._weight


def _class_weight(result: TriedResult, machine: Machine) -> float:
    return 1.0 if result.compute_class == machine.compute_class else OTHER_CLASS


def _usual_gain(prior: Prior, results: Sequence[TriedResult], machine: Machine) -> float:
    """The gain of the category's successes, on any source, shrunk towards the prior."""
    gains = _ShrunkMean(prior.gain, PRIOR_GAINS)
    for result in results:
        gain = _gain(result)
        if gain is not None:
            gains.add(gain, _class_weight(result, machine))
    return gains.mean


def _gain(result: TriedResult) -> float | None:
    """The gain (−J) of a success, None of any other result."""
    if result.decision != Decision.IMPROVED or result.effect is None:
        return None
    return min(MOST_GAIN, max(0.0, -result.effect))


def _runs_expected(prior: Prior, machine: Machine) -> float:
    """Runs expected of a trial before any was made: the smaller the gain beside the noise, the more pairs it takes.

    A gain g is c standard errors from zero after (c · noise / g)² pairs. Prior success rate 0.3, gain 2 %, noise 1 %:
    (2.5 · 0.01 / 0.02)² = 1.56 pairs, so 1 + 0.3 · 2 · 1.56 + 0.7 · 1 = 2.6 runs.
    """
    pairs = min(float(machine.max_pairs), max(1.0, (CLEAR * machine.noise / prior.gain) ** 2))
    return 1.0 + prior.success * 2 * pairs + (1 - prior.success) * FALSE_START_RUNS


def ranking(
    believed: Sequence[Belief], rng: random.Random, peers_by_category: Mapping[str, int] | None = None
) -> list[Arm]:
    """The arms in the order in which to ask them: by sampled scores, or, in a share EXPLORED of the calls, shuffled.

    peers_by_category: how many peers are trying ideas of each category. As these replace one another and only one will
    stay, an idea's share of the category's expected gain is 1 / (1 + peers), but at least LEAST_SHARE: with one peer a
    half, with four or more a fifth.
    """
    arms = [belief.arm for belief in believed]
    if rng.random() < EXPLORED:
        rng.shuffle(arms)
        return arms
    shares = {category: max(LEAST_SHARE, 1 / (1 + peers)) for category, peers in (peers_by_category or {}).items()}
    shares[ANY_CATEGORY] = 1.0  # its ideas are of any category, whatever peers call theirs
    sampled = [belief.draw(rng) * shares.get(belief.arm.category, 1.0) for belief in believed]
    return [arms[index] for index in sorted(range(len(arms)), key=lambda index: -sampled[index])]


def chances(believed: Sequence[Belief], rng: random.Random, draws: int = DRAWS) -> dict[Arm, float]:
    """The probability that each arm is asked first, estimated from `draws` samples."""
    first = dict.fromkeys((belief.arm for belief in believed), 0)
    for _ in range(draws if believed else 0):
        _, arm = max((belief.draw(rng), belief.arm) for belief in believed)
        first[arm] += 1
    floor = EXPLORED / max(1, len(first))
    return {arm: floor + (1 - EXPLORED) * count / draws for arm, count in first.items()}
