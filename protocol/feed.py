"""Feeds: an author's append-only, hash-chained log. Gaps are detected, and forks are provable.

It knows records by their place and predecessor; where they are kept, and what to do about a fork, is the node's
business.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from protocol.codec import MalformedError
from protocol.records import Record, open_record


@dataclass(frozen=True)
class FeedHead:
    """How far somebody holds an author's feed: `length` records, the last of which is `head`."""

    author: bytes
    length: int
    head: bytes


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


def proves(fork: Fork) -> bool:
    """Whether the two records really contradict each other. Never raises, whatever the bytes.

    They do when both take the same place, or when one follows the other's place but names another predecessor.
    """
    try:
        first, second = open_record(fork.first), open_record(fork.second)
    except MalformedError:
        return False
    if {first.author, second.author} != {fork.author} or {first.objective, second.objective} != {fork.objective}:
        return False
    early, late = sorted((first, second), key=lambda record: record.seq)
    if early.seq == late.seq:
        return early.id != late.id
    return late.seq == early.seq + 1 and late.prev != early.id
