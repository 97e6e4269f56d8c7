"""What several views work out of all records, worked out once for the records held: discoveries, bests, feeds.

Each fold is made when it is first asked for. Folds of 10,000 records take tenths of a second, so who shows them often
keeps one `Folds` until other records are held, and gives it time to rest (`RestedFolds`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from node.ledger.projections.discoveries import Discovery, discoveries
from node.ledger.projections.leaderboard import AuthorBest, author_bests
from node.ledger.projections.lineage import Derivations, ancestry, derivations
from node.ledger.store import Ledger
from node.platform.log import Json
from node.view.model.baseline import Baseline, baseline
from protocol.metric import Metric
from protocol.records import Record
from protocol.weights import Weights

PAUSE_PER_PROJECTION = 10.0  # projections that took 0.2 s are not repeated for 2 s: at most a tenth of the time


@dataclass(frozen=True)
class Folds:
    """The folds of the records that a ledger held when this was made. It is of those records, whatever comes later."""

    ledger: Ledger
    records: Sequence[Record]
    me: bytes
    baseline: bytes
    measure: Metric

    @classmethod
    def of(cls, ledger: Ledger) -> Folds:
        settings = ledger.settings
        return cls(ledger, tuple(ledger.all_records()), settings.author, settings.baseline, settings.measure)

    @cached_property
    def weights(self) -> Weights:
        return self.ledger.weights(self.me)

    @cached_property
    def start(self) -> Baseline:
        """The value of the baseline."""
        return baseline(self.ledger, self.records)

    @cached_property
    def discoveries(self) -> Mapping[bytes, Discovery]:
        """Every claim, by its record's id, in the order of ids."""
        return {found.record.id: found for found in discoveries(self.records, self.weights)}

    @cached_property
    def bests(self) -> Mapping[bytes, AuthorBest]:
        """How far each author has got, by author, in the order of the leaderboard."""
        return {best.author: best for best in author_bests(self.records, self.baseline, self.weights)}

    @cached_property
    def feeds(self) -> Mapping[bytes, Sequence[Record]]:
        """Each author's records, in the order of arrival."""
        found: dict[bytes, list[Record]] = {}
        for record in self.records:
            found.setdefault(record.author, []).append(record)
        return found

    @cached_property
    def by_id(self) -> Mapping[bytes, Record]:
        return {record.id: record for record in self.records}

    @cached_property
    def derived(self) -> Derivations:
        return derivations(self.records)

    @cached_property
    def lives_in(self) -> Mapping[tuple[bytes, bytes], frozenset[bytes]]:
        """By version (an author, a source that was its best): the other authors whose present best goes back to it."""
        found: dict[tuple[bytes, bytes], set[bytes]] = {}
        for author, best in self.bests.items():
            tip = best.ahead[-1].source if best.ahead else best.source
            for version in ancestry(self.derived, (author, tip)):
                if version[0] != author:
                    found.setdefault(version, set()).add(author)
        return {version: frozenset(authors) for version, authors in found.items()}


class RestedFolds:
    """The folds for views that are asked for often: made anew when other records are held, and not before they rested.

    What is shown may therefore be a little old. With every projection comes `of`, how many records it is of, and
    `rest`, how many seconds it stays like that.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger, self._clock = ledger, clock
        self._made: Folds | None = None
        self._version = (-1, -1)
        self._due = 0.0

    def now(self) -> Folds:
        """The folds of the records held, or of those held a moment ago."""
        version = self._ledger.version()
        if self._made is None or (version != self._version and self._clock() >= self._due):
            self._made, self._version, self._due = Folds.of(self._ledger), version, 0.0
        return self._made

    def projection(self, project: Callable[[Folds], Json]) -> Callable[[], Json]:
        """What is worked out from the folds, once for each of them."""
        known: tuple[Folds, Json] | None = None

        def ask() -> Json:
            nonlocal known
            folds = self.now()
            if known is None or known[0] is not folds:
                started = self._clock()
                known = folds, project(folds)
                # Of several projections each adds its part: together they take a tenth of the time.
                self._due = max(self._due, started) + PAUSE_PER_PROJECTION * (self._clock() - started)
            return {**known[1], "of": len(folds.records), "rest": max(0.0, self._due - self._clock())}

        return ask
