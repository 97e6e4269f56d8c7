"""What is tried next: what is expected to gain most, by authors who proved right. And what is run again for everybody:
first what the draw asks of this node, of claims that others report on too.
"""

from __future__ import annotations

import random

from msgspec.structs import replace

from node.review.case import DRAWN_AUDIT, DRAWN_REPORT, REFUTED, REPORT, TURNS_BEFORE_UNNEEDED_REPORT, ReviewTask
from node.review.schedule import LocalTrial, Schedule, SearchPosition
from node.review.trust import LEAST_DISCOUNT, authors_of_class, trust, trust_of
from protocol.draw import drawn
from protocol.records import Effect, Record
from tests.node.records_for_tests import BASELINE, Author, audit, experiment, refuters, replication, source

NOWHERE = SearchPosition(BASELINE)


def tasks(
    records: list[Record], me: bytes, where: SearchPosition = NOWHERE, compute_class: str = "cpu"
) -> list[ReviewTask]:
    return Schedule(records, me, compute_class, where).tasks


def trials(records: list[Record], me: bytes, where: SearchPosition = NOWHERE) -> list[LocalTrial]:
    return Schedule(records, me, "cpu", where).local_trials


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
        dave.write(replication(claim, decision=decision, by=dave.identity))
    dave.write(audit(report))
    for flatterer in introduce("one", "two"):
        flatterer.write(replication(bad, by=flatterer.identity))
    found = trust(held(alice, bob, carol, dave), dave.key)
    assert found == {alice.key: trust_of(1, 0), bob.key: trust_of(0, 1), carol.key: trust_of(1, 0)}
    assert trust(held(alice, bob, carol, dave), carol.key)[alice.key] == trust_of(1, 0)


def test_the_known_authors_of_a_class_are_those_who_ran_something_in_it() -> None:
    alice, bob = introduce("alice", "bob")
    claim = alice.write(experiment("one"))
    bob.report(claim, compute_class="gpu")
    assert authors_of_class(held(alice, bob), "cpu") == {alice.key, bob.key}
    assert authors_of_class(held(alice, bob), "gpu") == {bob.key}


def test_three_peers_are_drawn_to_replicate_a_claim_and_the_others_come_later() -> None:
    alice, *peers = introduce("alice", "bob", "carol", "dave", "eve", "frank")
    claim = alice.write(experiment("one"))
    records = held(alice, *peers)
    first = set(drawn(claim.id, {peer.key for peer in peers})[:3])
    for peer in peers:
        (task,) = tasks(records, peer.key)
        assert task.claim == claim
        assert task.order[0] == (DRAWN_REPORT if peer.key in first else REPORT)
    assert tasks(records, alice.key) == []


def test_among_claims_of_equal_need_the_largest_comes_first_and_a_wild_claim_wins_little() -> None:
    alice, bob, me = introduce("alice", "bob", "me")
    proven = alice.write(experiment("proven", effect=Effect(-0.1, 0.01, 2)))
    me.write(replication(proven, by=me.identity))
    small = alice.write(experiment("small", effect=Effect(-0.28, 0.01, 2)))
    wild = bob.write(experiment("wild", effect=Effect(-5.0, 0.01, 2)))
    assert [task.claim for task in tasks(held(alice, bob, me), me.key)] == [small, wild]
    assert [trial.claim for trial in trials(held(alice, bob, me), me.key)] == [small, wild, proven]


def test_what_others_have_begun_to_report_on_comes_before_what_is_larger() -> None:
    alice, bob, me = introduce("alice", "bob", "me")
    begun, larger = (alice.write(experiment(f"{gain}", effect=Effect(-gain, 0.01, 2))) for gain in (0.05, 0.2))
    bob.report(begun)
    assert [task.claim for task in tasks(held(alice, bob, me), me.key)] == [begun, larger]


