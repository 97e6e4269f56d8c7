"""A search by the node's own research, of which only the runs are drawn from a model.

What takes time and decides nothing is left out: sandbox, fork servers, the git workspace; and sources are read in this
process instead of a helper. Strategy, proposers, trials, ledger and records are the node's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from node.app.service import NodeSetup, assemble
from node.execution.parsing.parser import SourceParser
from node.execution.parsing.questions import QUESTIONS
from node.execution.sandbox.layers import probe
from node.ledger.store import Ledger, Quota
from node.objective.load import load_objective
from node.platform.config import load_config
from node.platform.home import Home
from node.research.loop import Research
from search_bench.model import Landscape, parts_of
from search_bench.replayed_runs import ReplayedRuns

T = TypeVar("T")
MOST_IDLE = 50  # turns without a run, after which a search has ended


class Silent:
    """A log, a progress view and a workspace that nobody reads."""

    def __call__(self, *_: object, **__: object) -> None: ...

    def show(self, *_: object) -> None: ...

    def clear(self) -> None: ...

    def add(self, *_: object) -> None: ...

    def stand_on(self, *_: object) -> None: ...


class ParserHere(SourceParser):
    """Answers in this process what is asked about sources, which are this repository's."""

    async def compare(self, source: str, child: str, unread: frozenset[str] = frozenset()) -> tuple[bool, bool]:
        """Whether the model sees no difference. No idea changes nothing but chance, so that is not looked for here."""
        return parts_of(source) == parts_of(child), False

    async def _ask(
        self, kind: type[T], name: str, values: list[Any], blamed: Sequence[str] = (), remember: bool = True
    ) -> T:
        key = msgspec.msgpack.encode([name, values])
        if key not in self._answers:
            self._answers[key] = QUESTIONS[name](*values)
        return msgspec.convert(self._answers[key], kind)


@contextmanager
def replayed(
    objective_root: Path, landscape: Landscape, seed: int, parser: SourceParser, kind: type[ReplayedRuns]
) -> Iterator[tuple[Research, ReplayedRuns]]:
    """A node's research whose choices follow from `seed`, and its runs, of this kind."""
    silent: Any = Silent()
    with tempfile.TemporaryDirectory(prefix="replayed-search-") as name:
        config = load_config(None, {"home": name, "seed": seed})
        home = Home(config.home)
        home.make()
        objective = load_objective(objective_root, Path(name) / "data")
        ledger = Ledger.open(home.ledger, objective.id, Quota())
        try:
            ledger.put_blob(objective.source.encode())
            node = assemble(NodeSetup(config, home, objective, silent, silent), home.identity(), ledger, probe())
            research = node.research
            research.workspace = research.incumbent.workspace = silent
            cached_runner = node.cached_runner
            cached_runner.parser = parser
            runs = kind(landscape, objective.budget.tokens, cached_runner.runner)
            cached_runner.runner = runs
            yield research, runs
        finally:
            ledger.close()


async def gains(
    research: Research, runs: ReplayedRuns, landscape: Landscape, checkpoints: Sequence[int]
) -> list[float]:
    """The true gain of the incumbent when so many runs were spent, at each of these numbers, in increasing order."""
    found: list[float] = []
    best = 0.0
    idle = 0  # turns without a run: of ideas that fail, or that were run already
    while len(found) < len(checkpoints):
        spent = runs.spent
        record = await research.turn() if idle < MOST_IDLE else None
        idle = idle + 1 if runs.spent == spent else 0
        while len(found) < len(checkpoints) and (record is None or runs.spent > checkpoints[len(found)]):
            found.append(best)
        best = landscape.gain(research.cached_runner.source_text(research.incumbent.source()))
        while len(found) < len(checkpoints) and runs.spent == checkpoints[len(found)]:
            found.append(best)
    return found
