"""What is tried next: what is expected to gain most, by authors who proved right. And what is run again for everybody:
first what the draw asks of this node, of claims that others report on too.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from msgspec.structs import replace

from node.review.case import AUDIT, DRAWN_REPORT, REPORT, TURNS_BEFORE_UNNEEDED_REPORT, ReviewTask
from node.review.schedule import LocalTrial, Schedule, SearchPosition
from node.review.trust import FIRST_STRANGERS, LEAST_DISCOUNT, peers_of_class, trust, trust_of
from protocol.draw import lot
from protocol.records import Effect, Record, Replication
from protocol.weights import NOBODY, weights_of
from tests.node.records_for_tests import BASELINE, Author, audit, checked, experiment, refuters, replication, source

NOWHERE = SearchPosition(BASELINE)


def tasks(
    records: list[Record],
    me: bytes,
    where: SearchPosition = NOWHERE,
    compute_class: str = "cpu",
    present: Iterable[Author] = (),
) -> list[ReviewTask]:
    """The node's key stands for its secret here."""
    known = frozenset(author.key for author in present)
    return Schedule(records, me, compute_class, where, weights_of(records, me), me, known).tasks


def rank(claim: Record, author: Author, peers: int) -> int:
    return int(lot(author.key, claim.id) * peers)


def trials(records: list[Record], me: bytes, where: SearchPosition = NOWHERE) -> list[LocalTrial]:
    return Schedule(records, me, "cpu", where, weights_of(records, me)).local_trials


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


def test_the_known_peers_of_a_class_are_those_who_ran_something_in_it_and_whose_word_counts() -> None:
    alice, bob, me = introduce("alice", "bob", "me")
    claim = alice.write(experiment("one"))
    bob.report(claim, compute_class="gpu")
    assert peers_of_class(held(alice, bob, me), "cpu", NOBODY) == set()
    checked(me.write, alice, bob)
    records = held(alice, bob, me)
    weights = weights_of(records, me.key)
    assert peers_of_class(records, "cpu", weights) == {alice.key, bob.key, me.key}
    assert peers_of_class(records, "gpu", weights) == {bob.key}


def test_about_three_peers_are_drawn_to_replicate_a_claim_each_by_a_lot_of_its_own() -> None:
    alice, *peers = introduce("alice", "bob", "carol", "dave", "eve", "frank")
    bands = set()
    for number in range(5):
        claim = alice.write(experiment(f"{number}", category=f"{number}"))
        for peer in peers:
            task = next(task for task in tasks(held(alice), peer.key, present=peers) if task.claim == claim)
            assert task.order[0] == (DRAWN_REPORT if rank(claim, peer, 5) < 3 else REPORT)
            bands.add(task.order[0])
    assert bands == {DRAWN_REPORT, REPORT}
    assert tasks(held(alice, *peers), alice.key) == []


def test_keys_that_only_exist_change_no_lot() -> None:
    alice, *peers = introduce("alice", "bob", "carol", "dave", "eve")
    claim = alice.write(experiment("one"))
    crowd = introduce(*(f"sybil {number}" for number in range(50)))
    for sybil in crowd:
        sybil.report(claim, 0.02)
    for peer in peers:
        (alone,) = tasks(held(alice), peer.key, present=peers)
        (crowded, *_) = tasks(held(alice, *crowd), peer.key, present=peers)
        assert crowded.waits - alone.waits <= 2, "a node asks for one more at once, where strangers reported, not three"


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
    checked(me.write, bob)
    begun, larger = (alice.write(experiment(f"{gain}", effect=Effect(-gain, 0.01, 2))) for gain in (0.05, 0.2))
    bob.report(begun)
    assert [task.claim for task in tasks(held(alice, bob, me), me.key)] == [begun, larger]


def test_who_has_run_a_claim_gets_to_know_another_reporter_of_it_by_an_audit() -> None:
    alice, bob, carol, me = introduce("alice", "bob", "carol", "me")
    claim = alice.write(experiment("one"))
    bob.report(claim)
    assert [task.audit for task in tasks(held(alice, bob, me), me.key)] == [None]
    me.report(claim)
    (task,) = tasks(held(alice, bob, me), me.key)
    assert (task.order[0], task.audit and task.audit.report) == (AUDIT, bob.records[-1])
    me.write(audit(bob.records[-1]))
    carol.report(claim)
    assert tasks(held(alice, bob, carol, me), me.key) == [], "one of a claim"


def test_what_three_say_who_count_here_is_checked_before_it_is_believed() -> None:
    alice, *peers, me = introduce("alice", "bob", "carol", "dave", "me")
    checked(me.write, *peers)
    claim = alice.write(experiment("one"))
    reports = [peer.report(claim) for peer in peers]
    (task,) = [task for task in tasks(held(alice, *peers, me), me.key) if task.audit is not None]
    assert task.order[0] == AUDIT
    assert task.audit is not None
    assert task.audit.report in reports
    me.write(audit(task.audit.report))
    assert tasks(held(alice, *peers, me), me.key) == []


