"""A source is as far from an earlier one as the edits between them, the bets of a proven chain included."""

from __future__ import annotations

from dataclasses import replace as with_fields

import pytest
from msgspec.structs import replace

from node.ledger.projections.steps import steps_of
from node.proposers.proposer import tried_results
from node.proposers.reopening import REOPEN_GAIN, REOPEN_STEPS, Distance, closed, distances, edits_of
from protocol.records import ChainStep, Decision, Effect, Experiment, Record
from tests.node.records_for_tests import BASELINE, Author, experiment, source

ONE, TWO, THREE = source("one"), source("two"), source("three")


def bet(title: str, parent: bytes, child: bytes, mean: float) -> Experiment:
    return replace(experiment(title, parent, child, "unclear", Effect(mean, 0.01, 1)), bet=True)


def proven(bets: list[Record]) -> Experiment:
    steps = tuple(ChainStep(record.id, "batch", mean) for record, mean in zip(bets, (-0.03, -0.01), strict=True))
    return replace(experiment("both", BASELINE, TWO, "improved", Effect(-0.04, 0.01, 2)), steps=steps)


def test_a_proven_chain_counts_as_the_bets_that_it_was_made_of() -> None:
    me = Author("me")
    bets = [me.write(bet("one", BASELINE, ONE, -0.05)), me.write(bet("two", ONE, TWO, -0.02))]
    me.write(proven(bets))
    me.write(bet("three", TWO, THREE, -0.06))
    edits = edits_of(steps_of(me.records), me.records)
    assert [(edit.source, edit.gain) for edit in edits] == [(ONE, 0.03), (TWO, 0.01), (THREE, 0.06)]
    found = distances(edits, BASELINE)
    assert {source: distance.steps for source, distance in found.items()} == {BASELINE: 3, ONE: 2, TWO: 1, THREE: 0}
    assert found[BASELINE].gain == pytest.approx(0.1)
    assert [found[one].is_far() for one in (BASELINE, ONE, TWO, THREE)] == [True, False, False, False]


def test_a_bet_teaches_what_its_chain_was_measured_to_be_worth() -> None:
    me, other = Author("me"), Author("other")
    bets = [me.write(bet("one", BASELINE, ONE, -0.05)), me.write(bet("two", ONE, TWO, -0.02))]
    other.write(replace(proven(bets), decision=Decision.NO_GAIN))
    assert [result.effect for result in tried_results([*me.records, *other.records])] == [-0.05, -0.02]
    me.write(proven(bets))
    results = tried_results(me.records)
    assert [(result.effect, result.bet) for result in results] == [(-0.03, True), (-0.01, True)]
    failed = replace(proven(bets), decision=Decision.NO_GAIN)
    assert not any(result.gained for result in tried_results([*bets, Author("me").write(failed)]))


def test_a_source_is_far_after_much_gain_or_many_edits() -> None:
    near = Distance(1, 0.01)
    assert not near.is_far()
    assert with_fields(near, gain=REOPEN_GAIN).is_far()
    assert with_fields(near, steps=REOPEN_STEPS).is_far()


def test_an_idea_that_failed_again_waits_twice_as_long() -> None:
    long_ago, lately = Distance(20, 0.01), Distance(REOPEN_STEPS, 0.01)
    assert closed({"once": [lately], "twice": [long_ago, lately], "too soon": [Distance(1, 0.01)]}) == {
        "twice",
        "too soon",
    }
    assert closed({"twice": [long_ago, Distance(2 * REOPEN_STEPS, 0.01)]}) == frozenset()