def test_a_drawn_audit_comes_first_and_a_settled_claim_without_expected_gain_is_left_alone() -> None:
    alice, bob, carol, dave, me = introduce("alice", "bob", "carol", "dave", "me")
    fallen, other = alice.write(experiment("fallen")), alice.write(experiment("other"))
    reports = [peer.report(fallen, 0.02) for peer in (bob, carol, dave)]
    for number, peer in enumerate((bob, carol, dave)):
        peer.write(audit(reports[number - 1]))
    me.report(other)
    unaudited = bob.report(other)
    found = tasks(held(alice, bob, carol, dave, me), me.key)
    assert [(task.claim, task.order[0]) for task in found] == [(other, DRAWN_AUDIT)]
    assert found[0].audit is not None
    assert found[0].audit.report == unaudited
    of_another_class = tasks(held(alice, bob, carol, dave, me), me.key, compute_class="gpu")
    assert [(task.claim, task.order[0]) for task in of_another_class] == [(fallen, REFUTED)]


def test_of_claims_that_say_the_same_that_with_most_reports_is_run_again() -> None:
    alice, bob, carol, dave, erin, me = introduce("alice", "bob", "carol", "dave", "erin", "me")
    twins = sorted((author.write(experiment("first")) for author in (alice, erin)), key=lambda record: record.id)

    def claims() -> set[Record]:
        return {task.claim for task in tasks(held(alice, bob, carol, dave, erin, me), me.key)}

    assert claims() == {twins[0]}
    reports = [bob.report(twins[1], 0.02)]
    assert claims() == {twins[1]}
    reports += [peer.report(twins[1], 0.02) for peer in (carol, dave)]
    for number, peer in enumerate((bob, carol, dave)):
        peer.write(audit(reports[number - 1]))
    assert twins[0] in claims(), "what is refuted speaks for nobody else's claim"


def test_the_schedule_does_not_depend_on_the_order_of_arrival() -> None:
    alice, bob, carol, me = introduce("alice", "bob", "carol", "me")
    for number in range(4):
        claim = alice.write(experiment(f"claim {number}", effect=Effect(-0.1 * number - 0.1, 0.01, 2)))
        bob.report(claim)
        carol.report(claim, 0.01)
        if number % 2:
            me.report(claim)
    records = held(alice, bob, carol, me)
    expected = tasks(records, me.key)
    assert len(expected) == 4
    for seed in range(5):
        mixed = records[:]
        random.Random(seed).shuffle(mixed)
        assert tasks(mixed, me.key) == expected


def test_a_latecomer_first_tries_what_stands_on_everything_else() -> None:
    alice, me = introduce("alice", "me")
    first = alice.write(experiment("first", effect=Effect(-0.1, 0.01, 2), category="initialisation"))
    second = alice.write(
        experiment("second", parent=source("first"), effect=Effect(-0.02, 0.01, 2), category="positions")
    )
    records = held(alice, me)
    assert [(trial.claim, round(trial.expected_gain, 9)) for trial in trials(records, me.key)] == [
        (second, 0.12),
        (first, 0.1),
    ]
    took = me.write(replace(replication(first, adopted=source("first")), route="child", base=BASELINE))
    there = SearchPosition(source("first"), {"initialisation": 0.09}, {took.id})
    (trial,) = trials(held(alice, me), me.key, there)
    assert (trial.claim, round(trial.expected_gain, 9)) == (second, 0.02)
    took_too = me.write(replace(replication(second, adopted=source("second")), route="child", base=source("first")))
    beyond = SearchPosition(source("second"), {"initialisation": 0.1, "positions": 0.02}, {took.id, took_too.id})
    assert trials(held(alice, me), me.key, beyond) == []


def test_of_a_category_that_this_node_has_gained_from_only_the_excess_is_expected() -> None:
    alice, bob, me = introduce("alice", "bob", "me")
    other = alice.write(experiment("another initialisation", effect=Effect(-0.11, 0.01, 2), category="initialisation"))
    more = alice.write(
        experiment("and more", other.body.child, effect=Effect(-0.04, 0.01, 2), category="initialisation")  # type: ignore[union-attr]
    )
    new = bob.write(experiment("rotary positions", effect=Effect(-0.05, 0.01, 2), category="positions"))
    assert [trial.claim for trial in trials(held(alice, bob, me), me.key)] == [more, other, new]
    me.write(experiment("my own initialisation", effect=Effect(-0.14, 0.01, 2)))
    standing = SearchPosition(source("my own initialisation"), {"initialisation": 0.12})
    assert [
        (trial.claim, round(trial.expected_gain, 9)) for trial in trials(held(alice, bob, me), me.key, standing)
    ] == [
        (new, 0.05),
        (more, 0.03),
    ]


