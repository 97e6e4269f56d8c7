"""Messages: what peers send and do not keep. Gossip envelopes, presence, leases, sync and blob requests.

It knows their bytes and limits. Framing on a stream is a 4-byte big-endian length and then one message; the node reads
and writes frames.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.codec import MESSAGE_LIMITS, MalformedError, decode, encode
from protocol.digests import FAN_OUT, Digest
from protocol.feed import NO_HEAD, FeedHead
from protocol.fields import Category, ClassName, Id, Statement, Whole, is_plain, read
from protocol.outline import HASH_BYTES, MAX_CONTENT, PIECE_BYTES, Outline, open_outline, pack_pieces
from protocol.records import MAX_RECORD_BYTES

SYNC_PROTOCOL = "/autoresearch/sync/1.0.0"
BLOB_PROTOCOL = "/autoresearch/blob/1.0.0"
SWARM_TOPICS = "/autoresearch/1/"  # with which the GossipSub topics of all swarms begin
MAX_FRAME = 1 << 20  # bytes, without the length in front
MAX_CHUNK = 256 << 10  # bytes of content in one message
MAX_FEEDS = 10_000  # in one vector; with MAX_DIGESTS and the largest numbers it still fits a frame
MAX_SPLIT = 512  # buckets of whose parts one vector may give digests
MAX_DIGESTS = MAX_SPLIT * FAN_OUT
MAX_PRESENCE_ADDRESSES = 6
MAX_ADDRESS = 200
MAX_BATCH_RECORDS = 64
MAX_LEASE_SECONDS = 86_400
MAX_UNKNOWN = 256  # bytes of a gossip message beyond what this version understands: fields of later versions


class PaddedError(MalformedError):
    """A message with large unknown fields. Earlier versions pass these on: it may be no fault of who does."""


def topic(objective: bytes) -> str:
    """The GossipSub topic of an objective's swarm."""
    return f"{SWARM_TOPICS}{objective.hex()}"


Wire = Annotated[bytes, Meta(max_length=MAX_RECORD_BYTES)]
Address = Annotated[str, Meta(max_length=MAX_ADDRESS, pattern=r"\A/")]
ByteCount = Annotated[int, Meta(ge=0, le=MAX_CONTENT)]


class GossipRecord(Statement, frozen=True, tag_field="t", tag="record"):
    """A record as it is made, in wire form."""

    wire: Wire


class GossipBatch(Statement, frozen=True, tag_field="t", tag="records"):
    """Records of one author, in order, that could wait for each other, in wire form."""

    wires: Annotated[tuple[Wire, ...], Meta(max_length=MAX_BATCH_RECORDS)]


class Presence(Statement, frozen=True, tag_field="t", tag="presence", rename={"compute_class": "class"}):
    """A node is online: its class, its best source, how much it holds, and the addresses at which it says it is.

    Only the first character of an address is checked here; a node parses the multiaddr when it dials it.
    """

    compute_class: ClassName
    feeds: Whole
    records: Whole
    addresses: Annotated[tuple[Address, ...], Meta(max_length=MAX_PRESENCE_ADDRESSES)]
    best: Id | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(map(is_plain, self.addresses)):
            raise MalformedError("an address has characters that are not plain text")


class Lease(Statement, frozen=True, tag_field="t", tag="lease", omit_defaults=True):
    """The sender is trying an edit with this fingerprint on this parent, and asks others to try something else.

    A courtesy that binds no node. seconds: how long it holds. category: that of the idea; empty when it is not given.
    """

    parent: Id
    fingerprint: Id
    seconds: Annotated[int, Meta(ge=0, le=MAX_LEASE_SECONDS)]
    category: Category = ""


