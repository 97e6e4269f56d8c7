"""What is run again next: first what the draw asks of this node, then what promises most by those who proved right."""

from __future__ import annotations

import random
from dataclasses import replace

from node.queue import (
    DRAWN_AUDIT,
    DRAWN_REPORT,
    IDLE_REPORT,
    IDLE_WAITS,
    REFUTED,
    REPORT,
    SPARE_REPORT,
    VOUCHED,
    Standpoint,
    Task,
    classmates,
    tasks,
    trust,
    trust_of,
)
from protocol.draw import drawn
from protocol.records import Effect, Record
from tests.node.records_for_tests import BASELINE, Author, audit, experiment, refuters, replication, source

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


def test_of_claims_that_say_the_same_that_with_most_reports_is_run_again() -> None:
    alice, bob, carol, dave, erin, me = introduce("alice", "bob", "carol", "dave", "erin", "me")
    twins = sorted((author.write(experiment("first")) for author in (alice, erin)), key=lambda record: record.id)

    def claims() -> set[Record]:
        return {task.claim for task in tasks(held(alice, bob, carol, dave, erin, me), me.key, "cpu", NOWHERE)}

    assert claims() == {twins[0]}
    reports = [bob.report(twins[1], 0.02)]
    assert claims() == {twins[1]}
    reports += [peer.report(twins[1], 0.02) for peer in (carol, dave)]
    for number, peer in enumerate((bob, carol, dave)):
        peer.write(audit(reports[number - 1]))
    assert twins[0] in claims(), "what is refuted speaks for nobody else's claim"


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


def test_whoever_is_not_drawn_leaves_a_claim_to_those_who_are_and_looks_briefly_once_a_report_vouches_for_it() -> None:
    alice, *peers = introduce("alice", "bob", "carol", "dave", "eve", "frank")
    claim = alice.write(experiment("one"))
    order = drawn(claim.id, {peer.key for peer in peers})
    first, *_, last = sorted(peers, key=lambda peer: order.index(peer.key))

    def task(author: Author) -> Task:
        (found,) = [t for t in tasks(held(alice, *peers), author.key, "cpu", NOWHERE) if t.audit is None]
        return found

    assert (task(first).waits, task(last).waits, task(last).vouched) == (False, True, False)
    first.report(claim, -0.19)
    assert (task(last).order[0], task(last).waits, task(last).vouched) == (VOUCHED, False, True)
    beyond = Standpoint(source("one"), {})
    (report,) = tasks(held(alice, *peers), last.key, "cpu", beyond)
    assert report.waits, "what promises nothing is not worth a look, but may still need a report"
    last.write(replace(replication(claim, by=last.key), pairs=(), effect=None, decision="unclear"))
    assert (task(last).order[0], task(last).waits, task(last).vouched) == (SPARE_REPORT, True, False)


def test_a_look_is_no_report_and_a_verdict_makes_one_needless() -> None:
    alice, *peers = introduce("alice", "bob", "carol", "dave", "eve", "frank")
    claim = alice.write(experiment("one"))
    looker = next(p for p in peers if p.key in drawn(claim.id, {peer.key for peer in peers})[:3])
    look = looker.write(replace(replication(claim, by=looker.key), pairs=(), effect=None, decision="unclear"))
    (task,) = tasks(held(alice, *peers), looker.key, "cpu", NOWHERE)
    assert (task.order[0], task.vouched) == (DRAWN_REPORT, False)
    reporters = [peer for peer in peers if peer is not looker][:3]
    reports = [peer.report(claim) for peer in reporters]
    for number, peer in enumerate(reporters):
        peer.write(audit(reports[number - 1]))
    assert look.id not in {report.id for report in reports}
    assert tasks(held(alice, *peers), looker.key, "cpu", NOWHERE) == []


def test_reports_do_not_vouch_for_an_author_who_was_found_wrong_here_nor_when_they_differ() -> None:
    alice, *peers = introduce("alice", "bob", "carol", "dave", "eve", "frank")
    wrong, claim, disputed = (alice.write(experiment(name)) for name in ("wrong", "one", "two"))
    for about, means in ((claim, (-0.19,)), (disputed, (-0.19, 0.19))):
        order = drawn(about.id, {peer.key for peer in peers})
        for mean, key in zip(means, order, strict=False):
            next(peer for peer in peers if peer.key == key).report(about, mean)

    def vouched(author: Author) -> set[bytes]:
        return {task.claim.id for task in tasks(held(alice, *peers), author.key, "cpu", NOWHERE) if task.vouched}

    last = {about.id: drawn(about.id, {peer.key for peer in peers})[-1] for about in (claim, disputed)}
    believer = next(peer for peer in peers if peer.key == last[claim.id])
    assert vouched(believer) == {claim.id}
    assert disputed.id not in vouched(next(peer for peer in peers if peer.key == last[disputed.id]))
    believer.write(replication(wrong, decision="contradicts", effect=Effect(0.05, 0.01, 2), by=believer.key))
    assert vouched(believer) == set()