def test_a_reporter_cannot_tell_which_of_its_pairs_is_run_again() -> None:
    alice, bob, *nodes = introduce("alice", "bob", *(f"node {number}" for number in range(12)))
    claim = alice.write(experiment("one"))
    report = bob.report(claim)
    assert isinstance(report.body, Replication)
    seeds = set()
    for node in nodes:
        node.report(claim)
        (task,) = [task for task in tasks(held(alice, bob, node), node.key) if task.audit is not None]
        assert task.audit is not None
        seeds.add(task.audit.pair.seed)
    assert seeds == {pair.seed for pair in report.body.pairs}


def test_strangers_get_a_limited_share_of_this_nodes_runs() -> None:
    """Fifty keys, each with a claim of its own; an author that this node knows is heard all the same."""
    alice, me, *crowd = introduce("alice", "me", *(f"sybil {number}" for number in range(50)))
    checked(me.write, alice)
    fakes = [
        sybil.write(experiment(f"fake {n}", category=f"{n}", effect=Effect(-3.0, 0.01, 2)))
        for n, sybil in enumerate(crowd)
    ]
    spent = 0
    for fake in fakes:
        if not any(trial.claim in fakes for trial in trials(held(alice, me, *crowd), me.key)):
            break
        me.write(replace(replication(fake, by=me.identity), pairs=(), effect=None, decision="unclear"))
        spent += 1
    assert spent == FIRST_STRANGERS
    real = alice.write(experiment("real", effect=Effect(-0.1, 0.01, 2)))
    records = held(alice, me, *crowd)
    assert [trial.claim for trial in trials(records, me.key)] == [real]
    assert {task.claim for task in tasks(records, me.key)} == {real}


def test_of_claims_that_say_the_same_that_with_most_reports_is_run_again() -> None:
    alice, bob, carol, dave, erin, me = introduce("alice", "bob", "carol", "dave", "erin", "me")
    checked(me.write, bob, carol, dave)
    twins = sorted((author.write(experiment("first")) for author in (alice, erin)), key=lambda record: record.id)

    def claims() -> set[Record]:
        return {task.claim for task in tasks(held(alice, bob, carol, dave, erin, me), me.key)}

    assert claims() == {twins[0]}
    first = bob.report(twins[1], 0.02)
    assert claims() == {twins[1]}
    for peer in (carol, dave):
        peer.report(twins[1], 0.02)
    me.write(audit(first))
    assert twins[0] in claims(), "what is refuted speaks for nobody else's claim"


def test_the_schedule_does_not_depend_on_the_order_of_arrival() -> None:
    alice, bob, carol, me = introduce("alice", "bob", "carol", "me")
    for number in range(4):
        claim = alice.write(experiment(f"claim {number}", effect=Effect(-0.1 * number - 0.1, 0.01, 2)))
        bob.report(claim)
        carol.report(claim, 0.01)
        if number % 2:
            me.report(claim)
    checked(me.write, bob)
    records = held(alice, bob, carol, me)
    expected = tasks(records, me.key)
    assert len(expected) >= 4
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
    first = min(peers, key=lambda peer: rank(claim, peer, 5))
    last = max(peers, key=lambda peer: rank(claim, peer, 5))
    for peer in (first, last):
        (trial,) = trials(held(alice, *peers), peer.key)
        assert (trial.claim, trial.supported) == (claim, False)
        peer.write(replace(replication(claim, by=peer.identity), pairs=(), effect=None, decision="unclear"))
        assert trials(held(alice, *peers), peer.key) == []
    (due,), (late,) = (tasks(held(alice, *peers), peer.key, present=peers) for peer in (first, last))
    later = int(rank(claim, last, 5) >= 3)
    assert (due.waits, late.waits) == (TURNS_BEFORE_UNNEEDED_REPORT, TURNS_BEFORE_UNNEEDED_REPORT + later), (
        "it was of no use to either"
    )
    adopted = replace(replication(claim, decision="unclear"), adopted=source("one"), route="child", pairs=())
    first.write(adopted)
    there = SearchPosition(source("one"), {})
    (due,) = tasks(held(alice, *peers), first.key, there, present=peers)
    assert (due.order[0], due.waits) == (DRAWN_REPORT, 0)


def test_what_most_peers_tried_in_vain_comes_later_but_is_never_dropped() -> None:
    alice, *peers, me = introduce("alice", *(f"peer {number}" for number in range(12)), "me")
    doubtful, other = (alice.write(experiment(f"{gain}", effect=Effect(-gain, 0.01, 2))) for gain in (0.21, 0.1))
    vain = replace(replication(doubtful), pairs=(), effect=None, decision="unclear")
    discounts = []
    introduce("stranger")[0].write(vain)
    checked(me.write, *peers)
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
    *reporters_, idle = peers[:4]
    checked(idle.write, *reporters_)
    claim = alice.write(experiment("one"))
    reports = [peer.report(claim) for peer in reporters_]
    idle.write(audit(reports[0]))
    assert tasks(held(alice, *peers), idle.key) == []
    assert [trial.supported for trial in trials(held(alice, *peers), idle.key)] == [True]


