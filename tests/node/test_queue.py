"""What is run again next: first what the draw asks of this node, then what promises most by those who proved right."""

from __future__ import annotations

import random

from node.queue import DRAWN_AUDIT, DRAWN_REPORT, REFUTED, REPORT, Standpoint, classmates, tasks, trust, trust_of
from protocol.draw import drawn
from protocol.records import Effect, Record
from tests.node.records_for_tests import BASELINE, Author, audit, experiment, replication, source

NOWHERE = Standpoint(BASELINE)


def held(*authors: Author) -> list[Record]:
    return [record for author in authors for record in author.records]


def introduce(*names: str) -> list[Author]:
    """Authors that are known: each has tried something."""
    authors = [Author(name) for name in names]
    for author in authors:
        author.write(experiment(f"tried by {author.name}", decision="no_gain"))
    return authors


def test_trust_is_earned_slowly_and_lost_fast() -> None:
    assert trust_of(0, 0) < trust_of(1, 0) < trust_of(10, 0) < 1
    assert trust_of(4, 1) == trust_of(0, 0)
    assert 0 < trust_of(0, 2) < trust_of(0, 1) < trust_of(0, 0)


def test_trust_comes_from_what_this_node_ran_itself() -> None:
    alice, bob, carol, dave = introduce("alice", "bob", "carol", "dave")
    good, bad = alice.write(experiment("good")), bob.write(experiment("bad"))
    report = carol.report(good)
    for claim, decision in ((good, "supports"), (bad, "contradicts")):
        dave.write(replication(claim, decision=decision, by=dave.key))
    dave.write(audit(report))
    for flatterer in introduce("one", "two"):
        flatterer.write(replication(bad, by=flatterer.key))
    found = trust(held(alice, bob, carol, dave), dave.key)
    assert found == {alice.key: trust_of(1, 0), bob.key: trust_of(0, 1), carol.key: trust_of(1, 0)}
    assert trust(held(alice, bob, carol, dave), carol.key)[alice.key] == trust_of(1, 0)


def test_the_known_authors_of_a_class_are_those_who_ran_something_in_it() -> None:
    alice, bob = introduce("alice", "bob")
    claim = alice.write(experiment("one"))
    bob.report(claim, compute_class="gpu")
    assert classmates(held(alice, bob), "cpu") == {alice.key, bob.key}
    assert classmates(held(alice, bob), "gpu") == {bob.key}


def test_three_peers_are_drawn_to_replicate_a_claim_and_the_others_come_later() -> None:
    alice, *peers = introduce("alice", "bob", "carol", "dave", "eve", "frank")
    claim = alice.write(experiment("one"))
    records = held(alice, *peers)
    first = set(drawn(claim.id, {peer.key for peer in peers})[:3])
    for peer in peers:
        (task,) = tasks(records, peer.key, "cpu", NOWHERE)
        assert task.claim == claim
        assert task.order[0] == (DRAWN_REPORT if peer.key in first else REPORT)
    assert tasks(records, alice.key, "cpu", NOWHERE) == []


def test_among_claims_of_equal_need_promise_counts_and_a_wild_claim_wins_little() -> None:
    alice, bob, me = introduce("alice", "bob", "me")
    proven = alice.write(experiment("proven", effect=Effect(-0.1, 0.01, 2)))
    me.write(replication(proven, by=me.key))
    small = alice.write(experiment("small", effect=Effect(-0.28, 0.01, 2)))
    wild = bob.write(experiment("wild", effect=Effect(-5.0, 0.01, 2)))
    assert [task.claim for task in tasks(held(alice, bob, me), me.key, "cpu", NOWHERE)] == [small, wild]


