"""A trial makes as few runs as it can, each at the seed it should have, and in their order."""

from __future__ import annotations

import math
import random

import pytest

from node.trials.trial import replicate_trial
from tests.node.trials.simulated_machine import (
    CHILD,
    NOISE,
    PARENT,
    STATISTICS,
    Machine,
    constant,
    seed_of_pair,
)

SEEDS = (11, 12)


async def test_a_child_that_fails_twice_ends_its_trial_with_the_reason() -> None:
    machine = Machine(lambda which, seed: None if which == CHILD else 4.0)
    trial = await machine.trial()
    assert (trial.decision, trial.failure, trial.log_tail) == ("failed", "exception", "the last line")
    assert trial.effect is None
    assert len(trial.pairs) == 2
    assert machine.seeds(PARENT) == machine.seeds(CHILD)


@pytest.mark.parametrize(
    ("effect", "decision", "pairs"),
    [
        (-0.2, "supports", 1),
        (-0.02, "supports", 2),
        (-0.002, "unclear", 2),
        (0.0, "contradicts", 2),
        (0.02, "contradicts", 2),
        (0.1, "contradicts", 1),
    ],
)
async def test_a_replication_makes_two_pairs_or_one_that_is_enough_and_says_what_they_show(
    effect: float, decision: str, pairs: int
) -> None:
    machine = constant(effect)
    trial = await replicate_trial(machine.pair, PARENT, CHILD, NOISE, STATISTICS, SEEDS)
    assert (trial.decision, trial.screening) == (decision, None)
    assert [pair.seed for pair in trial.pairs] == list(SEEDS[:pairs])


async def test_a_claim_that_does_not_run_here_fails_at_once() -> None:
    machine = Machine(lambda which, seed: None if which == CHILD else 4.0)
    trial = await replicate_trial(machine.pair, PARENT, CHILD, NOISE, STATISTICS, SEEDS)
    assert trial.decision == "failed"
    assert machine.seeds(PARENT) == machine.seeds(CHILD)
    assert len(machine.runs) == 2


async def test_pairs_made_side_by_side_are_decided_on_in_their_order() -> None:
    noise = random.Random(3)
    values = {seed: noise.gauss(-0.006, 0.01) for seed in fresh_seeds(8)}

    def value(which: bytes, seed: int) -> float:
        return 4.0 * math.exp(values[seed] if which == CHILD else 0.0)

    alone, many = Machine(value), Machine(value)
    expected, found = await alone.trial(), await many.trial(parallel_runs=3)
    assert found == expected
    assert len(expected.pairs) > 1
    assert len(many.runs) % 6 == 0  # three pairs at a time


async def test_a_trial_says_which_of_its_pairs_measured_cost() -> None:
    trial = await constant(-0.02).trial()
    assert trial.alternated == tuple(pair.seed for pair in trial.pairs)


async def test_both_pairs_of_a_replication_can_be_made_side_by_side() -> None:
    machine = constant(-0.02)
    trial = await replicate_trial(machine.pair, PARENT, CHILD, NOISE, STATISTICS, SEEDS, parallel_runs=4)
    assert (trial.decision, len(trial.pairs)) == ("supports", 2)


def fresh_seeds(count: int) -> list[int]:
    return [seed_of_pair(number) for number in range(1, count + 1)]