def test_a_trial_is_supported_by_reports_or_by_its_author_and_who_was_wrong_is_passed_over() -> None:
    alice, *peers = introduce("alice", "bob", "carol", "dave")
    bob, carol, dave = peers
    checked(dave.write, bob, carol)
    claim, disputed, right, wrong = (alice.write(experiment(name)) for name in ("one", "two", "right", "wrong"))
    bob.report(claim, -0.19)
    Author("stranger").report(right, -0.19)
    bob.report(disputed, -0.19)
    carol.report(disputed, 0.19)

    def believed(author: Author) -> dict[bytes, bool]:
        return {trial.claim.id: trial.supported for trial in trials(held(alice, *peers), author.key)}

    assert believed(dave) == {claim.id: True, disputed.id: False, right.id: False, wrong.id: False}
    dave.write(replication(right, by=dave.identity))
    assert all(believed(dave).values())
    dave.write(replication(wrong, decision="contradicts", effect=Effect(0.05, 0.01, 2), by=dave.identity))
    assert believed(dave) == {right.id: True}


def test_what_was_refuted_here_is_not_tried_and_what_an_own_report_supports_is() -> None:
    alice, me = introduce("alice", "me")
    claim = alice.write(experiment("one"))
    against = refuters(claim, me.write)
    assert trials([*held(alice, me), *against], me.key) == []
    me.report(claim)
    assert [trial.claim for trial in trials([*held(alice, me), *against], me.key)] == [claim]


def test_made_up_reports_take_nobody_out_of_the_draw() -> None:
    alice, *peers = introduce("alice", "bob", "carol", "dave", "eve")
    claim = alice.write(experiment("one"))
    forgers = introduce("mallory", "oscar", "trudy")
    for forger in forgers:
        forger.write(replication(claim))  # not on seeds of its own
    for peer in peers:
        (task,) = tasks(held(alice, *peers, *forgers), peer.key, present=peers)
        assert task.order[0] == (DRAWN_REPORT if rank(claim, peer, 4) < 3 else REPORT)


def test_twice_as_many_are_asked_every_time_that_those_before_did_not_report() -> None:
    alice, *peers = introduce(*(f"peer {number}" for number in range(40)))
    claim = alice.write(experiment("one"))
    for peer in peers:
        (task,) = tasks(held(alice, peer), peer.key, present=peers)
        assert task.waits == [*[0] * 3, 1, 1, 1, *[2] * 6, *[3] * 12, *[4] * 24][rank(claim, peer, 39)]


def test_a_class_makes_its_own_reports_of_what_another_confirmed() -> None:
    alice, *peers = introduce("alice", "bob", "carol", "dave")
    claim = alice.write(experiment("one"))
    gpus = [Author(f"gpu {number}") for number in range(5)]
    ran = lambda body: gpus[0].write(replace(body, compute_class="gpu"))  # noqa: E731
    checked(gpus[0].write, *peers, *gpus[1:])
    reports = [peer.report(claim) for peer in peers]
    gpus[0].write(audit(reports[0]))
    ran(experiment("tried", decision="no_gain"))
    found = tasks(held(alice, *peers, *gpus), gpus[0].key, compute_class="gpu")
    assert [task.claim for task in found] == [claim]


def test_what_was_adopted_after_a_local_trial_is_reported_on_first_when_it_is_refuted() -> None:
    alice, me = introduce("alice", "me")
    claim = alice.write(experiment("one"))
    adoption = replace(replication(claim, decision="unclear"), adopted=source("one"), route="child", pairs=())
    there = SearchPosition(source("one"), {}, {me.write(adoption).id})
    against = refuters(claim, me.write)
    records = [*held(alice, me), *against]
    assert (claim, DRAWN_REPORT) in [(task.claim, task.order[0]) for task in tasks(records, me.key, there)]


def test_who_is_present_is_reckoned_with_before_having_written_anything() -> None:
    alice, me = introduce("alice", "me")
    silent = [Author(f"silent {number}") for number in range(9)]
    waits = set()
    for number in range(9):
        claim = alice.write(experiment(f"claim {number}", category=f"category {number}"))
        task = next(task for task in tasks(held(alice, me), me.key, present=silent) if task.claim == claim)
        assert (task.waits == 0) == (rank(claim, me, 10) < 3)
        waits.add(task.waits == 0)
    assert waits == {True, False}


def test_what_this_node_has_no_use_for_is_reported_on_last_and_late() -> None:
    alice, bob, me = introduce("alice", "bob", "me")
    claim = alice.write(experiment("first", effect=Effect(-0.1, 0.01, 2)))
    me.write(experiment("another"))
    there = SearchPosition(source("another"), {"initialisation": 0.2})
    (task,) = tasks(held(alice, bob, me), me.key, there)
    assert (task.claim, task.order[0], task.waits) == (claim, REPORT, TURNS_BEFORE_UNNEEDED_REPORT)
