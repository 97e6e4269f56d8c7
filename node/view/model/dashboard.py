"""What the page draws, worked out from the ledger: one small row per record, made once, and the boards, when asked for.

It knows what a chart and a list need of a record. It does not know HTTP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from node.execution.parsing.parser import SourceParser
from node.ledger.error import LedgerError
from node.ledger.projections.discoveries import Discovery, discoveries
from node.ledger.store import Ledger
from node.objective.schema import Objective
from node.platform.changed_settings import ChangedSettings
from node.platform.config import Config, ConfigError, load_config
from node.platform.home import Home
from node.platform.log import Json
from node.platform.settings import settings
from node.proposers.suggested import Suggested
from node.proposers.suggestion_choices import KeptChoices
from node.review.proven import proven_in
from node.view.model import leaderboard as data
from node.view.model import strategy
from node.view.model.baseline import baseline
from node.view.model.compare import compare
from node.view.model.contribution import RunTotals, contribution, counts_of_others
from node.view.model.folds import Folds, RestedFolds
from node.view.model.idea_map import IdeaMap, categories_of
from node.view.model.live_run import live
from node.view.model.objective import objective_here, objective_page
from node.view.model.peer import author_of, peer_page
from node.view.model.progress import progress
from node.view.model.rows import Rows, least_drawn, tried
from node.view.model.suggestions import fate, suggestions
from node.view.model.swarm import online_peers, swarm_graph
from node.view.model.transfers import names_of, transfers
from protocol.evidence import Verdict
from protocol.identity import peer_id_of
from protocol.records import Experiment, Hypothesis

ID_CHARACTERS = 64
LEAST_START = 6  # characters of an id by which a record is asked for
MAX_TEXT = 1000  # characters of one line of an edit, or of a field this version does not know


class DashboardModel:
    """The ledger as the page sees it. `refresh` takes in what is new; everything else only reads."""

    def __init__(self, ledger: Ledger, config: Config) -> None:
        home = Home(config.home)
        self._ledger = ledger
        self._home = home
        self._config = config
        self._choices = KeptChoices(home.suggestion_choices)
        self._parser = SourceParser()
        self._rows: list[Json] = []
        self._start = baseline(ledger)
        self._made = Rows(self._start)
        self._begun_anew = 0  # how often rows were made anew, since the value of the baseline was another
        self._suggestions_held = 0  # and experiments on them
        self._dropped = 0  # how often the ledger had dropped records when these rows were made
        self._map, self._mapped, self._map_dropped = IdeaMap(ledger.settings.measure), 0, 0
        self._run_totals = RunTotals()
        self._folds = RestedFolds(ledger)
        self._objective: Objective | None = None
        self._read_objective = False
        # Of each: the data, `of` how many records, and `rest`, for how many seconds it stays like that.
        self.board = self._folds.projection(self._board)
        self.totals = self._folds.projection(lambda folds: contribution(folds, self._run_totals, self._other_counts))
        self.swarm = self._folds.projection(lambda folds: swarm_graph(folds, self._online()))
        self.progress = self._folds.projection(progress)
        self.map = self._folds.projection(self._map_of)

    def refresh(self) -> int:
        """Take in new records; returns how many rows there are now."""
        self._ledger.refresh()
        _, dropped = self._ledger.version()
        begins_anew = self._begins_anew()
        if dropped != self._dropped or begins_anew:
            self._dropped = dropped
            self._begun_anew += begins_anew
            self._start = baseline(self._ledger)
            self._rows.clear()
            self._made = Rows(self._start)
        for record in self._ledger.all_records()[len(self._rows) :]:
            self._rows.append(self._made.add(record))
            body = record.body
            self._suggestions_held += isinstance(body, Hypothesis) or (
                isinstance(body, Experiment) and body.proposer == Suggested.name
            )
        return len(self._rows)

    def _begins_anew(self) -> bool:
        """Whether the value of the baseline is known only now: by a run here, or by the first record that shows one."""
        if self._start.is_final:
            return False
        known = baseline(self._ledger, () if self._start.value is not None else None)
        return known.value is not None

    def rows(self, after: int) -> list[Json]:
        """Rows that came after the first `after`, in the order of arrival."""
        return self._rows[after:]

    @property
    def dropped(self) -> int:
        """How often records were dropped or shown anew: rows that were asked for before are others since."""
        return self._dropped + self._begun_anew

    @property
    def ledger(self) -> Ledger:
        """The ledger that is shown."""
        return self._ledger

    def discoveries(self) -> Collection[Discovery]:
        """Every claim with its standing at this node."""
        return self._folds.now().discoveries.values()

    def about(self) -> Json:
        """What stays the same while the page is open."""
        author = self._ledger.settings.author
        return {
            "objective": self._ledger.objective.hex(),
            **data.measured_json(self._ledger),
            "baseline": self._ledger.settings.baseline.hex(),
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

    def live(self) -> Json:
        """What runs now."""
        return live(self._home, self.now()["running"])

    @cached_property
    def _other_counts(self) -> list[Json]:
        """What was contributed to other objectives: nothing is added to those while this one is researched."""
        return counts_of_others(self._ledger, self._home.ledger)

    def _online(self) -> frozenset[str]:
        return online_peers(self.now()["running"])

    def _board(self, folds: Folds) -> Json:
        """Leaderboard, discoveries, what was tried, what carries over to larger scales, and the strategy."""
        return data.leaderboard(self._ledger, folds) | {
            "tried": self._tried(),
            "strategy": self._strategy(),
            "transfers": transfers(folds.records, proven_in(self._ledger, folds.me), names_of(self._ledger)),
        }

    def _map_of(self, folds: Folds) -> Json:
        """The map of ideas, with how many of each category's claims are confirmed."""
        confirmed = Counter(
            category
            for found in folds.discoveries.values()
            if found.standing.verdict == Verdict.CONFIRMED
            for category in categories_of(found.claim)
        )
        _, dropped = self._ledger.version()
        if dropped != self._map_dropped:
            self._map, self._mapped, self._map_dropped = IdeaMap(folds.measure), 0, dropped
        for record in folds.records[self._mapped :]:
            self._map.add(record)
        self._mapped = len(folds.records)
        shown = self._map.as_json()
        for category in shown["categories"]:
            category["confirmed"] = confirmed[category["category"]]
        return shown

    def changes(self) -> tuple[object, ...]:
        """Another value whenever suggestions or settings may have changed by what a person did, or the node noted."""
        files = (self._home.suggestions, self._home.suggestion_choices, ChangedSettings(self._home.root).path)
        return (*map(_changed_at, files), self._ledger.settings.suggestion_notes, self._suggestions_held)

    def settings(self) -> Json:
        """The settings that can be changed, and the pause. Where a file is wrong, `trouble` says so."""
        origin, trouble = self._config.origin, None
        try:
            self._config = load_config(origin.asked, origin.overrides)
        except ConfigError as error:
            trouble = str(error)
        now = self.now()["running"]
        return settings(self._config, now) | {"trouble": trouble, "pause": self.live()["pause"]}

    def suggestions(self) -> Json:
        """Every suggestion with what came of it."""
        running = self.now()["running"]
        found: Json = cut(suggestions(self._ledger, self._home, self._choices(), self._config.has_model, running))
        return found

    def peer(self, start: str) -> Json | None:
        """The record of truth of one peer, by its id or the end of it; None where there is no such one."""
        folds = self._folds.now()
        author = author_of(folds, start)
        return peer_page(folds, author, peer_id_of(author) in self._online()) if author is not None else None

    def objective(self) -> Json:
        """What is researched."""
        if not self._read_objective:
            self._objective, self._read_objective = objective_here(self._home, self._ledger), True
        counts = {other.hex(): count for other, count in self._ledger.record_counts().items()}
        return objective_page(self._folds.now(), self._objective, counts)

    async def compare(self, a: str, b: str) -> Json | None:
        """Two records side by side; None where there is none of them. Raises NotComparableError."""
        found = [self._ledger.get(start) if LEAST_START <= len(start) <= ID_CHARACTERS else None for start in (a, b)]
        if found[0] is None or found[1] is None:
            return None
        shown: Json = cut(await compare(self._ledger, found[0], found[1], self._parser))
        return shown

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
        if found is None:
            return None
        shown = await data.show(self._ledger, found, self._parser)
        if isinstance(found.body, Hypothesis):
            running = self.now()["running"]
            shown["fate"] = fate(found, self._ledger, self._choices(), self._config.has_model, running)
        told: Json = cut(shown)
        return told

    def discovery(self, record_id: str) -> Discovery | None:
        """A claim with every replication and audit of it; None when there is no such discovery."""
        record = self._ledger.get(record_id) if len(record_id) == ID_CHARACTERS else None
        if record is None:
            return None
        weights = self._ledger.weights(self._ledger.settings.author)
        return next(iter(discoveries(self._ledger.all_records(), weights, {record.id})), None)


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


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
