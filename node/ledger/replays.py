"""Replays: what judges recorded of runs made here, kept for people to look at.

Of each source its last run's, and of the sources those whose runs came out best. It keeps rows of the ledger's file,
and decides nothing. Nothing of it is ever sent: no record has one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

import msgpack

Replay = Mapping[str, Mapping[str, tuple[float, ...]]]  # rows of equally many numbers, by picture and name

MOST_KEPT = 50  # sources of an objective: a replay is some 20 KB, and a leaderboard shows no more
SCHEMA = """
CREATE TABLE IF NOT EXISTS replays (
    objective BLOB NOT NULL,
    source BLOB NOT NULL,
    cost REAL NOT NULL,
    replay BLOB NOT NULL,
    PRIMARY KEY (objective, source)
);
"""


class Replays:
    """The replays of one objective in the ledger's file."""

    def __init__(self, connection: sqlite3.Connection, objective: bytes) -> None:
        self._db, self._objective = connection, objective

    def keep(self, source: bytes, cost: float, replay: Replay) -> None:
        """Keep the replay of a source's run in place of an earlier one. cost: its value, the lower the better.

        Beyond MOST_KEPT sources the worst one goes, which may be this one.
        """
        packed = msgpack.packb({picture: dict(rows) for picture, rows in replay.items()})
        self._db.execute("INSERT OR REPLACE INTO replays VALUES (?, ?, ?, ?)", (self._objective, source, cost, packed))
        self._db.execute(
            "DELETE FROM replays WHERE objective = ? AND source NOT IN"
            " (SELECT source FROM replays WHERE objective = ? ORDER BY cost, rowid DESC LIMIT ?)",
            (self._objective, self._objective, MOST_KEPT),
        )

    def of(self, source: bytes) -> Replay | None:
        """The replay of the last run of a source; None where none is kept."""
        made = self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'replays'").fetchone()
        if made is None:  # a ledger of an earlier version, which only reading commands have opened
            return None
        row = self._db.execute(
            "SELECT replay FROM replays WHERE objective = ? AND source = ?", (self._objective, source)
        ).fetchone()
        if row is None:
            return None
        kept = msgpack.unpackb(row[0])
        return {picture: {name: tuple(row) for name, row in rows.items()} for picture, rows in kept.items()}
