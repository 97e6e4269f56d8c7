"""What the swarm knows is a fold over records: the same for every node that holds them, in whatever order they came."""

from __future__ import annotations

import math
import random

import pytest
from msgspec.structs import replace

from node.ledger.projections.discoveries import discoveries, doubted, pending_replications, refuted
from node.ledger.projections.effects import chain, gain, gain_text
from node.ledger.projections.leaderboard import author_bests
from node.ledger.projections.lineage import path_from_baseline
from node.ledger.projections.steps import bases_of, best_source
from protocol.metric import LOSS
from protocol.records import Effect, Hypothesis, sign_record
from protocol.weights import NOBODY, weights_of
from tests.node.records_for_tests import (
    BASELINE,
    OBJECTIVE,
    Author,
    audit,
    checked,
    experiment,
    refuters,
    replication,
    reporters,
    source,
)


def test_best_source_starts_at_the_baseline_and_follows_what_was_kept() -> None:
    alice = Author("alice")
    assert best_source(alice.records, BASELINE) == BASELINE
    alice.write(experiment("worse", decision="no_gain"))
    assert best_source(alice.records, BASELINE) == BASELINE
    alice.write(experiment("better"))
    assert best_source(alice.records, BASELINE) == source("better")


def test_an_adoption_becomes_the_best_source() -> None:
    alice, bob = Author("alice"), Author("bob")
    claim = alice.write(experiment("better"))
    bob.write(replication(claim, adopted=source("better")))
    assert best_source(bob.records, BASELINE) == source("better")


def test_a_replication_that_adopts_nothing_changes_nothing() -> None:
    bob = Author("bob")
    bob.write(replication(Author("alice").write(experiment("better"))))
    assert best_source(bob.records, BASELINE) == BASELINE


def test_a_refuted_discovery_of_anothers_is_left_out_with_what_was_built_on_it() -> None:
    alice, me = Author("alice"), Author("me")
    alice.write(experiment("one"))
    two = alice.write(experiment("two", parent=source("one")))
    alice.write(experiment("three", parent=source("two")))
    assert best_source(alice.records, BASELINE) == source("three")
    against = refuters(two, me.write)
    assert refuted([*alice.records, *against], NOBODY) == set(), "a node that has run nothing believes nobody"
    gone = refuted(records := [*alice.records, *against, *me.records], weights_of(records, me.key))
    assert gone == {two.id}
    assert best_source(alice.records, BASELINE, gone) == source("one")
    alice.write(experiment("four", parent=source("one")))
    assert best_source(alice.records, BASELINE, gone) == source("four")


def test_an_adopted_whole_lineage_does_not_fall_with_what_was_there_before() -> None:
    alice, eve = Author("alice"), Author("eve")
    one = alice.write(experiment("one"))
    theirs = eve.write(experiment("theirs"))
    adoption = replication(theirs, adopted=source("theirs"), by=alice.identity)
    alice.write(replace(adoption, route="merge", base=source("one")))
    assert best_source(alice.records, BASELINE, {one.id}) == BASELINE
    alice.write(replace(adoption, route="whole", base=source("one")))
    assert best_source(alice.records, BASELINE, {one.id}) == source("theirs")


def test_what_was_adopted_falls_by_an_own_report_alone() -> None:
    alice, carol = Author("alice"), Author("carol")
    claim = alice.write(experiment("one"))
    carol.write(replace(replication(claim, adopted=source("one")), pairs=()))
    assert bases_of(carol.records) == {claim.id}

    def stands(decision: str | None) -> bool:
        own = replication(claim, decision=decision, by=carol.identity) if decision else None
        later = [sign_record(carol.identity, OBJECTIVE, 1, carol.records[0].id, 1, own)] if own else []
        return best_source([*carol.records, *later], BASELINE) == source("one")

    assert [stands(decision) for decision in (None, "supports", "unclear", "contradicts", "failed")] == [
        *(True, True, True, False, False)
    ]


def test_others_who_count_cast_doubt_on_a_discovery_and_its_author_stands_on_it_all_the_same() -> None:
    alice = Author("alice")
    claim = alice.write(experiment("one"))
    strangers = [*alice.records, *refuters(claim, None)]
    assert doubted(strangers, weights_of(strangers, alice.key), {claim.id}) == set()
    known = [*refuters(claim, alice.write), *alice.records]
    weights = weights_of(known, alice.key)
    assert doubted(known, weights, {claim.id}) == {claim.id}
    assert best_source(alice.records, BASELINE) == source("one")


