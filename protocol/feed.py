"""Feeds: an author's append-only, hash-chained log. Gaps are detected, and forks are provable.

It knows records by their place and predecessor; where they are kept, and what to do about a fork, is the node's
business.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from protocol.codec import MalformedError
from protocol.fields import ID_BYTES, Id, Row, Whole
from protocol.records import Record, open_record

NO_HEAD = bytes(ID_BYTES)


class FeedHead(Row, frozen=True):
    """How far somebody holds an author's feed: `length` records, the last of which is `head`.

    A feed that its holder knows to be forked has length 0 and no head, whatever was held of it: nothing more is taken
    of it, and all who know say the same.
    """

    author: Id
    length: Whole
    head: Id

    @property
    def forked(self) -> bool:
        return self.length == 0


def forked_feed(author: bytes) -> FeedHead:
    """What is said of a feed by whoever holds the proof of its fork."""
    return FeedHead(author, 0, NO_HEAD)


class Verdict(Enum):
    """How a record relates to what is held of its author's feed."""

    NEXT = "next"
    DUPLICATE_OR_FORK = "duplicate or fork"  # that place is taken: compare the ids
    GAP = "gap"
    BAD_LINK = "bad link"  # the right place after another past: a fork


def check_next(head: FeedHead | None, record: Record) -> Verdict:
    """Where a record stands. `head` is what is held of its author's feed, None for nothing."""
    length = head.length if head else 0
    if record.seq < length:
        return Verdict.DUPLICATE_OR_FORK
    if record.seq > length:
        return Verdict.GAP
    if head is not None and record.prev != head.head:
        return Verdict.BAD_LINK
    return Verdict.NEXT


@dataclass(frozen=True)
class Fork:
    """Two signed records of one author that cannot both belong to one feed, as wire bytes."""

    author: bytes
    objective: bytes
    seq: int
    first: bytes
    second: bytes


def open_fork(first: bytes, second: bytes) -> Fork:
    """The fork that two records in wire form prove. Raises MalformedError when they prove none.

    They do when both take the same place, or when one follows the other's place but names another predecessor.
    """
    one, other = open_record(first), open_record(second)
    if one.author != other.author or one.objective != other.objective:
        raise MalformedError("two feeds are no fork")
    early, late = sorted((one, other), key=lambda record: record.seq)
    same_place = early.seq == late.seq and early.id != late.id
    other_past = late.seq == early.seq + 1 and late.prev != early.id
    if not same_place and not other_past:
        raise MalformedError("two records that do not contradict each other are no fork")
    return Fork(one.author, one.objective, late.seq, first, second)
