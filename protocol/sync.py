"""Sync: two nodes bring each other up to date, as a state machine without I/O.

The technique is range-based set reconciliation (A. Meyer, arXiv:2212.13567, 2022): parts of two sets are compared by
their fingerprints, and only those that differ are taken apart further. Here the parts are the nodes of a 16-ary Merkle
tree of feeds (protocol/digests.py), by the first digits of the author's key, and what is compared is how far each feed
goes.

Theory of operation. First both find out where they differ, in rounds of one `Vector` each way, said at once. A vector
lists the feeds of some buckets (see protocol.digests) and gives the digests of the parts of others. What the next one
is about follows from the two before it, so both know it without asking:

- the first is about all feeds: who holds at most LIST_AT_ONCE lists them, who holds more gives digests of the parts;
- where both gave digests, the parts whose digests differ come next: who holds at most FEW feeds of a part lists them,
  and where neither does, both give the digests of its parts in turn;
- where one listed and the other holds too much to list, the other answers next: it lists what it holds of those feeds.

So small swarms take one round, equal ones end after the first, however large, and otherwise the cost grows with
what differs. When nothing is left to tell, each side sends what the other was seen to lack: missing ranges of feeds in
`Records`, each feed in order; the proofs of feeds it knows to be forked in `Forks`; then `Done`. The session is over
when both have said Done. Both directions run at once.

Where lengths agree but heads differ, the feed is forked: both send their last record, and the receiver, who holds
another one at that place, has its proof. Whoever has a proof says so in place of the feed's length, and is sent no more
of it. What arrives is handed up in wire form; the caller opens it, and decides.

Limits: only what exists is ever sent, whatever a hostile vector claims, and only buckets that this side holds much of
are ever taken apart. Digests or feeds that are not those expected, a session that brings more than MAX_SESSION_BYTES,
and anything else that is not part of it end with MalformedError. What differs beyond what a vector can hold, as
whatever a session leaves undone, the next one does.
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
BATCH_BYTES = 256 << 10
BATCH_RECORDS = 256
MAX_SESSION_BYTES = 256 << 20


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
    """What follows from a message: what to send, records and proofs of forks to look at, and whether all is done."""

    send: Iterable[Message] = ()
    records: tuple[bytes, ...] = ()
    forks: tuple[tuple[bytes, bytes], ...] = ()
    done: bool = False


@dataclass(frozen=True)
class _Round:
    """What two vectors that cross are about. All buckets of a round have equally many digits.

    split: buckets of whose parts both give digests; mine, theirs: buckets whose feeds this side, the other side lists;
    my_answers, their_answers: authors whose feeds this side, the other side lists as far as it holds them.
    """

    split: tuple[str, ...] = ()
    mine: tuple[str, ...] = ()
    theirs: tuple[str, ...] = ()
    my_answers: tuple[bytes, ...] = ()
    their_answers: frozenset[bytes] = frozenset()

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
        self._said = Vector(objective, ())
        self._missing: list[tuple[bytes, int]] = []
        self._proofs: list[bytes] = []
        self._done_seen = False
        self._received = 0

    def start(self) -> list[Message]:
        return [self._say()]

    def receive(self, message: Message) -> SyncStep:
        """Take one message of the other side. Raises MalformedError when it does not belong here."""
        if self._done_seen:
            raise MalformedError("a message after Done")
        match message:
            case Vector():
                return self._hear(message)
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

    # ---- finding out where we differ ---------------------------------------------------------------------------------

    def _say(self) -> Vector:
        heads, now = self._store.heads, self._round
        listed = [feed for bucket in now.mine for feed in heads.within(bucket)]
        answers = [feed for feed in map(heads.head, now.my_answers) if feed is not None]
        digests = [heads.digest(part) for bucket in now.split for part in parts_of(bucket)]
        self._said = Vector(self._objective, tuple(listed + answers)[:MAX_FEEDS], tuple(digests))
        return self._said

    def _hear(self, vector: Vector) -> SyncStep:
        if vector.objective != self._objective:
            raise MalformedError("a vector of another objective")
        if self._first:
            self._first = False
            vector = self._begin(vector)
        elif self._round.empty:
            raise MalformedError("a vector after the last one")
        self._check(vector)
        self._note_what_they_lack(vector)
        self._round = self._next_round(vector)
        return SyncStep(send=self._deliver() if self._round.empty else (self._say(),))

    def _begin(self, vector: Vector) -> Vector:
        """Settle what the first round was about, now that both have chosen; what of their vector matters."""
        i_split, they_split = bool(self._round.split), bool(vector.digests)
        if i_split and they_split:
            return vector
        self._round = _Round(mine=() if i_split else (ALL,), theirs=() if they_split else (ALL,))
        if they_split and len(vector.digests) == FAN_OUT:
            return Vector(vector.objective, vector.feeds)  # they could not know that we would list
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
        only_they, only_i = _Buckets(now.theirs, but=now.mine), _Buckets(now.mine, but=now.theirs)
        my_answers = tuple(feed.author for feed in vector.feeds if only_they.hold(feed.author))
        their_answers = frozenset(feed.author for feed in self._said.feeds if only_i.hold(feed.author))
        if not now.split:
            return _Round(my_answers=my_answers, their_answers=their_answers)
        split, mine, theirs = self._differing(vector.digests)
        return _Round(split, mine, theirs, my_answers, their_answers)

    def _differing(self, digests: tuple[Digest, ...]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """The parts that differ: those to take apart, those that we list, and those that they list."""
        split: list[str] = []
        mine: list[str] = []
        theirs: list[str] = []
        room = MAX_FEEDS
        parts = [part for bucket in self._round.split for part in parts_of(bucket)]
        for part, here, there in zip(parts, self._said.digests, digests, strict=True):
            few = [count for count in (here.count, there.count) if count <= FEW]
            if here == there:
                continue
            if not few:
                split.append(part)
            elif max(few) <= room:
                room -= max(few)
                if here.count <= FEW:
                    mine.append(part)
                if there.count <= FEW:
                    theirs.append(part)
        return tuple(split[:MAX_SPLIT]), tuple(mine), tuple(theirs)

    # ---- bringing each other up to date ------------------------------------------------------------------------------

    def _deliver(self) -> Iterator[Message]:
        """What they were seen to lack, read from the store as it is sent."""
        forks = (fork for fork in map(self._store.fork, self._proofs) if fork is not None)
        for proofs in _batches((fork.first, fork.second) for fork in forks):
            yield Forks(tuple(proofs))
        for group in _batches((wire,) for wire in self._missing_records()):
            yield Records(tuple(wire for (wire,) in group))
        yield Done()

    def _missing_records(self) -> Iterator[bytes]:
        left = MAX_SESSION_BYTES
        for author, start in self._missing:
            while wires := self._store.records(author, start, BATCH_RECORDS):
                start += len(wires)
                for wire in wires:
                    left -= len(wire)
                    if left < 0:
                        return
                    yield wire


T = TypeVar("T", bound=tuple[bytes, ...])


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    """Wires that belong together, in lists of about BATCH_BYTES."""
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
    """Some buckets of one size, for the question whether an author's feed lies in one of them."""

    def __init__(self, buckets: Iterable[str], but: Iterable[str] = ()) -> None:
        self._buckets = set(buckets) - set(but)
        self._digits = max(map(len, self._buckets), default=0)

    def hold(self, author: bytes) -> bool:
        return bool(self._buckets) and author.hex()[: self._digits] in self._buckets
