"""What the network needs of the ledger, and nothing more.

It is the one seam between the two: the ledger fits it, and so does the store in memory that the tests use.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import trio

from node.ledger.leases import Leases
from node.ledger.pool import Bringer
from node.ledger.store import Added, Arrived
from protocol.feed import Fork
from protocol.metric import Metric
from protocol.records import Record
from protocol.sync import FeedStore


class RecordStore(FeedStore, Protocol):
    """Records and blobs of one objective, and the addresses where peers were reached."""

    @property
    def objective(self) -> bytes: ...

    @property
    def metric(self) -> Metric:
        """How values of the objective's metric compare."""

    @property
    def leases(self) -> Leases: ...

    def add(self, record: Record, origin: Bringer) -> Added:
        """Offer a record that has passed the door. `origin` is the peer that sent it."""

    def add_run(self, run: Sequence[Record], origin: Bringer, /) -> list[Added]:
        """`add` records of one author, together where that is possible."""

    def add_fork(self, fork: Fork, origin: Bringer) -> Added:
        """Offer the proof of a fork that has passed the door."""

    def is_proven(self, author: bytes, /) -> bool:
        """Whether this node's own runs agreed with what this author wrote."""

    def trouble(self, error: OSError | sqlite3.Error, /) -> str:
        """What an error means that came while something was kept, and what to do."""

    def get_blob(self, blob_id: bytes, /) -> bytes | None: ...

    def subscribe(self) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[Arrived]]:
        """Records as they are stored from now on; origin "own" marks this node's own."""

    def remember_address(self, address: str, /) -> None: ...

    def addresses(self) -> list[str]: ...

    def remember_anchors(self, addresses: Sequence[str], /) -> None: ...

    def anchors(self) -> tuple[str, ...]: ...
