"""What a node believes of its arms, and how it draws the next one: Thompson sampling, as pure functions.

An arm is a category of ideas with a proposer that has some. It is worth what a second spent on it is expected to
bring: chance of success × gain of a success ÷ seconds of a trial on this machine. It knows results and figures, no
ledger, no proposer and no clock, so that a node, a table and a simulation can all run the same code. Source of the
rule and its figures: DESIGN.md, "Strategy by compute class".

Gains are −J, in ln(metric), positive is better.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from node.objective.schema import Prior
from node.proposers.proposer import TriedResult

PRIOR_TRIALS = 6.0  # trials that the prior chance of success counts for
PRIOR_GAINS = 2.0  # successes that the prior gain counts for
PRIOR_COSTS = 4.0  # trials that the expected number of runs counts for
OTHER_CLASS = 0.3  # weight of what another compute class found
OTHER_PARENT = 0.5  # weight of what was found on another parent
OTHER_PROPOSER = 0.3  # weight of what another proposer's ideas of the category came to
EXPLORED = 0.1  # share of the choices that are made evenly among all arms
CLEAR = 2.5  # standard errors by which the sequential test wants a gain to show
FALSE_START_RUNS = 1.0  # by which an idea without a gain exceeds its screening run, on average
DRAWS = 2000
ANY_CATEGORY = "whatever"  # the category of the arm of a proposer that brings what it has
LEAST_CHANCE = 0.005
LEAST_SHARE = 0.2  # of what a category promises, however many peers say that they are at it
MOST_GAIN = 0.5  # that one result can teach: records are their authors' word
MOST_COST = 4.0  # factor, either way, that one result can teach


@dataclass(frozen=True, order=True)
class Arm:
    """A category of ideas, asked of one proposer."""

    category: str
    proposer: str


@dataclass(frozen=True)
class Machine:
    """What trials cost here. `noise` is the standard deviation of a pair's Δ ln(metric); `thinking` the seconds that a
    proposer takes for an idea."""

    compute_class: str
    seconds_per_run: float
    noise: float
    max_pairs: int
    thinking: Mapping[str, float]


@dataclass(frozen=True)
class Belief:
    """What is believed of an arm. The chance of success is Beta(successes, failures), the prior included."""

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
        return self.successes / (self.successes + self.failures)

    @property
    def deviation(self) -> float:
        """The standard deviation of the chance."""
        return math.sqrt(self.chance * (1 - self.chance) / (self.successes + self.failures + 1))

    @property
    def score(self) -> float:
        """Gain expected per second of this machine."""
        return self.chance * self.gain / self.seconds

    def draw(self, rng: random.Random) -> float:
        """A score with a chance of success drawn from what is believed of it."""
        return rng.betavariate(self.successes, self.failures) * self.gain / self.seconds


DEFAULT_PRIOR = Prior(0.1, 0.01)  # of a category that the objective says nothing of


def beliefs(
    arms: Iterable[Arm],
    priors: Mapping[str, Prior],
    results: Sequence[TriedResult],
    source_id: bytes,
    gain_by_category: Mapping[str, float],
    machine: Machine,
) -> list[Belief]:
    """What to think of each arm for a hypothesis on this source, in the order of the arms.

    banked: gain that the source already has from each category. Ideas of a category replace rather than add to one
    another, so a success on another source counts by what it is better than that; and if gains are exponentially
    distributed, the share of ideas that beat what is banked is exp(−banked/usual gain).
    """
    by_category: dict[str, list[TriedResult]] = {}
    by_proposer: dict[str, list[TriedResult]] = {}
    for result in results:
        by_category.setdefault(result.category, []).append(result)
        by_proposer.setdefault(result.proposer, []).append(result)
    return [
        _belief(
            arm,
            priors.get(arm.proposer if arm.category == ANY_CATEGORY else arm.category, DEFAULT_PRIOR),
            by_proposer.get(arm.proposer, []) if arm.category == ANY_CATEGORY else by_category.get(arm.category, []),
            source_id,
            gain_by_category.get(arm.category, 0.0),
            machine,
        )
        for arm in arms
    ]


def _belief(
    arm: Arm, prior: Prior, results: Sequence[TriedResult], source_id: bytes, present_gain: float, machine: Machine
) -> Belief:
    beaten = math.exp(-present_gain / _usual_gain(prior, results, machine))
    chance = min(1 - LEAST_CHANCE, max(LEAST_CHANCE, prior.success * beaten))
    successes, failures = PRIOR_TRIALS * chance, PRIOR_TRIALS * (1 - chance)
    gains, gain_weight = PRIOR_GAINS * prior.gain, PRIOR_GAINS
    runs, run_weight = PRIOR_COSTS * _runs_expected(prior, machine), PRIOR_COSTS
    costs, cost_weight = 0.0, PRIOR_COSTS
    tried = kept = 0
    for result in results:
        own = result.proposer == arm.proposer
        here = result.parent == source_id
        weight = (1.0 if own else OTHER_PROPOSER) * (
            1.0 if result.compute_class == machine.compute_class else OTHER_CLASS
        )
        runs, run_weight = runs + weight * result.runs, run_weight + weight
        if result.cost_ratio is not None:
            ratio = min(MOST_COST, max(1 / MOST_COST, result.cost_ratio))
            costs, cost_weight = costs + weight * math.log(ratio), cost_weight + weight
        gain = _gain(result)
        tried, kept = tried + own, kept + (own and gain is not None)
        weight *= 1.0 if here else OTHER_PARENT
        if gain is None:
            failures += 0.0 if result.left else weight
            continue
        excess = gain - (0.0 if here else present_gain)
        if excess > 0:
            successes += weight
            gains, gain_weight = gains + weight * excess, gain_weight + weight
    a_run = machine.seconds_per_run * math.exp(costs / cost_weight)
    seconds = machine.thinking.get(arm.proposer, 0.0) + a_run * runs / run_weight
    return Belief(arm, successes, failures, gains / gain_weight, runs / run_weight, max(seconds, 1e-9), tried, kept)


def _usual_gain(prior: Prior, results: Sequence[TriedResult], machine: Machine) -> float:
    """The gain of the category's successes, on whatever source, shrunk towards the prior."""
    gains, weights = PRIOR_GAINS * prior.gain, PRIOR_GAINS
    for result in results:
        gain = _gain(result)
        if gain is not None:
            weight = 1.0 if result.compute_class == machine.compute_class else OTHER_CLASS
            gains, weights = gains + weight * gain, weights + weight
    return gains / weights


