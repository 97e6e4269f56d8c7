"""What a ledger's file keeps beside records and content: named values, addresses of peers, and what runs showed.

It knows tables, no records and no feeds. One process writes; any number may read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from node.ledger.error import LedgerError
from node.ledger.replays import Replays
from node.ledger.runs import KeptRuns
from node.ledger.screenings import Screenings
from node.ledger.settings import LedgerSettings
from node.platform.file_trouble import in_words

MAX_ADDRESSES = 512  # of peers, remembered for the next start
LEAST_BYTES = 512  # SQLite's smallest page: a database has one as soon as it is begun


class KeptValues(KeptRuns):
    """The rows of a ledger's file that each stand for themselves."""

    def __init__(self, connection: sqlite3.Connection, objective: bytes) -> None:
        super().__init__(connection, objective)
        self._path = Path(connection.execute("PRAGMA database_list").fetchone()[2])
        self._inode = self._path.stat().st_ino

    @property
    def path(self) -> Path:
        """The file, which holds the records of every objective that this home researched."""
        return self._path

    def refuse_another_file(self) -> None:
        """Raise LedgerError where the file was moved, removed or replaced: what is written now is in none with a name.
        And where somebody has cut it short.

        SQLite holds the file open and does not notice. To open it here would end the locks that SQLite has on it.
        """
        try:
            found = self._path.stat()
            same, size = found.st_ino == self._inode, found.st_size
        except OSError:
            same, size = False, 0
        if not same:
            why = "was moved, removed or replaced while the node ran; put the right one back, and start again"
            raise LedgerError(f"{self._path} {why}")
        if size < LEAST_BYTES:
            why = "was cut short by another program while the node ran; put it back from a backup, or see what"
            raise LedgerError(f"{self._path} {why} `autoresearch-node ledger repair` takes out of it, and start again")

    def trouble(self, error: OSError | sqlite3.Error) -> str:
        """What an error means that came while something was kept, and what to do."""
        return in_words(error, self._path)

    @property
    def screenings(self) -> Screenings:
        """How runs of ideas compared with their parents' on the way, and which were ended early."""
        return Screenings(self._db, self.objective)

    @property
    def replays(self) -> Replays:
        """What judges recorded of runs made here."""
        return Replays(self._db, self.objective)

    def remember_address(self, address: str) -> None:
        """Keep a peer's multiaddr (with /p2p/) for the next start; the oldest are forgotten beyond a limit."""
        self._db.execute(
            "INSERT OR REPLACE INTO addresses VALUES (?, (SELECT coalesce(max(seen), 0) + 1 FROM addresses))",
            (address,),
        )
        self._db.execute(
            "DELETE FROM addresses WHERE address NOT IN (SELECT address FROM addresses ORDER BY seen DESC LIMIT ?)",
            (MAX_ADDRESSES,),
        )

    def addresses(self) -> list[str]:
        return [row[0] for row in self._db.execute("SELECT address FROM addresses ORDER BY seen DESC")]

    def remember_anchors(self, addresses: Sequence[str]) -> None:
        """Keep the multiaddrs of the peers to dial first at the next start, in the place of those kept before."""
        self.settings.anchors = tuple(addresses)

    def anchors(self) -> tuple[str, ...]:
        return self.settings.anchors

    @property
    def settings(self) -> LedgerSettings:
        """The named values this ledger remembers beside records, sources and runs."""
        return LedgerSettings(self, self.objective)

    @contextmanager
    def on_disk(self) -> Iterator[None]:
        """What is written within is synced: it survives a power cut, for which the rest may be some seconds late."""
        self._db.execute("PRAGMA synchronous = FULL")
        try:
            yield
        finally:
            self._db.execute("PRAGMA synchronous = NORMAL")

    def set_meta(self, key: str, value: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def drop_meta(self, key: str) -> None:
        self._db.execute("DELETE FROM meta WHERE key = ?", (key,))

    def meta_keys(self) -> list[str]:
        return [str(row[0]) for row in self._db.execute("SELECT key FROM meta")]

    def meta(self, key: str) -> bytes | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return bytes(row[0]) if row else None
