"""Leases: who is trying what at the moment, so that peers try something else. Kept in memory and forgotten.

A lease is a courtesy that binds nobody: it steers the choice of ideas while others are left, for an hour at most, and
each peer may hold a few. It knows neither the network nor research; both meet here, through the ledger. Times are
seconds on whatever clock the caller reads.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from protocol.messages import Lease

LEASES_PER_PEER = 16  # a node that makes several runs at once tries several things
PEERS_KEPT = 4096
LONGEST_SECONDS = 3600.0
ANNOUNCEMENTS_WAITING = 16


class Leases:
    """Leases heard from peers, and the way own ones leave."""

    def __init__(self) -> None:
        self._heard: OrderedDict[str, OrderedDict[tuple[bytes, bytes], float]] = OrderedDict()
        self._own: OrderedDict[tuple[bytes, bytes], tuple[Lease, float]] = OrderedDict()  # with the end of each
        self._listeners: set[trio.MemorySendChannel[Lease]] = set()

    def hear(self, peer: str, lease: Lease, now: float) -> bool:
        """Note what a peer says it is trying; False when that is too much to be told to others.

        A peer that holds more than its share loses its oldest lease, and beyond so many peers the quietest is
        forgotten.
        """
        held = self._heard.setdefault(peer, OrderedDict())
        self._heard.move_to_end(peer)
        if len(self._heard) > PEERS_KEPT:
            self._heard.popitem(last=False)
        for key in [key for key, end in held.items() if end <= now]:
            del held[key]
        key = (lease.parent, lease.fingerprint)
        within_share = key in held or len(held) < LEASES_PER_PEER
        held[key] = now + min(float(lease.seconds), LONGEST_SECONDS)
        held.move_to_end(key)
        if len(held) > LEASES_PER_PEER:
            held.popitem(last=False)
        return within_share

    def taken(self, parent: bytes, now: float) -> frozenset[bytes]:
        """Fingerprints that peers are trying on this parent."""
        return frozenset(
            fingerprint
            for held in self._heard.values()
            for (of, fingerprint), end in held.items()
            if of == parent and end > now
        )

    def own(self, now: float) -> list[Lease]:
        """What this node is trying, for as long as is left: what a newcomer has not heard."""
        left = [(lease, math.ceil(end - now)) for lease, end in self._own.values()]
        return [replace(lease, seconds=seconds) for lease, seconds in left if seconds > 0]

    def take(self, lease: Lease, now: float) -> None:
        """Tell peers what this node is trying. With nobody listening, or too busy to, nothing is said."""
        key = (lease.parent, lease.fingerprint)
        self._own[key] = (lease, now + lease.seconds)
        self._own.move_to_end(key)
        if len(self._own) > LEASES_PER_PEER:
            self._own.popitem(last=False)
        for listener in self._listeners:
            try:
                listener.send_nowait(lease)
            except (trio.WouldBlock, trio.BrokenResourceError):  # the second: it is just leaving
                continue

    @asynccontextmanager
    async def announced(self) -> AsyncIterator[trio.MemoryReceiveChannel[Lease]]:
        """Own leases as they are taken, until the block ends."""
        send, receive = trio.open_memory_channel[Lease](ANNOUNCEMENTS_WAITING)
        self._listeners.add(send)
        try:
            async with receive:
                yield receive
        finally:
            self._listeners.discard(send)
            send.close()
