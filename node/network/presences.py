"""Presences: what peers say of themselves, of how many it is remembered, and whose is passed on.

Keys are free, so presences of peers that nobody here knows are limited by who forwards them, and share one room in
which whoever brought most makes way, any of the younger half; as in the ledger's pool (`node/ledger/pool.py`). Those of
peers that this node knows keep their place: connected ones, those it has reached, and proven authors.

It knows peers and times; not how a presence came, nor what becomes of its addresses.
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict
from dataclasses import dataclass

from node.network.parameters import (
    FORWARDERS_KEPT,
    PRESENCE_SECONDS,
    PRESENCE_SOONEST_SECONDS,
    PRESENCES_KEPT,
    PRESENCES_MISSED,
    PRESENCES_OF_A_FORWARDER,
    PRESENCES_OF_A_FORWARDER_PER_SECOND,
    PRESENCES_OF_A_STRANGER,
    PRESENCES_OF_A_STRANGER_PER_SECOND,
    PRESENCES_PER_SECOND,
)
from node.network.peer_score import TokenBuckets
from protocol.messages import Presence


@dataclass(frozen=True)
class Forwarder:
    """The peer that brought a message: the address at its end of the connection, and whom it is counted with.

    known: this node chose to dial it, has reached it before, or its author is proven here.
    """

    address: str
    crowd: str
    known: bool


@dataclass(frozen=True)
class _Heard:
    presence: Presence
    at: float
    crowd: str
    keeps: bool  # its place


class Presences:
    """The last presence of each peer, by the time it came."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._heard: OrderedDict[str, _Heard] = OrderedDict()
        self._of_known = TokenBuckets(PRESENCES_OF_A_FORWARDER_PER_SECOND, PRESENCES_OF_A_FORWARDER, FORWARDERS_KEPT)
        self._of_strangers = TokenBuckets(PRESENCES_OF_A_STRANGER_PER_SECOND, PRESENCES_OF_A_STRANGER, FORWARDERS_KEPT)

    def take(
        self, peer: str, presence: Presence, by: Forwarder, now: float, feeds: int, *, known: bool, connected: bool
    ) -> bool:
        """Whether it is remembered; one that is not, is not to be passed on either.

        known: this node knows that peer. connected: it is a peer of this node now. feeds: those held here, for how
        large the swarm is.
        """
        last = self._heard.get(peer)
        if last is not None and now - last.at < PRESENCE_SOONEST_SECONDS / 2:
            return False
        if not known and not (self._of_known if by.known else self._of_strangers).take(by.crowd, now):
            return False
        crowd = by.crowd if last is None else last.crowd
        self._heard[peer] = _Heard(presence, now, crowd, known or connected)
        self._heard.move_to_end(peer)
        # Ordered by time, so the first is the oldest. The one just added is never stale: the loop ends.
        while now - next(iter(self._heard.values())).at > self.stale_seconds(feeds):
            self._heard.popitem(last=False)
        if len(self._heard) > PRESENCES_KEPT:
            self._make_room()
        return True

    def of(self, peer: str, now: float, feeds: int) -> Presence | None:
        """What a peer lately said of itself; None when that is too long ago."""
        heard = self._heard.get(peer)
        return None if heard is None or now - heard.at > self.stale_seconds(feeds) else heard.presence

    def stale_seconds(self, feeds: int) -> float:
        return PRESENCES_MISSED * self.seconds_between(feeds)

    def seconds_between(self, feeds: int) -> float:
        """Seconds between two presences of one node."""
        return presence_seconds(self.swarm_size(feeds))

    def swarm_size(self, feeds: int) -> int:
        return estimated_swarm_size(len(self._heard), feeds)

    def _make_room(self) -> None:
        evictable = [(peer, heard.crowd) for peer, heard in self._heard.items() if not heard.keeps]
        if not evictable:
            self._heard.popitem(last=False)
            return
        most = Counter(crowd for _, crowd in evictable).most_common(1)[0][0]
        crowd = [peer for peer, its_crowd in evictable if its_crowd == most]
        del self._heard[crowd[self._rng.randrange(len(crowd) // 2, len(crowd))]]


def estimated_swarm_size(present: int, feeds: int) -> int:
    """Nodes in the swarm: those whose presence came lately, or where more than can be kept did, as many as have feeds.

    Of feeds alone it would be too high: 5 nodes present may hold 9,000 feeds, most of authors who left.
    """
    return present if present < PRESENCES_KEPT else max(present, feeds)


def presence_seconds(swarm_size: int) -> float:
    """Seconds between two presences of a node, so that all together publish PRESENCES_PER_SECOND at most.

    12 nodes: every 30 s. 1,000 nodes: every 2,000 s, which is one every 2 s from the whole swarm.
    """
    return max(PRESENCE_SECONDS, swarm_size / PRESENCES_PER_SECOND)
