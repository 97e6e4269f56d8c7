"""Sync: two nodes bring each other up to date (anti-entropy), as a state machine without I/O.

The technique is range-based set reconciliation (A. Meyer, arXiv:2212.13567, 2022): parts of two sets are compared by
their fingerprints, and only those that differ are split further. Here the parts are the nodes of a 16-ary Merkle tree
of feeds (protocol/digests.py), by the first digits of the author's key, and what is compared is the length and head of
each feed.

Theory of operation. First both sides find out where they differ, in rounds. In a round each sends one `Vector`, without
waiting for the other's. A vector lists the feeds of some buckets (see protocol/digests.py) and gives the digests of the
parts of others. What the next round is about follows from the two vectors before, so both sides know it without asking:

- The first round is about all feeds. A side with at most LIST_AT_ONCE feeds lists them; one with more gives the digests
  of the 16 parts.
- Where both gave digests, the parts whose digests differ come next. A side with at most FEW feeds in a part lists them;
  where neither has so few, both give the digests of its parts in turn.
- Where one side listed and the other holds too much to list, the other answers next: of the feeds that were listed, it
  lists what it holds.

So small swarms take one round, nodes that hold the same end after the first, however much they hold, and otherwise the
cost grows with what differs. When no bucket remains, each side sends what the other was seen to lack: missing ranges of
feeds in `Records`, each feed in order; proofs of forked feeds in `Forks`; then `Done`. The session is over when both
have sent Done. Both directions run at the same time.

Where lengths agree but heads differ, the feed is forked: both send their last record, and the receiver, which holds
another one with that number, has the proof. A side that has a proof gives the feed's length as 0, and is sent no more
of that feed. Records and proofs that arrive are passed to the caller in wire form; it verifies them and decides.

Limits: only what exists is ever sent, whatever a hostile vector claims, and only buckets of which this side holds more
than FEW feeds are ever split. A session ends with MalformedError on digests or feeds other than those expected, on more
than MAX_SESSION_BYTES, and on any message that does not belong there. Differences that do not fit into a vector, and
whatever a broken session leaves, are found by the next session.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from protocol.codec import MalformedError
from protocol.digests import ALL, FAN_OUT, FEW, Digest, parts_of
from protocol.feed import FeedHead, Fork
from protocol.messages import MAX_FEEDS, MAX_SPLIT, Done, Forks, Message, Records, Vector

LIST_AT_ONCE = 64  # feeds, up to which listing all of them at once is worth the round it saves
BATCH_BYTES = 256 << 10  # of records or proofs in one message: well below the 1 MiB of a frame
BATCH_RECORDS = 256
MAX_SESSION_BYTES = 256 << 20  # of records and proofs each way; a larger history takes several sessions


class OtherObjectiveError(MalformedError):
    """The peer is of another swarm. It breaks no rule by that: it was told of this node, or this one of it."""


class Heads(Protocol):
    """The heads of the feeds held, by bucket; protocol.digests.FeedTree is one."""

    def head(self, author: bytes) -> FeedHead | None: ...

    def digest(self, bucket: str) -> Digest: ...

    def within(self, bucket: str) -> Sequence[FeedHead]: ...


class FeedStore(Protocol):
    """What a session needs to read of the sender's ledger."""

    @property
    def heads(self) -> Heads: ...

    def records(self, author: bytes, start: int, limit: int) -> list[bytes]: ...

    def fork(self, author: bytes) -> Fork | None: ...


@dataclass(frozen=True)
class SyncStep:
    """What follows from a message: messages to send, records and proofs of forks to verify, whether all is done."""

    send: Iterable[Message] = ()
    records: tuple[bytes, ...] = ()
    forks: tuple[tuple[bytes, bytes], ...] = ()
    done: bool = False


@dataclass(frozen=True)
class _Round:
    """What the two vectors of a round are about. All buckets of a round have equally many digits."""

    split: tuple[str, ...] = ()  # buckets of whose parts both sides give digests
    mine: tuple[str, ...] = ()  # buckets whose feeds this side lists
    theirs: tuple[str, ...] = ()  # and the other side
    my_answers: tuple[bytes, ...] = ()  # authors whose feeds this side lists, as far as it holds them
    their_answers: frozenset[bytes] = frozenset()  # and the other side

    @property
    def empty(self) -> bool:
        return not (self.split or self.mine or self.theirs or self.my_answers or self.their_answers)


