"""Screenings: how the runs of ideas compared with their parents' on the way, and what became of them.

From those that went to their end a node learns which runs are worth ending early; of those that were ended it knows
that they were, so that none is begun again. It keeps rows of the ledger's file, and decides nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgpack

from node.ledger.outcome import Outcome, pack_outcome, unpack_outcome

MOST_READ = 1000  # finished screenings of a category that are learnt from: the latest
SCHEMA = """
CREATE TABLE IF NOT EXISTS screenings (
    objective BLOB NOT NULL,
    source BLOB NOT NULL,
    parent BLOB NOT NULL,
    seed INTEGER NOT NULL,
    compute_class TEXT NOT NULL,
    category TEXT NOT NULL,
    behind BLOB NOT NULL,
    gained INTEGER,
    ended BLOB,
    PRIMARY KEY (objective, source, parent, seed, compute_class)
);
"""


class ScreenedRun(NamedTuple):
    """Which run: of an idea's source beside a parent's at the same seed, under these conditions."""

    source: bytes
    parent: bytes
    seed: int
    conditions: str


@dataclass(frozen=True)
class Screening:
    """What a run showed that went to its end. behind: at each look at it, None where it could not be said."""

    behind: Sequence[float | None]
    gained: bool


class Screenings:
    """The screenings of one objective in the ledger's file."""

    def __init__(self, connection: sqlite3.Connection, objective: bytes) -> None:
        self._db, self._objective = connection, objective

    def finished(self, category: str, conditions: str) -> list[Screening]:
        """Those of a category that went to their end under these conditions, the latest first."""
        rows = self._db.execute(
            "SELECT behind, gained FROM screenings WHERE objective = ? AND category = ? AND compute_class = ?"
            " AND gained IS NOT NULL ORDER BY rowid DESC LIMIT ?",
            (self._objective, category, conditions, MOST_READ),
        )
        return [Screening(tuple(msgpack.unpackb(behind)), bool(gained)) for behind, gained in rows]

    def ended(self, run: ScreenedRun) -> Outcome | None:
        """The outcome of a run that was ended early; None where it was not."""
        row = self._db.execute(
            "SELECT ended FROM screenings WHERE objective = ? AND source = ? AND parent = ? AND seed = ?"
            " AND compute_class = ? AND ended IS NOT NULL",
            (self._objective, *run),
        ).fetchone()
        return unpack_outcome(row[0]) if row else None

    def behind(self, source: bytes, parent: bytes) -> float | None:
        """How far a source's run was behind its parent's where it was ended here; None where none was."""
        made = self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'screenings'").fetchone()
        if made is None:  # a ledger of an earlier version, which only reading commands have opened
            return None
        row = self._db.execute(
            "SELECT ended FROM screenings WHERE objective = ? AND source = ? AND parent = ? AND ended IS NOT NULL"
            " ORDER BY rowid DESC LIMIT 1",
            (self._objective, source, parent),
        ).fetchone()
        return unpack_outcome(row[0]).behind if row else None

    def keep_finished(self, run: ScreenedRun, category: str, screening: Screening) -> None:
        """Keep what a run showed that went to its end."""
        self._keep(run, category, screening.behind, screening.gained, None)

    def keep_ended(self, run: ScreenedRun, category: str, behind: Sequence[float | None], outcome: Outcome) -> None:
        """Keep that a run was ended early, with its outcome."""
        self._keep(run, category, behind, None, pack_outcome(outcome))

    def _keep(
        self,
        run: ScreenedRun,
        category: str,
        behind: Sequence[float | None],
        gained: bool | None,
        ended: bytes | None,
    ) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO screenings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self._objective, *run, category, msgpack.packb(list(behind)), gained, ended),
        )
