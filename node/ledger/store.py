"""The ledger: one SQLite file that holds everything the parts of a node share.

It knows records, feeds, forks, blobs, cached runs and addresses, and how to keep them through a kill -9. It does not
know the network, research or how anything is shown; the modules of `projections` compute views from what is here. One
process writes; any number may read.

Durability: an own record is fsynced before `append_own` returns, and with it the key's mark (platform/key_mark.py),
because a feed that lost its tail after gossiping it would fork. A peer's record survives the death of the process at
once and a power cut a moment later; it can always be asked for again.

Integrity: a record's signature is verified before it is stored, and not again. What is read from the file is compared
with its id, and every feed with its chain of ids, so damage to the file is noticed when it is opened.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import trio

from node.ledger import replays, screenings
from node.ledger.blobs import Blobs
from node.ledger.error import LedgerError
from node.ledger.held_records import GENESIS, HeldRecords
from node.ledger.leases import Leases
from node.ledger.pool import Bringer, Pool
from node.ledger.record_cost import cost_of, text_cost
from node.ledger.schema import SCHEMA, is_newer, opened_for_reading, transaction
from node.ledger.signing import NotSigningError, Signing, own_heads, refuse_unknown_key, standing
from node.ledger.source_room import Claim, Place
from node.platform.file_trouble import HomeError, broken_link, database_trouble, trouble
from node.platform.key_mark import KeyMark
from protocol.codec import MalformedError
from protocol.digests import ALL, FeedTree
from protocol.feed import FeedCheck, FeedHead, Fork, check_next, forked_feed
from protocol.identity import Identity
from protocol.metric import LOSS, Metric
from protocol.records import Body, Record, reopen_record, sign_record

SUBSCRIBER_BACKLOG = 4096  # arrivals a slow subscriber may lag behind before it misses some
MAX_SOURCE_BYTES = 256 << 10  # an editable file larger than this is not fetched or run
DROPPED = "feeds dropped"  # how often: a reader beside the node then reads all again
DAMAGED = "the ledger's file is damaged ({}); `autoresearch-node ledger repair` takes out of it what can be had"


class Added(Enum):
    """What became of a record that was offered to the ledger."""

    NEW = "new"
    KNOWN = "known"
    GAP = "gap"
    FORK = "fork"
    REFUSED = "refused"


@dataclass(frozen=True)
class Arrived:
    """A record that has just been stored. `origin` is "own" or the id of the peer that sent it."""

    record: Record
    origin: str


@dataclass(frozen=True)
class Quota:
    """What peers may make this node keep.

    authors, unproven_bytes: of records of authors whom this node's runs have not proven, brought by peers it did not
    choose. Bytes are of memory; more is kept as more authors are proven (see `pool`).
    """

    blob_bytes: int = 512 << 20
    records_per_author: int = 100_000
    authors: int = 10_000
    unproven_bytes: int = 16 << 20


class Ledger(HeldRecords):
    """The records of one objective in memory, in the order they arrived, and the file they are kept in."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        objective: bytes,
        quota: Quota,
        metric: Metric = LOSS,
        mark: KeyMark | None = None,
    ) -> None:
        super().__init__(connection, objective)
        self._mark = mark
        self._foreign = False  # a record of this key came that this home did not write
        self.metric = metric  # of records that are taken; those held say themselves
        self._quota = quota
        self._arrival = 0  # of the last record taken from the file
        self._forked: set[bytes] = set()
        self._pool = Pool(quota.unproven_bytes, quota.authors, random.Random())
        self._blobs = Blobs(connection, self, quota.blob_bytes, self._wanted)
        self.leases = Leases()
        self._subscribers: set[trio.MemorySendChannel[Arrived]] = set()
        self._load()
        if mark is not None:
            self._settle_mark(mark)

    @classmethod
    def open(
        cls,
        path: Path,
        objective: bytes,
        quota: Quota | None = None,
        metric: Metric = LOSS,
        mark: KeyMark | None = None,
    ) -> Ledger:
        """Open for writing, making the file if it is not there. The caller ensures that it is the only writer.

        mark: of this node's own key; without it the ledger knows no key as its own.

        Raises LedgerError when the file is no usable ledger, is damaged, or was written by a newer version, and
        HomeError when nobody knows how far the key has signed.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection = sqlite3.connect(path, isolation_level=None)
        except sqlite3.Error as error:
            raise LedgerError(database_trouble(path, error)) from error
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(SCHEMA + screenings.SCHEMA + replays.SCHEMA)
            newer = is_newer(connection)
        except sqlite3.DatabaseError as error:
            connection.close()
            raise LedgerError(database_trouble(path, error)) from error
        if newer:
            connection.close()
            raise LedgerError(f"{path} was written by a newer autoresearch-node; upgrade this one to open it")
        try:
            return cls(connection, objective, quota or Quota(), metric, mark)
        except sqlite3.DatabaseError as error:
            connection.close()
            raise LedgerError(database_trouble(path, error)) from error
        except (LedgerError, HomeError):
            connection.close()
            raise

    def _settle_mark(self, mark: KeyMark) -> None:
        """Raise the key's mark to what the file holds of all its feeds. Raises HomeError."""
        heads = own_heads(self._db, mark.author)
        refuse_unknown_key(mark, bool(heads) or self.settings.author == mark.author, self.settings.author)
        try:
            mark.raise_to(heads)
        except OSError as error:
            raise HomeError(trouble(mark.path, error)) from None
        self._pool.keep({mark.author})  # its feed may have to be taken back from peers, who bring it as any other

    @classmethod
    def read(cls, path: Path, objective: bytes | None = None) -> Ledger:
        """Open for reading beside a running node. `objective` None means the one joined last. Raises LedgerError."""
        if not path.exists():
            raise LedgerError(broken_link(path) or f"there is no ledger at {path}; run `autoresearch-node join` first")
        try:
            connection = opened_for_reading(path)
        except sqlite3.Error as error:
            raise LedgerError(database_trouble(path, error)) from error
        try:
            row = connection.execute("SELECT value FROM meta WHERE key = 'objective'").fetchone()
            if objective is None and row is None:
                raise LedgerError(f"the ledger at {path} has no objective yet; run `autoresearch-node join` first")
            return cls(connection, bytes(row[0]) if objective is None else objective, Quota())
        except sqlite3.DatabaseError as error:
            connection.close()
            raise LedgerError(database_trouble(path, error)) from error

    def close(self) -> None:
        for channel in self._subscribers:
            channel.close()
        self._db.close()

    def refresh(self) -> int:
        """Take in what another process has stored since; returns how many records that were. For readers only."""
        if int(self.meta(DROPPED) or 0) != self._dropped:  # feeds were dropped, and some may have come again since
            self._forget_all()
        before = len(self._records)
        self._load()
        return len(self._records) - before

    def _forget_all(self) -> None:
        self._arrival = 0
        self._forked.clear()
        self._forget_held()
        self._pool = Pool(self._quota.unproven_bytes, self._quota.authors, random.Random())

    def _load(self) -> None:
        self._dropped = int(self.meta(DROPPED) or 0)
        rows = self._db.execute(
            "SELECT arrival, id, wire, origin FROM records WHERE objective = ? AND arrival > ? ORDER BY arrival",
            (self.objective, self._arrival),
        )
        for arrival, record_id, wire, origin in rows:
            record = self._kept(record_id, wire)
            self._remember(record, origin)
            if origin == "own":
                self._pool.keep({record.author})
            self._pool.settle(record.author, cost_of(record), origin)
            self._arrival = arrival
        proofs = "SELECT author, length(first) + length(second) FROM forks WHERE objective = ?"
        for author, size in self._db.execute(proofs, (self.objective,)):
            if author not in self._forked:
                self._note_fork(author)
                self._pool.settle(author, text_cost(size), author.hex())

    def _kept(self, record_id: bytes, wire: bytes) -> Record:
        """Open a record read from the file, which must be the next of its feed. Raises LedgerError when it is not."""
        try:
            record = reopen_record(wire, record_id)
        except MalformedError as error:
            raise LedgerError(DAMAGED.format(error)) from None
        feed = self._feeds[record.author]
        if (record.seq, record.prev) != (len(feed), feed[-1].id if feed else GENESIS):
            raise LedgerError(DAMAGED.format("a feed has lost a record"))
        return record

    # ---- records ---------------------------------------------------------------------------------------------

    @property
    def signing(self) -> Signing:
        """Whether an own record may be signed now, or why not."""
        if self._mark is None:
            return Signing.READY
        author = self._mark.author
        feed = self._feeds.get(author, [])
        return standing(self._mark.head(self.objective), feed, author in self._forked, self._foreign)

    def marked_head(self) -> FeedHead | None:
        """How far this node's key has signed here; None where it has signed nothing, or the ledger knows no key."""
        return self._mark.head(self.objective) if self._mark is not None else None

    def append_own(self, identity: Identity, body: Body, now_ms: int) -> Record:
        """Sign `body` as the next record of the own feed and keep it durably, or keep nothing at all.

        Raises NotSigningError when the feed may be forked by one more record, and LedgerError.
        """
        state = Signing.FORKED if identity.author in self._forked else self.signing
        if state is not Signing.READY:
            raise NotSigningError(state)
        self.refuse_another_file()
        feed = self._feeds[identity.author]
        prev = feed[-1].id if feed else GENESIS
        record = sign_record(identity, self.objective, len(feed), prev, now_ms, body)
        self._pool.keep({identity.author})
        with self.on_disk():
            self._keep_marked(record)
        self._pool.hold(record.author, cost_of(record), Bringer("own"))
        self._take_up(record, "own")
        return record

    def _keep_marked(self, record: Record) -> None:
        """Store an own record and then raise the key's mark; both are on disk before anybody hears of the record.

        In this order a crash between the two leaves a record beyond the mark, which the next start sees. The other way
        round it would leave a mark beyond a record that nobody has.
        """
        if self._mark is None:
            self._store(record, "own")
            return
        head = FeedHead(record.author, record.seq + 1, record.id)
        with self._mark.raising(self.objective, head) as set_mark:
            self._store(record, "own")
            try:
                set_mark()
            except OSError:
                self._db.execute("DELETE FROM records WHERE id = ?", (record.id,))  # nobody has heard of it
                raise

    def add(self, record: Record, origin: Bringer | str) -> Added:
        """Take in a peer's record that `open_record` has verified. A feed only grows by its next record."""
        if record.objective != self.objective or record.author in self._forked:
            return Added.REFUSED
        feed = self._feeds.get(record.author, [])
        if len(feed) >= self._quota.records_per_author:
            return Added.REFUSED
        head = FeedHead(record.author, len(feed), feed[-1].id) if feed else None
        bringer = origin if isinstance(origin, Bringer) else Bringer(origin)
        match check_next(head, record):
            case FeedCheck.NEXT:
                cost = cost_of(record)
                if not self._make_room(record.author, cost, bringer):
                    return Added.REFUSED
                self._store(record, bringer.peer)
                self._hold(record, cost, bringer)
                return Added.NEW
            case FeedCheck.GAP:
                return self._gap(record.author, bringer)
            case FeedCheck.BAD_LINK:
                return self._fork_before(record, feed, bringer)
            case FeedCheck.DUPLICATE_OR_FORK:
                known = feed[record.seq]
                if known.id == record.id:
                    return Added.KNOWN
                return self._keep_fork(known, record, bringer)

    def add_run(self, run: Sequence[Record], bringer: Bringer) -> list[Added]:
        """`add` records of one author. Where they simply go on its feed they are written together, in a third of the
        time; whatever else they are, one by one. An error of the disk means that none is kept, or some of the first.
        """
        if len(run) == 1 or not self._is_next(run):
            return [self.add(record, bringer) for record in run]
        costs = [cost_of(record) for record in run]
        if self._pool.make_room(run[0].author, sum(costs), bringer, len(run)) != []:
            return [self.add(record, bringer) for record in run]  # for some there may be room
        with transaction(self._db):
            for record in run:
                self._store(record, bringer.peer)
        for record, cost in zip(run, costs, strict=True):
            self._hold(record, cost, bringer)
        return [Added.NEW] * len(run)

    def _is_next(self, run: Sequence[Record]) -> bool:
        """Whether this author may write on, and these are the next records of its feed."""
        author = run[0].author
        feed = self._feeds.get(author, [])
        if author in self._forked or len(feed) + len(run) > self._quota.records_per_author:
            return False
        head = FeedHead(author, len(feed), feed[-1].id) if feed else None
        for record in run:
            if record.objective != self.objective or check_next(head, record) is not FeedCheck.NEXT:
                return False
            head = FeedHead(author, record.seq + 1, record.id)
        return True

    def _hold(self, record: Record, cost: int, bringer: Bringer) -> None:
        """A peer's record is in the file: take it up."""
        self._pool.hold(record.author, cost, bringer)
        self._note_foreign(record)
        self._take_up(record, bringer.peer)

    def _gap(self, author: bytes, bringer: Bringer) -> Added:
        """Records before it are missing: they are wanted if there is room, also where they were set aside before."""
        if author not in self._feeds and self._pool.is_set_aside(author):
            if self._pool.make_room(author, text_cost(0), bringer) != []:
                return Added.REFUSED
            self._pool.want_again(author)
            self._heads.drop(author)
        return Added.GAP

    def _fork_before(self, record: Record, feed: list[Record], bringer: Bringer) -> Added:
        """A next record that names another predecessor proves a fork, together with the head that it contradicts."""
        return self._keep_fork(feed[-1], record, bringer) if feed else Added.REFUSED

    def _keep_fork(self, known: Record, other: Record, bringer: Bringer) -> Added:
        return self.add_fork(Fork(other.author, self.objective, other.seq, known.wire(), other.wire()), bringer)

    def add_fork(self, fork: Fork, origin: Bringer) -> Added:
        """Keep the proof of a fork that `open_fork` has verified. From then on no record of its author is taken."""
        if fork.objective != self.objective:
            return Added.REFUSED
        if fork.author in self._forked:
            return Added.KNOWN
        if fork.author not in self._feeds:  # the proof may be all that is ever held of this author
            cost = text_cost(len(fork.first) + len(fork.second))
            if not self._make_room(fork.author, cost, origin):
                return Added.REFUSED
            self._pool.hold(fork.author, cost, origin)
        self._db.execute(
            "INSERT OR IGNORE INTO forks VALUES (?, ?, ?, ?, ?)",
            (self.objective, fork.author, fork.seq, fork.first, fork.second),
        )
        self._note_fork(fork.author)
        return Added.FORK

    def _note_fork(self, author: bytes) -> None:
        self._forked.add(author)
        self._heads.put(forked_feed(author))

    # ---- room for records --------------------------------------------------------------------------------------------

    def keep_authors(self, authors: AbstractSet[bytes]) -> None:
        """These authors are proven: they keep their place, whatever else comes."""
        self._pool.keep(authors)

    def let_go_of_authors(self, authors: AbstractSet[bytes]) -> None:
        """These authors were found wrong: they are proven no longer."""
        self._pool.let_go(authors)

    def is_proven(self, author: bytes) -> bool:
        """Whether this author keeps its place: this node's own runs agreed with it, or it is this node."""
        return self._pool.keeps(author)

    def _make_room(self, author: bytes, cost: int, bringer: Bringer) -> bool:
        """Whether there is room for a record now; others may have been dropped for it."""
        dropped = self._pool.make_room(author, cost, bringer)
        if dropped is None:
            if author not in self._feeds:
                self._set_aside([author])
            return False
        if dropped:
            self._drop(dropped)
            self._set_aside(dropped)
        return True

    def _set_aside(self, authors: Sequence[bytes]) -> None:
        """Have peers not bring these for a while. They are told what they are told of a forked feed: send nothing."""
        for author in authors:
            self._heads.put(forked_feed(author))
            for other in self._pool.set_aside(author, time.monotonic()):
                self._heads.drop(other)

    def _drop(self, authors: Sequence[bytes]) -> None:
        """Remove all that is held of these authors, as if it had never come."""
        gone = set(authors)
        self._dropped += 1
        with transaction(self._db):
            for author in gone:
                self._db.execute("DELETE FROM records WHERE objective = ? AND author = ?", (self.objective, author))
                self._db.execute("DELETE FROM forks WHERE objective = ? AND author = ?", (self.objective, author))
            self.set_meta(DROPPED, str(self._dropped).encode())
        for author in gone:
            self._forked.discard(author)
            self._pool.drop(author)
        self._forget(gone)

    def _note_foreign(self, record: Record) -> None:
        """Notice a record of this node's key that it did not sign here. What it signed is taken back up to the mark."""
        if self._mark is not None and record.author == self._mark.author:
            marked = self._mark.head(self.objective)
            if marked is None or record.seq >= marked.length:
                self._foreign = True
            elif record.seq == marked.length - 1:
                self._foreign |= record.id != marked.head

    def _store(self, record: Record, origin: str) -> None:
        self._db.execute(
            "INSERT INTO records (id, objective, author, seq, wire, origin) VALUES (?, ?, ?, ?, ?, ?)",
            (record.id, record.objective, record.author, record.seq, record.wire(), origin),
        )

    def _take_up(self, record: Record, origin: str) -> None:
        self._remember(record, origin)
        for channel in self._subscribers:
            try:
                channel.send_nowait(Arrived(record, origin))
            except (trio.WouldBlock, trio.BrokenResourceError):  # it lags, or is about to unsubscribe
                continue  # the record is kept; sync and the projections make up for the missed notice

    @property
    def heads(self) -> FeedTree:
        """How far every feed is held, and which are known to be forked, or not wanted now."""
        for author in self._pool.wanted_again(time.monotonic()):
            self._heads.drop(author)
        return self._heads

    def vector(self) -> tuple[FeedHead, ...]:
        return tuple(self.heads.within(ALL))

    def fork(self, author: bytes) -> Fork | None:
        """The proof that an author's feed is forked, where there is one."""
        row = self._db.execute(
            "SELECT seq, first, second FROM forks WHERE objective = ? AND author = ?", (self.objective, author)
        ).fetchone()
        return Fork(author, self.objective, *row) if row else None

    def record_counts(self) -> dict[bytes, int]:
        """How many records of each objective are in the file."""
        return dict(self._db.execute("SELECT objective, count(*) FROM records GROUP BY objective").fetchall())

    def forks(self) -> list[Fork]:
        rows = self._db.execute("SELECT author, seq, first, second FROM forks WHERE objective = ?", (self.objective,))
        return [Fork(author, self.objective, seq, first, second) for author, seq, first, second in rows]

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[trio.MemoryReceiveChannel[Arrived]]:
        """Notices of records stored from now on. One that lags by more than the backlog misses notices, not records."""
        send: trio.MemorySendChannel[Arrived]
        send, receive = trio.open_memory_channel(SUBSCRIBER_BACKLOG)
        self._subscribers.add(send)
        try:
            async with receive:
                yield receive
        finally:
            self._subscribers.discard(send)
            send.close()

    # ---- blobs -----------------------------------------------------------------------------------------------

    def put_blob(self, data: bytes, from_peer: bool = False) -> bytes:
        """Keep content that this node has made, or was given by a person, under its sha256, which is returned.

        from_peer: it is made from peers' content. Sources of peers make room for it. Raises LedgerError when the quota
        is reached nevertheless: of peers' content PEERS_SHARE of it, which is 384 of 512 MiB.
        """
        blob_id = self._blobs.put_own(data, from_peer)
        if blob_id is None:
            raise LedgerError("the blob quota is used up; raise [limits] blob_quota_mb in swarm.toml")
        return blob_id

    def put_source(self, data: bytes) -> bool:
        """Keep a source that a peer's record refers to. False where it would be the first to make room for others.

        What is dropped or was not kept is wanted again after SOURCE_SET_ASIDE_SECONDS.
        """
        return self._blobs.put_source(data)

    def sources_given_up(self) -> int:
        """How many sources of peers were dropped or not kept for want of room, since the start."""
        return self._blobs.given_up

    def use_source(self, blob_id: bytes) -> bytes | None:
        """A source that this node reads for runs of its own: it keeps its place until the next start."""
        return self._blobs.use(blob_id)

    def get_blob(self, blob_id: bytes) -> bytes | None:
        return self._blobs.get(blob_id)

    def has_blob(self, blob_id: bytes) -> bool:
        return self._blobs.has(blob_id)

    def wanted_blobs(self) -> dict[bytes, Record]:
        """Sources that records refer to and that are not here, as they were first mentioned, and by which record."""
        self._wanted.want_again(time.monotonic())
        return self._wanted.sources()

    def drop_unreferred_blobs(self) -> int:
        """Remove the content that no record, run or objective in the file refers to. Returns the bytes freed."""
        return self._blobs.drop_unreferred()

    def place_of(self, author: bytes) -> Place:
        """How good a claim to their room the sources have that an author's records name."""
        crowd = self._pool.may_push_out(author)
        if crowd is not None:
            return Place(Claim.PUSHED, crowd)
        return Place(Claim.KEPT if self._pool.keeps(author) else Claim.SETTLED)
