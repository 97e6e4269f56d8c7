"""Gains as people read them: positive is better, whatever the metric, with as many digits as the error supports."""

from __future__ import annotations

import math

import pytest

from node.ledger.projections.effects import bare_gain_text, gain_text, value_text
from protocol.metric import LOSS, Direction, Metric, Scale
from protocol.records import Effect

SPEED = Metric(Direction.HIGHER, Scale.LOG, 1.0, 0.01)
RETURN = Metric(Direction.HIGHER, Scale.LINEAR, 2.5, 0.01)  # the smallest difference worth telling is 0.005
REGRET = Metric(Direction.LOWER, Scale.LINEAR, 500.0, 0.01)


@pytest.mark.parametrize(
    ("effect", "metric", "text"),
    [
        (Effect(math.log(0.788), 0.00888, 2), LOSS, "+21.2 % ± 0.7 (2 pairs)"),
        (Effect(math.log(1.05), 0.01, 1), LOSS, "-5.0 % ± 1.1 (1 pair)"),
        (Effect(-0.00123, 0.0004, 6), LOSS, "+0.12 % ± 0.04 (6 pairs)"),
        (Effect(0.0, 0.007, 2), LOSS, "+0.0 % ± 0.7 (2 pairs)"),
        (Effect(0.0001, 0.007, 2), LOSS, "+0.0 % ± 0.7 (2 pairs)"),
        (Effect(math.log(0.8), 0.01, 3), SPEED, "+25.0 % ± 1.2 (3 pairs)"),
        (Effect(-0.00492, 0.0016, 3), RETURN, "+0.0123 ± 0.0040 (3 pairs)"),
        (Effect(0.04, 0.02, 2), RETURN, "-0.100 ± 0.050 (2 pairs)"),
        (Effect(0.0, 0.02, 2), RETURN, "+0.000 ± 0.050 (2 pairs)"),
        (Effect(-2.469, 0.2, 2), REGRET, "+1234 ± 100 (2 pairs)"),
        (Effect(-2.469, 0.0, 2), REGRET, "+1234 ± 0 (2 pairs)"),
        (None, RETURN, "not measured"),
    ],
)
def test_a_gain_is_written_with_its_error_and_pairs(effect: Effect | None, metric: Metric, text: str) -> None:
    assert gain_text(effect, metric) == text


@pytest.mark.parametrize(
    ("mean", "metric", "text"),
    [(-0.041, LOSS, "+4.0 %"), (-0.041, SPEED, "+4.2 %"), (0.0, LOSS, "+0.0 %"), (-0.00492, RETURN, "+0.0123")],
)
def test_a_gain_without_an_error_has_few_digits(mean: float, metric: Metric, text: str) -> None:
    assert bare_gain_text(mean, metric) == text


@pytest.mark.parametrize("unit", [1e-15, 1e-9, 1.0, 1e9, 1e15])
@pytest.mark.parametrize("mean", [-100.0, -1e-9, 0.0, 1e-9, 100.0])
@pytest.mark.parametrize("error", [0.0, 1e-12, 0.01, 100.0])
def test_a_gain_is_short_whatever_its_size(unit: float, mean: float, error: float) -> None:
    for metric in (Metric(Direction.HIGHER, Scale.LINEAR, unit, 0.0), LOSS, SPEED):
        assert len(gain_text(Effect(mean, error, 1), metric)) < 50


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.55163, "3.5516"), (0.0512342, "0.051234"), (12345.678, "12346"), (-0.2, "-0.2000"), (0.0, "0.0000")],
)
def test_a_value_has_about_five_digits(value: float, text: str) -> None:
    assert value_text(value) == text
