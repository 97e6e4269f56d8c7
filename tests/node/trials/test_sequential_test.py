"""The sequential test accepts rarely what is no gain, mostly what is one, and gives up what is not worth more runs."""

from __future__ import annotations

import math
import random

import pytest

from node.trials.sequential_test import SequentialTest, fair_screening_seed
from node.trials.statistics import Z_ONE_SIDED
from node.trials.trial import Trial, run_trial, unscreened_trial
from protocol.records import Effect, Pair, Run
from tests.node.trials.simulated_machine import (
    CHILD,
    NOISE,
    PARENT,
    PARENT_SEED,
    STATISTICS,
    Machine,
    at_another_time,
    at_cost,
    constant,
    seed_of_pair,
)


@pytest.mark.parametrize("gain", [0.012, 0.05])
async def test_a_gain_that_may_be_chance_is_tried_again(gain: float) -> None:
    trial = await constant(-gain).trial(seed_is_fair=True)
    assert trial.screening is not None
    assert PARENT_SEED not in [pair.seed for pair in trial.pairs]
    assert trial.pairs


def screened_in_turns(effect: float, ratio: float) -> Machine:
    machine = at_cost(effect, ratio)
    machine.screens_in_turns = True
    return machine


async def test_what_is_kept_at_the_screening_pays_for_its_time() -> None:
    expensive = await screened_in_turns(-0.2, 3.0).trial(seed_is_fair=True)
    assert expensive.screening is not None
    cheap = await screened_in_turns(-0.2, 1.5).trial(seed_is_fair=True)
    assert (cheap.decision, cheap.screening) == ("improved", None)
    assert cheap.effect is not None
    assert cheap.effect.mean == pytest.approx(-0.2 + STATISTICS.slope * math.log(1.5))


async def test_one_measurement_of_time_is_not_enough_for_a_gain_in_time() -> None:
    for machine in (at_cost(-0.001, 0.3), screened_in_turns(-0.001, 0.3)):
        trial = await machine.trial(seed_is_fair=True)
        assert len(trial.pairs) > 1
        assert PARENT_SEED not in [pair.seed for pair in trial.pairs]


async def test_a_faster_child_claims_no_gain_in_time_by_one_pair() -> None:
    trial = await screened_in_turns(-0.2, 0.5).trial(seed_is_fair=True)
    assert (trial.decision, len(trial.pairs)) == ("improved", 1)
    assert trial.effect is not None
    assert trial.effect.mean == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("gain", "opportunity_cost", "decision", "pairs"),
    [
        (0.012, 0.0, "improved", 4),
        (0.012, 0.002, "unclear", 0),
        (0.04, 0.002, "improved", 2),
        (0.04, 0.1, "unclear", 0),
        (0.2, 0.1, "improved", 1),
    ],
)
async def test_an_idea_is_given_up_where_others_are_expected_to_gain_more(
    gain: float, opportunity_cost: float, decision: str, pairs: int
) -> None:
    """The others are expected to gain `opportunity_cost` per run."""
    test = SequentialTest(NOISE, STATISTICS, opportunity_cost=opportunity_cost)
    trial = await run_trial(constant(-gain).pair, PARENT, CHILD, PARENT_SEED, test, seed_of_pair)
    assert (trial.decision, len(trial.pairs)) == (decision, pairs)


def test_a_new_parent_is_screened_where_it_was_run_unless_chance_may_have_chosen_that_run() -> None:
    pair = Pair(7, Run(4.0, 10.0, 1000, (), None), Run(3.0, 10.0, 1000, (), None))
    assert fair_screening_seed((pair,), Effect(-0.2, 0.01, 1)) == 7
    assert fair_screening_seed((pair,), Effect(-0.04, 0.01, 1)) is None
    assert fair_screening_seed((pair, pair), Effect(-0.2, 0.01, 2)) is None
    failed = Pair(6, pair.parent, Run(None, 1.0, 10, (), "diverged"))
    assert fair_screening_seed((failed, pair), Effect(-0.2, 0.01, 1)) == 7
    assert fair_screening_seed((), Effect(-0.2, 0.01, 1)) is None


