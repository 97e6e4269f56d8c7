"""A trial asks for as few runs as it can and says "improved" rarely when nothing is."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from node.ledger.outcome import Outcome
from node.objective.schema import Statistics
from node.trials.statistics import Z_ONE_SIDED, Noise, bar, chance_of_acceptance, worth_of_more
from node.trials.trial import SequentialTest, Trial, replicate_trial, run_trial, screening_seed, unscreened_trial
from protocol.draw import pair_seed
from protocol.records import Effect, Pair, Run
from tests.node.records_for_tests import source

PARENT, CHILD = source("parent"), source("child")
STATISTICS = Statistics()
NOISE = Noise(0.01, 0.05)
PARENT_SEED = 5
SEEDS = (11, 12)


def outcome(value: float | None, failure: str | None = None, cpu: float = 10.0) -> Outcome:
    return Outcome(value, {}, (), 1000, cpu, cpu, 1 << 20, failure, "the last line" if failure else "", "bwrap")


class Machine:
    """A machine on which a run's value is what a function says, that writes down what it ran."""

    def __init__(
        self, value: Callable[[bytes, int], float | None], cpu_seconds: Callable[[], float] = lambda: 10.0
    ) -> None:
        self._value = value
        self._cpu_seconds = cpu_seconds
        self.runs: list[tuple[bytes, int]] = []
        self.to_beat: list[tuple[bytes, int, bytes]] = []

    async def run(self, source: bytes, seed: int, incumbent: bytes | None = None) -> Outcome:
        if incumbent is not None:
            assert (incumbent, seed) in self.runs, "what is to be beaten has run before"
            self.to_beat.append((source, seed, incumbent))
        self.runs.append((source, seed))
        value = self._value(source, seed)
        return outcome(value, None if value is not None else "exception", self._cpu_seconds())

    async def trial(self, contended: bool = False, parent_is_fresh: bool = False) -> Trial:
        test = SequentialTest(NOISE, STATISTICS)
        return await run_trial(
            self.run, PARENT, CHILD, PARENT_SEED, test, contended=contended, parent_is_fresh=parent_is_fresh
        )

    def seeds(self, source: bytes) -> list[int]:
        return [seed for ran, seed in self.runs if ran == source]


def constant(effect: float) -> Machine:
    return Machine(lambda which, seed: 4.0 * math.exp(effect if which == CHILD else 0.0))


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
    trial = await machine.trial(parent_is_fresh=True)
    assert (trial.decision, trial.screening) == ("improved", None)
    assert [pair.seed for pair in trial.pairs] == machine.seeds(CHILD) == [PARENT_SEED]
    assert trial.effect is not None
    assert trial.effect.mean == pytest.approx(-0.2)


@pytest.mark.parametrize("gain", [0.012, 0.05])
async def test_a_gain_that_may_be_chance_is_tried_again(gain: float) -> None:
    trial = await constant(-gain).trial(parent_is_fresh=True)
    assert trial.screening is not None
    assert PARENT_SEED not in [pair.seed for pair in trial.pairs]
    assert trial.pairs


async def test_a_large_gain_beside_others_is_tried_again() -> None:
    trial = await constant(-0.2).trial(contended=True, parent_is_fresh=True)
    assert PARENT_SEED not in [pair.seed for pair in trial.pairs]


def at_cost(effect: float, ratio: float) -> Machine:
    """A child of which every run costs so many times its parent's."""
    machine = constant(effect)
    machine._cpu_seconds = lambda: 10.0 * (ratio if machine.runs[-1][0] == CHILD else 1.0)
    return machine


async def test_what_is_kept_at_the_screening_pays_for_its_time() -> None:
    dear = await at_cost(-0.2, 3.0).trial(parent_is_fresh=True)
    assert dear.screening is not None
    cheap = await at_cost(-0.2, 1.5).trial(parent_is_fresh=True)
    assert (cheap.decision, cheap.screening) == ("improved", None)
    assert cheap.effect is not None
    assert cheap.effect.mean == pytest.approx(-0.2 + STATISTICS.slope * math.log(1.5))


async def test_one_measurement_of_time_is_not_enough_for_a_gain_in_time() -> None:
    trial = await at_cost(-0.001, 0.3).trial(parent_is_fresh=True)
    assert len(trial.pairs) > 1
    assert PARENT_SEED not in [pair.seed for pair in trial.pairs]


async def test_a_faster_child_claims_no_gain_in_time_by_one_pair() -> None:
    trial = await at_cost(-0.2, 0.5).trial(parent_is_fresh=True)
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
async def test_an_idea_is_given_up_where_others_promise_more(
    gain: float, opportunity_cost: float, decision: str, pairs: int
) -> None:
    """They promise `opportunity_cost` by the run."""
    test = SequentialTest(NOISE, STATISTICS, opportunity_cost=opportunity_cost)
    trial = await run_trial(constant(-gain).run, PARENT, CHILD, PARENT_SEED, test)
    assert (trial.decision, len(trial.pairs)) == (decision, pairs)