def test_what_was_tried_in_vain_adds_nothing_to_its_own_or_to_a_descendants_expected_gain() -> None:
    alice, me = introduce("alice", "me")
    first = alice.write(experiment("first", effect=Effect(-0.1, 0.01, 2), category="initialisation"))
    second = alice.write(
        experiment("second", parent=source("first"), effect=Effect(-0.02, 0.01, 2), category="positions")
    )
    me.write(replace(replication(first, by=me.identity), pairs=(), effect=None, decision="unclear"))
    (trial,) = trials(held(alice, me), me.key)
    assert (trial.claim, round(trial.expected_gain, 9)) == (second, 0.02)


def test_a_refinement_of_what_this_node_has_counts_also_after_a_trial_in_vain_elsewhere() -> None:
    alice, bob, me = introduce("alice", "bob", "me")
    me.write(experiment("mine", effect=Effect(-0.1, 0.01, 2)))
    there = SearchPosition(source("mine"), {"initialisation": 0.1})
    for peer in (alice, bob):
        peer.write(replace(replication(me.records[-1], adopted=source("mine")), route="child", base=BASELINE))
    other = alice.write(experiment("positions", source("mine"), effect=Effect(-0.05, 0.01, 2), category="positions"))
    more = bob.write(experiment("more", source("mine"), effect=Effect(-0.04, 0.01, 2)))
    assert [trial.claim for trial in trials(held(alice, bob, me), me.key, there)] == [other, more]
    me.write(replace(replication(other, by=me.identity), pairs=(), effect=None, decision="unclear"))
    (trial,) = trials(held(alice, bob, me), me.key, there)
    assert (trial.claim, round(trial.expected_gain, 9)) == (more, 0.04)


def test_what_refines_this_nodes_best_counts_whatever_was_measured_or_claimed_before() -> None:
    alice, bob, me = introduce("alice", "bob", "me")
    first = alice.write(experiment("first", effect=Effect(-0.1, 0.01, 2)))
    mine = me.write(replace(replication(first, adopted=source("first")), route="child", base=BASELINE))
    bob.write(replace(replication(first, adopted=source("first")), route="child", base=BASELINE))
    more = bob.write(experiment("more", source("first"), effect=Effect(-0.03, 0.01, 2)))
    (trial,) = trials(
        held(alice, bob, me), me.key, SearchPosition(source("first"), {"initialisation": 0.45}, {mine.id})
    )
    assert (trial.claim, round(trial.expected_gain, 9)) == (more, 0.03)


def test_one_bad_step_at_the_end_does_not_spoil_the_lineage_of_others() -> None:
    alice, mallory, me = introduce("alice", "mallory", "me")
    good = alice.write(experiment("good", effect=Effect(-0.1, 0.01, 2)))
    mallory.write(replace(replication(good, adopted=source("good")), route="child", base=BASELINE))
    bad = mallory.write(experiment("bad", source("good"), effect=Effect(-0.02, 0.01, 2), category="batch"))
    assert [trial.claim for trial in trials(held(alice, mallory, me), me.key)] == [bad, good]
    me.write(replace(replication(bad, by=me.identity), pairs=(), effect=None, decision="unclear"))
    (trial,) = trials(held(alice, mallory, me), me.key)
    assert (trial.claim, round(trial.expected_gain, 9)) == (good, 0.1)


def test_an_author_whose_claims_are_tried_in_vain_again_and_again_comes_after_others() -> None:
    alice, mallory, me = introduce("alice", "mallory", "me")
    for number in range(4):
        fake = mallory.write(experiment(f"fake {number}", category=f"{number}", effect=Effect(-3.0, 0.01, 2)))
        if number < 3:
            me.write(replace(replication(fake, by=me.identity), pairs=(), effect=None, decision="unclear"))
    real = alice.write(experiment("real", effect=Effect(-0.1, 0.01, 2)))
    assert [trial.claim for trial in trials(held(alice, mallory, me), me.key)] == [real, fake]


