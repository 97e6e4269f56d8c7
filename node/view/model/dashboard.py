"""What the page draws, worked out from the ledger: one small row per record, made once, and the boards, when asked for.

It knows what a chart and a list need of a record. It does not know HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from node.execution.parsing.parser import SourceParser
from node.ledger.error import LedgerError
from node.ledger.projections.discoveries import Discovery, discoveries
from node.ledger.store import Ledger
from node.platform.home import Home
from node.platform.log import Json
from node.view.model import leaderboard as data
from node.view.model import strategy
from node.view.model.rows import Rows, least_drawn, tried
from node.view.model.transfers import names_of, transfers
from protocol.identity import peer_id_of

ID_CHARACTERS = 64
MAX_TEXT = 1000  # characters of one line of an edit, or of a field this version does not know
PAUSE_PER_PROJECTION = 10.0  # projections that took 0.2 s are not repeated for 2 s: at most a tenth of the time


class DashboardModel:
    """The ledger as the page sees it. `refresh` takes in what is new; everything else only reads."""

    def __init__(self, ledger: Ledger, home: Home) -> None:
        self._ledger = ledger
        self._home = home
        self._parser = SourceParser()
        self._rows: list[Json] = []
        self._made = Rows()
        self._dropped = 0  # how often the ledger had dropped records when these rows were made
        self._board: Json = {}
        self._board_records = -1
        self._board_due = 0.0

    def refresh(self) -> int:
        """Take in new records; returns how many rows there are now."""
        self._ledger.refresh()
        _, dropped = self._ledger.version()
        if dropped != self._dropped:
            self._dropped = dropped
            self._rows.clear()
            self._made = Rows()
        for record in self._ledger.all_records()[len(self._rows) :]:
            self._rows.append(self._made.add(record))
        return len(self._rows)

    def rows(self, after: int) -> list[Json]:
        """Rows that came after the first `after`, in the order of arrival."""
        return self._rows[after:]

    @property
    def dropped(self) -> int:
        """How often records were dropped: rows that were asked for before are others since."""
        return self._dropped

    def about(self) -> Json:
        """What stays the same while the page is open."""
        author = self._ledger.settings.author
        return {
            "objective": self._ledger.objective.hex(),
            **data.measured_json(self._ledger),
            "least_drawn": least_drawn(self._ledger.settings.measure),
            "you": peer_id_of(author) if author else None,
        }

    def measured_suffix(self) -> str:
        """What stands behind a gain where the objective measures itself."""
        return self._ledger.settings.description.measured_suffix

    def now(self) -> Json:
        """The running node's status.json (None when none runs), and whether a person has paused it."""
        running = self._home.read_status()
        if running is not None and running.get("objective") != self._ledger.objective.hex():
            running = None  # the node has changed over to another objective since this page was opened
        return {"running": running, "paused": self._home.paused_until() is not None}

    def board(self) -> Json:
        """Leaderboard, discoveries, what was tried, what carries over to larger scales, and the strategy.

        Folding all records takes time, so what is returned may be a little old: `of` is how many records it is of,
        `rest` how many seconds it stays like that.
        """
        if self._board_records != len(self._rows) and time.monotonic() >= self._board_due:
            started = time.monotonic()
            self._board = data.leaderboard(self._ledger) | {
                "tried": self._tried(),
                "strategy": self._strategy(),
                "transfers": transfers(self._ledger.all_records(), names_of(self._ledger)),
            }
            self._board_records = len(self._rows)
            self._board_due = time.monotonic() + PAUSE_PER_PROJECTION * (time.monotonic() - started)
        return {**self._board, "of": self._board_records, "rest": max(0.0, self._board_due - time.monotonic())}

    def _tried(self) -> list[Json]:
        return tried(self._rows, self._ledger.settings.measure)

    def _strategy(self) -> Json | None:
        """The strategy's view of each kind of idea; None while no node has chosen an idea in this home."""
        try:
            return strategy.strategy(self._ledger)
        except LedgerError:
            return None

    async def record(self, record_id: str) -> Json | None:
        """Everything about one record, every text cut to a readable length; None when there is no such record."""
        found = self._ledger.get(record_id) if len(record_id) == ID_CHARACTERS else None
        return cut(await data.show(self._ledger, found, self._parser)) if found is not None else None

    def discovery(self, record_id: str) -> Discovery | None:
        """A claim with every replication and audit of it; None when there is no such discovery."""
        record = self._ledger.get(record_id) if len(record_id) == ID_CHARACTERS else None
        if record is None:
            return None
        weights = self._ledger.weights(self._ledger.settings.author)
        return next(iter(discoveries(self._ledger.all_records(), weights, {record.id})), None)


def cut(value: Any) -> Any:
    """The same JSON-ready value with every text no longer than MAX_TEXT characters."""
    match value:
        case str():
            return value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + "…"
        case Mapping():
            return {cut(key): cut(item) for key, item in value.items()}
        case list():
            return [cut(item) for item in value]
        case _:
            return value
