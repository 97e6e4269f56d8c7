"""The budget of a training: tokens, or seconds of which compiling and warming up are no part."""

from __future__ import annotations

import pytest

from node.execution.workers.budgets import (
    USUAL_STEPS,
    WARMUP_STEPS,
    GpuTimeBudget,
    GpuTokenBudget,
    TimeBudget,
    TokenBudget,
)


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


def test_a_gpus_clock_is_looked_at_each_step_while_it_warms_up_and_then_only_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, looks = 0.0, 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return now

    monkeypatch.setattr("time.monotonic", lambda: now)
    budget = GpuTimeBudget(10.0, 60.0, clock)
    budget.begin()
    for step in range(WARMUP_STEPS + USUAL_STEPS):
        now += 4.0 if step == 0 else 0.02  # the first one compiles
        budget.count(100)
    assert looks == 2 + WARMUP_STEPS + USUAL_STEPS
    assert budget.spent == pytest.approx((WARMUP_STEPS + USUAL_STEPS) * 0.02 / 10)
    looks = 0
    for _ in range(100):  # two seconds
        now += 0.02
        budget.count(100)
    assert 15 <= looks <= 21
    assert budget.spent == pytest.approx((WARMUP_STEPS + USUAL_STEPS + 100) * 0.02 / 10, abs=0.02)
    assert budget.tokens == 100 * (WARMUP_STEPS + USUAL_STEPS + 100)
    assert budget.warmup == pytest.approx(3.98)


def test_tokens_on_a_gpu_are_counted_and_its_warming_up_is_measured() -> None:
    now = 0.0
    budget = GpuTokenBudget(100_000, 3.0, lambda: now)
    now = 1.0  # to get ready
    budget.begin()
    for step in range(50):
        now += 1.5 if step == 0 else 0.01
        budget.count(1000)
    assert budget.spent == 0.5
    assert budget.warmup == pytest.approx(2.49)
    assert TokenBudget(100).warmup == 0.0


def test_a_training_that_goes_on_has_what_is_left_and_warms_up_anew() -> None:
    clock = Clock()
    budget = TimeBudget(10.0, 60.0, clock)
    trained(budget, clock, before=3.0, warming=40.0, step=0.1, most=60)
    spent = budget.state()
    assert spent["spent"] == pytest.approx(0.6, abs=0.01)
    later = TimeBudget(10.0, 60.0, clock)
    later.go_on(spent)
    assert trained(later, clock, before=5.0, warming=30.0, step=0.1) == pytest.approx(40, abs=1)
    assert later.tokens == pytest.approx(100 * 64, abs=128)


def test_tokens_that_were_spent_stay_spent() -> None:
    budget = TokenBudget(1000)
    budget.count(250)
    later = TokenBudget(1000)
    later.go_on(budget.state())
    later.count(250)
    assert (later.spent, later.tokens) == (0.5, 500)