def test_what_was_rolled_back_with_its_base_may_be_tried_again() -> None:
    alice, me = introduce("alice", "me")
    claim = alice.write(experiment("one"))
    adopted = me.write(replace(replication(claim, decision="unclear"), adopted=source("merged"), route="merge"))
    assert trials(held(alice, me), me.key, SearchPosition(source("merged"), {}, {adopted.id})) == []
    assert [trial.claim for trial in trials(held(alice, me), me.key, NOWHERE)] == [claim]


def test_sources_that_claim_to_be_made_from_each_other_confuse_nobody() -> None:
    alice, me = introduce("alice", "me")
    alice.write(experiment("one", parent=source("two")))
    alice.write(experiment("two", parent=source("one")))
    assert len(tasks(held(alice, me), me.key)) == 2


def test_every_node_tries_a_claim_once_and_who_is_drawn_reports_whatever_came_of_it() -> None:
    alice, *peers = introduce("alice", "bob", "carol", "dave", "eve", "frank")
    claim = alice.write(experiment("one"))
    order = drawn(claim.id, {peer.key for peer in peers})
    first, *_, last = sorted(peers, key=lambda peer: order.index(peer.key))
    for peer in (first, last):
        (trial,) = trials(held(alice, *peers), peer.key)
        assert (trial.claim, trial.supported) == (claim, False)
        peer.write(replace(replication(claim, by=peer.identity), pairs=(), effect=None, decision="unclear"))
        assert trials(held(alice, *peers), peer.key) == []
    (due,), (late,) = (tasks(held(alice, *peers), peer.key) for peer in (first, last))
    assert (due.waits, late.waits) == (TURNS_BEFORE_UNNEEDED_REPORT, TURNS_BEFORE_UNNEEDED_REPORT + 1), (
        "it was of no use to either"
    )
    adopted = replace(replication(claim, decision="unclear"), adopted=source("one"), route="child")
    first.write(adopted)
    there = SearchPosition(source("one"), {})
    (due,) = tasks(held(alice, *peers), first.key, there)
    assert (due.order[0], due.waits) == (DRAWN_REPORT, 0)


def test_what_most_peers_tried_in_vain_comes_later_but_is_never_dropped() -> None:
    alice, *peers, me = introduce("alice", *(f"peer {number}" for number in range(12)), "me")
    doubtful, other = (alice.write(experiment(f"{gain}", effect=Effect(-gain, 0.01, 2))) for gain in (0.21, 0.1))
    vain = replace(replication(doubtful), pairs=(), effect=None, decision="unclear")
    discounts = []
    for number, peer in enumerate(peers):
        found = trials(held(alice, *peers, me), me.key)
        discounts.append(next(trial.discount for trial in found if trial.claim == doubtful))
        assert found[0].claim == (doubtful if number < 3 else other)
        peer.write(vain)
    assert discounts[:4] == [1.0, 2 / 3, 0.5, 0.4]
    assert discounts[-1] == LEAST_DISCOUNT
    for peer in peers:
        peer.write(replace(vain, adopted=source("merged"), route="merge"))
    assert trials(held(alice, *peers, me), me.key)[0].discount == 1.0


def test_a_verdict_makes_reports_needless_but_not_trials() -> None:
    alice, *peers = introduce("alice", "bob", "carol", "dave", "eve", "frank")
    claim = alice.write(experiment("one"))
    *reporters, idle = peers[:4]
    reports = [peer.report(claim) for peer in reporters]
    for number, peer in enumerate(reporters):
        peer.write(audit(reports[number - 1]))
    assert tasks(held(alice, *peers), idle.key) == []
    assert [trial.supported for trial in trials(held(alice, *peers), idle.key)] == [True]


