"""An author is proven by what this node ran itself, and loses its place when that shows it wrong."""

from __future__ import annotations

from pathlib import Path

from node.ledger.store import Ledger, Quota
from node.review.proven import proven_by, settle_proven
from protocol.records import Record
from tests.node.records_for_tests import OBJECTIVE, Author, audit, experiment, replication


def by_id(*authors: Author) -> dict[bytes, Record]:
    return {record.id: record for author in authors for record in author.records}


def test_a_supported_claim_an_adoption_and_an_audit_that_agrees_prove_their_authors() -> None:
    me, ann, bob, cid, dan = (Author(name) for name in ("me", "ann", "bob", "cid", "dan"))
    claims = [author.write(experiment(author.name)) for author in (ann, bob, dan)]
    me.write(replication(claims[0], by=me.identity))
    me.write(replication(claims[1], "unclear", adopted=claims[1].body.child, by=me.identity))  # type: ignore[union-attr]
    me.write(audit(cid.report(claims[0])))
    me.write(replication(claims[2], "contradicts", by=me.identity))
    proven, not_proven = proven_by(me.records, by_id(me, ann, bob, cid, dan).get)
    assert proven == {ann.key, bob.key, cid.key}
    assert not_proven == {dan.key}


def test_nobody_proves_itself_and_what_is_not_held_proves_nobody() -> None:
    me, ann = Author("me"), Author("ann")
    own = me.write(experiment("own"))
    me.write(audit(me.report(own)))
    me.write(replication(ann.write(experiment("gone")), by=me.identity))
    assert proven_by(me.records, by_id(me).get) == (frozenset(), frozenset())


def test_who_is_found_wrong_later_loses_its_place_and_may_earn_it_again() -> None:
    me, ann = Author("me"), Author("ann")
    claims = [ann.write(experiment(f"claim {number}")) for number in range(7)]

    def proven() -> bool:
        return ann.key in proven_by(me.records, by_id(me, ann).get)[0]

    me.write(replication(claims[0], by=me.identity))
    assert proven()
    me.write(replication(claims[1], "contradicts", by=me.identity))
    assert not proven()
    for claim in claims[2:6]:
        me.write(replication(claim, by=me.identity))
    assert proven()


def test_a_place_that_was_lost_can_be_taken_by_others(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l.sqlite", OBJECTIVE, Quota(authors=1))
    me, ann = Author("me"), Author("ann")
    ledger.add(ann.write(experiment("right")), "a peer")
    ledger.add(ann.write(experiment("wrong")), "a peer")
    ledger.append_own(me.identity, replication(ann.records[0], by=me.identity), 1)
    settle_proven(ledger, me.key)
    assert ledger.is_proven(ann.key)
    ledger.append_own(me.identity, replication(ann.records[1], "contradicts", by=me.identity), 2)
    settle_proven(ledger, me.key)
    assert not ledger.is_proven(ann.key)
    ledger.add(Author("bob").write(experiment("another's")), "another peer")
    assert not ledger.feed(ann.key)
    assert ledger.is_proven(me.key)
    ledger.close()
