"""No number of connections that somebody opens ends one that this node opened, nor those that are worth most."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable

import pytest

from node.network.parameters import (
    ANCHORS,
    INCOMING_MOST,
    INCOMING_OF_A_GROUP,
    NEWCOMERS,
    OUTGOING_OF_A_GROUP,
    PROTECTED_GROUPS,
    PROTECTED_NEAR,
    PROVEN_WORK_SECONDS,
    SETTLED_SECONDS,
)
from node.network.slots import Slots


def place(network: int, machine: int = 1) -> str:
    """An address of the internet in the network with this number."""
    return f"/ip4/{11 + network // 200}.{network % 200}.0.{machine}/tcp/4001"


class Node:
    """Slots, and who is connected. Peers come one after the other, so many seconds apart."""

    def __init__(self, seed: int = 1, apart: float = 2 * SETTLED_SECONDS) -> None:
        self.apart = apart
        self.linger = 0  # so many of those hung up on are still there when the next one comes
        self.going: deque[str] = deque()
        self.slots = Slots(bytes([seed]), random.Random(seed))
        self.now = 0.0
        self.peers: set[str] = set()

    def meet(self, peer: str, address: str, outgoing: bool = False, chosen: bool = False) -> None:
        self.now += self.apart
        self.peers.add(peer)
        for out in self.slots.connected(peer, address, outgoing, self.now, chosen):
            self.peers.discard(out)
            self.going.append(out)
        while len(self.going) > self.linger:
            self.slots.lost(self.going.popleft())

    def leave(self, peer: str) -> None:
        self.peers.discard(peer)
        self.slots.lost(peer)

    def left_of(self, peers: Iterable[str]) -> int:
        return len(self.peers & set(peers))


@pytest.mark.parametrize("outgoing", [True, False])
@pytest.mark.parametrize("apart", [0.1, 2 * SETTLED_SECONDS])
def test_sixty_keys_of_one_address_end_no_connection_of_others(outgoing: bool, apart: float) -> None:
    node = Node()
    honest = [f"honest {number}" for number in range(5)]
    for number, peer in enumerate(honest):
        node.meet(peer, place(number), outgoing)
    node.apart = apart
    for number in range(600):
        node.meet(f"attacker {number % 60}", place(200, 6))
    assert node.left_of(honest) == 5
    assert len(node.peers) - 5 <= INCOMING_OF_A_GROUP


@pytest.mark.parametrize(
    ("apart", "stay"), [(0.1, INCOMING_MOST - NEWCOMERS), (2 * SETTLED_SECONDS, INCOMING_MOST // 2 - 1)]
)
def test_an_attacker_with_an_address_in_every_network_ends_no_outgoing_connection_and_few_of_the_others(
    apart: float, stay: int
) -> None:
    node = Node()
    for number in range(6):
        node.meet(f"dialled {number}", place(number), outgoing=True)
    for number in range(INCOMING_MOST):
        node.meet(f"came {number}", place(10 + number))
    node.apart = apart
    for number in range(600):
        node.meet(f"attacker {number}", place(200 + number))
    assert node.left_of(f"dialled {number}" for number in range(6)) == 6
    assert node.left_of(f"came {number}" for number in range(INCOMING_MOST)) >= stay


def test_incoming_connections_are_bounded_and_a_newcomer_gets_in() -> None:
    node = Node()
    for number in range(200):
        node.meet(f"peer {number}", place(number))
        assert f"peer {number}" in node.peers
        assert len(node.peers) <= INCOMING_MOST


def test_newcomers_have_their_moment_and_end_no_connection_that_has_lasted() -> None:
    node = Node()
    for number in range(INCOMING_MOST):
        node.meet(f"peer {number}", place(number))
    node.apart = SETTLED_SECONDS / (2 * NEWCOMERS)  # twice as many as there are places for
    for number in range(100):
        node.meet(f"newcomer {number}", place(200 + number))
        assert node.left_of(f"newcomer {n}" for n in range(number + 1)) >= min(NEWCOMERS, number)
    assert node.left_of(f"peer {number}" for number in range(INCOMING_MOST)) >= INCOMING_MOST - NEWCOMERS


def test_a_newcomer_from_elsewhere_outlasts_those_of_a_flood() -> None:
    node = Node()
    for number in range(INCOMING_MOST):
        node.meet(f"peer {number}", place(number))
    node.apart = 0.1
    for number in range(10):
        node.meet(f"attacker {number}", place(200, 6))
    node.meet("honest", place(201))
    for number in range(100):
        node.meet(f"attacker {number}", place(200, 6))
    assert "honest" in node.peers


def test_those_that_take_long_to_leave_are_not_told_to_leave_in_the_place_of_others() -> None:
    node = Node(apart=0.1)
    node.linger = 20
    for number in range(300):
        node.meet(f"peer {number}", place(number))
        assert len(node.peers) <= INCOMING_MOST


def test_who_brought_proven_work_is_near_or_was_named_stays() -> None:
    node = Node()
    worker, near, named = "worker", [f"near {number}" for number in range(PROTECTED_NEAR)], "named"
    for number in range(INCOMING_MOST - 10):
        node.meet(f"early {number}", place(number))
    for peer in (worker, *near):
        node.meet(peer, place(100))
    node.meet(named, place(100), chosen=True)
    node.slots.brought_proven(worker, node.now)
    for peer in node.peers:
        node.slots.measured(peer, 0.001 if peer in near else 0.1)
    for number in range(300):
        node.meet(f"late {number}", place(100 + number % 3, number % 200 + 2))
        node.slots.measured(f"late {number}", 0.05)
    assert node.left_of([worker, named, *near]) == 2 + PROTECTED_NEAR


def test_the_youngest_of_the_largest_network_makes_way() -> None:
    node = Node()
    for number in range(INCOMING_MOST // 2):
        node.meet(f"spread {number}", place(number))
    for number in range(INCOMING_MOST // 2):
        node.meet(f"alike {number}", place(150, number + 1))
    node.meet("newcomer", place(151))
    assert node.left_of(f"spread {number}" for number in range(INCOMING_MOST // 2)) == INCOMING_MOST // 2
    assert f"alike {INCOMING_MOST // 2 - 1}" not in node.peers


def test_which_networks_are_protected_depends_on_a_secret() -> None:
    left = set()
    for seed in range(20):
        node = Node(seed)
        for number in range(INCOMING_MOST):
            node.meet(f"peer {number}", place(number))
        for number in range(60):
            node.meet(f"late {number}", place(200 + number))
        left.add(frozenset(peer for peer in node.peers if peer.startswith("peer")))
    assert len(left) > PROTECTED_GROUPS


def test_on_one_machine_every_address_is_the_same_and_nobody_is_turned_away_for_it() -> None:
    node = Node()
    for number in range(INCOMING_MOST):
        node.meet(f"peer {number}", f"/ip4/127.0.0.1/tcp/{number + 1}")
    assert len(node.peers) == INCOMING_MOST
    assert node.slots.colocated("peer 0") == 0


def test_peers_behind_one_address_of_the_internet_are_counted_until_they_leave() -> None:
    node = Node()
    for number in range(6):
        node.meet(f"peer {number}", place(7))
    node.meet("elsewhere", place(8))
    node.meet("dialled", place(7), outgoing=True)
    assert node.slots.colocated("peer 0") == 6
    assert node.slots.colocated("elsewhere") == 1
    assert node.slots.colocated("dialled") == 0  # one chosen here counts neither for nor against
    node.slots.dialled("peer 5")
    node.leave("peer 4")
    assert node.slots.colocated("peer 0") == 4


def test_a_connection_that_both_sides_opened_is_an_outgoing_one() -> None:
    node = Node()
    node.meet("both", place(1))
    assert not node.slots.is_outgoing("both")
    node.slots.dialled("both")
    assert node.slots.is_outgoing("both")
    for number in range(300):
        node.meet(f"late {number}", place(200 + number))
    assert "both" in node.peers


def test_the_outgoing_connections_that_have_lasted_longest_are_never_given_up_for_others() -> None:
    node = Node()
    for number in range(8):
        node.meet(f"peer {number}", place(number), outgoing=True)
    given_up = {node.slots.to_replace(node.now) for _ in range(200)}
    assert given_up == {f"peer {number}" for number in range(ANCHORS, 8)}


def test_who_brought_proven_work_lately_is_not_given_up_for_others() -> None:
    node = Node()
    for number in range(ANCHORS + 2):
        node.meet(f"peer {number}", place(number), outgoing=True)
    last, other = f"peer {ANCHORS + 1}", f"peer {ANCHORS}"
    node.slots.brought_proven(last, node.now)
    assert {node.slots.to_replace(node.now) for _ in range(50)} == {other}
    node.leave(other)
    assert node.slots.to_replace(node.now) is None
    assert node.slots.to_replace(node.now + PROVEN_WORK_SECONDS + 1) == last


def test_of_a_network_with_more_than_its_share_one_is_given_up_first() -> None:
    node = Node()
    for number in range(ANCHORS):
        node.meet(f"old {number}", place(number), outgoing=True)
    for number in range(OUTGOING_OF_A_GROUP + 1):
        node.meet(f"alike {number}", place(50, number + 1), outgoing=True)
    node.meet("other", place(60), outgoing=True)
    assert {node.slots.to_replace(node.now) for _ in range(50)} == {f"alike {OUTGOING_OF_A_GROUP}"}


def test_anchors_are_outgoing_ones_that_brought_proven_work_and_then_those_that_lasted() -> None:
    node = Node()
    node.meet("came", place(90))
    for number in range(8):
        node.meet(f"peer {number}", place(number), outgoing=True)
    node.slots.brought_proven("peer 7", node.now)
    node.slots.brought_proven("came", node.now)
    assert node.slots.anchors() == ["peer 7", "peer 0", "peer 1", "peer 2"]
