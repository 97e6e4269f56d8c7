"""Runs: what running a source at a seed came to, kept so that it need not be run again.

It knows the ledger's table of runs, and nothing else of the ledger.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from node.ledger.outcome import Outcome, pack_outcome, unpack_outcome


class KeptRuns:
    """The runs of one objective in the ledger's file."""

    def __init__(self, connection: sqlite3.Connection, objective: bytes) -> None:
        self.objective = objective
        self._db = connection

    def cached_run(self, source: bytes, seed: int, compute_class: str) -> Outcome | None:
        row = self._db.execute(
            "SELECT outcome FROM runs WHERE objective = ? AND source = ? AND seed = ? AND compute_class = ?",
            (self.objective, source, seed, compute_class),
        ).fetchone()
        return unpack_outcome(row[0]) if row else None

    def store_run(self, source: bytes, seed: int, compute_class: str, outcome: Outcome) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)",
            (self.objective, source, seed, compute_class, pack_outcome(outcome)),
        )

    def runs(self, source: bytes, compute_class: str | None = None) -> list[Outcome]:
        """The outcome of every run of a source made here; with `compute_class` of those made under it."""
        rows = self._db.execute(
            "SELECT outcome FROM runs WHERE objective = ? AND source = ? AND compute_class = coalesce(?, compute_class)"
            " ORDER BY rowid",
            (self.objective, source, compute_class),
        )
        return [unpack_outcome(row[0]) for row in rows]

    def runs_with_seeds(self, source: bytes) -> list[tuple[int, Outcome]]:
        """(seed, outcome) of every run of a source made here, in their order."""
        rows = self._db.execute(
            "SELECT seed, outcome FROM runs WHERE objective = ? AND source = ? ORDER BY rowid", (self.objective, source)
        )
        return [(int(seed), unpack_outcome(packed)) for seed, packed in rows]

    def all_runs(self) -> list[tuple[bytes, int, Outcome]]:
        """(source, seed, outcome) of every run of this objective made here."""
        rows = self._db.execute(
            "SELECT source, seed, outcome FROM runs WHERE objective = ? ORDER BY rowid", (self.objective,)
        )
        return [(bytes(row[0]), int(row[1]), unpack_outcome(row[2])) for row in rows]

    def runs_after(self, row: int) -> Iterator[tuple[int, Outcome]]:
        """Every run of this objective made here that was stored after a row, with its own row, in their order."""
        rows = self._db.execute(
            "SELECT rowid, outcome FROM runs WHERE objective = ? AND rowid > ? ORDER BY rowid", (self.objective, row)
        )
        for number, packed in rows:
            yield int(number), unpack_outcome(packed)

    def run_count(self) -> int:
        """How many runs of this objective were made here and are kept."""
        row = self._db.execute("SELECT count(*) FROM runs WHERE objective = ?", (self.objective,)).fetchone()
        return int(row[0])

    def recent_runs(self, limit: int, compute_class: str) -> list[Outcome]:
        """The outcomes of the last runs made here under it, of whatever source, the latest first."""
        rows = self._db.execute(
            "SELECT outcome FROM runs WHERE objective = ? AND compute_class = ? ORDER BY rowid DESC LIMIT ?",
            (self.objective, compute_class, limit),
        )
        return [unpack_outcome(row[0]) for row in rows]
