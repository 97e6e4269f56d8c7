"""People read on whose word a standing rests."""

from __future__ import annotations

from node.view.model.standing import rests_on
from protocol.evidence import standing_of
from protocol.weights import weights_of
from tests.node.records_for_tests import Author, audit, checked, experiment


def test_a_standing_says_who_is_believed_and_what_it_would_be_without_them() -> None:
    me, stranger, claim = Author("me"), Author("stranger"), Author("alice").write(experiment())

    def said(*records: object) -> str:
        peers_said = [record for peer in peers for record in peer.records]
        held = [*me.records, *stranger.records, *peers_said, *records]
        return rests_on(standing_of(claim, held, weights_of(held, me.key)))  # type: ignore[arg-type]

    peers = [Author(name) for name in ("bob", "carol", "dave")]
    assert said() == "too early to say"
    stranger.report(claim)
    assert said() == "too early to say: 1 reported, and this node has checked none of them"
    checked(me.write, *peers)
    reports = [peer.report(claim) for peer in peers]
    counted = "3 keys say it holds, all of which this node has checked"
    assert said() == f"{counted}; open until runs of this node agree"
    me.write(audit(reports[0]))
    assert said() == "confirmed by 3 keys, all of which this node has checked"
    checked(peers[0].write, friend := Author("friend"))
    friend.report(claim)
    assert said(*friend.records) == (
        "confirmed by 4 keys, 3 of which this node has checked; still so without the others"
    )
