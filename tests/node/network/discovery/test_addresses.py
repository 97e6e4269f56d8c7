"""Dialling never stops, never hurries, and prefers what worked."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from itertools import pairwise

import pytest
import trio

from node.network.discovery.addresses import PeerDiscovery
from node.network.groups import group_of
from node.network.host import Address
from node.network.parameters import (
    BACKOFF_ALONE_SECONDS,
    BACKOFF_MOST_SECONDS,
    MAX_CONTACTS,
    PEERS_WANTED,
    REST_SECONDS,
)
from protocol.codec import MalformedError
from protocol.identity import Identity

LINK = "/ip4/11.9.0.1/tcp/4001"
US, PEER, OTHER = (Identity.from_seed(bytes([number]) * 32).peer_id for number in range(3))


class World:
    """Peers that can be reached, those connected, and every dial with its time."""

    def __init__(self) -> None:
        self.reachable: set[str] = set()
        self.connected: list[str] = []
        self.groups: dict[str, str] = {}  # of those that this node dialled
        self.dials: list[tuple[float, str]] = []
        self.remembered: list[str] = []
        self.unwelcome: Callable[[str], bool] = lambda peer: False
        self.discovery = PeerDiscovery(
            US,
            self.dial,
            lambda: self.connected,
            lambda: [group for peer, group in self.groups.items() if peer in self.connected],
            lambda p: self.unwelcome(p),
            self.remembered.append,
            random.Random(1),
        )

    async def dial(self, address: Address) -> bool:
        self.dials.append((trio.current_time(), str(address)))
        if address.transport in self.reachable:
            self.connected.append(address.peer)
            self.groups[address.peer] = group_of(address.transport)
            return True
        return False

    async def live(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self.discovery.run()


async def test_a_dead_address_is_tried_for_ever_and_ever_less(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    world.discovery.learn(f"/ip4/192.0.2.1/tcp/4001/p2p/{PEER}")
    world.connected.append(OTHER)
    await world.live(3600)
    times = [time for time, _ in world.dials]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits[0] < 4
    assert 100 < waits[-1] <= 1.5 * BACKOFF_MOST_SECONDS
    assert len(times) > 12


async def test_who_is_alone_tries_more_often(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    world.discovery.learn(f"/ip4/192.0.2.1/tcp/4001/p2p/{PEER}")
    await world.live(600)
    times = [time for time, _ in world.dials]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert max(waits) <= 1.5 * BACKOFF_ALONE_SECONDS


async def test_the_address_that_works_is_remembered_and_tried_first(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    world.reachable.add("/ip4/192.0.2.2/tcp/4001")
    for host in (1, 2, 3):
        world.discovery.learn(f"/ip4/192.0.2.{host}/tcp/4001/p2p/{PEER}")
    await world.live(1)
    assert world.connected == [PEER]
    assert world.remembered == [f"/ip4/192.0.2.2/tcp/4001/p2p/{PEER}"]
    world.dials.clear()
    world.connected.clear()
    world.discovery.lost(PEER, 3600)
    await world.live(3)
    assert [address for _, address in world.dials] == world.remembered[:1]


async def test_nobody_connected_or_unwelcome_is_dialled(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    world.connected.append(PEER)
    world.unwelcome = lambda peer: peer == OTHER
    for peer in (PEER, OTHER, US):
        world.discovery.learn(f"/ip4/192.0.2.1/tcp/4001/p2p/{peer}")
    await world.live(100)
    assert world.dials == []


async def test_it_stops_dialling_when_there_are_enough_and_goes_on_when_some_leave(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World()
    for port in range(1, 3 * PEERS_WANTED):
        world.reachable.add(f"/ip4/192.0.2.1/tcp/{port}")
        world.discovery.learn(f"/ip4/192.0.2.1/tcp/{port}/p2p/{Identity.from_seed(os.urandom(32)).peer_id}")
    await world.live(30)
    assert len(world.connected) == len(world.dials) == PEERS_WANTED
    for gone in world.connected[:4]:
        world.connected.remove(gone)
        world.discovery.lost(gone, 3600)
    await world.live(30)
    assert len(world.connected) == PEERS_WANTED


async def test_who_was_left_for_another_is_let_be_for_a_while(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    world.reachable.add("/ip4/192.0.2.1/tcp/1")
    world.discovery.learn(f"/ip4/192.0.2.1/tcp/1/p2p/{PEER}")
    world.discovery.rest(PEER)
    await world.live(REST_SECONDS - 1)
    assert world.dials == []
    await world.live(3)
    assert world.connected == [PEER]


async def test_on_another_network_everybody_is_tried_again_at_once(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    world.discovery.learn(f"/ip4/192.0.2.1/tcp/1/p2p/{PEER}")
    world.connected.append(OTHER)
    await world.live(2000)
    world.reachable.add("/ip4/192.0.2.1/tcp/1")
    world.discovery.forget_failures()
    await world.live(1)
    assert PEER in world.connected


async def test_an_address_that_never_worked_makes_room_for_a_new_one(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    dead = Identity.from_seed(os.urandom(32)).peer_id
    world.discovery.learn(f"/ip4/192.0.2.1/tcp/4001/p2p/{dead}")
    await world.live(400)
    for _ in range(MAX_CONTACTS):
        world.discovery.learn(f"/ip4/192.0.2.1/tcp/4001/p2p/{Identity.from_seed(os.urandom(32)).peer_id}")
    assert len(world.discovery._book) == MAX_CONTACTS
    assert world.discovery._book.get(dead) is None


async def test_claims_count_for_the_claimant_only(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    claims = [
        f"/ip4/11.0.0.1/tcp/1/p2p/{OTHER}",
        f"/ip4/11.0.0.1/tcp/2/p2p/{PEER}",
        "/ip4/11.0.0.1/tcp/3",
        "/ip4/0.0.0.0/tcp/4",
        "/ip4/11.0.0.1/tcp/0",
        "/ip4/11.0.0.1/udp/5/quic-v1",
        "/dns4/example.org/tcp/6",
        "/ip4/11.0.0.1/tcp/7/ws",
        "nonsense",
    ]
    world.discovery.learn_claimed_addresses(PEER, claims, LINK, "a crowd")
    await world.live(0.5)
    assert {address for _, address in world.dials} == {f"/ip4/11.0.0.1/tcp/{port}/p2p/{PEER}" for port in (2, 3)}


async def test_only_so_many_contacts_are_kept() -> None:
    world = World()
    for _ in range(MAX_CONTACTS + 10):
        world.discovery.learn(f"/ip4/192.0.2.1/tcp/4001/p2p/{Identity.from_seed(os.urandom(32)).peer_id}")
    assert len(world.discovery._book) == MAX_CONTACTS


@pytest.mark.parametrize("text", ["", "/ip4/192.0.2.1/tcp/1", "/p2p/zz", "http://x", f"/ip4/192.0.2.1/udp/1/p2p/{US}"])
def test_what_is_no_address_is_refused_in_words(text: str) -> None:
    with pytest.raises(MalformedError, match=r"address|TCP"):
        World().discovery.learn(text)