def test_a_drawn_audit_comes_first_and_a_settled_claim_that_promises_nothing_is_left_alone() -> None:
    alice, bob, carol, dave, me = introduce("alice", "bob", "carol", "dave", "me")
    fallen, other = alice.write(experiment("fallen")), alice.write(experiment("other"))
    reports = [peer.report(fallen, 0.02) for peer in (bob, carol, dave)]
    for number, peer in enumerate((bob, carol, dave)):
        peer.write(audit(reports[number - 1]))
    me.report(other)
    unaudited = bob.report(other)
    found = tasks(held(alice, bob, carol, dave, me), me.key, "cpu", NOWHERE)
    assert [(task.claim, task.order[0]) for task in found] == [(other, DRAWN_AUDIT)]
    assert found[0].audit is not None
    assert found[0].audit.report == unaudited
    elsewhere = tasks(held(alice, bob, carol, dave, me), me.key, "gpu", NOWHERE)
    assert [(task.claim, task.order[0]) for task in elsewhere] == [(fallen, REFUTED)]


def test_what_says_the_same_as_a_settled_claim_is_not_run_again_where_it_promises_nothing() -> None:
    alice, bob, carol, dave, erin, me = introduce("alice", "bob", "carol", "dave", "erin", "me")
    claim = experiment("first")
    first, twin = alice.write(claim), erin.write(claim)
    reports = [peer.report(first) for peer in (bob, carol, dave)]
    for number, peer in enumerate((bob, carol, dave)):
        peer.write(audit(reports[number - 1]))
    records = held(alice, bob, carol, dave, erin, me)

    def claims(standpoint: Standpoint) -> list[Record]:
        return [task.claim for task in tasks(records, me.key, "cpu", standpoint) if task.audit is None]

    assert claims(Standpoint(claim.child)) == []
    assert sorted(claims(NOWHERE), key=lambda record: record.id) == sorted([first, twin], key=lambda record: record.id)


def test_the_queue_does_not_depend_on_the_order_of_arrival() -> None:
    alice, bob, carol, me = introduce("alice", "bob", "carol", "me")
    for number in range(4):
        claim = alice.write(experiment(f"claim {number}", effect=Effect(-0.1 * number - 0.1, 0.01, 2)))
        bob.report(claim)
        carol.report(claim, 0.01)
        if number % 2:
            me.report(claim)
    records = held(alice, bob, carol, me)
    expected = tasks(records, me.key, "cpu", NOWHERE)
    assert len(expected) == 4
    for seed in range(5):
        mixed = records[:]
        random.Random(seed).shuffle(mixed)
        assert tasks(mixed, me.key, "cpu", NOWHERE) == expected


def test_a_latecomer_looks_first_at_what_stands_on_everything_else() -> None:
    alice, me = introduce("alice", "me")
    first = alice.write(experiment("first", effect=Effect(-0.1, 0.01, 2), category="initialisation"))
    second = alice.write(
        experiment("second", parent=source("first"), effect=Effect(-0.02, 0.01, 2), category="positions")
    )
    records = held(alice, me)
    assert [task.claim for task in tasks(records, me.key, "cpu", NOWHERE)] == [second, first]
    there = Standpoint(source("first"), {"initialisation": 0.1})
    assert [task.claim for task in tasks(records, me.key, "cpu", there)] == [second, first]
    beyond = Standpoint(source("second"), {"initialisation": 0.1, "positions": 0.02})
    assert {task.order[1] for task in tasks(records, me.key, "cpu", beyond)} == {0.0}


def test_what_would_replace_a_gain_of_the_same_category_waits() -> None:
    alice, bob, me = introduce("alice", "bob", "me")
    other = alice.write(experiment("another initialisation", effect=Effect(-0.11, 0.01, 2), category="initialisation"))
    new = bob.write(experiment("rotary positions", effect=Effect(-0.05, 0.01, 2), category="positions"))
    records = held(alice, bob, me)
    assert [task.claim for task in tasks(records, me.key, "cpu", NOWHERE)] == [other, new]
    standing = Standpoint(source("my own initialisation"), {"initialisation": 0.1})
    assert [task.claim for task in tasks(records, me.key, "cpu", standing)] == [new, other]


def test_sources_that_claim_to_be_made_from_each_other_confuse_nobody() -> None:
    alice, me = introduce("alice", "me")
    alice.write(experiment("one", parent=source("two")))
    alice.write(experiment("two", parent=source("one")))
    assert len(tasks(held(alice, me), me.key, "cpu", NOWHERE)) == 2
