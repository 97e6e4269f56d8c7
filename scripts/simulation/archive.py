"""The archive: every record of the simulated swarm, once, and what each node holds of it, in a few bytes per feed.

A feed here never forks, so how much of it a node holds says all about it: a number per node and author. What the
protocol makes of such numbers (digests, verdicts, opened records) is worked out by its own code, and remembered by
content, since it is the same on every machine.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from protocol.digests import ALL, FEW, Digest, digest_of_feeds, digest_of_parts, parts_of
from protocol.feed import NO_HEAD, FeedCheck, FeedHead, Fork, check_next
from protocol.identity import Identity
from protocol.records import Body, Record, open_record, sign_record

START_MS = 1_700_000_000_000
REMEMBERED_DIGESTS = 100_000
LARGE_BUCKET = 2048  # feeds, beyond which a digest is seldom asked for twice

Lengths = npt.NDArray[np.uint16]


def name_id(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


class Archive:
    """Authors, numbered by their keys' order, and their records."""

    def __init__(self, authors: int, name: str) -> None:
        self.objective = name_id(name)
        seeds = (name_id(f"{name}: author {number}") for number in range(authors))
        self.identities = sorted(map(Identity.from_seed, seeds), key=lambda identity: identity.author)
        self.keys = [identity.author for identity in self.identities]
        self.number = {key: number for number, key in enumerate(self.keys)}
        self.feeds: list[list[Record]] = [[] for _ in self.keys]
        self.wires: list[list[bytes]] = [[] for _ in self.keys]
        self._heads: list[list[FeedHead]] = [[] for _ in self.keys]
        self._opened: dict[bytes, Record] = {}
        self._digests: dict[tuple[str, bytes], Digest] = {}
        self._spans: dict[str, tuple[int, int]] = {}

    def write(self, author: int, body: Body, seconds: float) -> Record:
        """Sign the next record of an author's feed."""
        feed = self.feeds[author]
        prev = feed[-1].id if feed else NO_HEAD
        time = START_MS + int(1000 * seconds)
        record = sign_record(self.identities[author], self.objective, len(feed), prev, time, body)
        feed.append(record)
        self.wires[author].append(record.wire())
        self._heads[author].append(FeedHead(record.author, len(feed), record.id))
        return record

    def open(self, wire: bytes) -> Record:
        """What the door makes of these bytes: verified by the first node that gets them, remembered for the others."""
        record = self._opened.get(wire)
        if record is None:
            record = self._opened[wire] = open_record(wire)
        return record

    def head(self, author: int, length: int) -> FeedHead | None:
        return self._heads[author][length - 1] if length else None

    def verdict(self, length: int, record: Record) -> FeedCheck:
        """How a record relates to a feed held this far."""
        return check_next(self.head(self.number[record.author], length), record)

    def span(self, bucket: str) -> tuple[int, int]:
        """The authors in a bucket, as first and one after the last."""
        if bucket not in self._spans:
            low, high = bucket.ljust(64, "0"), bucket.ljust(64, "f")
            first = bisect_left(self.keys, bytes.fromhex(low))
            self._spans[bucket] = first, bisect_left(self.keys, bytes.fromhex(high) + b"\0")
        return self._spans[bucket]

    def digest(self, bucket: str, lengths: Lengths) -> Digest:
        """The digest of a bucket for whoever holds `lengths` of all feeds."""
        first, end = self.span(bucket)
        if end - first > LARGE_BUCKET:
            return self._work_out(bucket, lengths)
        content = bucket, lengths[first:end].tobytes()
        digest = self._digests.get(content)
        if digest is None:
            if len(self._digests) >= REMEMBERED_DIGESTS:
                self._digests.clear()
            digest = self._digests[content] = self._work_out(bucket, lengths)
        return digest

    def _work_out(self, bucket: str, lengths: Lengths) -> Digest:
        first, end = self.span(bucket)
        count = int(np.count_nonzero(lengths[first:end]))
        if count <= FEW:
            return Digest(count, digest_of_feeds(self.within(bucket, lengths)))
        return digest_of_parts([self.digest(part, lengths) for part in parts_of(bucket)])

    def within(self, bucket: str, lengths: Lengths) -> list[FeedHead]:
        first, end = self.span(bucket)
        held = np.flatnonzero(lengths[first:end]) + first
        return [self._heads[author][lengths[author] - 1] for author in held]


class Shelf:
    """What one node holds: a row of numbers beside the archive. It is the store that a sync session reads."""

    def __init__(self, archive: Archive, lengths: Lengths) -> None:
        self._archive = archive
        self._lengths = lengths

    @property
    def heads(self) -> Shelf:
        return self

    def head(self, author: bytes) -> FeedHead | None:
        number = self._archive.number.get(author)
        return None if number is None else self._archive.head(number, int(self._lengths[number]))

    def digest(self, bucket: str = ALL) -> Digest:
        return self._archive.digest(bucket, self._lengths)

    def within(self, bucket: str) -> Sequence[FeedHead]:
        return self._archive.within(bucket, self._lengths)

    def records(self, author: bytes, start: int, limit: int) -> list[bytes]:
        number = self._archive.number[author]
        return self._archive.wires[number][start : min(start + limit, int(self._lengths[number]))]

    def fork(self, author: bytes) -> Fork | None:
        return None

    def take(self, wire: bytes) -> Record | None:
        """Do with a record that sync brought what a ledger does; the record where it was new."""
        record = self._archive.open(wire)
        number = self._archive.number[record.author]
        if self._archive.verdict(int(self._lengths[number]), record) is not FeedCheck.NEXT:
            return None
        self._lengths[number] += 1
        return record
