"""The budget of a training: tokens, or seconds of which compiling and warming up are no part."""

from __future__ import annotations

import pytest

from node.execution.workers.budgets import WARMUP_STEPS, TimeBudget, TokenBudget


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def trained(budget: TimeBudget, clock: Clock, before: float, warming: float, step: float, most: int = 10_000) -> int:
    """How many steps fit. before: seconds until the first batch; warming: the first step's."""
    clock.now += before
    budget.begin()
    for steps in range(most):
        if budget.spent >= 1:
            return steps
        clock.now += warming if steps == 0 else step
        budget.count(64)
    return most


def test_tokens_are_spent_whatever_they_take() -> None:
    budget = TokenBudget(1000)
    budget.begin()
    for _ in range(3):
        budget.count(250)
    assert (budget.spent, budget.tokens) == (0.75, 750)


def test_seconds_are_those_of_steady_steps() -> None:
    clock = Clock()
    budget = TimeBudget(10.0, 60.0, clock)
    steps = trained(budget, clock, before=3.0, warming=40.0, step=0.1)
    assert steps == pytest.approx(100, abs=1)  # the compiled step counts as the others do
    assert budget.tokens == 64 * steps


def test_warming_up_takes_no_more_than_it_may() -> None:
    clock = Clock()
    budget = TimeBudget(10.0, 20.0, clock)
    assert trained(budget, clock, before=0.0, warming=25.0, step=0.1) == pytest.approx(51, abs=1)


def test_without_warming_up_all_counts_from_the_beginning() -> None:
    clock = Clock()
    budget = TimeBudget(10.0, 0.0, clock)
    assert trained(budget, clock, before=4.0, warming=1.0, step=0.1) == pytest.approx(51, abs=1)


def test_steps_that_are_all_alike_are_no_warming_up() -> None:
    clock = Clock()
    budget = TimeBudget(10.0, 60.0, clock)
    assert trained(budget, clock, before=0.0, warming=0.5, step=0.5) == 20


def test_what_a_few_long_steps_take_is_bounded_by_the_warming_up() -> None:
    clock = Clock()
    budget = TimeBudget(10.0, 60.0, clock)
    steps = trained(budget, clock, before=0.0, warming=9.0, step=9.0)
    assert steps < WARMUP_STEPS
    assert clock.now - 100 <= 10 + 60 + 9
