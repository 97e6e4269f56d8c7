"""The arithmetic of trials: effects, their errors, and what cost is worth."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import msgspec
import pytest
from msgspec import structs

from node.objective.schema import Statistics
from node.trials.statistics import (
    MAX_NOISE,
    Noise,
    boundary,
    chance_of_acceptance,
    cost_ratio,
    effect_of,
    pooled_noise,
    shrunk_deviation,
    t_quantile,
)
from protocol.metric import Direction, Metric, Scale
from protocol.records import CostRatio, Effect, Pair, Run

STATISTICS = Statistics()
NOISE = Noise(0.01, 0.02)
ALL = (1,)  # the seed of every pair here: all took turns


def pair(parent: float | None, child: float | None, parent_cpu: float = 10.0, child_cpu: float = 10.0) -> Pair:
    def run(value: float | None, cpu: float) -> Run:
        return Run(value, cpu, 1000, (), None if value is not None else "exception")

    return Pair(1, run(parent, parent_cpu), run(child, child_cpu))


def test_the_effect_is_the_mean_difference_of_logarithms() -> None:
    effect = effect_of([pair(4.0, 3.6), pair(4.0, 3.8)], ALL, NOISE, STATISTICS)
    assert effect is not None
    assert effect.mean == pytest.approx((math.log(0.9) + math.log(0.95)) / 2)
    assert effect.n == 2


def test_the_error_of_one_pair_is_the_prior_s() -> None:
    effect = effect_of([pair(4.0, 3.6)], ALL, NOISE, STATISTICS)
    assert effect is not None
    assert effect.se == pytest.approx(0.01)


def test_the_deviation_is_shrunk_towards_the_prior() -> None:
    values = [0.0, 0.04]
    assert shrunk_deviation(values, 0.01) == pytest.approx(math.sqrt((4 * 0.0001 + 0.0008) / 5))
    assert shrunk_deviation([0.02] * 6, 0.01) == pytest.approx(math.sqrt(4 * 0.0001 / 9))


def test_slower_code_pays_and_faster_code_gains() -> None:
    even, slow, fast = (
        effect_of([pair(4.0, 3.9, child_cpu=cpu)], ALL, NOISE, STATISTICS, optimistic=True) for cpu in (10.0, 20.0, 5.0)
    )
    assert even is not None
    assert slow is not None
    assert fast is not None
    assert slow.mean - even.mean == pytest.approx(0.15 * math.log(2))
    by_chance = 0.05  # two standard errors of one pair's cost, or the dead band
    assert fast.mean - even.mean == pytest.approx(-0.15 * (math.log(2) - by_chance))


def test_faster_code_gains_nothing_by_one_pair_unless_judged_optimistically() -> None:
    fast = pair(4.0, 3.9, child_cpu=5.0)
    once, twice, even = (
        effect_of(pairs, ALL, NOISE, STATISTICS) for pairs in ([fast], [fast, fast], [pair(4.0, 3.9, child_cpu=10.0)])
    )
    assert once == even
    assert once is not None
    assert twice is not None
    assert twice.mean < once.mean - 0.05


def test_runs_that_did_not_take_turns_measure_no_cost() -> None:
    slow, fast = pair(4.0, 3.9, child_cpu=30.0), pair(4.0, 3.9, child_cpu=3.0)
    for apart in (slow, fast):
        assert effect_of([apart], (), NOISE, STATISTICS) == effect_of([pair(4.0, 3.9)], ALL, NOISE, STATISTICS)
    mixed = [structs.replace(slow, seed=2), pair(4.0, 3.9, child_cpu=20.0)]
    effect = effect_of(mixed, ALL, NOISE, STATISTICS)
    assert effect is not None
    assert effect.mean == pytest.approx(math.log(3.9 / 4.0) + 0.15 * math.log(2))


def test_a_small_difference_in_cost_is_noise() -> None:
    same, nearly = (effect_of([pair(4.0, 3.9, child_cpu=cpu)], ALL, NOISE, STATISTICS) for cpu in (10.0, 10.4))
    assert same == nearly


def test_on_a_noisy_machine_a_larger_difference_in_cost_is_noise_until_pairs_repeat_it() -> None:
    noisy, slower = Noise(0.01, 0.08), pair(4.0, 3.9, child_cpu=11.5)
    once, often = (effect_of([slower] * n, ALL, noisy, STATISTICS) for n in (1, 4))
    assert once is not None
    assert often is not None
    assert once.mean == pytest.approx(math.log(3.9 / 4.0))
    assert often.mean == pytest.approx(math.log(3.9 / 4.0) + 0.15 * math.log(1.15))


def test_the_error_counts_the_noise_of_the_cost_where_the_cost_counts() -> None:
    noisy = Noise(0.01, 0.1)
    effect = effect_of([pair(4.0, 3.9, child_cpu=30.0)], ALL, noisy, STATISTICS)
    assert effect is not None
    assert effect.se == pytest.approx(math.hypot(0.01, 0.15 * 0.1))


def test_pairs_with_a_failed_run_count_for_nothing() -> None:
    good = pair(4.0, 3.6)
    assert effect_of([pair(4.0, None)], ALL, NOISE, STATISTICS) is None
    assert effect_of([pair(None, 4.0), good], ALL, NOISE, STATISTICS) == effect_of([good], ALL, NOISE, STATISTICS)
    assert cost_ratio([pair(4.0, None)]) is None


@pytest.mark.parametrize(
    ("degrees", "tail", "expected"), [(4, 0.05, 2.1318), (5, 0.025, 2.5706), (9, 0.01, 2.8214), (4, 0.0025, 5.5976)]
)
def test_the_t_quantile_is_the_one_of_the_tables(degrees: int, tail: float, expected: float) -> None:
    assert t_quantile(degrees, tail) == pytest.approx(expected, abs=1e-4)


# Solved for in 50 digits with mpmath (1.3): tail = betainc(n/2, 1/2, 0, n/(n + t²), regularized) / 2.
EXACT_QUANTILES = [
    (4, 0.002, 5.95137284908809801), (5, 0.006, 3.85009294747503024), (6, 0.008, 3.32021921194964698),
    (7, 0.008, 3.15677969486054006), (8, 0.008, 3.04259726120542733), (9, 0.008, 2.95844045304277136),
    (19, 0.008, 2.64416211943416907), (1, 0.05, 6.31375151467504274), (2, 0.05, 2.91998558035372559),
    (3, 0.001, 10.2145318524073865), (30, 0.025, 2.04227245630123828), (200, 0.01, 2.34513708225946844),
    (101, 0.4, 0.254015488212190865),
]  # fmt: skip


@pytest.mark.parametrize(("degrees", "tail", "exact"), EXACT_QUANTILES)
def test_the_t_quantile_is_exact_to_eleven_digits(degrees: int, tail: float, exact: float) -> None:
    assert t_quantile(degrees, tail) == pytest.approx(exact, rel=1e-11)
    assert t_quantile(degrees, 1 - tail) == pytest.approx(-exact, rel=1e-11)


def test_far_out_the_t_quantile_is_exact_to_nine_digits() -> None:
    assert t_quantile(4, 1e-6) == pytest.approx(41.5778541504509752, rel=1e-9)
    assert t_quantile(7, 0.5) == pytest.approx(0.0, abs=1e-15)


def test_the_noise_is_learnt_from_trials_and_bounded() -> None:
    quiet = [pair(4.0, 4.0 * math.exp(d), child_cpu=10.0 * math.exp(10 * d)) for d in (-0.002, 0.002)]
    wild = [pair(4.0, 4.0 * math.exp(d), child_cpu=10.0 * math.exp(d)) for d in (-1.0, 1.0)]
    assert pooled_noise([], STATISTICS) == Noise(0.01, 0.05)
    assert pooled_noise([([pair(4.0, 1.0)], ALL)], STATISTICS) == Noise(0.01, 0.05)  # one pair says nothing of spread
    learnt = pooled_noise([(quiet, ALL)] * 50, STATISTICS)
    assert learnt.metric == pytest.approx(math.sqrt((4 * 0.01**2 + 50 * 8e-6) / 54))
    assert learnt.cost == pytest.approx(math.sqrt((4 * 0.05**2 + 50 * 8e-4) / 54))
    assert pooled_noise([(wild, ALL)] * 50, STATISTICS) == Noise(MAX_NOISE, MAX_NOISE)
    assert pooled_noise([(wild, ())] * 50, STATISTICS).cost == 0.05  # CPU times that do not compare say nothing


def test_the_chance_of_acceptance_is_how_often_pairs_like_those_seen_are_accepted_in_the_end() -> None:
    seen = Effect(-0.008, 0.01 / math.sqrt(2), 2)
    needed = boundary(6) * 0.01 / math.sqrt(6)
    dice = random.Random(1)
    accepted = 0
    for _ in range(20_000):
        true_gain = dice.gauss(0.008, 0.01 / math.sqrt(2))
        four_more = math.fsum(dice.gauss(true_gain, 0.01) for _ in range(4))
        accepted += (2 * 0.008 + four_more) / 6 > needed
    assert chance_of_acceptance(seen, STATISTICS, 6) == pytest.approx(accepted / 20_000, abs=0.01)


@pytest.mark.parametrize("parent", [-1e15, 1e15])
@pytest.mark.parametrize("cost", [1e-3, 1e6])
def test_no_effect_is_beyond_what_a_record_holds(parent: float, cost: float) -> None:
    linear = Metric(Direction.LOWER, Scale.LINEAR, 1.0, 100.0)
    statistics = replace(STATISTICS, metric=linear, s0=100.0, slope=100.0)
    pairs = [pair(parent, -parent, 1.0, cost), pair(-parent, parent, cost, 1e-3), pair(parent, -parent, 1e6, 1e-3)]
    for some in (pairs[:1], pairs[1:2], pairs[2:], pairs):
        effect = effect_of(some, ALL, Noise(100.0, 1.0), statistics)
        ratio = cost_ratio(some)
        assert msgspec.convert(effect and structs.astuple(effect), Effect)
        assert msgspec.convert(ratio, CostRatio) == ratio
