"""Messages: what is said and forgotten. Gossip envelopes, presence, sync and blob requests.

It knows their bytes and limits. Framing on a stream is a 4-byte big-endian length and then one message; reading
frames is the node's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from protocol.codec import MESSAGE_LIMITS, MalformedError, decode, encode
from protocol.digests import DIGEST_BYTES, FAN_OUT, Digest
from protocol.feed import NO_HEAD, FeedHead
from protocol.fields import TEXT_LIMITS
from protocol.outline import HASH_BYTES, MAX_CONTENT, PIECE_BYTES, Outline, open_outline, pack_pieces
from protocol.records import MAX_RECORD_BYTES, is_plain

SYNC_PROTOCOL = "/autoresearch/sync/1.0.0"
BLOB_PROTOCOL = "/autoresearch/blob/1.0.0"
MAX_FRAME = 1 << 20
MAX_CHUNK = 256 << 10
MAX_FEEDS = 10_000  # in one vector; with MAX_DIGESTS and the largest numbers it still fits a frame
MAX_SPLIT = 512  # buckets whose parts one vector may tell of
MAX_DIGESTS = MAX_SPLIT * FAN_OUT
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
    so many seconds. A courtesy: it binds nobody. `category` is that of the idea, empty when it is not told."""

    parent: bytes
    fingerprint: bytes
    seconds: int
    category: str = ""


@dataclass(frozen=True)
class Vector:
    """What the sender holds of an objective's feeds: the feeds of some buckets, and the digests of the parts of others.

    Which buckets these are follows from what was said before (see protocol.sync).
    """

    objective: bytes
    feeds: tuple[FeedHead, ...]
    digests: tuple[Digest, ...] = ()


@dataclass(frozen=True)
class Records:
    """Records the receiver seems to lack, in wire form, each feed in order."""

    wires: tuple[bytes, ...]


@dataclass(frozen=True)
class Forks:
    """Proofs the receiver seems to lack: two records each, in wire form, that cannot belong to one feed."""

    proofs: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Done:
    """The sender has sent everything it had for the receiver."""


@dataclass(frozen=True)
class OutlineRequest:
    """Please send the outline of this content."""

    id: bytes


@dataclass(frozen=True)
class BlobOutline:
    """What the sender vouches for: the pieces that the content with this id is made of."""

    id: bytes
    outline: Outline


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
Message = Vector | Records | Forks | Done | OutlineRequest | BlobOutline | BlobRequest | BlobChunk | BlobMissing


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
        case Lease(parent, fingerprint, seconds, category):
            told = {"category": category} if category else {}
            return encode({"t": "lease", "parent": parent, "fingerprint": fingerprint, "seconds": seconds, **told})


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
                _text(fields, "category", TEXT_LIMITS["category"]) if "category" in fields else "",
            )
    raise MalformedError("a gossip message of an unknown type")


def encode_message(message: Message) -> bytes:
    """The bytes of a stream message, without the length in front."""
    match message:
        case Vector(objective, feeds, digests):
            rows = [[feed.author, feed.length, feed.head] for feed in feeds]
            short = {"digests": [[digest.count, digest.value] for digest in digests]} if digests else {}
            return encode({"t": "vector", "objective": objective, "feeds": rows, **short})
        case Records(wires):
            return encode({"t": "records", "wires": list(wires)})
        case Forks(proofs):
            return encode({"t": "forks", "proofs": [list(proof) for proof in proofs]})
        case Done():
            return encode({"t": "done"})
        case OutlineRequest(blob_id):
            return encode({"t": "outline?", "id": blob_id})
        case BlobOutline(blob_id, outline):
            return encode({"t": "outline", "id": blob_id, "total": outline.total, "pieces": pack_pieces(outline)})
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
        "forks": _open_forks,
        "done": lambda _: Done(),
        "outline?": lambda f: OutlineRequest(_binary(f, "id", exactly=ID_BYTES)),
        "outline": _open_outline,
        "blob?": lambda f: BlobRequest(_binary(f, "id", exactly=ID_BYTES), _integer(f, "offset", MAX_CONTENT)),
        "blob": _open_chunk,
        "blob-": lambda f: BlobMissing(_binary(f, "id", exactly=ID_BYTES)),
    }
    tag = fields.get("t")
    if not isinstance(tag, str) or tag not in openers:
        raise MalformedError("a stream message of an unknown type")
    return openers[tag](fields)


def _open_vector(fields: dict[str, Any]) -> Vector:
    feeds = tuple(map(_open_feed, _rows(fields, "feeds", MAX_FEEDS)))
    if len({feed.author for feed in feeds}) != len(feeds):
        raise MalformedError("a vector names a feed twice")
    digests = tuple(map(_open_digest, _rows({"digests": [], **fields}, "digests", MAX_DIGESTS)))
    return Vector(_binary(fields, "objective", exactly=ID_BYTES), feeds, digests)


def _rows(fields: dict[str, Any], name: str, most: int) -> list[Any]:
    rows = fields.get(name)
    if not isinstance(rows, list) or len(rows) > most:
        raise MalformedError(f"a vector lists at most {most} {name}")
    return rows


def _open_feed(row: Any) -> FeedHead:
    if not isinstance(row, list) or len(row) != 3:
        raise MalformedError("a feed in a vector is [author, length, head]")
    named = {"author": row[0], "length": row[1], "head": row[2]}
    author, length = _binary(named, "author", exactly=ID_BYTES), _integer(named, "length")
    head = _binary(named, "head", exactly=ID_BYTES)
    if (length == 0) != (head == NO_HEAD):
        raise MalformedError("a feed in a vector has a head exactly when it has records")
    return FeedHead(author, length, head)


def _open_digest(row: Any) -> Digest:
    if not isinstance(row, list) or len(row) != 2:
        raise MalformedError("a digest in a vector is [count, digest]")
    named = {"count": row[0], "digest": row[1]}
    return Digest(_integer(named, "count"), _binary(named, "digest", exactly=DIGEST_BYTES))


def _open_forks(fields: dict[str, Any]) -> Forks:
    proofs = fields.get("proofs")
    if not isinstance(proofs, list) or not all(isinstance(proof, list) and len(proof) == 2 for proof in proofs):
        raise MalformedError("forks are a list of pairs of records")
    return Forks(tuple((first, second) for first, second in (_wires({"wires": proof}) for proof in proofs)))


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


def _open_outline(fields: dict[str, Any]) -> BlobOutline:
    blob_id = _binary(fields, "id", exactly=ID_BYTES)
    pieces = _binary(fields, "pieces", most=HASH_BYTES * (MAX_CONTENT // PIECE_BYTES))
    return BlobOutline(blob_id, open_outline(blob_id, _integer(fields, "total", MAX_CONTENT), pieces))


def _open_chunk(fields: dict[str, Any]) -> BlobChunk:
    chunk = BlobChunk(
        _integer(fields, "total", MAX_CONTENT),
        _integer(fields, "offset", MAX_CONTENT),
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
