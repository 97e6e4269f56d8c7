"""The sequential test accepts rarely what is no gain, mostly what is one, and gives up what is not worth more runs."""

from __future__ import annotations

import math
import random

import pytest

from node.trials.trial import Trial
from tests.node.trials.simulated_machine import (
    CHILD,
    NOISE,
    STATISTICS,
    Machine,
    at_another_time,
    at_cost,
    constant,
    seed_of_pair,
)


@pytest.mark.parametrize(
    ("effect", "decision", "pairs"), [(0.001, "no_gain", 1), (-0.02, "improved", 3), (-0.2, "improved", 1)]
)
async def test_a_large_gain_is_proven_by_one_pair_and_a_smaller_one_by_some(
    effect: float, decision: str, pairs: int
) -> None:
    trial = await constant(effect).trial()
    assert (trial.decision, len(trial.pairs)) == (decision, pairs)
    assert trial.effect is not None
    assert trial.effect.mean == pytest.approx(effect)


async def test_what_is_proven_pays_for_its_time() -> None:
    expensive = await at_cost(-0.2, 3.0).trial()
    assert len(expensive.pairs) > 1
    cheap = await at_cost(-0.2, 1.5).trial()
    assert (cheap.decision, len(cheap.pairs)) == ("improved", 1)
    assert cheap.effect is not None
    assert cheap.effect.mean == pytest.approx(-0.2 + STATISTICS.slope * math.log(1.5))


async def test_one_measurement_of_time_is_not_enough_for_a_gain_in_time() -> None:
    assert len((await at_cost(-0.001, 0.3).trial()).pairs) > 1
    once_faster = await at_another_time(-0.005, 5.0).trial()
    assert once_faster.pairs[0].child.cpu_seconds < once_faster.pairs[0].parent.cpu_seconds
    assert len(once_faster.pairs) > 1


async def test_a_faster_child_claims_no_gain_in_time_by_one_pair() -> None:
    trial = await at_cost(-0.2, 0.5).trial()
    assert (trial.decision, len(trial.pairs)) == ("improved", 1)
    assert trial.effect is not None
    assert trial.effect.mean == pytest.approx(-0.2)


async def test_a_doubtful_gain_is_given_up_after_six_pairs() -> None:
    trial = await constant(-0.0075).trial()
    assert (trial.decision, len(trial.pairs)) in (("unclear", 6), ("improved", 6), ("improved", 5))


async def test_a_gain_that_will_hardly_be_accepted_is_given_up_early() -> None:
    trial = await constant(-0.004).trial()
    assert trial.decision == "unclear"
    assert len(trial.pairs) == 1


async def test_a_child_that_is_better_but_much_slower_is_not_accepted() -> None:
    trial = await at_cost(-0.05, 2.0).trial()
    assert trial.decision == "no_gain"
    assert trial.cost_ratio == pytest.approx(2.0)


async def _decisions(effect: float, trials: int) -> list[Trial]:
    def noisy(dice: random.Random) -> Machine:
        """Of a pair's two runs each has its share of the noise, so that their difference is as noisy as expected."""

        def by_chance(deviation: float) -> float:
            return math.exp(dice.gauss(0, deviation / math.sqrt(2)))

        return Machine(
            lambda which, seed: 4.0 * math.exp(effect if which == CHILD else 0.0) * by_chance(NOISE.metric),
            lambda: 10.0 * by_chance(NOISE.cost),
        )

    return [await noisy(random.Random(number)).trial() for number in range(trials)]


async def test_noise_is_rarely_accepted_and_real_gains_mostly_are() -> None:
    nothing = await _decisions(0.0, 1500)
    assert sum(trial.decision == "improved" for trial in nothing) / 1500 < 0.025
    gain = await _decisions(-0.02, 300)
    assert sum(trial.decision == "improved" for trial in gain) / 300 > 0.6


async def test_the_pairs_of_a_trial_are_at_the_seeds_it_was_given() -> None:
    trial = await constant(-0.02).trial()
    assert [pair.seed for pair in trial.pairs] == [seed_of_pair(number) for number in (1, 2, 3)]
