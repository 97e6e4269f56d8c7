"""Sources that records refer to are fetched when they are first wanted, the most needed first, and asked for again."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from node.ledger.store import MAX_SOURCE_BYTES, Ledger, Quota
from node.network.content import missing
from node.network.content.missing import MissingSources, in_turn
from node.network.parameters import (
    SOURCE_NO_ROOM_SECONDS,
    SOURCE_SETTLE_SECONDS,
    SOURCES_IN_A_ROW,
)
from tests.node.network.conftest import Log, Start, until
from tests.node.records_for_tests import OBJECTIVE, Author, experiment, source


class Peers:
    """Peers that have these sources, and what they were asked for, with the time."""

    def __init__(self, *names: str) -> None:
        self.connected = ["a peer"]
        self.has = {source(name): name.encode() for name in names}
        self.asked: list[tuple[float, bytes]] = []
        self._on_connected = trio.Event()

    def peers(self) -> list[str]:
        return self.connected

    async def fetch_blob(self, blob_id: bytes, *, first: str, max_bytes: int) -> bytes | None:
        assert max_bytes == MAX_SOURCE_BYTES
        self.asked.append((trio.current_time(), blob_id))
        await trio.sleep(0.01)
        return self.has.get(blob_id)

    async def wait_for_new_peer(self) -> None:
        await self._on_connected.wait()

    def connect(self, peer: str) -> None:
        self.connected.append(peer)
        self._on_connected.set()
        self._on_connected = trio.Event()


class World:
    """A ledger to which a peer's claims come, peers, and what was logged."""

    def __init__(self, path: Path, peers: Peers, quota: Quota | None = None) -> None:
        self.ledger = Ledger.open(path, OBJECTIVE, quota)
        self.ledger.put_blob(b"baseline")
        self.peers = peers
        self.log = Log()
        self.most_needed: list[bytes] = []
        self._ann = Author("ann")

    def hear_of(self, *names: str) -> None:
        for name in names:
            self.ledger.add(self._ann.write(experiment(f"about {name}", child=source(name))), "a peer")

    def has(self, name: str) -> bool:
        return self.ledger.has_blob(source(name))

    @asynccontextmanager
    async def fetching(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            sources = MissingSources(self.ledger, self.peers, lambda: self.most_needed, self.log)
            nursery.start_soon(sources.run)
            yield
            nursery.cancel_scope.cancel()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


async def test_what_was_wanted_at_the_start_is_fetched(path: Path, autojump_clock: trio.testing.MockClock) -> None:
    world = World(path, Peers("one", "two"))
    world.hear_of("one", "two")
    async with world.fetching():
        await trio.sleep(0.1)
    assert world.has("one")
    assert world.has("two")
    assert world.log.of("sources fetched", count=2)


async def test_a_record_that_arrives_wakes_it(path: Path, autojump_clock: trio.testing.MockClock) -> None:
    world = World(path, Peers("one"))
    async with world.fetching():
        await trio.sleep(1000)
        assert world.peers.asked == []
        world.hear_of("one")
        await trio.sleep(SOURCE_SETTLE_SECONDS + 0.1)
    assert world.has("one")


async def test_without_peers_nothing_is_asked_until_one_connects(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(path, Peers("one"))
    world.peers.connected.clear()
    world.hear_of("one")
    async with world.fetching():
        await trio.sleep(1000)
        assert world.peers.asked == []
        world.peers.connect("a peer")
        await trio.sleep(SOURCE_SETTLE_SECONDS + 0.1)
    assert world.has("one")


async def test_what_no_peer_has_is_asked_for_again_later_and_nothing_else_waits_for_it(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(path, Peers("two"))
    world.hear_of("one", "two")
    async with world.fetching():
        await trio.sleep(1)
        assert world.has("two")
        world.hear_of("three")
        await trio.sleep(100)
    times = [at for at, asked in world.peers.asked if asked == source("one")]
    waits = [round(later - earlier) for earlier, later in pairwise(times)]
    assert waits[:6] == [1, 2, 4, 8, 16, 20]
    assert set(waits[6:]) == {20}


async def test_a_peer_that_fetches_it_meanwhile_is_asked_again_soon(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(path, Peers())
    world.hear_of("one")
    async with world.fetching():
        await trio.sleep(1)
        world.peers.has[source("one")] = b"one"
        await trio.sleep(1)
        assert world.has("one")


async def test_the_most_needed_come_first(
    path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing, "SOURCES_AT_ONCE", 1)
    world = World(path, Peers("one", "two", "three"))
    world.hear_of("one", "two", "three")
    world.most_needed = [source("three"), source("nobody wants this")]
    async with world.fetching():
        await trio.sleep(1)
    assert [asked for _, asked in world.peers.asked] == [source("three"), source("one"), source("two")]


async def test_what_is_needed_most_is_decided_anew_every_few(
    path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing, "SOURCES_AT_ONCE", 1)
    names = [f"source {number}" for number in range(2 * SOURCES_IN_A_ROW)]
    world = World(path, Peers(*names))
    world.hear_of(*names)
    async with world.fetching():
        await trio.sleep(0.005)
        world.most_needed = [source(names[-1])]
        await trio.sleep(10)
    assert [asked for _, asked in world.peers.asked].index(source(names[-1])) == SOURCES_IN_A_ROW


async def test_what_has_no_room_is_said_and_keeps_nothing_else_waiting(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    long = "a long source ".ljust(100)
    world = World(path, Peers(long, "short"), Quota(blob_bytes=100))
    world.hear_of(long)
    async with world.fetching():
        await trio.sleep(10)
        assert world.log.of("sources dropped", count=1)
        world.hear_of("short")
        await trio.sleep(10)
    assert world.has("short")
    assert [asked for _, asked in world.peers.asked].count(source(long)) == 1


async def test_on_a_full_disk_it_says_so_and_waits(
    path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(data: bytes) -> bool:
        raise sqlite3.OperationalError("database or disk is full")

    world = World(path, Peers("one"))
    monkeypatch.setattr(world.ledger, "put_source", full)
    world.hear_of("one")
    async with world.fetching():
        await trio.sleep(2.5 * SOURCE_NO_ROOM_SECONDS)
    assert len(world.log.of("source not kept")) == [asked for _, asked in world.peers.asked].count(source("one")) == 3


async def test_made_up_claims_and_a_silent_peer_keep_no_real_source_waiting(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(path, Peers("real"))
    answer = world.peers.fetch_blob

    async def silent_about_what_nobody_has(blob_id: bytes, *, first: str, max_bytes: int) -> bytes | None:
        if blob_id not in world.peers.has:
            await trio.sleep(75)
        return await answer(blob_id, first=first, max_bytes=max_bytes)

    world.peers.fetch_blob = silent_about_what_nobody_has  # type: ignore[method-assign]
    for number in range(40):
        world.ledger.add(Author(f"free key {number}").write(experiment("x", child=source(f"{number}"))), "a liar")
    world.hear_of("real")
    async with world.fetching():
        await trio.sleep(3)
        assert world.has("real")


def test_turns_go_by_who_brought_a_record_and_then_by_its_author() -> None:
    whose = {b"a1": ("p", b"a"), b"a2": ("p", b"a"), b"b1": ("p", b"b"), b"c1": ("q", b"c"), b"c2": ("q", b"c")}
    assert in_turn(whose, whose.__getitem__) == [b"a1", b"c1", b"b1", b"c2", b"a2"]


async def test_a_real_network_brings_what_a_peer_s_record_refers_to(start: Start) -> None:
    async with start("a") as a, start("b") as b, trio.open_nursery() as nursery:
        nursery.start_soon(MissingSources(b.ledger, b.network, tuple, b.log).run)
        a.ledger.put_blob(b"the child")
        a.ledger.append_own(a.identity, experiment("a claim", child=source("the child")), 1)
        b.network._learn(a.address)
        await until(lambda: b.ledger.has_blob(source("the child")))
        nursery.cancel_scope.cancel()
