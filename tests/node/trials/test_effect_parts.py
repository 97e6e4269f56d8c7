"""An effect in two parts: the metric's, from the pairs, and what is left, which is owed to cost."""

from __future__ import annotations

import math

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from node.objective.schema import Statistics
from node.trials.effect_parts import measured_parts_text, parts_of, parts_text, split
from node.trials.statistics import Noise, cost_ratio, effect_of
from protocol.metric import LOSS, Direction, Metric, Scale
from protocol.records import Effect, Pair, Run
from tests.node.records_for_tests import experiment

STATISTICS = Statistics(slope=0.15, s0=0.01, minimum_effect=0.002, max_pairs=6)


def pair(seed: int, value: float, cpu_seconds: float) -> Pair:
    return Pair(seed, Run(1.0, 10.0, 1000, (), None), Run(value, cpu_seconds, 1000, (), None))


def test_the_parts_add_up_to_what_the_trial_worked_out() -> None:
    pairs = [pair(1, 0.96, 15.0), pair(2, 0.97, 15.0)]
    effect = effect_of(pairs, (1, 2), Noise(0.01, 0.01), STATISTICS)
    assert effect is not None
    parts = split(effect, pairs, cost_ratio(pairs), (1, 2), LOSS)
    assert parts is not None
    assert parts.metric == pytest.approx((math.log(0.96) + math.log(0.97)) / 2)
    assert parts.cost == pytest.approx(0.15 * math.log(1.5))
    assert parts.metric + parts.cost == pytest.approx(effect.mean)
    assert parts_text(parts, LOSS) == "metric +3.5 %, cost -6.3 % (CPU ×1.50)"


def test_a_cost_that_is_within_chance_adds_nothing() -> None:
    pairs = [pair(1, 0.96, 10.2)]
    parts = split(effect_of(pairs, (1, 2), Noise(0.01, 0.01), STATISTICS), pairs, cost_ratio(pairs), (1, 2), LOSS)
    assert parts is not None
    assert parts_text(parts, LOSS) == "metric +4.0 %, cost 0.0 % (CPU ×1.02)"


def test_a_trial_that_ended_at_its_screening_has_that_for_its_pair() -> None:
    screened = replace(experiment(decision="no_gain"), pairs=(), effect=Effect(-0.2, 0.01, 1))
    parts = parts_of(screened)
    assert parts is not None
    assert parts.metric == pytest.approx(math.log(2.8 / 3.5))


def test_where_the_pairs_are_not_those_of_the_effect_there_are_no_parts() -> None:
    body = experiment()
    assert parts_of(replace(body, effect=Effect(-0.2, 0.01, 3))) is None
    assert parts_of(replace(body, decision="failed", effect=None)) is None
    assert measured_parts_text(None, LOSS) is None


def test_an_old_record_says_that_its_runs_followed_one_another() -> None:
    parts = parts_of(replace(experiment(effect=Effect(-0.2, 0.01, 1)), alternated=UNSET))
    assert parts is not None
    assert parts_text(parts, LOSS).endswith("(CPU ×1.00, one after the other)")


def test_an_old_record_without_a_cost_ratio_says_so() -> None:
    parts = parts_of(replace(experiment(effect=Effect(-0.2, 0.01, 1)), cost_ratio=None))
    assert parts is not None
    assert parts_text(parts, LOSS).endswith("(not measured)")
    assert measured_parts_text(parts, LOSS) is None


def test_the_parts_of_a_linear_metric_are_in_its_units() -> None:
    accuracy = Metric(Direction.HIGHER, Scale.LINEAR, 2.5, 0.0)  # the smallest difference worth telling is 0.005
    pairs = [Pair(1, Run(-0.1, 10.0, 1000, (), None), Run(0.2, 15.0, 1000, (), None))]
    parts = split(Effect(-0.12 + 0.02, 0.01, 1), pairs, cost_ratio(pairs), (1,), accuracy)
    assert parts is not None
    assert parts_text(parts, accuracy) == "metric +0.3, cost -0.05 (CPU ×1.50)"