async def test_pairs_that_are_made_already_cost_nothing_and_are_looked_at() -> None:
    """After the first of these the others promise more; it is not the others' turn before the last."""

    def value(which: bytes, seed: int) -> float:
        return 4.0 * math.exp(-0.02 if which == CHILD else 0.0)

    alone, many = Machine(value), Machine(value)
    test = SequentialTest(NOISE, STATISTICS, opportunity_cost=0.006)
    found = [
        await unscreened_trial(machine.run, PARENT, CHILD, test, parallel_runs=parallel_runs)
        for machine, parallel_runs in ((alone, 1), (many, 4))
    ]
    assert [(trial.decision, len(trial.pairs)) for trial in found] == [("unclear", 1), ("improved", 3)]


def test_more_pairs_are_worth_what_was_seen_by_its_chance_and_the_runs_until_it_would_be_accepted() -> None:
    seen = Effect(-0.03, 0.01, 1)
    chance = chance_of_acceptance(seen, STATISTICS, 2, bar(2))
    assert bar(2) * 0.01 / math.sqrt(2) < 0.03 < bar(1) * 0.01
    assert worth_of_more(seen, STATISTICS) == pytest.approx(chance * 0.03 / 2)
    again = chance_of_acceptance(seen, STATISTICS, 2, bar(2), screening=True)
    assert worth_of_more(seen, STATISTICS, screening=True) == pytest.approx(again * 0.03 / 4)


def test_a_new_parent_is_screened_where_it_was_run_unless_chance_may_have_chosen_that_run() -> None:
    pair = Pair(7, Run(4.0, 10.0, 1000, (), None), Run(3.0, 10.0, 1000, (), None))
    fresh = screening_seed(CHILD)
    assert screening_seed(CHILD, (pair,), Effect(-0.2, 0.01, 1)) == 7
    assert screening_seed(CHILD, (pair,), Effect(-0.04, 0.01, 1)) == fresh
    assert screening_seed(CHILD, (pair, pair), Effect(-0.2, 0.01, 2)) == fresh
    failed = Pair(6, pair.parent, Run(None, 1.0, 10, (), "diverged"))
    assert screening_seed(CHILD, (failed, pair), Effect(-0.2, 0.01, 1)) == 7
    assert screening_seed(CHILD, (), Effect(-0.2, 0.01, 1)) == fresh
    assert screening_seed(PARENT) not in (7, fresh)


async def test_every_run_of_a_child_is_held_against_its_parents_run_at_the_same_seed() -> None:
    machine = constant(-0.2)
    await machine.trial()
    await replicate_trial(machine.run, PARENT, CHILD, NOISE, STATISTICS, SEEDS)
    assert machine.to_beat == [(CHILD, seed, PARENT) for seed in machine.seeds(CHILD)]


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


def test_the_chance_of_acceptance_is_how_often_pairs_like_those_seen_are_accepted_in_the_end() -> None:
    seen = Effect(-0.008, 0.01 / math.sqrt(2), 2)
    needed = bar(6) * 0.01 / math.sqrt(6)
    dice = random.Random(1)
    means = [
        (2 * 0.008 + sum(dice.gauss(0, 0.01) for _ in range(4)) + 4 * by_chance) / 6
        for by_chance in (dice.gauss(0.008, 0.01 / math.sqrt(2)) for _ in range(20_000))
    ]
    assert chance_of_acceptance(seen, STATISTICS, 6, bar(6)) == pytest.approx(
        sum(mean > needed for mean in means) / 20_000, abs=0.01
    )


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


async def test_a_child_that_is_better_but_much_slower_is_not_accepted() -> None:
    async def run(which: bytes, seed: int, incumbent: bytes | None = None) -> Outcome:
        return outcome(4.0 * math.exp(-0.05), cpu=20.0) if which == CHILD else outcome(4.0)

    trial = await run_trial(run, PARENT, CHILD, PARENT_SEED, SequentialTest(NOISE, STATISTICS))
    assert trial.decision == "no_gain"
    assert trial.cost_ratio == pytest.approx(2.0)


def test_seeds_differ_by_pair_number_source_and_author() -> None:
    seeds = {
        pair_seed(a, b, number, salt)
        for a in (PARENT, CHILD) for b in (PARENT, CHILD) for number in range(5) for salt in (b"", b"one", b"two")
    }  # fmt: skip
    assert len(seeds) == 60
    assert all(0 < seed < 2**31 for seed in seeds)
    assert pair_seed(PARENT, CHILD, 1) == pair_seed(PARENT, CHILD, 1)


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
    trial = await replicate_trial(machine.run, PARENT, CHILD, NOISE, STATISTICS, SEEDS)
    assert (trial.decision, trial.screening) == (decision, None)
    assert [pair.seed for pair in trial.pairs] == list(SEEDS[:pairs])