def test_what_others_found_counts_for_a_node_and_not_what_it_claims() -> None:
    alice = Author("alice")
    one = alice.write(experiment("one", effect=Effect(-0.3, 0.01, 2)))
    alice.write(experiment("two", parent=source("one"), effect=Effect(-0.9, 0.01, 2)))
    me = Author("me")
    records = [*reporters(one, me.write, -0.1), *alice.records, *me.records]
    bests = author_bests(records, BASELINE, weights_of(records, me.key))
    best = next(b for b in bests if b.author == alice.key)
    assert (best.replicated_steps, len(best.steps)) == (1, 2)
    assert best.replicated is not None
    assert best.replicated.mean == pytest.approx(-0.1)


def test_what_waits_for_replication_is_the_unrun_claims_of_others_largest_first() -> None:
    alice, bob = Author("alice"), Author("bob")
    small = alice.write(experiment("small", effect=Effect(-0.02, 0.005, 2)))
    large = alice.write(experiment("large", effect=Effect(-0.2, 0.005, 2)))
    alice.write(experiment("nothing", decision="no_gain"))
    bob.write(experiment("my own"))
    me = bob.identity.author
    held = [*alice.records, *bob.records]
    assert pending_replications(held, me) == [large, small]
    bob.write(replication(large))
    assert pending_replications([*alice.records, *bob.records], me) == [small]


def test_folds_do_not_depend_on_the_order_of_arrival() -> None:
    alice, bob, carol = Author("alice"), Author("bob"), Author("carol")
    claim = alice.write(experiment("one", holdout=Effect(-0.18, 0.01, 2)))
    alice.write(experiment("two", parent=source("one")))
    carol.write(audit(bob.write(replication(claim, adopted=source("one"), by=bob.identity))))
    carol.report(claim, 0.05)
    records = [*alice.records, *bob.records, *carol.records]
    for seed in range(5):
        mixed = records[:]
        random.Random(seed).shuffle(mixed)
        assert author_bests(mixed, BASELINE, NOBODY) == author_bests(records, BASELINE, NOBODY)
        weights = weights_of(records, carol.key)
        assert weights_of(mixed, carol.key) == weights
        assert discoveries(mixed, weights) == discoveries(records, weights)


def test_an_author_cannot_replicate_itself_or_report_twice() -> None:
    alice, bob = Author("alice"), Author("bob")
    claim = alice.write(experiment("one"))
    alice.report(claim)
    bob.report(claim)
    bob.report(claim, -0.9)
    checked((me := Author("me")).write, bob)
    held = [*alice.records, *bob.records, *me.records]
    found = discoveries(held, weights_of(held, me.key))[0]
    assert found.standing.reports == 1
    assert found.standing.keys == 1


def test_gains_of_successive_steps_add_in_logarithms() -> None:
    total = chain([Effect(-0.2, 0.03, 3), Effect(-0.1, 0.04, 2)])
    assert total is not None
    assert total.mean == pytest.approx(-0.3)
    assert total.se == pytest.approx(0.05)
    assert total.n == 2
    assert gain(total, LOSS) == pytest.approx(100 * (1 - math.exp(-0.3)))
    assert chain([Effect(-0.2, 0.03, 3), None]) is None
    assert chain([]) is None


def test_lineage_leads_from_the_baseline_through_adoptions() -> None:
    alice, bob = Author("alice"), Author("bob")
    one = alice.write(experiment("one"))
    two = alice.write(experiment("two", parent=source("one")))
    merged = bob.write(replication(two, adopted=source("merged")))
    records = [*alice.records, *bob.records]
    assert path_from_baseline(records, source("two"), BASELINE) == [one, two]
    assert path_from_baseline(records, source("merged"), BASELINE) == [one, two, merged]
    assert path_from_baseline(records, BASELINE, BASELINE) == []


def test_lineage_ends_where_records_are_missing_or_run_in_a_circle() -> None:
    alice = Author("alice")
    circle = alice.write(experiment("one", parent=source("two")))
    back = alice.write(experiment("two", parent=source("one")))
    assert set(path_from_baseline([circle, back], source("one"), BASELINE)) == {circle, back}


def test_lineage_passes_over_an_adoption_of_what_is_no_claim() -> None:
    alice, mallory = Author("alice"), Author("mallory")
    claim, other = alice.write(experiment("one")), alice.write(Hypothesis("an idea", "suggestion", "", None, None))
    made_up = mallory.write(replace(replication(claim, adopted=source("x")), discovery=other.id, route="whole"))
    records = [*alice.records, made_up]
    assert path_from_baseline(records, source("x"), BASELINE) == [made_up]


def test_a_feed_of_absurd_claims_can_be_shown() -> None:
    mallory, parent = Author("mallory"), BASELINE
    for number in range(12):
        mallory.write(experiment(f"worse {number}", parent=parent, effect=Effect(100.0, 100.0, 1)))
        parent = source(f"worse {number}")
    (best,) = author_bests(mallory.records, BASELINE, NOBODY)
    assert best.effect is not None
    assert best.effect.mean == 1200.0
    assert gain(best.effect, LOSS) < -1e40
    assert gain_text(best.effect, LOSS).startswith("-")
