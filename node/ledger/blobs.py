"""Blobs: small content by its sha256 in the ledger's file: sources, manifests and an objective's files.

What this node makes, or a person gives it, has room up to the quota. Sources that peers' records name have a share of
it, and give way to each other by the rule in `source_room`. What is dropped is set aside: it is not asked for again at
once, else junk that was dropped for junk would come for ever.

It knows the tables of content, records and runs, and asks whose sources keep their place.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Sequence
from typing import Protocol

from node.ledger.mentions import Wanted, mentioned_by
from node.ledger.schema import transaction
from node.ledger.settings import LedgerSettings
from node.ledger.source_room import Claim, Holding, Place, give_way
from protocol.objective import MAX_FILE_BYTES, decode_manifest
from protocol.records import Record, reopen_record

PEERS_SHARE = 0.75  # of the quota for sources that peers mention; the rest is kept free for own ideas
SOURCE_SET_ASIDE_SECONDS = 600.0  # for which a source that had no room is not asked for


class Records(Protocol):
    """What is needed of the rest of the ledger."""

    @property
    def objective(self) -> bytes: ...

    @property
    def settings(self) -> LedgerSettings: ...

    def all_records(self) -> Sequence[Record]: ...

    def place_of(self, author: bytes, /) -> Place:
        """How good a claim to their room the sources have that an author's records name."""


class Blobs:
    """The content in one ledger's file. wanted: the sources that records refer to and that are not here."""

    def __init__(self, connection: sqlite3.Connection, records: Records, quota: int, wanted: Wanted) -> None:
        self._db = connection
        self._records = records
        self._quota = quota
        self._wanted = wanted
        self._bytes = self._count_bytes()
        self._used: set[bytes] = set()  # made here, or read for runs here, since the start
        self.given_up = 0  # sources that were dropped or not kept for want of room, since the start

    def get(self, blob_id: bytes) -> bytes | None:
        row = self._db.execute("SELECT data FROM blobs WHERE id = ?", (blob_id,)).fetchone()
        return bytes(row[0]) if row else None

    def has(self, blob_id: bytes) -> bool:
        return self._db.execute("SELECT 1 FROM blobs WHERE id = ?", (blob_id,)).fetchone() is not None

    def use(self, blob_id: bytes) -> bytes | None:
        """Content that is read for runs here: it keeps its place until the next start."""
        self._used.add(blob_id)
        return self.get(blob_id)

    def put_own(self, data: bytes, from_peer: bool) -> bytes | None:
        """Keep content of this node's own and return its id; None where there is no room.

        from_peer: it is made from peers' content, and so has their share of the quota.
        """
        blob_id = hashlib.sha256(data).digest()
        self._used.add(blob_id)
        if self.has(blob_id):
            return blob_id
        quota = round(self._quota * (PEERS_SHARE if from_peer else 1.0))
        if len(data) > MAX_FILE_BYTES or not self._make_room(Holding(blob_id, len(data), Place(Claim.KEPT)), quota):
            return None
        self._insert(blob_id, data)
        return blob_id

    def put_source(self, data: bytes) -> bool:
        """Keep a source that is wanted; False where it would be the first to make room for others."""
        blob_id = hashlib.sha256(data).digest()
        record = self._wanted.by(blob_id)
        if record is None:  # it is here by now, or what mentioned it was dropped
            return self.has(blob_id)
        coming = Holding(blob_id, len(data), self._records.place_of(record.author))
        if not self._make_room(coming, round(self._quota * PEERS_SHARE)):
            self._set_aside(blob_id, record)
            return False
        self._insert(blob_id, data)
        return True

    def _insert(self, blob_id: bytes, data: bytes) -> None:
        self._db.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?)", (blob_id, data))
        self._bytes += len(data)
        self._wanted.arrived(blob_id)

    # ---- room --------------------------------------------------------------------------------------------------------

    def _make_room(self, coming: Holding, quota: int) -> bool:
        """Whether there is room for content now; others may have been dropped for it."""
        needed = self._bytes + coming.size - quota
        if needed <= 0:
            return True
        if coming.size > quota:
            return False
        naming = self._naming_records()
        kept = self._referred_without_records() | self._used
        held = []
        for blob_id, size in self._db.execute("SELECT id, length(data) FROM blobs").fetchall():
            if bytes(blob_id) not in kept:
                places = (self._records.place_of(record.author) for record in naming.get(bytes(blob_id), ()))
                place = max(places, key=lambda place: place.claim, default=Place(Claim.UNNAMED))
                held.append(Holding(bytes(blob_id), size, place))
        gone = give_way(held, coming, needed, quota)
        if gone is None:
            return False
        with transaction(self._db):
            for source in gone:
                self._db.execute("DELETE FROM blobs WHERE id = ?", (source,))
                for record in naming.get(source, ())[:1]:
                    self._set_aside(source, record)
        self._bytes = self._count_bytes()
        return True

    def _set_aside(self, source: bytes, record: Record) -> None:
        self._wanted.set_aside(source, record, time.monotonic() + SOURCE_SET_ASIDE_SECONDS)
        self.given_up += 1

    def drop_unreferred(self) -> int:
        """Remove the content that no record, run or objective in the file refers to. Returns the bytes freed."""
        referred = self._referred_without_records() | self._naming_records().keys()
        before = self._bytes
        for (blob_id,) in self._db.execute("SELECT id FROM blobs").fetchall():
            if bytes(blob_id) not in referred:
                self._db.execute("DELETE FROM blobs WHERE id = ?", (blob_id,))
        self._bytes = self._count_bytes()
        return before - self._bytes

    def _naming_records(self) -> dict[bytes, list[Record]]:
        """The records of this objective that name each source, in the order of arrival."""
        naming: dict[bytes, list[Record]] = {}
        for record in self._records.all_records():
            for source in mentioned_by(record.body):
                naming.setdefault(source, []).append(record)
        return naming

    def _referred_without_records(self) -> set[bytes]:
        """The content that objectives, runs made here and records of other objectives refer to."""
        settings, objective = self._records.settings, self._records.objective
        known = settings.descriptions
        # A baseline of several editable files is none of its objective's files.
        referred = {settings.baseline, *(about.baseline for about in known.values())}
        others = self._db.execute("SELECT id, wire FROM records WHERE objective != ?", (objective,))
        for record_id, wire in others:
            referred.update(mentioned_by(reopen_record(wire, record_id).body))
        referred.update(bytes(row[0]) for row in self._db.execute("SELECT DISTINCT source FROM runs"))
        objectives = {bytes(row[0]) for row in self._db.execute("SELECT DISTINCT objective FROM records")}
        for each in objectives | {objective, *known}:
            manifest = self.get(each)
            if manifest is not None:
                referred.add(each)
                referred.update(entry.sha256 for entry in decode_manifest(manifest).files)
        return referred

    def _count_bytes(self) -> int:
        size: int = self._db.execute("SELECT coalesce(sum(length(data)), 0) FROM blobs").fetchone()[0]
        return size
