"""The records of an objective in memory: in the order they arrived, by id, and as feeds.

It knows neither where they are kept nor who may stay; the ledger tells it what it holds.
"""

from __future__ import annotations

import sqlite3
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from node.ledger.kept_values import KeptValues
from node.ledger.mentions import Wanted
from protocol.digests import FeedTree
from protocol.feed import FeedHead
from protocol.records import Record
from protocol.weights import NOBODY, Weights, weights_of

GENESIS = bytes(32)


class HeldRecords(KeptValues):
    """What is known of the records that are held, without a look into the file."""

    def __init__(self, connection: sqlite3.Connection, objective: bytes) -> None:
        super().__init__(connection, objective)
        self._records: list[Record] = []
        self._by_id: dict[bytes, Record] = {}
        self._origins: dict[bytes, str] = {}
        self._feeds: dict[bytes, list[Record]] = defaultdict(list)
        self._heads = FeedTree()
        self._wanted = Wanted(self.has_blob)
        self._dropped = 0  # times that feeds were dropped
        self._weights, self._weights_of = NOBODY, (b"", (0, 0))  # and at whom and of which records

    @abstractmethod
    def has_blob(self, blob_id: bytes) -> bool:
        """Whether the content with this sha256 is kept here."""

    def records(self, author: bytes, start: int, limit: int) -> list[bytes]:
        return [record.wire() for record in self._feeds.get(author, [])[start : start + limit]]

    def feed(self, author: bytes) -> Sequence[Record]:
        """The records of one author in order; empty when there are none."""
        return self._feeds.get(author, [])

    def all_records(self) -> Sequence[Record]:
        """Every record held, in the order of arrival."""
        return self._records

    def origin(self, record_id: bytes) -> str:
        return self._origins[record_id]

    def record(self, record_id: bytes) -> Record | None:
        return self._by_id.get(record_id)

    def get(self, prefix: str) -> Record | None:
        """The record whose id (hex) starts with `prefix`; None when there is none or more than one."""
        if len(prefix) == 2 * len(GENESIS):
            try:
                return self._by_id.get(bytes.fromhex(prefix))
            except ValueError:
                return None
        found = [record for record in self._records if record.id.hex().startswith(prefix.lower())]
        return found[0] if len(found) == 1 else None

    def count(self) -> int:
        return len(self._records)

    def version(self) -> tuple[int, int]:
        """Another one whenever other records are held: how many, and how often some were dropped."""
        return len(self._records), self._dropped

    def weights(self, root: bytes) -> Weights:
        """How much the word of each author counts at the node with this key, worked out once for the records held."""
        version = root, self.version()
        if self._weights_of != version:
            self._weights_of, self._weights = version, weights_of(self._records, root)
        return self._weights

    def _remember(self, record: Record, origin: str) -> None:
        self._records.append(record)
        self._by_id[record.id] = record
        self._origins[record.id] = origin
        feed = self._feeds[record.author]
        feed.append(record)
        self._heads.put(FeedHead(record.author, len(feed), record.id))
        self._wanted.note(record)

    def _forget(self, gone: AbstractSet[bytes]) -> None:
        """Nothing is held of these authors any more."""
        for author in gone:
            for record in self._feeds.pop(author, []):
                del self._origins[record.id], self._by_id[record.id]
            self._heads.drop(author)
        self._records = [record for record in self._records if record.author not in gone]
        self._wanted.forget(gone, self._records)

    def _forget_held(self) -> None:
        """Nothing is held any more."""
        self._records.clear()
        self._by_id.clear()
        self._origins.clear()
        self._feeds.clear()
        self._wanted.clear()
        self._heads = FeedTree()
