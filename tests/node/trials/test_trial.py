"""A trial makes as few runs as it can, each at the seed it should have, and in their order."""

from __future__ import annotations

import math
import random

import pytest

from node.trials.sequential_test import SequentialTest
from node.trials.trial import replicate_trial, run_trial, unscreened_trial
from tests.node.trials.simulated_machine import (
    CHILD,
    NOISE,
    PARENT,
    PARENT_SEED,
    STATISTICS,
    Machine,
    at_another_time,
    constant,
    seed_of_pair,
)

SEEDS = (11, 12)


async def test_a_child_that_is_no_better_costs_one_run() -> None:
    machine = constant(+0.001)
    trial = await machine.trial()
    assert (trial.decision, trial.pairs) == ("no_gain", ())
    assert trial.effect is not None
    assert trial.effect.mean == pytest.approx(0.001)
    assert machine.seeds(CHILD) == [PARENT_SEED]


async def test_a_large_gain_is_accepted_on_fresh_seeds_only() -> None:
    machine = constant(-0.2)
    trial = await machine.trial()
    assert trial.decision == "improved"
    assert trial.effect is not None
    assert trial.effect.n == len(trial.pairs)
    assert PARENT_SEED not in [pair.seed for pair in trial.pairs]
    assert machine.seeds(CHILD) == machine.seeds(PARENT) == [PARENT_SEED, *(pair.seed for pair in trial.pairs)]


async def test_a_gain_beyond_chance_needs_no_other_pair_than_the_screening() -> None:
    machine = constant(-0.2)
    trial = await machine.trial(seed_is_fair=True)
    assert (trial.decision, trial.screening) == ("improved", None)
    assert [pair.seed for pair in trial.pairs] == machine.seeds(CHILD) == [PARENT_SEED]
    assert trial.effect is not None
    assert trial.effect.mean == pytest.approx(-0.2)


async def test_a_gain_that_may_be_paid_for_in_time_is_tried_again() -> None:
    """The parent was run long ago, so what the child's longer time says is for a fresh pair to show."""
    machine = at_another_time(-0.2, 12.0)
    trial = await machine.trial(seed_is_fair=True)
    assert PARENT_SEED not in [pair.seed for pair in trial.pairs]
    assert (await at_another_time(-0.2, 12.0).trial(seed_is_fair=True, least_cost=0.005)).screening is not None
    as_cheap = await at_another_time(-0.2, 10.0).trial(seed_is_fair=True)
    assert (as_cheap.screening, as_cheap.alternated) == (None, ())


async def test_pairs_that_were_run_already_are_counted_before_a_trial_gives_way_to_other_ideas() -> None:
    """After the first pair other ideas are expected to gain more; where four were made at once, all of them count."""

    def value(which: bytes, seed: int) -> float:
        return 4.0 * math.exp(-0.02 if which == CHILD else 0.0)

    alone, many = Machine(value), Machine(value)
    test = SequentialTest(NOISE, STATISTICS, opportunity_cost=0.006)
    found = [
        await unscreened_trial(machine.pair, PARENT, CHILD, test, seed_of_pair, parallel_runs=parallel_runs)
        for machine, parallel_runs in ((alone, 1), (many, 4))
    ]
    assert [(trial.decision, len(trial.pairs)) for trial in found] == [("unclear", 1), ("improved", 3)]


async def test_a_child_that_fails_ends_its_trial_with_the_reason() -> None:
    machine = Machine(lambda which, seed: None if which == CHILD else 4.0)
    trial = await machine.trial()
    assert (trial.decision, trial.failure, trial.log_tail) == ("failed", "exception", "the last line")
    assert trial.effect is None
    assert len(machine.runs) == 2


async def test_a_child_that_fails_on_fresh_seeds_fails() -> None:
    machine = Machine(lambda which, seed: None if which == CHILD and seed != PARENT_SEED else 4.0 - (which == CHILD))
    trial = await machine.trial()
    assert trial.decision == "failed"
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
    values = {seed: noise.gauss(-0.006, 0.01) for seed in fresh_seeds(8)} | {PARENT_SEED: -0.02}

    def value(which: bytes, seed: int) -> float:
        return 4.0 * math.exp(values[seed] if which == CHILD else 0.0)

    alone, many = Machine(value), Machine(value)
    test = SequentialTest(NOISE, STATISTICS)
    expected = await run_trial(alone.pair, PARENT, CHILD, PARENT_SEED, test, seed_of_pair)
    found = await run_trial(many.pair, PARENT, CHILD, PARENT_SEED, test, seed_of_pair, parallel_runs=3)
    assert found == expected
    assert len(expected.pairs) > 1
    assert len(many.runs) % 6 == 2  # both screening runs, and three pairs at a time


async def test_what_is_dropped_at_the_screening_is_reported_by_its_metric_alone() -> None:
    trial = await at_another_time(-0.001, 14.0).trial()
    assert (trial.decision, trial.pairs, trial.cost_ratio, trial.alternated) == ("no_gain", (), None, ())
    assert trial.effect is not None
    assert trial.effect.mean == pytest.approx(-0.001)


async def test_a_trial_says_which_of_its_pairs_measured_cost() -> None:
    trial = await constant(-0.02).trial()
    assert trial.alternated == tuple(pair.seed for pair in trial.pairs)
    machine = constant(-0.001)
    machine.screens_in_turns = True
    assert (await machine.trial()).alternated == (PARENT_SEED,)


async def test_both_pairs_of_a_replication_can_be_made_side_by_side() -> None:
    machine = constant(-0.02)
    trial = await replicate_trial(machine.pair, PARENT, CHILD, NOISE, STATISTICS, SEEDS, parallel_runs=4)
    assert (trial.decision, len(trial.pairs)) == ("supports", 2)


def fresh_seeds(count: int) -> list[int]:
    return [seed_of_pair(number) for number in range(1, count + 1)]
