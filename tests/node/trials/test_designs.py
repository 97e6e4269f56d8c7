"""Designs are orthogonal, find what each edit does in few runs, and are chosen where the noise is large."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence

import pytest

from node.objective.schema import Prior
from node.trials.designs import (
    FIRST_ROWS,
    Estimate,
    crashing,
    design,
    fitted,
    plackett_burman,
    plan,
    run_deviation,
)
from node.trials.gain_posterior import GainPrior, gain_prior, posterior

LATE = gain_prior(Prior(0.05, 0.006))


@pytest.mark.parametrize("runs", FIRST_ROWS)
def test_every_edit_is_in_half_of_the_runs_and_any_two_meet_in_a_quarter(runs: int) -> None:
    rows = plackett_burman(runs)
    assert len(rows) == runs
    assert {sum(column) for column in zip(*rows, strict=True)} == {runs // 2}
    pairs = itertools.combinations(zip(*rows, strict=True), 2)
    assert {sum(a and b for a, b in zip(*columns, strict=True)) for columns in pairs} == {runs // 4}


@pytest.mark.parametrize("runs", FIRST_ROWS)
def test_the_parent_alone_is_one_of_the_runs(runs: int) -> None:
    assert not any(plackett_burman(runs)[-1])


def test_a_design_has_more_runs_than_edits() -> None:
    assert [len(design(edits) or ()) for edits in (3, 7, 8, 15, 23, 24)] == [8, 8, 12, 16, 24, 0]


def shown(rows: Sequence[Sequence[bool]], effects: Sequence[float]) -> list[float]:
    return [0.3 + math.fsum(e for has, e in zip(row, effects, strict=True) if has) for row in rows]


@pytest.mark.parametrize("runs", FIRST_ROWS)
def test_without_noise_the_fit_finds_the_effects(runs: int) -> None:
    rows = plackett_burman(runs)
    effects = [0.01 * number - 0.05 for number in range(runs - 1)]
    found = fitted(rows, shown(rows, effects), 0.008)
    assert [estimate.gain for estimate in found if estimate] == pytest.approx(effects)
    assert [estimate.se for estimate in found if estimate] == pytest.approx(
        [2 * 0.008 / math.sqrt(runs)] * len(effects)
    )


def test_runs_that_are_missing_widen_the_errors_and_leave_the_effects_right() -> None:
    rows = [row[:9] for row in plackett_burman(16)]
    effects = [0.02, -0.01, 0.0, 0.03, 0.0, -0.05, 0.01, 0.0, 0.004]
    gains: list[float | None] = [None if number in (2, 9) else gain for number, gain in enumerate(shown(rows, effects))]
    found = fitted(rows, gains, 0.008)
    assert [estimate.gain for estimate in found if estimate] == pytest.approx(effects)
    assert all(estimate is not None and estimate.se > 2 * 0.008 / 4 for estimate in found)


def test_what_too_few_runs_cannot_tell_apart_is_not_estimated() -> None:
    """Of 8 runs with 7 edits the first is missing: no edit can be told from the mean and the others any more."""
    rows = plackett_burman(8)
    gains: list[float | None] = [None, *shown(rows, [0.01] * 7)[1:]]
    assert fitted(rows, gains, 0.008) == (None,) * 7


def test_two_edits_that_were_always_together_are_not_told_apart_and_the_third_is() -> None:
    rows = [(True, True, True), (True, True, False), (False, False, True), (False, False, False)]
    found = fitted(rows, shown(rows, [0.01, 0.02, 0.05]), 0.01)
    assert found[:2] == (None, None)
    assert found[2] is not None
    assert found[2].gain == pytest.approx(0.05)


def test_the_noise_of_a_run_is_learnt_from_sources_that_ran_at_several_seeds() -> None:
    rng = random.Random(1)
    gains = [[level + 0.004 * rng.gauss(0, 1) for _ in range(4)] for level in (0.0, 0.5, 1.0) * 20]
    assert run_deviation(gains, 0.01) == pytest.approx(0.004, rel=0.15)
    assert run_deviation([[0.3]], 0.01) == 0.01


async def test_an_edit_that_crashes_is_found_by_halving() -> None:
    made: list[Sequence[int]] = []

    async def runs(edits: Sequence[int]) -> bool:
        made.append(edits)
        return 11 not in edits

    assert await crashing(range(16), runs) == [11]
    assert len(made) == 1 + 2 * 4


async def test_where_nothing_crashes_one_run_says_so() -> None:
    made: list[Sequence[int]] = []

    async def runs(edits: Sequence[int]) -> bool:
        made.append(edits)
        return True

    assert await crashing(range(16), runs) == []
    assert len(made) == 1


async def test_several_that_crash_are_all_found() -> None:
    async def runs(edits: Sequence[int]) -> bool:
        return not {3, 4, 15} & set(edits)

    assert await crashing(range(16), runs) == [3, 4, 15]


def test_a_design_is_chosen_where_pairs_are_noisy_beside_what_ideas_gain() -> None:
    assert plan([LATE] * 30, pair_noise=0.011, run_noise=0.008).edits == 23
    assert plan([LATE] * 30, pair_noise=0.0025, run_noise=0.008).edits == 0


def test_where_ideas_gain_much_they_are_tried_one_by_one() -> None:
    early = gain_prior(Prior(0.3, 0.06))
    assert plan([early] * 30, pair_noise=0.008, run_noise=0.008).edits == 0


def test_a_design_takes_no_more_edits_than_there_are() -> None:
    assert plan([LATE] * 10, pair_noise=0.02, run_noise=0.008).edits == 10
    assert plan([LATE] * 2, pair_noise=0.02, run_noise=0.008).edits == 0
    assert plan([], pair_noise=0.02, run_noise=0.008).edits == 0


def helping_taken(prior: GainPrior, found: Sequence[Estimate]) -> int:
    """How many of the first three edits are believed to gain."""
    return sum(posterior(prior, each.gain, each.se).mean > 0 for each in found[:3])


def test_a_design_finds_what_helps_more_often_than_as_many_single_runs() -> None:
    """15 edits, three of which gain 1 %, at a run's deviation of .8 %: 50 designs beside 50 times 15 pairs."""
    rng = random.Random(4)
    prior, run_noise = GainPrior(0.2, 0.01, 0.3, 0.01), 0.008
    in_designs = one_by_one = 0
    for _ in range(50):
        effects = [0.01] * 3 + [0.0] * 6 + [-0.01] * 6
        rows = plackett_burman(16)
        gains = [gain + run_noise * rng.gauss(0, 1) for gain in shown(rows, effects)]
        found = [estimate for estimate in fitted(rows, gains, run_noise) if estimate is not None]
        in_designs += helping_taken(prior, found)
        pairs = [Estimate(effect + math.sqrt(2) * run_noise * rng.gauss(0, 1), 0.0113) for effect in effects]
        one_by_one += helping_taken(prior, pairs)
    assert in_designs > 1.3 * one_by_one
