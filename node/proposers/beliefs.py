"""What a node believes of its arms, and how it samples the next one: Thompson sampling, as pure functions.

An arm is a category of ideas with a proposer that has some. Its score is the gain expected of a second spent on it:
success rate × gain of a success ÷ seconds of a trial on this machine. The success rate has a Beta posterior, from which
it is sampled (Thompson 1933; Chapelle and Li 2011); gain and seconds are shrunk means. A result is a success by the
chance, given its effect and error, that the idea helps (`node.trials.gain_posterior`). Results of other compute
classes, parents and proposers count with less weight. docs/strategy.md explains the rule, scripts/simulate_strategy.py
tries it in a made-up world.

It knows results and figures, no ledger, no proposer and no clock, so that a node, a table and a simulation can all run
the same code. Gains are −J, in ln(metric), positive is better.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from node.objective.schema import Prior
from node.proposers.proposer import TriedResult
from node.proposers.reopening import Distance
from node.trials.gain_posterior import GainPrior, gain_prior, posterior
from protocol.records import Decision

PRIOR_TRIALS = 6.0  # trials that the prior success rate counts for
PRIOR_GAINS = 2.0  # successes that the prior gain counts for
PRIOR_COSTS = 4.0  # trials that the expected number of runs counts for
OTHER_CLASS = 0.3  # weight of a result from another compute class
OTHER_PARENT = 0.5  # weight of a result on another parent
FAR_PARENT = 0.25  # weight of one on an earlier source of this lineage, where much has changed since
OTHER_PROPOSER = 0.3  # weight of a result of another proposer's idea of the category
EXPLORED = 0.1  # share of the choices that are made evenly among the open arms (epsilon-greedy)
EXPLORED_CLOSED = 0.02  # share of the choices, among those, that are made evenly among all, so that none is given up
CLOSED_SHARE = 0.05  # an arm is closed whose score, hopefully taken, is under this share of the best arm's
DOUBTFUL = 0.25  # share of the ideas that get a second look, where the usual gain is no larger than the noise; a guess
LOOK_RUNS = 2.0  # of a second look: parent and child at a fresh seed
LEAST_ERROR = 1e-4  # standard error (ln) of a result, below which it is known anyway
DRAWS = 2000  # samples for a shown probability, which is then right to about one per cent
ANY_CATEGORY = "whatever"  # the category of the arm of a proposer that has none
LEAST_SUCCESS_RATE = 0.005  # Beta needs both parameters above 0, however large the gain at hand
LEAST_SHARE = 0.2  # of a category's expected gain, however many peers say that they are trying it
MOST_GAIN = 0.5  # ln(metric) that one result can teach: records are their authors' word
STRANGERS_TRIALS = 4.0  # that all results of authors not proven count for in an arm; its prior counts for 6
STRANGERS_GAINS = 2.0  # times the prior's, the largest gain that one of theirs can teach; a guess
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

    @property
    def hopeful_score(self) -> float:
        """The score with a success rate that is one standard deviation higher."""
        return (self.chance + self.deviation) * self.gain / self.seconds

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
    distances: Mapping[bytes, Distance] | None = None,
) -> list[Belief]:
    """The belief of each arm for a hypothesis on this source, in the order of the arms.

    distances: how far the source is from those that it was made from; what was found on a far one hardly counts.
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
        prior = priors.get(name, DEFAULT_PRIOR)
        believed.append(_belief(arm, prior, about, _Here(source_id, distances or {}), present_gain, machine))
    return believed


@dataclass(frozen=True)
class _Here:
    """The source in question, and how far it is from those that it was made from."""

    source_id: bytes
    distances: Mapping[bytes, Distance]

    def weight(self, result: TriedResult) -> float:
        """Of a result, by the source it was found on."""
        if result.parent == self.source_id:
            return 1.0
        distance = self.distances.get(result.parent)
        return FAR_PARENT if distance is not None and distance.is_far() else OTHER_PARENT


def _belief(
    arm: Arm, prior: Prior, results: Sequence[TriedResult], here: _Here, present_gain: float, machine: Machine
) -> Belief:
    counted = _author_weights(results)
    share_that_beats = math.exp(-present_gain / _usual_gain(prior, results, machine, counted))
    rate = min(1 - LEAST_SUCCESS_RATE, max(LEAST_SUCCESS_RATE, prior.success * share_that_beats))
    successes = PRIOR_TRIALS * rate
    failures = PRIOR_TRIALS * (1 - rate)
    gains = _ShrunkMean(prior.gain, PRIOR_GAINS)
    runs = _ShrunkMean(_runs_expected(prior, machine), PRIOR_COSTS)
    log_costs = _ShrunkMean(0.0, PRIOR_COSTS)  # a run is expected to cost as much as its parent's
    tried = kept = 0
    for result in results:
        own = result.proposer == arm.proposer
        weight = (1.0 if own else OTHER_PROPOSER) * _class_weight(result, machine) * counted[result.proven]
        # Runs and costs are counted at full weight from any parent: they hardly depend on it.
        runs.add(result.runs, weight)
        if result.cost_ratio is not None:
            log_costs.add(math.log(min(MOST_COST, max(1 / MOST_COST, result.cost_ratio))), weight)
        tried += own
        kept += own and result.gained
        weight *= here.weight(result)
        if result.effect is None and result.deferred:
            continue  # neither a success nor a failure
        success = _success(prior, result)
        failures += weight * (1 - success.chance)
        # On another source the idea started from less: here it would add only what it exceeds the present gain by.
        excess = success.gain - (0.0 if result.parent == here.source_id else present_gain)
        if excess > 0:
            successes += weight * success.chance
            gains.add(excess, weight * success.chance)
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