def test_made_up_reports_take_nobody_out_of_the_draw() -> None:
    alice, *peers = introduce("alice", "bob", "carol", "dave", "eve")
    claim = alice.write(experiment("one"))
    for name in ("mallory", "oscar", "trudy"):
        forger = introduce(name)[0]
        forger.write(replication(claim))  # not on seeds of its own
        peers.append(forger)
    able = drawn(claim.id, {peer.key for peer in peers})
    for peer in peers[:4]:
        (task,) = tasks(held(alice, *peers), peer.key, "cpu", NOWHERE)
        assert task.order[0] == (DRAWN_REPORT if peer.key in able[:3] else REPORT)


def test_twice_as_many_are_asked_every_time_that_those_before_did_not_report() -> None:
    alice, *peers = introduce(*(f"peer {number}" for number in range(20)))
    claim = alice.write(experiment("one"))
    order = drawn(claim.id, {peer.key for peer in peers})
    waits = {}
    for peer in peers:
        (task,) = tasks(held(alice, *peers), peer.key, "cpu", NOWHERE)
        waits[order.index(peer.key)] = task.waits
    assert [waits[rank] for rank in range(19)] == [0] * 3 + [1] * 3 + [2] * 6 + [3] * 7


def test_a_class_makes_its_own_reports_of_what_another_confirmed() -> None:
    alice, *peers = introduce("alice", "bob", "carol", "dave")
    claim = alice.write(experiment("one"))
    reports = [peer.report(claim) for peer in peers]
    for number, peer in enumerate(peers):
        peer.write(audit(reports[number - 1]))
    gpus = [Author(f"gpu {number}") for number in range(5)]
    for gpu in gpus:
        gpu.write(replace(experiment("tried", decision="no_gain"), compute_class="gpu"))
    order = drawn(claim.id, {gpu.key for gpu in gpus})
    ordered = sorted(gpus, key=lambda gpu: order.index(gpu.key))
    ordered[0].report(claim, compute_class="gpu")
    bands = [tasks(held(alice, *peers, *gpus), gpu.key, "gpu", NOWHERE)[0].order[0] for gpu in ordered[1:]]
    assert bands == [DRAWN_REPORT, DRAWN_REPORT, VOUCHED, VOUCHED]


def test_what_was_adopted_after_a_look_is_reported_on_first_when_it_is_refuted() -> None:
    alice, me = introduce("alice", "me")
    claim = alice.write(experiment("one"))
    look = replace(replication(claim, decision="unclear"), adopted=source("one"), route="child")
    me.write(look)
    records = [*held(alice, me), *refuters(claim)]
    assert [(task.claim, task.order[0]) for task in tasks(records, me.key, "cpu", NOWHERE)] == [(claim, DRAWN_REPORT)]


def test_who_is_present_can_be_drawn_before_having_written_anything() -> None:
    alice, me = introduce("alice", "me")
    silent = {Author(f"silent {number}").key for number in range(9)}
    waits = set()
    for number in range(9):
        claim = alice.write(experiment(f"claim {number}", category=f"category {number}"))
        found = tasks(held(alice, me), me.key, "cpu", NOWHERE, frozenset(silent))
        task = next(task for task in found if task.claim == claim)
        assert (task.waits == 0) == (me.key in drawn(claim.id, {me.key, *silent})[:3])
        waits.add(task.waits == 0)
    assert waits == {True, False}


def test_what_promises_nothing_is_reported_on_last_and_late() -> None:
    alice, bob, me = introduce("alice", "bob", "me")
    claim = alice.write(experiment("first", effect=Effect(-0.1, 0.01, 2)))
    there = Standpoint(source("another"), {"initialisation": 0.2})
    (task,) = tasks(held(alice, bob, me), me.key, "cpu", there)
    assert (task.claim, task.order[0], task.waits) == (claim, IDLE_REPORT, IDLE_WAITS)
