"""Messages: what is said and forgotten. Gossip envelopes, presence, sync and blob requests.

It knows their bytes and limits. Framing on a stream is a 4-byte big-endian length and then one message; reading
frames is the node's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from protocol.codec import MESSAGE_LIMITS, MalformedError, decode, encode
from protocol.feed import FeedHead
from protocol.records import MAX_RECORD_BYTES, is_plain

SYNC_PROTOCOL = "/autoresearch/sync/1.0.0"
BLOB_PROTOCOL = "/autoresearch/blob/1.0.0"
MAX_FRAME = 1 << 20
MAX_BLOB = 64 << 20
MAX_CHUNK = 256 << 10
MAX_FEEDS = 10_000
ID_BYTES = 32
MAX_LENGTH = 2**53
MAX_PRESENCE_ADDRESSES = 6
MAX_ADDRESS = 200
MAX_BATCH_RECORDS = 64
MAX_LEASE_SECONDS = 86_400


def topic(objective: bytes) -> str:
    """The GossipSub topic of an objective's swarm."""
    return f"/autoresearch/1/{objective.hex()}"


@dataclass(frozen=True)
class GossipRecord:
    """A record as it is made, in wire form."""

    wire: bytes


@dataclass(frozen=True)
class GossipBatch:
    """Records of one author, in order, that could wait for each other, in wire form."""

    wires: tuple[bytes, ...]


@dataclass(frozen=True)
class Presence:
    """A node is here: its class, its best source, how much it holds, and where it says it can be reached."""

    compute_class: str
    best: bytes | None
    feeds: int
    records: int
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lease:
    """The publisher is trying an edit with this fingerprint on this parent, and asks others to try something else for
    so many seconds. A courtesy: it binds nobody."""

    parent: bytes
    fingerprint: bytes
    seconds: int


@dataclass(frozen=True)
class Vector:
    """What the sender holds of every feed of an objective."""

    objective: bytes
    feeds: tuple[FeedHead, ...]


@dataclass(frozen=True)
class Records:
    """Records the receiver seems to lack, in wire form, each feed in order."""

    wires: tuple[bytes, ...]


@dataclass(frozen=True)
class Done:
    """The sender has sent everything it had for the receiver."""


@dataclass(frozen=True)
class BlobRequest:
    """Please send content, from this byte on."""

    id: bytes
    offset: int


@dataclass(frozen=True)
class BlobChunk:
    """A part of the requested content, which has `total` bytes in all."""

    total: int
    offset: int
    data: bytes


@dataclass(frozen=True)
class BlobMissing:
    """The sender does not have this content."""

    id: bytes


Gossip = GossipRecord | GossipBatch | Presence | Lease
Message = Vector | Records | Done | BlobRequest | BlobChunk | BlobMissing


def encode_gossip(message: Gossip) -> bytes:
    match message:
        case GossipRecord(wire):
            return encode({"t": "record", "wire": wire})
        case GossipBatch(wires):
            return encode({"t": "records", "wires": list(wires)})
        case Presence(compute_class, best, feeds, records, addresses):
            counts = {"feeds": feeds, "records": records}
            about = {"class": compute_class, "best": best, "addresses": list(addresses)}
            return encode({"t": "presence", **about, **counts})
        case Lease(parent, fingerprint, seconds):
            return encode({"t": "lease", "parent": parent, "fingerprint": fingerprint, "seconds": seconds})


def decode_gossip(data: bytes) -> Gossip:
    """Raises MalformedError."""
    fields = _map(data)
    match fields.get("t"):
        case "record":
            return GossipRecord(_binary(fields, "wire", most=MAX_RECORD_BYTES))
        case "records":
            return GossipBatch(_wires(fields, MAX_BATCH_RECORDS))
        case "presence":
            best = fields.get("best")
            return Presence(
                _text(fields, "class", 40),
                None if best is None else _binary(fields, "best", exactly=ID_BYTES),
                _integer(fields, "feeds"),
                _integer(fields, "records"),
                _addresses(fields.get("addresses")),
            )
        case "lease":
            return Lease(
                _binary(fields, "parent", exactly=ID_BYTES),
                _binary(fields, "fingerprint", exactly=ID_BYTES),
                _integer(fields, "seconds", MAX_LEASE_SECONDS),
            )
    raise MalformedError("a gossip message of an unknown type")


