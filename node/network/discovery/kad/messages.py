"""The messages of libp2p's Kademlia (`kad-dht` in github.com/libp2p/specs), decoded once, with limits.

It knows the wire: protobuf, peer ids and multiaddrs in binary. What does not parse within a message (a peer id, an
address of another transport) is left out of it, for the rest may be of use. It knows no table and opens no stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from google.protobuf.message import DecodeError
from libp2p.kad_dht.pb.kademlia_pb2 import Message as Wire
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from node.network.parameters import ADDRESSES_PER_CONTACT, DHT_PEERS_PER_MESSAGE
from protocol.codec import MalformedError

MAX_KEY_BYTES = 80  # of a provider record, by the specification
MAX_PEER_BYTES = 64  # a peer id is a multihash of 34 bytes, or an Ed25519 key of 38
MAX_ADDRESS_BYTES = 64  # /ip6 and /tcp take 20, with a peer id 60
SHA256_MULTIHASH = b"\x12\x20"  # the code of sha2-256, and the length of what follows
DIALLABLE = re.compile(r"(/ip[46]/[^/]+/tcp/[1-9]\d*)(?:/p2p/([1-9A-HJ-NP-Za-km-z]+))?")


class Kind(IntEnum):
    """Types of message; PUT_VALUE (0) and GET_VALUE (1) are not spoken here."""

    ADD_PROVIDER = 2
    GET_PROVIDERS = 3
    FIND_NODE = 4
    PING = 5


@dataclass(frozen=True)
class Named:
    """A peer that a message names, with transports like /ip4/192.0.2.7/tcp/4001 at which it is said to be."""

    peer: str
    transports: tuple[str, ...]


@dataclass(frozen=True)
class KadMessage:
    """A request, or the answer to one, which has its kind and key."""

    kind: Kind
    key: bytes = b""
    closer: tuple[Named, ...] = ()
    providers: tuple[Named, ...] = ()


def swarm_key(objective: bytes) -> bytes:
    """The key of a swarm's provider records: the multihash in the CID of the objective's manifest.

    An objective's id is the sha256 of its manifest's bytes, so the CID is that of the manifest as a raw block.
    """
    return SHA256_MULTIHASH + objective


def peer_key(peer: str) -> bytes:
    """The key under which a peer itself is looked for. Raises MalformedError."""
    try:
        return bytes(ID.from_string(peer).to_bytes())
    except Exception:  # the library raises whatever its codecs raise
        raise MalformedError(f"{peer[:80]!r} is not a peer id") from None


def encode(message: KadMessage) -> bytes:
    wire: Any = Wire()
    wire.type = int(message.kind)
    wire.key = message.key
    for peers, place in ((message.closer, wire.closerPeers), (message.providers, wire.providerPeers)):
        for named in peers[:DHT_PEERS_PER_MESSAGE]:
            entry = place.add()
            entry.id = peer_key(named.peer)
            entry.addrs.extend(Multiaddr(transport).to_bytes() for transport in named.transports)
    return bytes(wire.SerializeToString())


def decode(body: bytes) -> KadMessage:
    """Raises MalformedError when it is no message, or one of a kind that is not spoken here."""
    wire: Any = Wire()
    try:
        wire.ParseFromString(body)
        kind = Kind(wire.type)
    except (DecodeError, ValueError):
        raise MalformedError("not a message of the Kademlia protocol spoken here") from None
    if len(wire.key) > MAX_KEY_BYTES or (not wire.key and kind is not Kind.PING):
        raise MalformedError(f"a Kademlia key of {len(wire.key)} bytes; 1 to {MAX_KEY_BYTES} are allowed")
    return KadMessage(kind, bytes(wire.key), _named(wire.closerPeers), _named(wire.providerPeers))


def _named(entries: Iterable[Any]) -> tuple[Named, ...]:
    found: dict[str, Named] = {}
    for entry in list(entries)[:DHT_PEERS_PER_MESSAGE]:
        if not 0 < len(entry.id) <= MAX_PEER_BYTES:
            continue
        try:
            peer = str(ID(entry.id))
            peer_key(peer)
        except Exception:  # the library raises whatever its codecs raise
            continue
        transports = (transport_of(bytes(raw), peer) for raw in list(entry.addrs)[: 4 * ADDRESSES_PER_CONTACT])
        kept = [transport for transport in dict.fromkeys(transports) if transport is not None]
        found[peer] = Named(peer, tuple(kept[:ADDRESSES_PER_CONTACT]))
    return tuple(found.values())


def transport_of(raw: bytes, peer: str) -> str | None:
    """The TCP transport in a binary multiaddr; None where it is another one, or names another peer."""
    if len(raw) > MAX_ADDRESS_BYTES:
        return None
    try:
        parsed = DIALLABLE.fullmatch(str(Multiaddr(raw)))
    except Exception:  # the library raises whatever its codecs raise
        return None
    return parsed[1] if parsed is not None and parsed[2] in (None, peer) else None
