"""Early ends: what is plainly losing beside its parent is ended, unless its kind has been seen to recover."""

from __future__ import annotations

import hashlib
import math

import pytest

from node.execution.workers.budgets import CURVE_PARTS
from node.ledger.outcome import CurvePoint
from node.ledger.screenings import Screening
from node.trials.early_end import (
    CONTROL_EVERY,
    CREDIT_ON_THE_WAY,
    LEAST_CHANCE,
    LOOKS,
    CostCredit,
    EarlyEnd,
    behind_at,
    chance_of_gain,
    is_control,
    is_past,
)

HALF = LOOKS.index(0.5)
NO_CREDIT = CostCredit(0.0, 0.05)


def curve(factor: float = 1.0, until: float = 1.0, cost: float = 10.0) -> list[CurvePoint]:
    """A loss that falls from 6 nats to 3, times a factor, as far as a run is that costs so many CPU seconds."""
    shares = [(part + 0.9) / CURVE_PARTS for part in range(CURVE_PARTS)]
    return [CurvePoint(share, factor * (6 - 3 * share), cost * share) for share in shares if share <= until]


def look_at(child: list[CurvePoint], *finished: Screening, control: bool = False) -> EarlyEnd:
    """A run that has come so far."""
    watch = EarlyEnd(curve(), finished, NO_CREDIT, control)
    watch.is_due(child)
    return watch


def test_a_run_is_ended_at_the_first_look_at_which_it_is_far_behind() -> None:
    watch = EarlyEnd(curve(), (), NO_CREDIT)
    end = next(point.share for point in curve(1.2) if watch.is_due(curve(1.2, point.share)))
    assert end == pytest.approx(LOOKS[0], abs=1 / CURVE_PARTS)
    assert watch.behind == pytest.approx([math.log(1.2)])


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.001])
def test_a_run_that_is_ahead_or_hardly_behind_goes_to_its_end(factor: float) -> None:
    watch = look_at(curve(factor))
    assert not watch.losing
    assert watch.behind == pytest.approx([math.log(factor)] * len(LOOKS))


def test_what_is_a_little_behind_early_may_still_recover_and_late_may_not() -> None:
    assert not look_at(curve(1.04, until=0.4)).losing
    assert look_at(curve(1.04, until=0.6)).losing


def test_nothing_is_said_before_the_window_of_a_look_is_over() -> None:
    assert not is_past(curve(until=0.5 - 0.5 / CURVE_PARTS), 0.5)
    assert is_past(curve(until=0.5 + 1 / CURVE_PARTS), 0.5)
    assert look_at(curve(2.0, until=0.24)).behind == []


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        ([], curve(9.0)),
        (curve(), []),
        (curve(), curve(-1.0)),  # a loss that may be below 0 has no ratio
        (curve(), [CurvePoint(0.99, 9.0, 1.0)]),  # it told of nothing in between
        (curve(), curve(5e307)),  # whose sum is no number any more
    ],
)
def test_curves_that_do_not_compare_end_no_run(parent: list[CurvePoint], child: list[CurvePoint]) -> None:
    watch = EarlyEnd(parent, (), NO_CREDIT)
    assert not watch.is_due(child)
    assert all(value is None for value in watch.behind)


def test_whatever_finite_losses_are_told_are_compared() -> None:
    for factor in (1e-323, 1e-200, 1e200, 1e307):
        watch = EarlyEnd(curve(1e-320), (), NO_CREDIT)
        assert watch.is_due(curve(factor)) == (factor > 1e-300)


def test_a_larger_batch_is_compared_in_the_parts_of_which_both_have_told() -> None:
    larger = [point for number, point in enumerate(curve(1.1)) if number % 4 == 0]
    assert behind_at(0.5, curve(), larger, NO_CREDIT) == pytest.approx(math.log(1.1))


def test_a_cheaper_run_may_be_as_far_behind_as_its_cost_is_worth() -> None:
    credit = CostCredit(slope=0.15, deadband=0.05)
    found = behind_at(0.5, curve(), curve(1.1, cost=5.0), credit)
    assert found == pytest.approx(math.log(1.1) - CREDIT_ON_THE_WAY * 0.15 * math.log(2))
    assert credit.of(10.0, 9.9) == 0  # noise
    assert credit.of(10.0, 20.0) == 0  # it may have met a busy machine
    assert credit.of(0.0, 1.0) == 0  # a worker elsewhere that does not say


def test_the_chance_falls_with_how_far_a_run_is_behind_and_with_the_share_of_the_budget() -> None:
    chances = [chance_of_gain(behind, HALF, ()) for behind in (-0.1, 0.001, 0.01, 0.03, 0.1)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] == 1
    assert chances[3] == pytest.approx(LEAST_CHANCE)
    assert [chance_of_gain(0.011, look, ()) > LEAST_CHANCE for look in range(len(LOOKS))] == [True, True, True, False]


def test_a_category_whose_runs_recover_is_let_run_and_one_whose_runs_do_not_is_ended_sooner() -> None:
    recovered, lost = Screening((0.1, 0.1, 0.05, 0.01), gained=True), Screening((0.1, 0.1, 0.05, 0.01), gained=False)
    assert chance_of_gain(0.05, HALF, [recovered] + 6 * [lost]) == pytest.approx(1 / 11, abs=0.005)
    assert look_at(curve(1.05, until=0.6)).losing
    assert not look_at(curve(1.05, until=0.6), recovered, *6 * [lost]).losing
    assert look_at(curve(1.05, until=0.6), recovered, *30 * [lost]).losing
    assert not look_at(curve(1.025, until=0.6)).losing
    assert look_at(curve(1.025, until=0.6), *10 * [lost]).losing


def test_runs_that_were_ahead_say_nothing_of_one_that_is_far_behind() -> None:
    ahead = Screening((-0.1, -0.1, -0.1, -0.1), gained=True)
    assert chance_of_gain(0.05, HALF, 50 * [ahead]) == chance_of_gain(0.05, HALF, ())
    unknown = Screening((None,), gained=True)
    assert chance_of_gain(0.05, HALF, 50 * [unknown]) == chance_of_gain(0.05, HALF, ())


def test_one_losing_run_in_ten_is_a_control_which_its_hash_says() -> None:
    sources = [hashlib.sha256(bytes([n, m])).digest() for n in range(40) for m in range(50)]
    controls = [source for source in sources if is_control(source)]
    assert len(controls) == pytest.approx(len(sources) / CONTROL_EVERY, rel=0.2)
    assert [is_control(source) for source in controls] == [True] * len(controls)
    watch = EarlyEnd(curve(), (), NO_CREDIT, control=True)
    assert not watch.is_due(curve(1.5))
    assert watch.losing
