"""Digests: what a node holds of very many feeds, in a few bytes, so that two nodes can find where they differ.

They are the hashes of a 16-ary Merkle tree (R. Merkle, 1987). Feeds are in buckets by the first hexadecimal digits of
their author's key, which are distributed as evenly as a hash: "" holds all, "3f" those whose key begins with the byte
3f. A bucket of more than FEW feeds consists of its FAN_OUT parts, one per next digit. Its digest is a function of the
feeds in it alone, so nodes that hold the same have the same digest, in whatever order the feeds arrived:

- of at most FEW feeds: sha256 over author (32 bytes), length (8, big-endian) and head (32) of each, by author;
- of more: sha256 over the digests of its parts, by digit;

cut to DIGEST_BYTES. It knows nothing of records, and nothing of how digests are exchanged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from protocol.feed import FeedHead
from protocol.fields import Row, Whole

DIGITS = "0123456789abcdef"
FAN_OUT = len(DIGITS)
FEW = 16  # feeds, up to which a bucket is not split: listing them costs about what digests of its parts would
DIGEST_BYTES = 16  # a collision takes 2^64 work to find (birthday bound), and would only delay what sync brings
ALL = ""


class Digest(Row, frozen=True):
    """How many feeds a bucket holds, and the hash of what they are."""

    count: Whole
    value: Annotated[bytes, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]


def digest_of_feeds(feeds: Iterable[FeedHead]) -> bytes:
    """The digest of a bucket of at most FEW feeds."""
    ordered = sorted(feeds, key=lambda feed: feed.author)
    rows = (feed.author + feed.length.to_bytes(8, "big") + feed.head for feed in ordered)
    return hashlib.sha256(b"".join(rows)).digest()[:DIGEST_BYTES]


def digest_of_parts(parts: Sequence[Digest]) -> Digest:
    """The digest of a bucket of more than FEW feeds, from those of its FAN_OUT parts."""
    value = hashlib.sha256(b"".join(part.value for part in parts)).digest()[:DIGEST_BYTES]
    return Digest(sum(part.count for part in parts), value)


def parts_of(bucket: str) -> list[str]:
    """The buckets that a bucket consists of."""
    return [bucket + digit for digit in DIGITS]


def lies_in(author: bytes, bucket: str) -> bool:
    return author.hex().startswith(bucket)


NOTHING = Digest(0, digest_of_feeds(()))


@dataclass
class _Branch:
    """A bucket that holds feeds: while they are few in `feeds`, and `parts` is None; afterwards in `parts` alone."""

    count: int = 0
    feeds: dict[bytes, FeedHead] = field(default_factory=dict)
    parts: dict[str, _Branch] | None = None
    digest: Digest | None = None


class FeedTree:
    """The heads of any number of feeds, with the digest of every bucket at hand.

    A change costs one step per digit until the bucket is small: 3 or 4 steps with 50,000 feeds. Digests are computed
    when they are asked for, and only those of buckets that have changed since.
    """

    def __init__(self) -> None:
        self._root = _Branch()
        self._heads: dict[bytes, FeedHead] = {}

    def __len__(self) -> int:
        return len(self._heads)

    def put(self, head: FeedHead) -> None:
        """Set how far a feed is held, replacing its former head."""
        new = head.author not in self._heads
        self._heads[head.author] = head
        _put(self._root, ALL, head, new)

    def drop(self, author: bytes) -> None:
        """Forget a feed, as if it had never been put."""
        if self._heads.pop(author, None) is not None:
            _drop(self._root, ALL, author)

    def head(self, author: bytes) -> FeedHead | None:
        return self._heads.get(author)

    def digest(self, bucket: str) -> Digest:
        found = self._find(bucket)
        return _digest(found) if isinstance(found, _Branch) else Digest(len(found), digest_of_feeds(found))

    def within(self, bucket: str) -> list[FeedHead]:
        """The feeds in a bucket, in ascending order of their authors' keys."""
        found = self._find(bucket)
        feeds = _feeds(found) if isinstance(found, _Branch) else found
        return sorted(feeds, key=lambda feed: feed.author)

    def _find(self, bucket: str) -> _Branch | list[FeedHead]:
        """The branch of a bucket, or its few feeds where it is a part of a branch that is not split."""
        branch = self._root
        for digit in bucket:
            if branch.parts is None:
                return [feed for feed in branch.feeds.values() if lies_in(feed.author, bucket)]
            if digit not in branch.parts:
                return []
            branch = branch.parts[digit]
        return branch


def _put(branch: _Branch, bucket: str, head: FeedHead, new: bool) -> None:
    branch.digest = None
    branch.count += new
    if branch.parts is not None:
        digit = head.author.hex()[len(bucket)]
        _put(branch.parts.setdefault(digit, _Branch()), bucket + digit, head, new)
        return
    branch.feeds[head.author] = head
    if len(branch.feeds) > FEW:
        feeds, branch.feeds, branch.parts = branch.feeds, {}, {}
        for feed in feeds.values():
            digit = feed.author.hex()[len(bucket)]
            _put(branch.parts.setdefault(digit, _Branch()), bucket + digit, feed, new=True)


def _drop(branch: _Branch, bucket: str, author: bytes) -> None:
    branch.digest = None
    branch.count -= 1
    if branch.parts is None:
        del branch.feeds[author]
        return
    digit = author.hex()[len(bucket)]
    _drop(branch.parts[digit], bucket + digit, author)
    if branch.count <= FEW:  # as if it had never held more: its digest must be that of a bucket that holds the same
        branch.feeds = {feed.author: feed for feed in _feeds(branch)}
        branch.parts = None


def _digest(branch: _Branch) -> Digest:
    if branch.digest is None:
        if branch.parts is None:
            branch.digest = Digest(len(branch.feeds), digest_of_feeds(branch.feeds.values()))
        else:
            parts = branch.parts
            branch.digest = digest_of_parts([_digest(parts[d]) if d in parts else NOTHING for d in DIGITS])
    return branch.digest


def _feeds(branch: _Branch) -> list[FeedHead]:
    if branch.parts is None:
        return list(branch.feeds.values())
    return [feed for part in branch.parts.values() for feed in _feeds(part)]
