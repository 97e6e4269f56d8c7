"""Missing sources: what records refer to and is not here yet is fetched from peers, the most needed first.

Several are fetched at once, in turn of whoever brought the records and of their authors, so that made-up claims of some
keep nobody else's waiting; and one that takes long leaves its place to the next while it goes on. The peer that brought
the record is asked first.

It knows the ledger's list of what is wanted, when to ask again for what no peer had, and what to do when the disk is
full. Which sources are needed most is a function that it is given; how one is fetched is `serve`'s. It sleeps until a
record arrives, a peer connects or something is due again.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import trio

from node.ledger.store import MAX_SOURCE_BYTES, Arrived
from node.network.parameters import (
    SOURCE_FIRST_RETRY_SECONDS,
    SOURCE_NO_ROOM_SECONDS,
    SOURCE_PLACE_SECONDS,
    SOURCE_RETRY_SECONDS,
    SOURCE_SETTLE_SECONDS,
    SOURCES_AT_ONCE,
    SOURCES_IN_A_ROW,
    SOURCES_IN_ALL,
)
from node.platform.log import Log
from protocol.records import Record

NO_ROOM = "peers' sources take all the room they may; see blob_quota_mb in swarm.toml"


class SourceStore(Protocol):
    """What is needed of the ledger."""

    def wanted_blobs(self) -> Mapping[bytes, Record]:
        """Sources that records refer to and that are not here, as they were first mentioned, and by which record."""

    def origin(self, record_id: bytes) -> str:
        """The peer that brought a record."""

    def put_source(self, data: bytes) -> bool:
        """Keep a source; False where there is no room. Raises sqlite3.OperationalError where the disk is full."""

    def sources_given_up(self) -> int:
        """How many sources were dropped or not kept for want of room, since the start."""

    def subscribe(self) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[Arrived]]:
        """Records as they are stored."""


class Peers(Protocol):
    """What is needed of the network; `Network` fits it."""

    def peers(self) -> Sequence[object]: ...

    async def fetch_blob(self, blob_id: bytes, *, first: str, max_bytes: int) -> bytes | None: ...

    async def wait_for_new_peer(self) -> None: ...


class MissingSources:
    """Fetches the sources that `store` lacks from `peers`. `most_needed`: sources to fetch before others, if wanted."""

    def __init__(self, store: SourceStore, peers: Peers, most_needed: Callable[[], Iterable[bytes]], log: Log) -> None:
        self._store = store
        self._peers = peers
        self._most_needed = most_needed
        self._log = log
        self._retries: dict[bytes, tuple[float, float]] = {}  # by source that no peer had: when, and the wait
        self._under_way: set[bytes] = set()  # sources being fetched
        self._in_place: set[bytes] = set()  # of these, those begun so lately that others wait for them
        self._place_free = trio.Event()
        self._no_room_until = -math.inf
        self._fetched = 0  # since the start
        self._given_up = 0  # sources for which there was no room, as logged
        self._news = trio.Event()

    async def run(self) -> None:
        """Fetch whatever becomes wanted, for ever."""
        async with self._store.subscribe() as arrivals, trio.open_nursery() as nursery:
            nursery.start_soon(self._wake_on_records, arrivals)
            nursery.start_soon(self._wake_on_peers)
            while True:
                self._news = trio.Event()  # before looking, so that nothing that comes meanwhile is missed
                await self._fetch_all_due()
                with trio.move_on_at(self._next_retry()):
                    await self._news.wait()
                    # A peer that has just passed a record on may have to fetch its sources first, as this node does.
                    await trio.sleep(SOURCE_SETTLE_SECONDS)

    async def _wake_on_records(self, arrivals: trio.MemoryReceiveChannel[Arrived]) -> None:
        async for _ in arrivals:
            self._news.set()

    async def _wake_on_peers(self) -> None:
        while True:
            await self._peers.wait_for_new_peer()
            self._news.set()

    async def _fetch_all_due(self) -> None:
        """Fetch until nothing is due, deciding anew after every few which are needed most."""
        fetched, queue = self._fetched, dict[bytes, str]()
        async with trio.open_nursery() as nursery:
            while True:
                place_free = self._place_free = trio.Event()
                if not self._peers.peers() or self._no_room_until > trio.current_time():
                    queue.clear()
                elif not queue:
                    queue = dict(list(self._due().items())[:SOURCES_IN_A_ROW])
                if not queue and not self._under_way:
                    break
                places = min(SOURCES_AT_ONCE - len(self._in_place), SOURCES_IN_ALL - len(self._under_way))
                for source in list(queue)[: max(0, places)]:
                    first = queue.pop(source)
                    self._under_way.add(source)
                    self._in_place.add(source)
                    nursery.start_soon(self._fetch, source, first)
                await place_free.wait()
        if self._fetched > fetched:
            self._log("sources fetched", count=self._fetched - fetched)
        given_up = self._store.sources_given_up()
        if given_up > self._given_up:
            self._log("sources dropped", count=given_up - self._given_up, why=NO_ROOM)
            self._given_up = given_up

    async def _fetch(self, source: bytes, first: str) -> None:
        """Fetch one source. It has its place for a while and then goes on without, so that others have their turn."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._leave_place, source)
            try:
                data = await self._peers.fetch_blob(source, first=first, max_bytes=MAX_SOURCE_BYTES)
                self._keep(source, data)
            finally:
                self._under_way.discard(source)
                self._in_place.discard(source)
                self._place_free.set()
                nursery.cancel_scope.cancel()

    async def _leave_place(self, source: bytes) -> None:
        await trio.sleep(SOURCE_PLACE_SECONDS)
        self._in_place.discard(source)
        self._place_free.set()

    def _keep(self, source: bytes, data: bytes | None) -> None:
        if data is None:
            # The peer that passed the record on is fetching it as well, so the first wait is short.
            before = self._retries.get(source)
            wait = SOURCE_FIRST_RETRY_SECONDS if before is None else min(2 * before[1], SOURCE_RETRY_SECONDS)
            self._retries[source] = trio.current_time() + wait, wait
            return
        try:
            kept = self._store.put_source(data)
        except sqlite3.OperationalError as error:
            if self._no_room_until <= trio.current_time():
                self._log("source not kept", level="warning", why=str(error))
            self._no_room_until = trio.current_time() + SOURCE_NO_ROOM_SECONDS
            return
        self._fetched += kept

    def _due(self) -> dict[bytes, str]:
        """The sources to ask for now, the most needed first, and the peer to ask first for each."""
        wanted = dict(self._store.wanted_blobs())
        self._retries = {source: retry for source, retry in self._retries.items() if source in wanted}
        if not wanted:
            return {}
        needed_most = [source for source in self._most_needed() if source in wanted]
        now = trio.current_time()
        due = {
            source: self._store.origin(wanted[source].id)
            for source in dict.fromkeys([*needed_most, *wanted])
            if self._retries.get(source, (now, 0.0))[0] <= now and source not in self._under_way
        }
        return {source: due[source] for source in in_turn(due, lambda source: (due[source], wanted[source].author))}

    def _next_retry(self) -> float:
        """When something that no peer had is due again. Without peers nothing is: a new one wakes this."""
        if not self._peers.peers():
            return math.inf
        if self._no_room_until > trio.current_time():
            return self._no_room_until
        return min((at for at, _ in self._retries.values()), default=math.inf)


def in_turn(sources: Iterable[bytes], whose: Callable[[bytes], tuple[str, bytes]]) -> list[bytes]:
    """Sources in this order, but in turn of those who brought them, and for each of these in turn of their authors.

    Of 40 that one peer brought and one of another, the latter is at the latest the second.
    """
    queues: dict[str, dict[bytes, list[bytes]]] = {}
    for source in sources:
        bringer, author = whose(source)
        queues.setdefault(bringer, {}).setdefault(author, []).append(source)
    rows = [_woven(list(by_author.values())) for by_author in queues.values()]
    return _woven(rows)


def _woven(queues: Sequence[Sequence[bytes]]) -> list[bytes]:
    """The first of each queue, then the second of each, and so on."""
    longest = max(map(len, queues), default=0)
    return [queue[at] for at in range(longest) for queue in queues if at < len(queue)]
