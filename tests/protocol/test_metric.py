"""Two values compare in one way, whatever the metric: an effect that is negative where the child is better."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.metric import LOSS, MOST_EFFECT, Direction, Metric, Scale

SPEED = Metric(Direction.HIGHER, Scale.LOG, 1.0, 0.0)
SKILL = Metric(Direction.HIGHER, Scale.LINEAR, 2.5, 0.0)
DEBT = Metric(Direction.LOWER, Scale.LINEAR, 2.5, 0.0)
POSITIVE = st.floats(1e-15, 1e15)
ANY = st.floats(-1e15, 1e15)


def test_a_loss_is_compared_as_in_the_first_version() -> None:
    assert LOSS.difference(2.0, 1.9) == math.log(1.9 / 2.0)
    assert LOSS.gain(math.log(0.9)) == pytest.approx(10.0)
    assert LOSS.gain_error(math.log(0.9), 0.01) == pytest.approx(0.9)
    assert LOSS.suffix == " %"


def test_where_higher_is_better_a_higher_value_is_a_gain() -> None:
    assert SPEED.difference(100.0, 110.0) == pytest.approx(-math.log(1.1))
    assert SPEED.gain(SPEED.difference(100.0, 110.0)) == pytest.approx(10.0)


def test_a_metric_that_crosses_zero_is_compared_in_its_own_units() -> None:
    assert SKILL.difference(-0.05, 0.05) == pytest.approx(-0.04)
    assert SKILL.gain(SKILL.difference(-0.05, 0.05)) == pytest.approx(0.1)
    assert SKILL.gain_error(-0.04, 0.002) == pytest.approx(0.005)
    assert SKILL.suffix == ""
    assert DEBT.difference(-0.05, 0.05) == pytest.approx(0.04)


@given(POSITIVE, POSITIVE)
def test_positive_values_of_any_size_have_an_effect_that_a_record_holds(parent: float, child: float) -> None:
    for metric in (LOSS, SPEED):
        assert metric.fits(parent)
        assert abs(metric.difference(parent, child)) <= MOST_EFFECT


@given(ANY, ANY)
def test_linear_values_of_any_size_have_one_too(parent: float, child: float) -> None:
    for metric in (SKILL, DEBT):
        assert metric.fits(parent)
        assert abs(metric.difference(parent, child)) <= MOST_EFFECT
        assert metric.difference(parent, child) == -metric.difference(child, parent)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, 1e16])
def test_a_logarithmic_metric_has_no_such_value(value: float) -> None:
    assert not LOSS.fits(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e16])
def test_a_linear_metric_has_no_such_value(value: float) -> None:
    assert not SKILL.fits(value)


@given(st.floats(-1000, 1000))
def test_what_is_shown_of_an_effect_is_finite_and_has_its_sign(effect: float) -> None:
    for metric in (LOSS, SPEED, SKILL, DEBT):
        assert math.isfinite(metric.gain(effect))
        assert math.isfinite(metric.gain_error(effect, 1.0))
        assert metric.gain(effect) * effect <= 0