def _gain(result: TriedResult) -> float | None:
    """The gain of a success, None of anything else."""
    if result.decision != "improved" or result.effect is None:
        return None
    return min(MOST_GAIN, max(0.0, -result.effect))


def _runs_expected(prior: Prior, machine: Machine) -> float:
    """Runs of a trial before any was made: the smaller the gain beside the noise, the more pairs until it is clear."""
    pairs = min(float(machine.max_pairs), max(1.0, (CLEAR * machine.noise / prior.gain) ** 2))
    return 1.0 + prior.success * 2 * pairs + (1 - prior.success) * FALSE_START_RUNS


def ranking(
    believed: Sequence[Belief], rng: random.Random, peers_by_category: Mapping[str, int] | None = None
) -> list[Arm]:
    """The arms in the order in which to ask them: by drawn scores, or, for the explored share, in any order.

    crowds: how many peers are trying ideas of each category. As these replace one another and only one will stay, an
    idea's share of what the category promises is that much smaller, but not less than a share of LEAST_SHARE.
    """
    arms = [belief.arm for belief in believed]
    if rng.random() < EXPLORED:
        rng.shuffle(arms)
        return arms
    shares = {category: max(LEAST_SHARE, 1 / (1 + peers)) for category, peers in (peers_by_category or {}).items()}
    shares[ANY_CATEGORY] = 1.0  # ideas of any category
    drawn = [belief.draw(rng) * shares.get(belief.arm.category, 1.0) for belief in believed]
    return [arms[place] for place in sorted(range(len(arms)), key=lambda place: -drawn[place])]


def chances(believed: Sequence[Belief], rng: random.Random, draws: int = DRAWS) -> dict[Arm, float]:
    """The probability that each arm is asked first, by drawing."""
    first = dict.fromkeys((belief.arm for belief in believed), 0)
    for _ in range(draws if believed else 0):
        first[max((belief.draw(rng), belief.arm) for belief in believed)[1]] += 1
    floor = EXPLORED / max(1, len(first))
    return {arm: floor + (1 - EXPLORED) * count / draws for arm, count in first.items()}
