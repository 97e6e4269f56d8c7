"""Sync: two nodes bring each other up to date, as a state machine without I/O.

Theory of operation. Both sides open with a `Vector`: for every feed they hold, its length and the id of its last
record. Whoever holds more of a feed than the other says sends the missing range, in `Records` batches, each feed in
order; then `Done`. The session is over when both have said Done. Nothing is asked for, so a session takes one
exchange of vectors and one stream each way, and both directions run at once.

Where lengths agree but heads differ, the feed is forked: both send their last record, and the receiver, who holds
another one at that place, has its proof. What arrives is handed up in wire form; the caller opens it, and decides.

Limits: only what exists is ever sent, whatever a hostile vector claims; a session that receives more than
MAX_SESSION_BYTES, a second vector, or anything that is not part of it, ends with MalformedError. What a session leaves
undone the next one does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from protocol.codec import MalformedError
from protocol.feed import FeedHead
from protocol.messages import MAX_FEEDS, Done, Message, Records, Vector

BATCH_BYTES = 256 << 10
BATCH_RECORDS = 256
MAX_SESSION_BYTES = 256 << 20


class FeedStore(Protocol):
    """What a session needs to read of the sender's ledger."""

    def vector(self) -> tuple[FeedHead, ...]: ...

    def records(self, author: bytes, start: int, limit: int) -> list[bytes]: ...


@dataclass(frozen=True)
class Step:
    """What follows from a message: records to look at, and whether this side now has something to send, or is done."""

    send: tuple[Message, ...] = ()
    records: tuple[bytes, ...] = ()
    done: bool = False


class Reconciliation:
    """One session, seen from one side. `start` once, then `receive` for every message until a step says done."""

    def __init__(self, store: FeedStore, objective: bytes) -> None:
        self._store = store
        self._objective = objective
        self._vector_seen = False
        self._done_seen = False
        self._received = 0

    def start(self) -> list[Message]:
        return [Vector(self._objective, self._store.vector()[:MAX_FEEDS])]

    def receive(self, message: Message) -> Step:
        """Take one message of the other side. Raises MalformedError when it does not belong here."""
        if self._done_seen:
            raise MalformedError("a message after Done")
        match message:
            case Vector(objective, feeds):
                if self._vector_seen:
                    raise MalformedError("a second vector in one session")
                if objective != self._objective:
                    raise MalformedError("a vector of another objective")
                self._vector_seen = True
                return Step(send=(*self._missing(feeds), Done()))
            case Records(wires) if self._vector_seen:
                self._received += sum(map(len, wires))
                if self._received > MAX_SESSION_BYTES:
                    raise MalformedError("more records than a session may bring")
                return Step(records=wires)
            case Done() if self._vector_seen:
                self._done_seen = True
                return Step(done=True)
        raise MalformedError(f"{type(message).__name__} where a session does not expect it")

    def _missing(self, theirs: tuple[FeedHead, ...]) -> Iterator[Records]:
        """Batches of what we hold and they do not, decided from the lengths alone."""
        held = {feed.author: feed for feed in theirs}
        batch: list[bytes] = []
        size = 0
        for mine in self._store.vector():
            other = held.get(mine.author)
            start = other.length if other else 0
            if other and other.length == mine.length and other.head != mine.head:
                start = mine.length - 1
            while start < mine.length and (wires := self._store.records(mine.author, start, BATCH_RECORDS)):
                for wire in wires:
                    if batch and size + len(wire) > BATCH_BYTES:
                        yield Records(tuple(batch))
                        batch, size = [], 0
                    batch.append(wire)
                    size += len(wire)
                start += len(wires)
        if batch:
            yield Records(tuple(batch))
