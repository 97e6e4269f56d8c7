"""What the swarm knows is a fold over records: the same for every node that holds them, in whatever order they came."""

from __future__ import annotations

import math
import random

import pytest
from msgspec.structs import replace

from node.ledger.projections.discoveries import discoveries, pending_replications, refuted
from node.ledger.projections.effects import chain, gain, gain_text
from node.ledger.projections.leaderboard import author_bests
from node.ledger.projections.lineage import path_from_baseline
from node.ledger.projections.steps import bases_of, best_source
from protocol.metric import LOSS
from protocol.records import Effect, Hypothesis, sign_record
from tests.node.records_for_tests import BASELINE, OBJECTIVE, Author, audit, experiment, refuters, replication, source


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


def test_a_refuted_discovery_is_left_out_with_what_was_built_on_it() -> None:
    alice = Author("alice")
    alice.write(experiment("one"))
    two = alice.write(experiment("two", parent=source("one")))
    alice.write(experiment("three", parent=source("two")))
    assert best_source(alice.records, BASELINE) == source("three")
    gone = refuted([*alice.records, *refuters(two)])
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


def test_what_was_adopted_after_a_local_trial_falls_by_an_own_report_alone() -> None:
    alice, bob, carol = Author("alice"), Author("bob"), Author("carol")
    claim = alice.write(experiment("one"))
    report = replication(claim, adopted=source("one"), by=bob.identity)
    bob.write(report)
    carol.write(report)  # on pairs that are not what a report of hers would show
    refutations = [*alice.records, *refuters(claim)]
    assert bases_of(bob.records) == set()
    down = refuted(refutations, bases_of(carol.records))
    assert down == bases_of(carol.records) == {claim.id}

    def stands(decision: str | None, gone: frozenset[bytes]) -> bool:
        own = replication(claim, decision=decision, by=carol.identity) if decision else None
        later = [sign_record(carol.identity, OBJECTIVE, 1, carol.records[0].id, 1, own)] if own else []
        return best_source([*carol.records, *later], BASELINE, gone) == source("one")

    assert [stands(decision, down) for decision in (None, "supports", "unclear", "contradicts", "failed")] == [
        *(True, True, False, False, False)
    ]
    assert [stands(decision, frozenset()) for decision in ("supports", "unclear", "contradicts")] == [True, True, False]
    assert best_source(bob.records, BASELINE, down) == source("one")


def test_what_others_found_counts_for_a_node_and_not_what_it_claims() -> None:
    alice = Author("alice")
    one = alice.write(experiment("one", effect=Effect(-0.3, 0.01, 2)))
    alice.write(experiment("two", parent=source("one"), effect=Effect(-0.9, 0.01, 2)))
    best = next(b for b in author_bests([*alice.records, *refuters(one, -0.1)], BASELINE) if b.author == alice.key)
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
        assert author_bests(mixed, BASELINE) == author_bests(records, BASELINE)
        assert discoveries(mixed) == discoveries(records)


def test_an_author_cannot_replicate_itself_or_report_twice() -> None:
    alice, bob = Author("alice"), Author("bob")
    claim = alice.write(experiment("one"))
    alice.report(claim)
    bob.report(claim)
    bob.report(claim, -0.9)
    found = discoveries([*alice.records, *bob.records])[0]
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
    (best,) = author_bests(mallory.records, BASELINE)
    assert best.effect is not None
    assert best.effect.mean == 1200.0
    assert gain(best.effect, LOSS) < -1e40
    assert gain_text(best.effect, LOSS).startswith("-")