async def test_a_lucky_screening_run_is_found_out() -> None:
    machine = Machine(lambda which, seed: 4.0 * math.exp(-0.05 if which == CHILD and seed == PARENT_SEED else 0.0))
    trial = await machine.trial()
    assert trial.decision == "no_gain"
    assert len(trial.pairs) == 1
    assert trial.effect is not None
    assert trial.effect.mean == 0.0


async def test_a_doubtful_gain_is_given_up_after_six_pairs() -> None:
    machine = constant(-0.0075)
    trial = await machine.trial()
    assert (trial.decision, len(trial.pairs)) in (("unclear", 6), ("improved", 6), ("improved", 5))


async def test_a_gain_that_will_hardly_be_accepted_is_given_up_early() -> None:
    machine = Machine(
        lambda which, seed: 4.0 * math.exp((-0.01 if seed == PARENT_SEED else -0.004) if which == CHILD else 0)
    )
    trial = await machine.trial()
    assert trial.decision == "unclear"
    assert len(trial.pairs) == 1


async def test_a_child_that_is_better_but_much_slower_is_not_accepted() -> None:
    for machine in (at_cost(-0.05, 2.0), screened_in_turns(-0.05, 2.0)):
        trial = await machine.trial()
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


async def test_a_child_is_not_dropped_for_time_that_the_machine_may_have_caused() -> None:
    trial = await at_another_time(-0.02, 19.0).trial()
    assert trial.decision == "improved"
    assert trial.cost_ratio == pytest.approx(1.0)


async def test_a_screening_in_turns_drops_what_takes_too_long() -> None:
    trial = await screened_in_turns(-0.02, 4.0).trial()
    assert (trial.decision, trial.pairs, trial.cost_ratio) == ("no_gain", (), pytest.approx(4.0))
    assert trial.effect is not None
    assert trial.effect.mean == pytest.approx(-0.02 + STATISTICS.slope * math.log(4.0))


async def test_a_child_that_is_only_faster_passes_the_screening() -> None:
    assert len((await at_another_time(0.0, 5.0).trial()).pairs) > 0
    assert len((await at_another_time(0.0, 8.0).trial()).pairs) > 0


async def test_a_child_is_faster_only_if_it_takes_less_than_its_parent_ever_did() -> None:
    """The parent's run at the screening may have met a load that others of its runs did not."""
    assert (await at_another_time(0.0, 8.0).trial(least_cost=0.0082)).pairs == ()


CLAIMED = SequentialTest(NOISE, STATISTICS, Z_ONE_SIDED)


@pytest.mark.parametrize(
    ("effect", "decision", "pairs"), [(0.001, "no_gain", 1), (-0.008, "improved", 3), (-0.02, "improved", 1)]
)
async def test_a_claim_is_borne_out_by_one_clear_pair_or_by_some(effect: float, decision: str, pairs: int) -> None:
    machine = constant(effect)
    trial = await unscreened_trial(machine.pair, PARENT, CHILD, CLAIMED, seed_of_pair)
    assert (trial.decision, len(trial.pairs)) == (decision, pairs)
    assert trial.effect is not None
    assert trial.effect.mean == pytest.approx(effect)


async def test_one_pair_is_not_enough_for_a_gain_in_time() -> None:
    trial = await unscreened_trial(at_another_time(-0.005, 5.0).pair, PARENT, CHILD, CLAIMED, seed_of_pair)
    assert trial.pairs[0].child.cpu_seconds < trial.pairs[0].parent.cpu_seconds
    assert len(trial.pairs) > 1


async def test_what_is_claimed_to_be_a_gain_is_seldom_taken_for_one_where_there_is_none() -> None:
    dice = random.Random(5)

    def taken(effect: float) -> Machine:
        return Machine(
            lambda which, seed: (
                4.0 * math.exp((effect if which == CHILD else 0.0) + dice.gauss(0, NOISE.metric / math.sqrt(2)))
            )
        )

    for effect, least, most in ((0.01, 0.0, 0.05), (0.0, 0.1, 0.3), (-0.02, 0.9, 1.0)):
        trials = [await unscreened_trial(taken(effect).pair, PARENT, CHILD, CLAIMED, seed_of_pair) for _ in range(500)]
        assert least <= sum(trial.decision == "improved" for trial in trials) / 500 <= most
