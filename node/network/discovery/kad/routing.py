"""The routing table of the DHT: servers that this node has reached itself, more of them the nearer they are.

Kademlia's metric: the distance of two keys is the XOR of their sha256, and bucket n holds servers whose distance has n
bits. A bucket that is full keeps whom it has (Maymounkov and Mazières, 2002, section 4.1: who was there for long stays
for long, and new keys cannot push old servers out). Of one network group there are few, as in go-libp2p.

It knows ids, addresses and failures. It knows no stream and no clock.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from node.network.discovery.kad.messages import peer_key
from node.network.groups import LOCAL, group_of
from node.network.parameters import (
    DHT_BUCKET,
    DHT_FAILURES,
    DHT_SERVERS,
    DHT_SERVERS_OF_A_GROUP,
    DHT_SERVERS_OF_A_GROUP_IN_A_BUCKET,
)


@dataclass
class Server:
    """A peer that has answered at this transport."""

    peer: str
    transport: str
    place: int  # its key in the metric's space
    failures: int = 0

    @property
    def group(self) -> str:
        return group_of(self.transport)


def place_of(key: bytes) -> int:
    """Where a key is in the metric's space: its sha256, as a number of 256 bits."""
    return int.from_bytes(hashlib.sha256(key).digest(), "big")


class RoutingTable:
    """The servers that one node knows."""

    def __init__(self, own_peer: str) -> None:
        self._own_peer = own_peer
        self._own_place = place_of(peer_key(own_peer))
        self._servers: dict[str, Server] = {}

    def __len__(self) -> int:
        return len(self._servers)

    def __iter__(self) -> Iterator[Server]:
        return iter(self._servers.values())

    def __contains__(self, peer: str) -> bool:
        return peer in self._servers

    def has_room_for(self, peer: str, transport: str) -> bool:
        """Whether a server that is not here yet would be taken."""
        if peer == self._own_peer or peer in self._servers or len(self._servers) >= DHT_SERVERS:
            return False
        bucket = [server for server in self if self._bucket(server.place) == self._bucket(place_of(peer_key(peer)))]
        if len(bucket) >= DHT_BUCKET:
            return False
        group = group_of(transport)
        if group == LOCAL:
            return True
        in_all = Counter(server.group for server in self)[group]
        in_bucket = Counter(server.group for server in bucket)[group]
        return in_all < DHT_SERVERS_OF_A_GROUP and in_bucket < DHT_SERVERS_OF_A_GROUP_IN_A_BUCKET

    def answered(self, peer: str, transport: str) -> None:
        """This node dialled the peer there, and it spoke the protocol."""
        known = self._servers.get(peer)
        if known is not None:
            known.failures, known.transport = 0, transport
        elif self.has_room_for(peer, transport):
            self._servers[peer] = Server(peer, transport, place_of(peer_key(peer)))

    def failed(self, peer: str) -> None:
        """It could not be reached, or did not answer."""
        known = self._servers.get(peer)
        if known is not None:
            known.failures += 1
            if known.failures >= DHT_FAILURES:
                del self._servers[peer]

    def closest(self, key: bytes, count: int) -> list[Server]:
        """Of the servers here, those nearest to a key, the nearest first."""
        place = place_of(key)
        return sorted(self, key=lambda server: server.place ^ place)[:count]

    def _bucket(self, place: int) -> int:
        return (place ^ self._own_place).bit_length()
