"""What came of ideas from other objectives is told by objective and category, by what was measured here."""

from __future__ import annotations

import math

import pytest
from msgspec import structs

from node.ledger.projections.origins import came_from
from protocol.records import ChainStep, Effect, Experiment, Origin
from tests.node.records_for_tests import OBJECTIVE, Author, experiment, source

THERE = source("another objective")


def tried(
    title: str, gain: float, decision: str = "unclear", category: str = "optimizer", **more: object
) -> Experiment:
    body = experiment(title, decision=decision, effect=Effect(-gain, 0.01, 1), category=category)
    return structs.replace(body, origin=Origin(THERE, source(title)), **more)


def test_each_category_has_the_share_that_gains_here_and_the_mean_gain() -> None:
    alice = Author("alice")
    for body in (
        tried("a", 0.02, bet=True),
        tried("b", -0.01, "no_gain"),
        tried("c", 0.04, "improved", "batch"),
        experiment("not from elsewhere"),
    ):
        alice.write(body)
    together, batch, optimizer = came_from(alice.records)
    assert [row.category for row in (together, batch, optimizer)] == ["", "batch", "optimizer"]
    assert {row.objective for row in (together, batch, optimizer)} == {THERE}
    assert (together.tried, together.gained) == (3, 2)
    assert together.rate == pytest.approx(3 / 5)
    assert together.rate_error == pytest.approx(math.sqrt(0.6 * 0.4 / 6))
    assert together.gain == pytest.approx(100 * (1 - math.exp(-0.05 / 3)))
    assert together.gain_error > 1  # they differ by more than they were measured by
    assert (batch.tried, batch.gained, optimizer.tried, optimizer.gained) == (1, 1, 2, 1)


def test_a_bet_that_did_not_hold_and_a_second_try_count_for_nothing() -> None:
    alice = Author("alice")
    bet = alice.write(tried("a", 0.02, bet=True))
    steps = (ChainStep(bet.id, "optimizer", 0.001),)
    alice.write(structs.replace(experiment("chain", decision="no_gain"), steps=steps))
    alice.write(tried("a", 0.05, "improved"))
    together, _ = came_from(alice.records)
    assert (together.tried, together.gained) == (1, 0)


def test_an_origin_in_the_same_objective_is_none() -> None:
    alice = Author("alice")
    alice.write(structs.replace(tried("a", 0.02), origin=Origin(OBJECTIVE, source("a"))))
    assert came_from(alice.records) == []


def test_an_idea_whose_run_failed_was_tried_in_vain() -> None:
    alice = Author("alice")
    alice.write(structs.replace(tried("a", 0.0, "failed"), effect=None))
    together, _ = came_from(alice.records)
    assert (together.tried, together.gained, together.gain) == (1, 0, None)