class Vector(Statement, frozen=True, tag_field="t", tag="vector", omit_defaults=True):
    """What the sender holds of an objective's feeds: the feeds of some buckets, and the digests of the parts of others.

    Which buckets these are follows from the vectors before (see protocol/sync.py).
    """

    objective: Id
    feeds: Annotated[tuple[FeedHead, ...], Meta(max_length=MAX_FEEDS)]
    digests: Annotated[tuple[Digest, ...], Meta(max_length=MAX_DIGESTS)] = ()

    def __post_init__(self) -> None:
        if len({feed.author for feed in self.feeds}) != len(self.feeds):
            raise MalformedError("a vector names a feed twice")
        if any((feed.length == 0) != (feed.head == NO_HEAD) for feed in self.feeds):
            raise MalformedError("a feed in a vector has a head exactly when it has records")


class Records(Statement, frozen=True, tag_field="t", tag="records"):
    """Records the receiver seems to lack, in wire form, each feed in order."""

    wires: tuple[Wire, ...]


class Forks(Statement, frozen=True, tag_field="t", tag="forks"):
    """Proofs the receiver seems to lack: two records each, in wire form, that cannot belong to one feed."""

    proofs: tuple[tuple[Wire, Wire], ...]


class Done(Statement, frozen=True, tag_field="t", tag="done"):
    """The sender has sent everything it had for the receiver."""


class OutlineRequest(Statement, frozen=True, tag_field="t", tag="outline?"):
    """Please send the outline of this content."""

    id: Id


class BlobOutline(Statement, frozen=True, tag_field="t", tag="outline"):
    """The outline that the sender states of the content with this id: the hashes of its pieces, one after the other."""

    id: Id
    total: ByteCount
    pieces: Annotated[bytes, Meta(max_length=HASH_BYTES * (MAX_CONTENT // PIECE_BYTES))]

    def __post_init__(self) -> None:
        open_outline(self.id, self.total, self.pieces)

    @classmethod
    def of(cls, content_id: bytes, outline: Outline) -> BlobOutline:
        return cls(content_id, outline.total, pack_pieces(outline))

    @property
    def outline(self) -> Outline:
        return open_outline(self.id, self.total, self.pieces)


class BlobRequest(Statement, frozen=True, tag_field="t", tag="blob?"):
    """Please send content, from this byte on."""

    id: Id
    offset: ByteCount


class BlobChunk(Statement, frozen=True, tag_field="t", tag="blob"):
    """A part of the requested content, which has `total` bytes in all."""

    total: ByteCount
    offset: ByteCount
    data: Annotated[bytes, Meta(max_length=MAX_CHUNK)]

    def __post_init__(self) -> None:
        if self.offset + len(self.data) > self.total:
            raise MalformedError("a chunk reaches beyond its content")


class BlobMissing(Statement, frozen=True, tag_field="t", tag="blob-"):
    """The sender does not have this content."""

    id: Id


Gossip = GossipRecord | GossipBatch | Presence | Lease
Message = Vector | Records | Forks | Done | OutlineRequest | BlobOutline | BlobRequest | BlobChunk | BlobMissing

_GOSSIP: msgspec.msgpack.Decoder[Gossip] = msgspec.msgpack.Decoder(Gossip)
_MESSAGE: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode_gossip(message: Gossip) -> bytes:
    return encode(message)


def decode_gossip(data: bytes) -> Gossip:
    """Raises MalformedError; PaddedError where fields that this version does not know are larger than MAX_UNKNOWN.

    What is passed on without being kept would carry any bytes to everybody otherwise.
    """
    decode(data, MESSAGE_LIMITS)
    message = read(_GOSSIP, data, "gossip message")
    if len(data) > len(encode(message)) + MAX_UNKNOWN:
        raise PaddedError(f"a gossip message with more than {MAX_UNKNOWN} bytes of unknown fields")
    return message


def encode_message(message: Message) -> bytes:
    """The bytes of a stream message, without the length in front."""
    return encode(message)


def decode_message(data: bytes) -> Message:
    """Raises MalformedError."""
    decode(data, MESSAGE_LIMITS)
    return read(_MESSAGE, data, "stream message")
