"""Feeds: an author's append-only, hash-chained log. Gaps are detected, and forks are provable.

It knows records by their number and predecessor. Where they are kept, and what is done about a fork, is up to the
node.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from protocol.codec import MalformedError
from protocol.fields import ID_BYTES, Id, Row, Whole
from protocol.records import Record, open_record

NO_HEAD = bytes(ID_BYTES)


class FeedHead(Row, frozen=True):
    """How far a node holds an author's feed: `length` records, the last of which has the id `head`.

    A feed that the node knows to be forked has length 0 and no head, whatever the node holds of it. So nothing more of
    it is sent there, and the digests of all nodes that know of the fork agree.
    """

    author: Id
    length: Whole
    head: Id

    @property
    def forked(self) -> bool:
        return self.length == 0


def forked_feed(author: bytes) -> FeedHead:
    """The head that a node states of a feed when it holds the proof of its fork."""
    return FeedHead(author, 0, NO_HEAD)


class FeedCheck(Enum):
    """How a record relates to what is held of its author's feed."""

    NEXT = "next"
    DUPLICATE_OR_FORK = "duplicate or fork"  # a record with that number is held: compare the ids
    GAP = "gap"  # records before it are missing
    BAD_LINK = "bad link"  # the right number, but another predecessor: a fork


def check_next(head: FeedHead | None, record: Record) -> FeedCheck:
    """How a record relates to its author's feed. `head` is what is held of the feed, None for nothing."""
    length = head.length if head else 0
    if record.seq < length:
        return FeedCheck.DUPLICATE_OR_FORK
    if record.seq > length:
        return FeedCheck.GAP
    if head is not None and record.prev != head.head:
        return FeedCheck.BAD_LINK
    return FeedCheck.NEXT


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

    They prove one when they have the same number and differ, or when one has the next number after the other and names
    another predecessor.
    """
    one, other = open_record(first), open_record(second)
    if one.author != other.author or one.objective != other.objective:
        raise MalformedError("two feeds are no fork")
    early, late = sorted((one, other), key=lambda record: record.seq)
    same_number = early.seq == late.seq and early.id != late.id
    other_predecessor = late.seq == early.seq + 1 and late.prev != early.id
    if not same_number and not other_predecessor:
        raise MalformedError("two records that do not contradict each other are no fork")
    return Fork(one.author, one.objective, late.seq, first, second)
