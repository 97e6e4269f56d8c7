"""The rule of bets through its driver, on a machine whose values a function says; and what claims are made of."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from node.objective.schema import Prior
from node.trials.bet_rule import (
    BetRule,
    Verdict,
    attributed,
    chain_of,
    chance_of_proof,
    claim_is_due,
    runs_of_proof,
)
from node.trials.bet_trial import BetTrial, bet_trial
from node.trials.gain_posterior import GainPosterior, gain_prior
from protocol.records import Pair, Run
from tests.node.trials.simulated_machine import CHILD, NOISE, PARENT, PARENT_SEED, STATISTICS, Machine, seed_of_pair

PRIOR = gain_prior(Prior(0.2, 0.02))


def step(mean: float, deviation: float) -> GainPosterior:
    return GainPosterior(mean, deviation, 0.9)


def gains(*of_runs: float) -> Machine:
    """A machine on which the child gains this in its first run, this in the next, and the last from then on."""
    made: list[int] = []

    def value(which: bytes, seed: int) -> float:
        if which == PARENT:
            return 4.0
        made.append(seed)
        return 4.0 * math.exp(-of_runs[min(len(made), len(of_runs)) - 1])

    return Machine(value)


async def tried(machine: Machine, opportunity_cost: float = 0.0, least_cost: float = math.inf) -> BetTrial:
    rule = BetRule(NOISE, STATISTICS, PRIOR, opportunity_cost)
    return await bet_trial(machine.pair, PARENT, CHILD, PARENT_SEED, rule, seed_of_pair, least_cost)


async def test_a_large_gain_is_a_bet_after_one_run() -> None:
    found = await tried(gains(0.08), opportunity_cost=0.001)
    assert (found.is_bet, found.trial.decision, found.trial.pairs) == (True, "unclear", ())
    assert found.gain is not None
    assert found.gain.mean == pytest.approx(0.075, abs=0.001)  # 8 % − s² / gain = 8 % − .01² / .02


async def test_a_loss_is_dropped_after_one_run() -> None:
    found = await tried(gains(-0.05), opportunity_cost=0.001)
    assert (found.is_bet, found.trial.decision, found.trial.pairs) == (False, "no_gain", ())


async def test_a_doubtful_gain_is_looked_at_again_at_fresh_seeds() -> None:
    machine = gains(0.01, 0.03)
    found = await tried(machine, opportunity_cost=0.0001)
    assert found.is_bet
    assert machine.seeds(CHILD)[:2] == [PARENT_SEED, seed_of_pair(1)]
    assert found.trial.effect is not None
    assert found.trial.effect.n == len(machine.seeds(CHILD))


async def test_what_is_expected_to_gain_next_to_nothing_is_not_worth_its_text() -> None:
    """A first run of .5 % lets .014 % be expected, one of .7 % .09 %; a quarter of the least effect is .05 %."""
    found = [(await tried(gains(shown), opportunity_cost=0.01)).is_bet for shown in (0.005, 0.007)]
    assert found == [False, True]


@pytest.mark.parametrize(("shown", "worth_it"), [(0.001, False), (0.003, True), (0.004, True), (-0.002, False)])
def test_where_runs_repeat_a_small_gain_is_no_mere_luck(shown: float, worth_it: bool) -> None:
    pair = Pair(1, Run(4.0, 10.0, 1000, (), None), Run(4.0 * math.exp(-shown), 10.0, 1000, (), None))
    found = [BetRule(NOISE, STATISTICS, PRIOR, 0.01, repeats).decide([pair], ()) for repeats in (True, False)]
    assert found == [Verdict.BET if worth_it else Verdict.DROP, Verdict.DROP]


@pytest.mark.parametrize("shown", [0.03, 0.1, -0.1])
def test_a_large_effect_is_as_uncertain_where_runs_repeat_as_elsewhere(shown: float) -> None:
    pair = Pair(1, Run(4.0, 10.0, 1000, (), None), Run(4.0 * math.exp(-shown), 10.0, 1000, (), None))
    gains = [BetRule(NOISE, STATISTICS, PRIOR, 0.01, repeats).gain([pair], ()) for repeats in (True, False)]
    assert gains[0] == gains[1]


async def test_where_other_ideas_gain_much_nobody_looks_twice() -> None:
    assert not (await tried(gains(0.01), opportunity_cost=0.02)).trial.pairs


async def test_luck_in_the_first_run_does_not_survive_the_next() -> None:
    found = await tried(gains(0.015, -0.02), opportunity_cost=0.00001)
    assert not found.is_bet
    assert found.trial.pairs


async def test_looking_ends_even_where_runs_cost_nothing() -> None:
    assert 1 <= len((await tried(gains(0.004))).trial.pairs) <= 4


async def test_a_child_that_fails_is_no_bet_and_says_why() -> None:
    found = await tried(Machine(lambda which, seed: 4.0 if which == PARENT else None))
    assert (found.is_bet, found.trial.decision, found.trial.failure, found.gain) == (False, "failed", "exception", None)


def cpu_seconds(*of_runs: float) -> Callable[[], float]:
    waiting = iter(of_runs)
    return lambda: next(waiting)


async def test_a_gain_that_may_be_paid_for_in_time_is_measured_by_a_pair_that_takes_turns() -> None:
    """3 % at twice the time: .15 · ln 2 = 10 % would be charged. Whether it was the load, a pair in turns shows."""

    def value(which: bytes, seed: int) -> float:
        return 4.0 * math.exp(-0.03 if which == CHILD else 0.0)

    busy = await tried(Machine(value, cpu_seconds(10, 20, 10, 10)), opportunity_cost=0.001)
    assert (busy.is_bet, len(busy.trial.pairs)) == (True, 1)
    slow = await tried(Machine(value, cpu_seconds(10, 20, 10, 20)), opportunity_cost=0.001)
    assert (slow.is_bet, len(slow.trial.pairs)) == (False, 1)
    elsewhere_more = await tried(Machine(value, cpu_seconds(10, 20)), opportunity_cost=0.02)
    assert (elsewhere_more.is_bet, elsewhere_more.trial.pairs) == (False, ())


async def test_a_longer_time_that_may_be_chance_is_not_held_against_a_child() -> None:
    def value(which: bytes, seed: int) -> float:
        return 4.0 * math.exp(-0.02 if which == CHILD else 0.0)

    found = await tried(Machine(value, cpu_seconds(10, 11)), opportunity_cost=0.02)
    assert (found.is_bet, found.trial.pairs) == (True, ())


async def test_the_parents_cheapest_run_is_what_the_child_is_held_against() -> None:
    found = await tried(gains(0.03), opportunity_cost=0.02, least_cost=0.005)
    assert not found.is_bet


def test_a_chain_is_the_sum_of_its_steps() -> None:
    chain = chain_of([step(0.03, 0.003), step(0.02, 0.004)])
    assert (chain.mean, chain.deviation) == pytest.approx((0.05, 0.005))


def test_the_chance_of_a_proof_counts_what_is_uncertain_of_the_chain_too() -> None:
    assert chance_of_proof(step(0.04, 0.01), 2, NOISE, STATISTICS) == pytest.approx(0.85, abs=0.005)


def test_a_larger_sum_takes_fewer_runs_to_prove() -> None:
    runs = [runs_of_proof(step(mean, 0.005), NOISE, STATISTICS) for mean in (0.2, 0.05, 0.03, 0.01)]
    assert runs == [2, 4, 6, None]


def test_a_claim_waits_until_it_costs_a_small_share_of_what_it_tells() -> None:
    chain = step(0.05, 0.005)
    assert claim_is_due(chain, NOISE, STATISTICS, opportunity_cost=0.0004)
    assert not claim_is_due(chain, NOISE, STATISTICS, opportunity_cost=0.01)


def test_what_no_trial_would_prove_is_never_due() -> None:
    assert not claim_is_due(step(0.005, 0.005), NOISE, STATISTICS, opportunity_cost=0.0)


def test_what_is_missing_of_the_sum_is_attributed_to_the_least_certain_steps() -> None:
    assert attributed([step(0.03, 0.01), step(0.02, 0.02)], 0.04) == pytest.approx((0.028, 0.012))


@pytest.mark.parametrize("measured", [-0.01, 0.0, 0.05, 0.3])
def test_attributions_add_up_to_what_was_measured(measured: float) -> None:
    steps = [step(0.03, 0.01), step(0.0, 0.0), step(0.02, 0.02), step(0.004, 0.001)]
    assert math.fsum(attributed(steps, measured)) == pytest.approx(measured)
    certain = [step(0.03, 0.0), step(0.01, 0.0)]
    assert math.fsum(attributed(certain, measured)) == pytest.approx(measured)


def cheaper(cpu_seconds: float) -> Pair:
    """A first run beside an older run of its parent: .5 % worse, for so many CPU seconds where the parent took ten."""
    return Pair(1, Run(4.0, 10.0, 1000, (), None), Run(4.02, cpu_seconds, 1000, (), None))


def test_a_child_that_took_less_time_than_its_parent_ever_did_is_credited_with_it_at_once() -> None:
    rule = BetRule(NOISE, STATISTICS, PRIOR, opportunity_cost=0.01)
    assert rule.decide([cheaper(4.0)], (), least_cost=10.0 / 1000) == Verdict.BET
    assert rule.decide([cheaper(9.5)], (), least_cost=10.0 / 1000) == Verdict.DROP, "that may be chance"
    assert rule.decide([cheaper(4.0)], (), least_cost=4.0 / 1000) == Verdict.DROP, "the parent took no more once"
    effect = rule.effect([cheaper(4.0)], (), least_cost=10.0 / 1000)
    assert effect is not None
    expected = math.log(4.02 / 4.0) - STATISTICS.slope * (math.log(10 / 4) - 2 * NOISE.cost)
    assert effect.mean == pytest.approx(expected)


def test_where_nothing_else_is_to_be_done_a_clear_result_is_not_looked_at_again() -> None:
    rule = BetRule(NOISE, STATISTICS, PRIOR, opportunity_cost=0.0)
    for value, verdict in ((3.8, Verdict.BET), (4.2, Verdict.DROP), (3.98, Verdict.LOOK_AGAIN)):
        pair = Pair(1, Run(4.0, 10.0, 1000, (), None), Run(value, 10.0, 1000, (), None))
        assert rule.decide([pair], (), least_cost=10.0 / 1000) == verdict
