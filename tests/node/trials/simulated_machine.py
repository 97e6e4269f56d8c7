"""A machine for tests of trials: what a run's value and CPU time are, a function says. Nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Callable

from node.ledger.outcome import Outcome, PairOutcome
from node.objective.schema import Statistics
from node.trials.sequential_test import SequentialTest
from node.trials.statistics import Noise
from node.trials.trial import Trial, unscreened_trial
from tests.node.records_for_tests import source

PARENT, CHILD = source("parent"), source("child")
STATISTICS = Statistics()
NOISE = Noise(0.01, 0.05)
PARENT_SEED = 5


def seed_of_pair(number: int) -> int:
    return 1000 + number


def outcome(value: float | None, failure: str | None = None, cpu: float = 10.0) -> Outcome:
    return Outcome(value, {}, (), 1000, cpu, cpu, 1 << 20, failure, "the last line" if failure else "", "bwrap")


class Machine:
    """A machine on which a run's value is what a function says, and that writes down what it ran."""

    def __init__(
        self, value: Callable[[bytes, int], float | None], cpu_seconds: Callable[[], float] = lambda: 10.0
    ) -> None:
        self._value = value
        self._cpu_seconds = cpu_seconds
        self.runs: list[tuple[bytes, int]] = []

    async def pair(self, parent: bytes, child: bytes, seed: int) -> PairOutcome:
        before, tried = self.run(parent, seed), self.run(child, seed)
        return PairOutcome(before, tried, seed != PARENT_SEED)

    def run(self, source: bytes, seed: int) -> Outcome:
        self.runs.append((source, seed))
        value = self._value(source, seed)
        return outcome(value, None if value is not None else "exception", self._cpu_seconds())

    async def trial(self, parallel_runs: int = 1) -> Trial:
        test = SequentialTest(NOISE, STATISTICS)
        return await unscreened_trial(self.pair, PARENT, CHILD, test, seed_of_pair, parallel_runs)

    def seeds(self, source: bytes) -> list[int]:
        return [seed for ran, seed in self.runs if ran == source]


def constant(effect: float) -> Machine:
    return Machine(lambda which, seed: 4.0 * math.exp(effect if which == CHILD else 0.0))


def at_cost(effect: float, ratio: float) -> Machine:
    """A child of which every run costs `ratio` times its parent's."""
    machine = constant(effect)
    machine._cpu_seconds = lambda: 10.0 * (ratio if machine.runs[-1][0] == CHILD else 1.0)
    return machine


def at_another_time(effect: float, cpu_seconds: float) -> Machine:
    """The parent's screening run took 10 s, the child's `cpu_seconds`; since then all runs cost the same."""
    costs = iter([10.0, cpu_seconds])
    return Machine(lambda which, seed: 4.0 * math.exp(effect if which == CHILD else 0.0), lambda: next(costs, 14.0))