def test_a_trial_is_supported_by_reports_or_by_its_author_and_who_was_wrong_is_passed_over() -> None:
    alice, *peers = introduce("alice", "bob", "carol", "dave")
    bob, carol, dave = peers
    claim, disputed, right, wrong = (alice.write(experiment(name)) for name in ("one", "two", "right", "wrong"))
    bob.report(claim, -0.19)
    bob.report(disputed, -0.19)
    carol.report(disputed, 0.19)

    def believed(author: Author) -> dict[bytes, bool]:
        return {trial.claim.id: trial.supported for trial in trials(held(alice, *peers), author.key)}

    assert believed(dave) == {claim.id: True, disputed.id: False, right.id: False, wrong.id: False}
    dave.write(replication(right, by=dave.identity))
    assert all(believed(dave).values())
    dave.write(replication(wrong, decision="contradicts", effect=Effect(0.05, 0.01, 2), by=dave.identity))
    assert believed(dave) == {right.id: True}


def test_what_an_own_report_supports_may_be_tried_though_others_refuted_it() -> None:
    alice, me = introduce("alice", "me")
    claim = alice.write(experiment("one"))
    assert trials([*held(alice, me), *refuters(claim)], me.key) == []
    me.report(claim)
    assert [trial.claim for trial in trials([*held(alice, me), *refuters(claim)], me.key)] == [claim]


def test_made_up_reports_take_nobody_out_of_the_draw() -> None:
    alice, *peers = introduce("alice", "bob", "carol", "dave", "eve")
    claim = alice.write(experiment("one"))
    for name in ("mallory", "oscar", "trudy"):
        forger = introduce(name)[0]
        forger.write(replication(claim))  # not on seeds of its own
        peers.append(forger)
    able = drawn(claim.id, {peer.key for peer in peers})
    for peer in peers[:4]:
        (task,) = tasks(held(alice, *peers), peer.key)
        assert task.order[0] == (DRAWN_REPORT if peer.key in able[:3] else REPORT)


def test_twice_as_many_are_asked_every_time_that_those_before_did_not_report() -> None:
    alice, *peers = introduce(*(f"peer {number}" for number in range(20)))
    claim = alice.write(experiment("one"))
    order = drawn(claim.id, {peer.key for peer in peers})
    waits = {}
    for peer in peers:
        (task,) = tasks(held(alice, *peers), peer.key)
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
    bands = [tasks(held(alice, *peers, *gpus), gpu.key, compute_class="gpu")[0].order[0] for gpu in ordered[1:]]
    assert bands == [DRAWN_REPORT, DRAWN_REPORT, REPORT, REPORT]


def test_what_was_adopted_after_a_local_trial_is_reported_on_first_when_it_is_refuted() -> None:
    alice, me = introduce("alice", "me")
    claim = alice.write(experiment("one"))
    adoption = replace(replication(claim, decision="unclear"), adopted=source("one"), route="child")
    there = SearchPosition(source("one"), {}, {me.write(adoption).id})
    records = [*held(alice, me), *refuters(claim)]
    assert [(task.claim, task.order[0]) for task in tasks(records, me.key, there)] == [(claim, DRAWN_REPORT)]


def test_who_is_present_can_be_drawn_before_having_written_anything() -> None:
    alice, me = introduce("alice", "me")
    silent = {Author(f"silent {number}").key for number in range(9)}
    waits = set()
    for number in range(9):
        claim = alice.write(experiment(f"claim {number}", category=f"category {number}"))
        found = Schedule(held(alice, me), me.key, "cpu", NOWHERE, frozenset(silent)).tasks
        task = next(task for task in found if task.claim == claim)
        assert (task.waits == 0) == (me.key in drawn(claim.id, {me.key, *silent})[:3])
        waits.add(task.waits == 0)
    assert waits == {True, False}


def test_what_this_node_has_no_use_for_is_reported_on_last_and_late() -> None:
    alice, bob, me = introduce("alice", "bob", "me")
    claim = alice.write(experiment("first", effect=Effect(-0.1, 0.01, 2)))
    me.write(experiment("another"))
    there = SearchPosition(source("another"), {"initialisation": 0.2})
    (task,) = tasks(held(alice, bob, me), me.key, there)
    assert (task.claim, task.order[0], task.waits) == (claim, REPORT, TURNS_BEFORE_UNNEEDED_REPORT)
