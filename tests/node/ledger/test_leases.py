"""Leases steer the choice of ideas for a while, within limits, and bind nobody."""

from __future__ import annotations

import trio

from node.ledger.leases import LEASES_PER_PEER, LONGEST_SECONDS, PEERS_KEPT, Leases
from protocol.messages import MAX_LEASE_SECONDS, Lease
from tests.node.records_for_tests import source

PARENT = source("parent")


def lease(name: str, seconds: int = 60, parent: bytes = PARENT, category: str = "") -> Lease:
    return Lease(parent, source(name), seconds, category)


def test_a_lease_holds_for_its_parent_until_its_time_is_over() -> None:
    leases = Leases()
    assert leases.hear("peer", lease("a"), now=100.0)
    assert leases.taken(PARENT, 159.0) == {source("a")}
    assert leases.taken(PARENT, 160.0) == frozenset()
    assert leases.taken(source("another parent"), 120.0) == frozenset()


def test_peers_at_ideas_of_a_category_are_counted_each_once_until_their_trials_are_over() -> None:
    leases, elsewhere = Leases(), source("another parent")
    for peer, name in (("one", "a"), ("one", "b"), ("two", "c")):
        leases.hear(peer, lease(name, category="positions"), now=100.0)
    leases.hear("two", lease("d", parent=elsewhere, category="batch"), now=100.0)
    assert leases.peers_by_category(159.0, set()) == {"positions": 2, "batch": 1}
    assert leases.peers_by_category(159.0, {(PARENT, source("c")), (PARENT, source("d"))}) == {
        "positions": 1,
        "batch": 1,
    }
    assert leases.peers_by_category(159.0, {(elsewhere, source("d")), (PARENT, source("b"))}) == {"positions": 2}
    assert leases.peers_by_category(160.0, set()) == {}


def test_a_lease_said_again_goes_on() -> None:
    leases = Leases()
    leases.hear("peer", lease("a"), now=100.0)
    assert leases.hear("peer", lease("a"), now=150.0)
    assert leases.taken(PARENT, 200.0) == {source("a")}


def test_a_peer_that_wants_everything_gets_its_last_few_and_is_not_passed_on() -> None:
    leases = Leases()
    heard = [leases.hear("peer", lease(str(number)), now=0.0) for number in range(100)]
    assert heard == [True] * LEASES_PER_PEER + [False] * (100 - LEASES_PER_PEER)
    assert len(leases.taken(PARENT, 1.0)) == LEASES_PER_PEER


def test_an_idea_is_left_to_others_only_so_long_however_many_keys_renew_its_lease() -> None:
    leases = Leases()
    for turn in range(10):
        leases.hear(f"key {turn}", lease("a", category="batch"), now=60.0 * turn)
    leases.hear("honest", lease("b", category="batch"), now=540.0)
    assert leases.taken(PARENT, 550.0) == {source("a"), source("b")}
    assert leases.taken(PARENT, 550.0, patience=120.0) == {source("b")}
    assert leases.peers_by_category(550.0, set(), patience=120.0) == {"batch": 1}
    assert leases.taken(PARENT, 550.0, patience=0.0) == frozenset()


def test_no_lease_is_longer_than_an_hour() -> None:
    leases = Leases()
    leases.hear("peer", lease("a", MAX_LEASE_SECONDS), now=0.0)
    assert leases.taken(PARENT, LONGEST_SECONDS - 1)
    assert not leases.taken(PARENT, LONGEST_SECONDS)


def test_the_number_of_peers_remembered_is_limited() -> None:
    leases = Leases()
    for number in range(PEERS_KEPT + 10):
        leases.hear(f"peer {number}", lease(str(number)), now=0.0)
    assert len(leases.taken(PARENT, 1.0)) == PEERS_KEPT


def test_own_leases_are_listed_with_the_time_that_remains() -> None:
    leases = Leases()
    leases.take(lease("a"), now=100.0)
    leases.take(lease("b"), now=130.0)
    assert leases.own(150.5) == [lease("a", 10), lease("b", 40)]
    assert leases.own(165.0) == [lease("b", 25)]
    for number in range(100):
        leases.take(lease(str(number)), now=165.0)
    assert len(leases.own(166.0)) == LEASES_PER_PEER


async def test_own_leases_are_announced_to_listeners_and_never_wait() -> None:
    leases = Leases()
    leases.take(lease("nobody hears this"), now=0.0)
    async with leases.announced() as announced:
        for number in range(1000):
            leases.take(lease(str(number)), now=0.0)
        with trio.fail_after(1):
            assert await announced.receive() == lease("0")
    assert not leases.taken(PARENT, 0.0)  # what this node tries itself is no lease of a peer's
