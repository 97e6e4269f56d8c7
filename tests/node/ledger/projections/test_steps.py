"""Steps: bets, the claims that take their place, and what is left where a chain does not hold."""

from __future__ import annotations

from msgspec import structs

from node.ledger.projections.leaderboard import author_bests
from node.ledger.projections.lineage import (
    ancestry,
    claimed_gain_by_category,
    claimed_gains,
    derivations,
    measured_gain_by_category,
    path_from_baseline,
    source_ids,
)
from node.ledger.projections.steps import best_source, open_chain, proven, steps_of
from protocol.records import ChainStep, Effect, Experiment, Record
from protocol.weights import NOBODY
from tests.node.records_for_tests import BASELINE, Author, experiment, source

CATEGORIES = {"one": "initialisation", "two": "optimizer", "three": "schedule"}


def alice() -> Author:
    return Author("alice")


def bet(author: Author, name: str, parent: bytes = BASELINE, mean: float = -0.02) -> Record:
    body = experiment(name, parent, decision="unclear", effect=Effect(mean, 0.01, 1), category=CATEGORIES[name])
    return author.write(structs.replace(body, bet=True, pairs=()))


def chain_of(author: Author, bets: list[Record], decision: str = "improved", mean: float = -0.04) -> Record:
    first, last = bets[0].body, bets[-1].body
    assert isinstance(first, Experiment)
    assert isinstance(last, Experiment)
    steps = tuple(
        ChainStep(one.id, one.body.category, mean / len(bets)) for one in bets if isinstance(one.body, Experiment)
    )
    body = experiment("one + two", first.parent, last.child, decision, Effect(mean, 0.005, 2), Effect(-0.03, 0.005, 2))
    return author.write(structs.replace(body, steps=steps))


def test_a_search_stands_on_its_bets_and_claims_nothing_of_them() -> None:
    author = alice()
    one = bet(author, "one")
    bet(author, "two", source("one"))
    steps = steps_of(author.records)
    assert best_source(author.records, BASELINE) == source("two")
    assert [step.is_bet for step in steps] == [True, True]
    assert (len(open_chain(steps)), len(proven(steps))) == (2, 0)
    (best,) = author_bests(author.records, BASELINE, NOBODY)
    assert (best.source, best.effect, len(best.ahead)) == (BASELINE, None, 2)
    assert measured_gain_by_category(author.records, steps) == {"initialisation": 0.02, "optimizer": 0.02}
    assert path_from_baseline(author.records, source("one"), BASELINE) == [one]


def test_the_claim_of_a_chain_takes_the_place_of_its_bets() -> None:
    author = alice()
    bets = [bet(author, "one"), bet(author, "two", source("one"))]
    claim = chain_of(author, bets)
    later = bet(author, "three", source("two"))
    steps = steps_of(author.records)
    assert [(step.record, step.is_bet) for step in steps] == [(claim, False), (later, True)]
    (best,) = author_bests(author.records, BASELINE, NOBODY)
    assert (best.source, best.effect, best.experiments) == (source("two"), Effect(-0.04, 0.005, 2), 3)
    assert path_from_baseline(author.records, source("two"), BASELINE) == [claim]
    lineage = ancestry(derivations(author.records), (author.key, source("three")))
    assert source_ids(lineage) == {BASELINE, source("one"), source("two"), source("three")}
    assert claimed_gain_by_category(claimed_gains(author.records), lineage) == {
        "initialisation": 0.02,
        "optimizer": 0.02,
    }


def test_where_a_chain_does_not_hold_the_search_goes_back_to_where_it_began() -> None:
    author = alice()
    bets = [bet(author, "one"), bet(author, "two", source("one")), bet(author, "three", source("two"))]
    chain_of(author, bets[1:], "no_gain", 0.001)
    assert best_source(author.records, BASELINE) == source("one")
    again = bet(author, "three", source("one"))
    assert [step.record for step in steps_of(author.records)] == [bets[0], again]


def test_a_chain_that_is_unclear_or_names_what_it_is_not_made_of_changes_nothing() -> None:
    author = alice()
    bets = [bet(author, "one"), bet(author, "two", source("one"))]
    chain_of(author, bets, "unclear")
    assert [step.record for step in steps_of(author.records)] == bets
    other = alice()
    strange = [bet(other, "three")]
    chain_of(author, strange, "no_gain")
    assert [step.record for step in steps_of(author.records)] == bets


def test_the_bets_of_a_claim_that_others_refute_stand_until_own_runs_say_otherwise() -> None:
    author = alice()
    bets = [bet(author, "one"), bet(author, "two", source("one"))]
    claim = chain_of(author, bets)
    assert [step.record for step in steps_of(author.records, {claim.id})] == bets
    chain_of(author, bets[1:], "no_gain", 0.01)
    assert [step.record for step in steps_of(author.records, {claim.id})] == bets[:1]
