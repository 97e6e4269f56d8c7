"""Missing sources: what records refer to and is not here yet is fetched from peers, the most needed first.

It knows the ledger's list of what is wanted, when to ask again for what no peer had, and what to do when the disk is
full. Which sources are needed most is a function that it is given; how one is fetched is `serve`'s. It sleeps until a
record arrives, a peer connects or something is due again.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import trio

from node.ledger.store import MAX_SOURCE_BYTES, Arrived, LedgerError
from node.network.parameters import (
    SOURCE_NO_ROOM_SECONDS,
    SOURCE_RETRY_SECONDS,
    SOURCE_SETTLE_SECONDS,
    SOURCES_IN_A_ROW,
)
from node.platform.log import Log


class SourceStore(Protocol):
    """What is needed of the ledger."""

    def wanted_blobs(self) -> Sequence[bytes]:
        """Sources that records refer to and that are not here, in the order they were first mentioned."""

    def put_blob(self, data: bytes, from_peer: bool = False) -> bytes:
        """Keep content. Raises LedgerError at the quota, sqlite3.OperationalError where the disk is full."""

    def subscribe(self) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[Arrived]]:
        """Records as they are stored."""


class Peers(Protocol):
    """What is needed of the network; `Network` fits it."""

    def peers(self) -> Sequence[object]: ...

    async def fetch_blob(self, blob_id: bytes, *, max_bytes: int) -> bytes | None: ...

    async def wait_for_new_peer(self) -> None: ...


class MissingSources:
    """Fetches the sources that `store` lacks from `peers`. `most_needed`: sources to fetch before others, if wanted."""

    def __init__(self, store: SourceStore, peers: Peers, most_needed: Callable[[], Iterable[bytes]], log: Log) -> None:
        self._store = store
        self._peers = peers
        self._most_needed = most_needed
        self._log = log
        self._retry_at: dict[bytes, float] = {}  # by source that no peer had
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
        while self._peers.peers() and (due := self._due()):
            fetched = 0
            for source in due[:SOURCES_IN_A_ROW]:
                data = await self._peers.fetch_blob(source, max_bytes=MAX_SOURCE_BYTES)
                if data is None:
                    self._retry_at[source] = trio.current_time() + SOURCE_RETRY_SECONDS
                    continue
                try:
                    self._store.put_blob(data, from_peer=True)
                except (LedgerError, sqlite3.OperationalError) as error:
                    self._log("source not kept", level="warning", why=str(error))
                    await trio.sleep(SOURCE_NO_ROOM_SECONDS)
                    break
                fetched += 1
            if fetched:
                self._log("sources fetched", count=fetched)

    def _due(self) -> list[bytes]:
        """The sources to ask for now, the most needed first."""
        wanted = dict.fromkeys(self._store.wanted_blobs())
        self._retry_at = {source: at for source, at in self._retry_at.items() if source in wanted}
        if not wanted:
            return []
        needed_most = [source for source in self._most_needed() if source in wanted]
        in_order = dict.fromkeys([*needed_most, *wanted])
        now = trio.current_time()
        return [source for source in in_order if self._retry_at.get(source, now) <= now]

    def _next_retry(self) -> float:
        """When something that no peer had is due again. Without peers nothing is: a new one wakes this."""
        return min(self._retry_at.values(), default=math.inf) if self._peers.peers() else math.inf