def encode_message(message: Message) -> bytes:
    """The bytes of a stream message, without the length in front."""
    match message:
        case Vector(objective, feeds):
            packed = [[feed.author, feed.length, feed.head] for feed in feeds]
            return encode({"t": "vector", "objective": objective, "feeds": packed})
        case Records(wires):
            return encode({"t": "records", "wires": list(wires)})
        case Done():
            return encode({"t": "done"})
        case BlobRequest(blob_id, offset):
            return encode({"t": "blob?", "id": blob_id, "offset": offset})
        case BlobChunk(total, offset, data):
            return encode({"t": "blob", "total": total, "offset": offset, "data": data})
        case BlobMissing(blob_id):
            return encode({"t": "blob-", "id": blob_id})


def decode_message(data: bytes) -> Message:
    """Raises MalformedError."""
    fields = _map(data)
    openers: dict[str, Callable[[dict[str, Any]], Message]] = {
        "vector": _open_vector,
        "records": lambda f: Records(_wires(f)),
        "done": lambda _: Done(),
        "blob?": lambda f: BlobRequest(_binary(f, "id", exactly=ID_BYTES), _integer(f, "offset", MAX_BLOB)),
        "blob": _open_chunk,
        "blob-": lambda f: BlobMissing(_binary(f, "id", exactly=ID_BYTES)),
    }
    tag = fields.get("t")
    if not isinstance(tag, str) or tag not in openers:
        raise MalformedError("a stream message of an unknown type")
    return openers[tag](fields)


def _open_vector(fields: dict[str, Any]) -> Vector:
    rows = fields.get("feeds")
    if not isinstance(rows, list) or len(rows) > MAX_FEEDS:
        raise MalformedError(f"a vector lists at most {MAX_FEEDS} feeds")
    feeds = []
    for row in rows:
        if not isinstance(row, list) or len(row) != 3:
            raise MalformedError("a feed in a vector is [author, length, head]")
        named = {"author": row[0], "length": row[1], "head": row[2]}
        feeds.append(
            FeedHead(
                _binary(named, "author", exactly=ID_BYTES),
                _integer(named, "length"),
                _binary(named, "head", exactly=ID_BYTES),
            )
        )
    if len({feed.author for feed in feeds}) != len(feeds):
        raise MalformedError("a vector names a feed twice")
    return Vector(_binary(fields, "objective", exactly=ID_BYTES), tuple(feeds))


def _wires(fields: dict[str, Any], most: int = MAX_FRAME) -> tuple[bytes, ...]:
    wires = fields.get("wires")
    if not isinstance(wires, list) or not all(isinstance(w, bytes) and len(w) <= MAX_RECORD_BYTES for w in wires):
        raise MalformedError("records are a list of binary")
    if len(wires) > most:
        raise MalformedError(f"more than {most} records in one message")
    return tuple(wires)


def _addresses(value: object) -> tuple[str, ...]:
    """Shaped like multiaddrs; whoever dials one takes it apart."""
    if not isinstance(value, list) or len(value) > MAX_PRESENCE_ADDRESSES:
        raise MalformedError(f"a presence has a list of at most {MAX_PRESENCE_ADDRESSES} addresses")
    for text in value:
        if not isinstance(text, str) or not text.startswith("/") or len(text) > MAX_ADDRESS or not is_plain(text):
            raise MalformedError("a presence has an address that is none")
    return tuple(value)


def _open_chunk(fields: dict[str, Any]) -> BlobChunk:
    chunk = BlobChunk(
        _integer(fields, "total", MAX_BLOB),
        _integer(fields, "offset", MAX_BLOB),
        _binary(fields, "data", most=MAX_CHUNK),
    )
    if chunk.offset + len(chunk.data) > chunk.total:
        raise MalformedError("a chunk reaches beyond its content")
    return chunk


def _map(data: bytes) -> dict[str, Any]:
    value = decode(data, MESSAGE_LIMITS)
    if not isinstance(value, dict):
        raise MalformedError("a message is a map")
    return value


def _binary(fields: dict[str, Any], name: str, exactly: int | None = None, most: int | None = None) -> bytes:
    value = fields.get(name)
    if not isinstance(value, bytes):
        raise MalformedError(f"{name} is not binary")
    if (exactly is not None and len(value) != exactly) or (most is not None and len(value) > most):
        raise MalformedError(f"{name} has {len(value)} bytes")
    return value


def _integer(fields: dict[str, Any], name: str, most: int = MAX_LENGTH) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise MalformedError(f"{name} is not a whole number up to {most}")
    return value


def _text(fields: dict[str, Any], name: str, most: int) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or len(value) > most or not is_plain(value):
        raise MalformedError(f"{name} is not plain text of at most {most} characters")
    return value
