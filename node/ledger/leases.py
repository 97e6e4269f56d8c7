"""Leases: who is trying what at the moment, so that peers try something else. Kept in memory only.

A lease is a courtesy that binds no node. While other ideas remain, a node prefers them to a leased one, for an hour at
most; each peer may hold a few leases. Leases can be renewed, and keys are free, so of one idea on one source they are
heeded only so long, whoever says so and however often. This module knows neither the network nor research, which meet
here through the ledger. Times are seconds on any clock that does not go back.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Iterator, Set
from contextlib import asynccontextmanager

import trio

from protocol.messages import Lease

LEASES_PER_PEER = 16  # a node that makes several runs at once tries several ideas
PEERS_KEPT = 4096  # whose leases are remembered: bounds the memory that peers can take
IDEAS_KEPT = 1 << 16  # of which it is remembered since when they are leased: all that PEERS_KEPT may hold
LONGEST_SECONDS = 3600.0  # a lease ends by then, whatever it says
ANNOUNCEMENTS_WAITING = 16  # own leases that a slow listener may lag behind


_Held = OrderedDict[tuple[bytes, bytes], tuple[float, str]]  # parent and fingerprint: until when, and the category


def _hold(held: _Held, lease: Lease, end: float) -> None:
    """Note a lease of one holder. When it holds too many, the oldest is dropped."""
    key = (lease.parent, lease.fingerprint)
    held[key] = end, lease.category
    held.move_to_end(key)
    if len(held) > LEASES_PER_PEER:
        held.popitem(last=False)


class Leases:
    """The leases heard from peers, and those of this node, which listeners send to peers."""

    def __init__(self) -> None:
        self._heard: OrderedDict[str, _Held] = OrderedDict()
        self._own: _Held = OrderedDict()
        self._since: OrderedDict[tuple[bytes, bytes], float] = OrderedDict()  # when each was leased first
        self._listeners: set[trio.MemorySendChannel[Lease]] = set()

    def hear(self, peer: str, lease: Lease, now: float) -> bool:
        """Note what a peer says it is trying. False when it holds so many leases that this one is not to be relayed.

        A peer that holds more than LEASES_PER_PEER loses its oldest one. Of more than PEERS_KEPT peers, the one that
        was heard least recently is forgotten.
        """
        held = self._heard.setdefault(peer, OrderedDict())
        self._heard.move_to_end(peer)
        if len(self._heard) > PEERS_KEPT:
            self._heard.popitem(last=False)
        for key in [key for key, (end, _) in held.items() if end <= now]:
            del held[key]
        within_share = (lease.parent, lease.fingerprint) in held or len(held) < LEASES_PER_PEER
        _hold(held, lease, now + min(float(lease.seconds), LONGEST_SECONDS))
        self._since.setdefault((lease.parent, lease.fingerprint), now)
        if len(self._since) > IDEAS_KEPT:
            self._since.popitem(last=False)
        return within_share

    def taken(self, parent: bytes, now: float, patience: float = math.inf) -> frozenset[bytes]:
        """Fingerprints that peers are trying on this parent, since no longer than `patience` (seconds)."""
        current = (idea for held in self._heard.values() for idea, _ in self._current(held, now, patience))
        return frozenset(fingerprint for leased_parent, fingerprint in current if leased_parent == parent)

    def peers_by_category(
        self, now: float, ended: Set[tuple[bytes, bytes]], patience: float = math.inf
    ) -> Counter[str]:
        """How many peers are trying ideas of each category, on any parent. A peer counts once a category.

        ended: (parent, fingerprint) of trials that are over, as their records say, though their leases go on. patience:
        seconds since an idea was leased first, after which it counts no longer.
        """
        peers: Counter[str] = Counter()
        for held in self._heard.values():
            current = self._current(held, now, patience)
            peers.update({category for idea, category in current if idea not in ended})
        return peers

    def _current(self, held: _Held, now: float, patience: float) -> Iterator[tuple[tuple[bytes, bytes], str]]:
        """The ideas that one peer is trying, with their categories, of those leased first within `patience`."""
        for idea, (end, category) in held.items():
            if end > now and self._since.get(idea, now) >= now - patience:
                yield idea, category

    def own(self, now: float) -> list[Lease]:
        """This node's leases with the seconds that remain of each: for a peer that connects now."""
        return [Lease(*key, math.ceil(end - now), category) for key, (end, category) in self._own.items() if end > now]

    def take(self, lease: Lease, now: float) -> None:
        """Announce what this node is trying. A listener that lags behind misses it; this never waits."""
        _hold(self._own, lease, now + lease.seconds)
        for listener in self._listeners:
            try:
                listener.send_nowait(lease)
            except (trio.WouldBlock, trio.BrokenResourceError):  # the second: it is about to unsubscribe
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