async def test_a_claim_that_does_not_run_here_fails_at_once() -> None:
    machine = Machine(lambda which, seed: None if which == CHILD else 4.0)
    trial = await replicate_trial(machine.run, PARENT, CHILD, NOISE, STATISTICS, SEEDS)
    assert trial.decision == "failed"
    assert machine.seeds(PARENT) == machine.seeds(CHILD)
    assert len(machine.runs) == 2


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


async def test_pairs_made_side_by_side_are_looked_at_in_their_order() -> None:
    noise = random.Random(3)
    values = {seed: noise.gauss(-0.006, 0.01) for seed in fresh_seeds(8)} | {PARENT_SEED: -0.02}

    def value(which: bytes, seed: int) -> float:
        return 4.0 * math.exp(values[seed] if which == CHILD else 0.0)

    alone, many = Machine(value), Machine(value)
    expected = await run_trial(alone.run, PARENT, CHILD, PARENT_SEED, SequentialTest(NOISE, STATISTICS))
    found = await run_trial(many.run, PARENT, CHILD, PARENT_SEED, SequentialTest(NOISE, STATISTICS), parallel_runs=3)
    assert found == expected
    assert len(expected.pairs) > 1
    assert len(many.runs) % 6 == 2  # both screening runs, and three pairs at a time


def at_another_time(effect: float, cpu_seconds: float) -> Machine:
    """The parent's screening run took 10 s, the child's so many; since then all runs cost the same."""
    costs = iter([10.0, cpu_seconds])
    return Machine(lambda which, seed: 4.0 * math.exp(effect if which == CHILD else 0.0), lambda: next(costs, 14.0))


async def test_a_child_is_not_dropped_for_what_the_machine_may_have_cost() -> None:
    trial = await at_another_time(-0.02, 19.0).trial()
    assert trial.decision == "improved"
    assert trial.cost_ratio == pytest.approx(1.0)


async def test_a_child_that_is_slower_than_a_machine_can_become_is_dropped_for_it() -> None:
    trial = await at_another_time(-0.02, 40.0).trial()
    assert (trial.decision, trial.pairs, trial.cost_ratio) == ("no_gain", (), pytest.approx(4.0))
    assert trial.effect is not None
    assert trial.effect.mean == pytest.approx(-0.02 + STATISTICS.slope * math.log(4.0))


async def test_what_is_dropped_beside_others_is_told_by_its_metric_alone() -> None:
    run = at_another_time(-0.001, 14.0).run
    trial = await run_trial(run, PARENT, CHILD, PARENT_SEED, SequentialTest(NOISE, STATISTICS), contended=True)
    assert (trial.decision, trial.pairs, trial.cost_ratio) == ("no_gain", (), None)
    assert trial.effect is not None
    assert trial.effect.mean == pytest.approx(-0.001)


async def test_a_child_that_is_only_faster_passes_the_screening() -> None:
    assert len((await at_another_time(0.0, 5.0).trial()).pairs) > 0


async def test_both_pairs_of_a_replication_can_be_made_side_by_side() -> None:
    machine = constant(-0.02)
    trial = await replicate_trial(machine.run, PARENT, CHILD, NOISE, STATISTICS, SEEDS, parallel_runs=4)
    assert (trial.decision, len(trial.pairs)) == ("supports", 2)


def fresh_seeds(count: int) -> list[int]:
    return [pair_seed(PARENT, CHILD, number) for number in range(1, count + 1)]


CLAIMED = SequentialTest(NOISE, STATISTICS, Z_ONE_SIDED)


@pytest.mark.parametrize(
    ("effect", "decision", "pairs"), [(0.001, "no_gain", 1), (-0.008, "improved", 3), (-0.02, "improved", 1)]
)
async def test_a_claim_is_borne_out_by_one_clear_pair_or_by_some(effect: float, decision: str, pairs: int) -> None:
    machine = constant(effect)
    trial = await unscreened_trial(machine.run, PARENT, CHILD, CLAIMED, b"author")
    assert (trial.decision, len(trial.pairs)) == (decision, pairs)
    assert trial.effect is not None
    assert trial.effect.mean == pytest.approx(effect)


async def test_one_pair_is_not_enough_for_a_gain_in_time() -> None:
    trial = await unscreened_trial(at_another_time(-0.005, 5.0).run, PARENT, CHILD, CLAIMED)
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
        trials = [await unscreened_trial(taken(effect).run, PARENT, CHILD, CLAIMED) for _ in range(500)]
        assert least <= sum(trial.decision == "improved" for trial in trials) / 500 <= most