class Reconciliation:
    """One session, seen from one side. `start` once, then `receive` for every message until a step says done."""

    def __init__(self, store: FeedStore, objective: bytes) -> None:
        self._store = store
        self._objective = objective
        few = store.heads.digest(ALL).count <= LIST_AT_ONCE
        self._round = _Round(mine=(ALL,)) if few else _Round(split=(ALL,))
        self._first = True
        self._sent = Vector(objective, ())  # the last one
        self._missing: list[tuple[bytes, int]] = []
        self._proofs: list[bytes] = []
        self._done_seen = False
        self._received = 0

    def start(self) -> list[Message]:
        return [self._next_vector()]

    def receive(self, message: Message) -> SyncStep:
        """Take one message of the other side. An unexpected one raises MalformedError, which ends the session."""
        if self._done_seen:
            raise MalformedError("a message after Done")
        match message:
            case Vector():
                return self._take_vector(message)
            case Records(wires) if self._round.empty:
                self._count(wires)
                return SyncStep(records=wires)
            case Forks(proofs) if self._round.empty:
                self._count([wire for proof in proofs for wire in proof])
                return SyncStep(forks=proofs)
            case Done() if self._round.empty:
                self._done_seen = True
                return SyncStep(done=True)
        raise MalformedError(f"{type(message).__name__} where a session does not expect it")

    def _count(self, wires: Sequence[bytes]) -> None:
        self._received += sum(map(len, wires))
        if self._received > MAX_SESSION_BYTES:
            raise MalformedError("more than a session may bring")

    # ---- finding out where the two sides differ ----------------------------------------------------------------------

    def _next_vector(self) -> Vector:
        heads, now = self._store.heads, self._round
        listed = [feed for bucket in now.mine for feed in heads.within(bucket)]
        answers = [feed for feed in map(heads.head, now.my_answers) if feed is not None]
        digests = [heads.digest(part) for bucket in now.split for part in parts_of(bucket)]
        self._sent = Vector(self._objective, tuple(listed + answers)[:MAX_FEEDS], tuple(digests))
        return self._sent

    def _take_vector(self, vector: Vector) -> SyncStep:
        if vector.objective != self._objective:
            raise OtherObjectiveError("a vector of another objective")
        if self._first:
            self._first = False
            vector = self._begin(vector)
        elif self._round.empty:
            raise MalformedError("a vector after the last one")
        self._check(vector)
        self._note_what_they_lack(vector)
        self._round = self._next_round(vector)
        return SyncStep(send=self._deliver() if self._round.empty else (self._next_vector(),))

    def _begin(self, vector: Vector) -> Vector:
        """Settle what the first round was about, and return the part of their vector that matters.

        Each side chose between listing and digests without knowing the other's choice. If only one gave digests, the
        other's list is the better answer, and the digests are ignored.
        """
        i_split = bool(self._round.split)
        they_split = bool(vector.digests)
        if i_split and they_split:
            return vector
        self._round = _Round(mine=() if i_split else (ALL,), theirs=() if they_split else (ALL,))
        if they_split and len(vector.digests) == FAN_OUT:
            return Vector(vector.objective, vector.feeds)
        return vector

    def _check(self, vector: Vector) -> None:
        """Refuse a vector that is not about what this round is about."""
        expected = FAN_OUT * len(self._round.split)
        if len(vector.digests) != expected:
            raise MalformedError(f"{len(vector.digests)} digests in a vector where {expected} are expected")
        listed = _Buckets(self._round.theirs)
        for feed in vector.feeds:
            if feed.author not in self._round.their_answers and not listed.hold(feed.author):
                raise MalformedError("a feed in a vector that is not about it")

    def _note_what_they_lack(self, vector: Vector) -> None:
        theirs = {feed.author: feed for feed in vector.feeds}
        heads = self._store.heads
        for bucket in self._round.theirs:
            for mine in heads.within(bucket):
                self._compare(mine, theirs.get(mine.author))
        for author in self._round.their_answers:
            held = heads.head(author)
            if held is not None:
                self._compare(held, theirs.get(author))

    def _compare(self, mine: FeedHead, theirs: FeedHead | None) -> None:
        """Note what the other side lacks of one feed: a proof of its fork, or the records from some number on.

        Of a feed that is 7 long here and 5 there, records 5 and 6 are sent. If both are 7 long with other heads, record
        6 is sent: with the receiver's own it proves the fork.
        """
        if theirs is not None and theirs.forked:
            return
        if mine.forked:
            self._proofs.append(mine.author)
            return
        start = theirs.length if theirs else 0
        if theirs and theirs.length == mine.length and theirs.head != mine.head:
            start = mine.length - 1
        if start < mine.length:
            self._missing.append((mine.author, start))

    def _next_round(self, vector: Vector) -> _Round:
        now = self._round
        only_theirs = _Buckets(now.theirs, but=now.mine)
        only_mine = _Buckets(now.mine, but=now.theirs)
        my_answers = tuple(feed.author for feed in vector.feeds if only_theirs.hold(feed.author))
        their_answers = frozenset(feed.author for feed in self._sent.feeds if only_mine.hold(feed.author))
        if not now.split:
            return _Round(my_answers=my_answers, their_answers=their_answers)
        split, mine, theirs = self._differing(vector.digests)
        return _Round(split, mine, theirs, my_answers, their_answers)

    def _differing(self, digests: tuple[Digest, ...]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """The parts that differ: those to split further, those that this side lists, and those that the other lists.

        Both sides compute the same from the same digests, so they agree on which parts the next round has space for.
        """
        split: list[str] = []
        mine: list[str] = []
        theirs: list[str] = []
        space = MAX_FEEDS  # of feeds that the next vectors may list
        parts = [part for bucket in self._round.split for part in parts_of(bucket)]
        for part, here, there in zip(parts, self._sent.digests, digests, strict=True):
            few = [count for count in (here.count, there.count) if count <= FEW]
            if here == there:
                continue
            if not few:
                split.append(part)
            elif max(few) <= space:
                space -= max(few)
                if here.count <= FEW:
                    mine.append(part)
                if there.count <= FEW:
                    theirs.append(part)
        return tuple(split[:MAX_SPLIT]), tuple(mine), tuple(theirs)

    # ---- bringing each other up to date ------------------------------------------------------------------------------

    def _deliver(self) -> Iterator[Message]:
        """What the other side was seen to lack, read from the store as it is sent."""
        forks = (fork for fork in map(self._store.fork, self._proofs) if fork is not None)
        for proofs in _batches((fork.first, fork.second) for fork in forks):
            yield Forks(tuple(proofs))
        for group in _batches((wire,) for wire in self._missing_records()):
            yield Records(tuple(wire for (wire,) in group))
        yield Done()

    def _missing_records(self) -> Iterator[bytes]:
        remaining = MAX_SESSION_BYTES
        for author, start in self._missing:
            while wires := self._store.records(author, start, BATCH_RECORDS):
                start += len(wires)
                for wire in wires:
                    remaining -= len(wire)
                    if remaining < 0:
                        return
                    yield wire


T = TypeVar("T", bound=tuple[bytes, ...])


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    """The items in lists of at most BATCH_BYTES and BATCH_RECORDS; an item that is larger alone is a list by itself."""
    batch: list[T] = []
    size = 0
    for item in items:
        length = sum(map(len, item))
        if batch and (size + length > BATCH_BYTES or len(batch) == BATCH_RECORDS):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += length
    if batch:
        yield batch


class _Buckets:
    """Buckets whose names have equally many digits, to ask whether an author's feed is in one of them."""

    def __init__(self, buckets: Iterable[str], but: Iterable[str] = ()) -> None:
        self._buckets = set(buckets) - set(but)
        self._digits = max(map(len, self._buckets), default=0)

    def hold(self, author: bytes) -> bool:
        return bool(self._buckets) and author.hex()[: self._digits] in self._buckets
