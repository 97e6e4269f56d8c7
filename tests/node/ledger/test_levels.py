"""Levels: what the values of a search would be if all of it were run at the first seed."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from node.ledger.projections.levels import Levels
from protocol.metric import LOSS, Direction, Metric, Scale
from protocol.records import Effect
from tests.node.records_for_tests import BASELINE, Author, experiment, replication, source


def effect(per_cent: float) -> Effect:
    return Effect(math.log(1 - per_cent / 100), 0.001, 1)


def test_a_childs_level_lies_as_far_from_its_parents_as_its_effect_says_whatever_its_own_seed_came_to() -> None:
    alice, levels = Author("alice"), Levels()
    first = levels.add(alice.write(experiment("One", effect=effect(10))))
    assert first == pytest.approx((3.5, 3.15))
    second = levels.add(alice.write(experiment("Two", source("One"), decision="unclear", effect=effect(5))))
    assert second == pytest.approx((3.15, 2.9925))
    worse = levels.add(alice.write(experiment("Three", source("Two"), decision="no_gain", effect=effect(-1))))
    assert worse == pytest.approx((2.9925, 2.9925 * 1.01))


def test_an_adoption_goes_on_from_what_was_best_before_it() -> None:
    alice, bob, levels = Author("alice"), Author("bob"), Levels()
    claim = alice.write(experiment("Theirs", effect=effect(20)))
    levels.add(bob.write(experiment("Mine", effect=effect(10))))
    adoption = replace(replication(claim, adopted=source("merged")), base=source("Mine"), adoption=effect(20))
    assert levels.add(bob.write(adoption)) == pytest.approx((3.15, 2.52))


def test_what_shows_no_effect_or_stands_on_nothing_known_has_no_level() -> None:
    alice, levels = Author("alice"), Levels()
    assert levels.add(alice.write(experiment("Crashed", decision="failed", effect=None))) is None
    claim = alice.write(experiment("A claim"))
    assert Levels().add(Author("bob").write(replication(claim, adopted=source("A claim")))) is None
    assert levels.of(alice.identity.author, BASELINE) == 3.5


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("scale", list(Scale))
def test_moving_by_an_effect_undoes_the_difference(direction: Direction, scale: Scale) -> None:
    metric = Metric(direction, scale, 1.0 if scale == Scale.LOG else 20.0, 0.0)
    assert metric.moved(4.0, metric.difference(4.0, 3.0)) == pytest.approx(3.0)
    assert metric.fits(metric.moved(4.0, 100.0))
    assert metric.fits(LOSS.moved(4.0, -100.0))
