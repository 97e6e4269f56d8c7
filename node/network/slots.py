"""Connection slots: which connections stay when there are too many, and which is given up for another.

A connection that this node dialled has an outgoing slot: it never makes way for one that a peer opened. Peers choose
to connect here, and with free keys an attacker can do so any number of times; whom this node dials it chooses itself.

Incoming connections have slots of their own. One network group has a share of them; when all are taken, one is ended,
chosen as Bitcoin Core chooses (`src/node/eviction.cpp`): some are protected because they have what an attacker cannot
have for all its keys (proven work, a short way, other networks, a long time here), and of the rest the youngest of the
largest group goes. A few places are for newcomers, who have a moment there to hear of other nodes and make way for each
other: so a node that many dial goes on meeting new peers, and those it has stay.

It knows peers, addresses and times; events go in, and the peers to hang up on come out. It opens and ends nothing.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from node.network.groups import LOCAL, Scope, crowd_of, group_of, host_of, scope_of
from node.network.parameters import (
    ANCHORS,
    INCOMING_MOST,
    INCOMING_OF_A_GROUP,
    NEWCOMERS,
    OUTGOING_OF_A_GROUP,
    PROTECTED_CHOSEN,
    PROTECTED_GROUPS,
    PROTECTED_NEAR,
    PROTECTED_PROVEN,
    PROVEN_WORK_SECONDS,
    SETTLED_SECONDS,
)


@dataclass(eq=False)
class Link:
    """A connected peer, and what counts for keeping it.

    outgoing: this node dialled it. chosen: a person named it, or it was found on the local network. latency: seconds
    there and back. proven_at: when it last brought a record, new here, of an author that this node's own runs agreed
    with.
    """

    peer: str
    address: str
    outgoing: bool
    since: float
    chosen: bool = False
    latency: float = math.inf
    proven_at: float = -math.inf
    leaving: bool = False  # it is being ended for a newcomer, which takes a moment

    @cached_property
    def group(self) -> str:
        return group_of(self.address)

    @cached_property
    def crowd(self) -> str:
        return crowd_of(self.address) or self.peer

    @cached_property
    def counted_host(self) -> str:
        """The machine at the other end, where that says something: in the internet. Else LOCAL."""
        return host_of(self.address) if scope_of(self.address) is Scope.INTERNET else LOCAL


class Slots:
    """The connected peers."""

    def __init__(self, key: bytes, rng: random.Random) -> None:
        """key: secret bytes. They decide which groups are protected, so that nobody can choose to be in one of them."""
        self._key = key
        self._rng = rng
        self._links: dict[str, Link] = {}
        self._hosts: Counter[str] = Counter()  # incoming connections by machine, of the internet only

    def connected(self, peer: str, address: str, outgoing: bool, now: float, chosen: bool = False) -> list[str]:
        """A peer has connected. Returns the peers to hang up on, so that the limits hold."""
        if peer in self._links:
            self.lost(peer)
        link = self._links[peer] = Link(peer, address, outgoing, now, chosen)
        if outgoing:
            return []
        self._hosts[link.counted_host] += 1
        incoming = self.incoming()
        alike = [other for other in incoming if link.group != LOCAL and other.group == link.group]
        if len(alike) > INCOMING_OF_A_GROUP:
            out = self._to_evict(alike, newcomer=link)
        elif len(incoming) > INCOMING_MOST:
            out = self._to_evict(incoming, newcomer=link)
        else:
            return []
        out.leaving = True
        return [out.peer]

    def dialled(self, peer: str) -> None:
        """There is now a connection to it that this node opened, perhaps beside one that the peer opened."""
        link = self._links.get(peer)
        if link is not None and not link.outgoing:
            self._uncount(link)
            link.outgoing = True

    def lost(self, peer: str) -> Link | None:
        """The last connection to a peer has ended. Returns what was known of it."""
        link = self._links.pop(peer, None)
        if link is not None and not link.outgoing:
            self._uncount(link)
        return link

    def brought_proven(self, peer: str, now: float) -> None:
        """It brought a record, new here, of an author that this node's own runs agreed with."""
        if peer in self._links:
            self._links[peer].proven_at = now

    def measured(self, peer: str, latency: float) -> None:
        """How long a message takes to it and back, in seconds."""
        if peer in self._links:
            self._links[peer].latency = latency

    def incoming(self) -> list[Link]:
        """Those that stay: without any that is being ended for another."""
        return [link for link in self._links.values() if not link.outgoing and not link.leaving]

    def outgoing(self) -> list[Link]:
        return [link for link in self._links.values() if link.outgoing]

    def is_outgoing(self, peer: str) -> bool:
        link = self._links.get(peer)
        return link is not None and link.outgoing

    def colocated(self, peer: str) -> int:
        """How many incoming connections come from this one's machine; 0 for an outgoing one, and for local addresses.

        On one machine, on a local network and behind a port that a container's host passes on, all peers have one
        address or few, which says nothing of them.
        """
        link = self._links.get(peer)
        if link is None or link.outgoing or link.counted_host == LOCAL:
            return 0
        return self._hosts[link.counted_host]

    def to_replace(self, now: float) -> str | None:
        """The outgoing connection to give up for another one, so that the graph of the swarm stays random.

        One of a group that has more than its share, if there is any; else any, but none that brought proven work
        lately, and not the ANCHORS that have lasted longest: an attacker that has filled the address book gets one
        slot after the other, but not those.
        """
        outgoing = sorted(self.outgoing(), key=lambda link: link.since)
        groups = Counter(link.group for link in outgoing)
        free = [link for link in outgoing[ANCHORS:] if now - link.proven_at > PROVEN_WORK_SECONDS]
        too_many = [link for link in free if link.group != LOCAL and groups[link.group] > OUTGOING_OF_A_GROUP]
        if not free:
            return None
        return too_many[-1].peer if too_many else self._rng.choice(free).peer

    def anchors(self) -> list[str]:
        """The outgoing connections to dial first at the next start: who brought proven work last, and who lasted."""
        order = sorted(self.outgoing(), key=lambda link: (-link.proven_at, link.since))
        return [link.peer for link in order[:ANCHORS]]

    # ---- who makes way -----------------------------------------------------------------------------------------------

    def _to_evict(self, links: Iterable[Link], newcomer: Link) -> Link:
        """Who has to go: of the newcomers where these have their places, else of those not protected."""
        left = [link for link in links if newcomer.since - link.since >= SETTLED_SECONDS]
        settling = [link for link in links if link not in left and link is not newcomer]
        if len(settling) >= NEWCOMERS:
            crowds = Counter(link.crowd for link in settling)
            return max(settling, key=lambda link: (crowds[link.crowd], -link.since))
        for how_many, worth in (
            (PROTECTED_CHOSEN, lambda link: (link.chosen, -link.since)),
            (PROTECTED_PROVEN, lambda link: (link.proven_at, -link.since)),
            (PROTECTED_NEAR, lambda link: (-link.latency, -link.since)),
        ):
            _protect(left, how_many, worth)
        self._protect_groups(left)
        _protect(left, len(left) // 2, lambda link: (True, -link.since))
        crowds = Counter(link.crowd for link in left)
        return max(left, key=lambda link: (crowds[link.crowd], link.since), default=newcomer)

    def _protect_groups(self, left: list[Link]) -> None:
        """Protect whoever has been here longest of each of a few networks, which an attacker cannot foresee."""
        oldest: dict[str, Link] = {}
        for link in sorted(left, key=lambda link: link.since):
            oldest.setdefault(link.crowd, link)
        drawn = sorted(oldest, key=lambda crowd: hashlib.sha256(self._key + crowd.encode()).digest())
        for crowd in drawn[:PROTECTED_GROUPS]:
            left.remove(oldest[crowd])

    def _uncount(self, link: Link) -> None:
        self._hosts[link.counted_host] -= 1
        if not self._hosts[link.counted_host]:
            del self._hosts[link.counted_host]


def _protect(left: list[Link], how_many: int, worth: Callable[[Link], tuple[float, float]]) -> None:
    """Take those with the greatest worth out; not those that have none of it."""
    ranked = sorted(left, key=worth, reverse=True)
    for link in ranked[:how_many]:
        if worth(link)[0] not in (False, -math.inf):
            left.remove(link)
