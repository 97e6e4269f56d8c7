"""What a node ran itself is all that anybody's word rests on there; fresh keys weigh nothing, however many."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from protocol import weights as rule
from protocol.evidence import Standing, Verdict, standing_of
from protocol.records import Audit, Effect, Record, Replication
from protocol.weights import NOBODY, Weights, weight_of, weights_of
from tests.node.records_for_tests import Author, audit, checked, experiment, replication


def everything(*authors: Author) -> list[Record]:
    return [record for author in authors for record in author.records]


def seen_by(me: Author, *authors: Author) -> Weights:
    return weights_of(everything(me, *authors), me.key)


def judged(claim: Record, me: Author, *authors: Author) -> Standing:
    records = everything(me, *authors)
    return standing_of(claim, records, weights_of(records, me.key))


def named(*names: str) -> list[Author]:
    return [Author(name) for name in names]


def crowd(count: int, name: str = "sybil") -> list[Author]:
    return [Author(f"{name} {number}") for number in range(count)]


def coalition(claim: Record, keys: list[Author], mean: float) -> None:
    """Each key reports the same, and some others find it right, without any run."""
    reports = [key.write(replication(claim, effect=Effect(mean, 0.001, 2), by=key.identity)) for key in keys]
    for number, key in enumerate(keys):
        for report in reports[max(0, number - 7) : number] or reports[1:]:
            key.write(audit(report))


# ---- what an author weighs ------------------------------------------------------------------------------------------


def test_an_author_weighs_by_how_often_this_node_found_its_reports_right() -> None:
    me, bob, carol = named("me", "bob", "carol")
    checked(me.write, bob, times=1)
    checked(me.write, carol, times=4)
    assert seen_by(me, bob, carol).of_authors == {bob.key: 1 / 3, carol.key: 2 / 3}
    assert seen_by(me, bob, carol).of(me.key) == 1.0
    assert weights_of(everything(me, bob, carol), bob.key).of_authors == {}, "at another node other runs count"


def test_one_report_that_was_made_up_begins_the_count_again() -> None:
    me, bob = named("me", "bob")
    checked(me.write, bob, times=9)
    claim = Author("alice").write(experiment())
    me.write(audit(bob.report(claim), agrees=False))
    found = seen_by(me, bob)
    assert (found.of(bob.key), bob.key in found.caught) == (0.0, True)
    checked(me.write, bob, times=1)
    assert seen_by(me, bob).of(bob.key) == weight_of(1)


def test_who_covers_what_this_node_found_to_be_made_up_is_caught_too() -> None:
    me, liar, friend, honest = named("me", "liar", "friend", "honest")
    checked(me.write, friend, honest)
    report = liar.report(Author("alice").write(experiment()))
    for author, agrees in ((friend, True), (honest, False), (me, False)):
        author.write(audit(report, agrees))
    found = seen_by(me, liar, friend, honest)
    assert found.caught == {liar.key, friend.key}
    assert found.of(honest.key) == weight_of(4)


def test_who_finds_this_nodes_own_report_wrong_is_caught() -> None:
    me, liar = named("me", "liar")
    checked(me.write, liar)
    liar.write(audit(me.report(Author("alice").write(experiment())), agrees=False))
    assert seen_by(me, liar).caught == {liar.key}


def test_an_audit_that_agrees_may_have_been_copied_and_earns_nothing() -> None:
    me, copier = named("me", "copier")
    for _ in range(5):
        copier.write(audit(me.report(Author("alice").write(experiment(f"{len(me.records)}")))))
    assert seen_by(me, copier) == Weights(me.key)


def test_whom_a_checked_author_found_right_gets_a_share_of_its_weight() -> None:
    me, bob, carol, dave = named("me", "bob", "carol", "dave")
    checked(me.write, bob)
    checked(bob.write, carol, times=2)
    checked(carol.write, dave, times=2)
    found = seen_by(me, bob, carol, dave)
    assert found.of(carol.key) == pytest.approx(2 / 3 / 2 * weight_of(2))
    assert 0 < found.of(dave.key) < found.of(carol.key)
    assert found.checked == {bob.key: 4}


@pytest.mark.parametrize("count", [1, 12])
def test_all_whom_one_author_vouches_for_share_less_than_its_weight(count: int) -> None:
    """However many there are, and whomever they vouch for in turn."""
    me, traitor = named("me", "traitor")
    checked(me.write, traitor)
    keys = crowd(count)
    checked(traitor.write, *keys, times=1)
    for key in keys:
        checked(key.write, traitor, *(other for other in keys[:3] if other is not key), times=1)
    found = seen_by(me, traitor, *keys)
    assert found.of(traitor.key) == weight_of(4)
    assert sum(found.of(key.key) for key in keys) < found.of(traitor.key)


def test_badmouthing_takes_no_weight_away_and_neither_does_a_copy_of_an_audit_add_any() -> None:
    me, bob, carol, traitor = named("me", "bob", "carol", "traitor")
    checked(me.write, bob, traitor)
    checked(bob.write, carol)
    before = seen_by(me, bob, carol, traitor)
    for report in everything(carol):
        if isinstance(report.body, Replication):
            traitor.write(audit(report, agrees=False))
    assert seen_by(me, bob, carol, traitor).of(carol.key) == before.of(carol.key)
    again = [record.body for record in bob.records if isinstance(record.body, Audit)]
    for body in again:
        bob.write(body)
    assert seen_by(me, bob, carol, traitor).of(carol.key) == before.of(carol.key), "a report counts once"


def test_weights_do_not_depend_on_the_order_of_arrival() -> None:
    me, *others = named("me", "bob", "carol", "dave", "erin")
    checked(me.write, *others[:2])
    checked(others[0].write, *others[2:], times=2)
    me.write(audit(others[1].report(Author("alice").write(experiment())), agrees=False))
    records = everything(me, *others)
    expected = weights_of(records, me.key)
    for seed in range(5):
        random.Random(seed).shuffle(records)
        assert weights_of(records, me.key) == expected


# ---- what liars get by it -------------------------------------------------------------------------------------------


def test_no_number_of_fresh_keys_decides_anything() -> None:
    """Three were enough once. Ten for each honest node are not, at a new node and at one that knows whom to believe."""
    me, alice = named("me", "alice")
    honest = crowd(4, "honest")
    claim = alice.write(experiment("does nothing"))
    liars = crowd(40)
    coalition(claim, liars, -0.02)
    new = judged(claim, Author("new"), alice, *liars)
    assert (new.verdict, new.says, new.reports, new.keys) == ("open", "open", 0, 40)
    assert new.unchecked is not None
    checked(me.write, *honest)
    for peer in honest:
        peer.report(claim, 0.01)
    me.write(audit(honest[0].records[-1]))
    assert judged(claim, me, alice, *honest, *liars).verdict == Verdict.REFUTED


def test_keys_cannot_make_honest_reporters_count_as_liars_or_push_them_out() -> None:
    me, alice = named("me", "alice")
    honest, liars = crowd(6, "honest"), crowd(15)
    checked(me.write, *honest)
    claim = alice.write(experiment("a true gain"))
    reports = [peer.report(claim, -0.02) for peer in honest]
    me.write(audit(reports[0]))
    before = judged(claim, me, alice, *honest)
    assert before.verdict == Verdict.CONFIRMED
    coalition(claim, liars, 0.02)
    for liar in liars[:4]:
        for report in reports:
            liar.write(audit(report, agrees=False))
    after = judged(claim, me, alice, *honest, *liars)
    assert (after.verdict, after.z, after.reports) == (before.verdict, before.z, before.reports)


def test_liars_that_behaved_for_long_are_not_believed_before_one_of_their_reports_is_run_again() -> None:
    me, alice = named("me", "alice")
    sleepers = crowd(8, "sleeper")
    checked(me.write, *sleepers, times=6)
    claim = alice.write(experiment("does nothing"))
    coalition(claim, sleepers, -0.02)
    found = judged(claim, me, alice, *sleepers)
    assert (found.verdict, found.says) == ("open", "confirmed")
    report = next(r for r in sleepers[0].records if isinstance(r.body, Replication) and r.body.discovery == claim.id)
    me.write(audit(report, agrees=False))
    found = judged(claim, me, alice, *sleepers)
    assert (found.verdict, found.says, found.reports) == ("open", "open", 0)
    assert seen_by(me, *sleepers).caught == {sleeper.key for sleeper in sleepers}, "all found that report right"


def test_a_report_on_seeds_that_are_not_its_authors_earns_no_weight() -> None:
    me, bob = named("me", "bob")
    claim = Author("alice").write(experiment())
    me.write(audit(bob.write(replication(claim))))
    assert seen_by(me, bob).of(bob.key) == 0.0


# ---- what it costs --------------------------------------------------------------------------------------------------


def test_ten_thousand_hostile_records_are_not_even_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what this node and those of weight signed is; the rest costs one look each, whatever classes it names."""
    me, alice, mallory = named("me", "alice", "mallory")
    claim = alice.write(experiment())
    checked(me.write, alice)
    body = replace(replication(claim, by=mallory.identity), pairs=())
    signed = mallory.write(body)
    report = mallory.write(replication(claim, by=mallory.identity))
    kinds = (body, report.body, audit(report))

    def copy(number: int) -> Record:
        """A record as it is after the door; ten thousand signatures are not what is tested."""
        kind = kinds[number % 3]
        named_class = replace(kind, compute_class=f"class {number}")
        return Record(mallory.key, signed.objective, 2 + number, bytes(32), 0, named_class, b"%d" % number, b"")

    hostile = [copy(number) for number in range(10_000)]
    compared = 0
    compare = rule.repeats

    def counted(one: Replication, other: Audit) -> bool | None:
        nonlocal compared
        compared += 1
        return compare(one, other)

    monkeypatch.setattr(rule, "repeats", counted)
    monkeypatch.setattr("protocol.records.proven_value", lambda *_: pytest.fail("no proof of a stranger is verified"))
    records = [*everything(me), claim, *hostile]
    weights = weights_of(records, me.key)
    assert compared <= 2 * len(me.records)
    assert weights.of(mallory.key) == 0.0
    found = standing_of(claim, records, weights)
    assert (found.verdict, found.reports, found.keys) == ("open", 0, 1)


def test_a_node_that_has_run_nothing_believes_nobody() -> None:
    assert NOBODY.of(bytes(32)) == 0.0
    assert not NOBODY.counts(bytes(32))