def _usual_gain(prior: Prior, results: Sequence[TriedResult], machine: Machine, counted: Mapping[bool, float]) -> float:
    """The gain of the category's successes, on any source, shrunk towards the prior. counted: as `_author_weights`."""
    gains = _ShrunkMean(prior.gain, PRIOR_GAINS)
    for result in results:
        success = _success(prior, result)
        gains.add(success.gain, _class_weight(result, machine) * counted[result.proven] * success.chance)
    return gains.mean


def _author_weights(results: Iterable[TriedResult]) -> dict[bool, float]:
    """By whether its author is proven, the weight of a result: those of strangers share STRANGERS_TRIALS."""
    strangers = sum(not result.proven for result in results)
    return {True: 1.0, False: min(1.0, STRANGERS_TRIALS / max(1, strangers))}


@dataclass(frozen=True)
class _Success:
    """How far a result is a success. chance: that the idea helps, 0 to 1. gain: ln(metric), if it does."""

    chance: float
    gain: float


def _success(prior: Prior, result: TriedResult) -> _Success:
    """What a result says of its idea.

    Worked example: one idea in five helps, by 2 %. A run that shows 1 % ± 1 % has the chance .31 and, if the idea
    helps, a gain of 1 %: it counts as .31 of a success and .69 of a failure. A crash, and a run that was ended early,
    are failures. Where no error is known, the author's word counts.
    """
    if result.effect is None or result.ended_early or result.decision == Decision.FAILED:
        return _Success(0.0, 0.0)
    most = MOST_GAIN if result.proven else min(MOST_GAIN, STRANGERS_GAINS * (prior.gain or DEFAULT_PRIOR.gain))
    seen = min(most, max(-MOST_GAIN, -result.effect))
    if result.error is None:
        return _Success(float(result.gained), max(0.0, seen))
    error = max(LEAST_ERROR, result.error)
    if not 0 < prior.success < 1 or prior.gain <= 0:
        prior = DEFAULT_PRIOR
    helps = GainPrior(1.0, prior.gain, 0.0, prior.gain)
    return _Success(posterior(gain_prior(prior), seen, error).chance, posterior(helps, seen, error).mean)


def _runs_expected(prior: Prior, machine: Machine) -> float:
    """Runs expected of an idea before any was tried: one, and a second look where that leaves it in doubt.

    The larger the gain beside the noise, the fewer are in doubt. Gain 2 %, noise 1 %: 1 + 2 · 0.25 · 0.5 = 1.25.
    """
    return 1.0 + LOOK_RUNS * DOUBTFUL * min(1.0, machine.noise / max(prior.gain, LEAST_ERROR))


def closed(believed: Sequence[Belief]) -> frozenset[Arm]:
    """The arms that are not worth a run while others have ideas.

    The most that may be expected of them is far below what the best arm brings.

    What counts against an arm fades as the source moves on, so it is open again after a big change.
    """
    best = max((belief.score for belief in believed), default=0.0)
    return frozenset(belief.arm for belief in believed if belief.hopeful_score < CLOSED_SHARE * best)


def at_larger_scale(believed: Iterable[Belief], ratios: Mapping[str, float], rest: float) -> list[Belief]:
    """The beliefs of someone who researches for a larger scale: gains as large as they are expected to be there.

    ratios: gain there for one here, by category. rest: that of the categories of which nothing is known. An idea
    expected to gain 2 % whose category carries over by a half is worth 1 %, and so one that costs half as much is as
    good. A proposer without categories is weighed by `rest`.
    """
    return [replace(belief, gain=belief.gain * ratios.get(belief.arm.category, rest)) for belief in believed]


def ranking(
    believed: Sequence[Belief], rng: random.Random, peers_by_category: Mapping[str, int] | None = None
) -> list[Arm]:
    """The arms in the order in which to ask them: by sampled scores, or, in a share EXPLORED of the calls, shuffled.

    Closed arms come last, but in a share EXPLORED_CLOSED of the calls.

    peers_by_category: how many peers are trying ideas of each category. As these replace one another and only one will
    stay, an idea's share of the category's expected gain is 1 / (1 + peers), but at least LEAST_SHARE: with one peer a
    half, with four or more a fifth.
    """
    arms = [belief.arm for belief in believed]
    shut = closed(believed)
    dice = rng.random()
    if dice < EXPLORED:
        rng.shuffle(arms)
        return arms if dice < EXPLORED_CLOSED else sorted(arms, key=lambda arm: arm in shut)
    shares = {category: max(LEAST_SHARE, 1 / (1 + peers)) for category, peers in (peers_by_category or {}).items()}
    shares[ANY_CATEGORY] = 1.0  # its ideas are of any category, whatever peers call theirs
    sampled = [belief.draw(rng) * shares.get(belief.arm.category, 1.0) for belief in believed]
    order = sorted(range(len(arms)), key=lambda index: (arms[index] in shut, -sampled[index]))
    return [arms[index] for index in order]


def chances(believed: Sequence[Belief], rng: random.Random, draws: int = DRAWS) -> dict[Arm, float]:
    """The probability that each arm is asked first, estimated from `draws` samples."""
    shut = closed(believed)
    open_ones = [belief for belief in believed if belief.arm not in shut]
    first = dict.fromkeys((belief.arm for belief in believed), 0)
    for _ in range(draws if open_ones else 0):
        _, arm = max((belief.draw(rng), belief.arm) for belief in open_ones)
        first[arm] += 1
    of_all = EXPLORED_CLOSED / max(1, len(first))
    of_open = (EXPLORED - EXPLORED_CLOSED) / max(1, len(open_ones))
    return {
        arm: of_all + (0.0 if arm in shut else of_open + (1 - EXPLORED) * count / draws) for arm, count in first.items()
    }
