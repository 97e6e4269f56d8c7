"""Runs that are drawn from a model of recorded ones, in the place of a node's runner: a search then takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from node.execution.run_progress import Progress
from node.execution.runs import Runs
from node.ledger.outcome import Outcome
from protocol.records import Failure
from search_bench.model import Drawn, Landscape


class ReplayedRuns:
    """Draws the runs of one search, all of the same number of tokens."""

    parallel_runs = 1

    def __init__(self, landscape: Landscape, tokens: int, of_node: Runs) -> None:
        self._landscape, self._tokens = landscape, tokens
        self.pause_gate, self.timing = of_node.pause_gate, of_node.timing
        self.spent = 0.0  # in runs; one that was ended early counts by what was made of it

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def run(
        self, source: str, seed: int, progress: Callable[[Progress], None], incumbent: str | None = None
    ) -> Outcome:
        return self._outcome(self._landscape.run(source, seed))

    def _outcome(self, drawn: Drawn) -> Outcome:
        seconds = drawn.cpu_seconds
        if drawn.value is None:
            return Outcome(None, {}, (), 0, seconds, seconds, 0, Failure.EXCEPTION, "", "replay")
        self.spent += 1
        return Outcome(drawn.value, {}, (), self._tokens, seconds, seconds, 0, None, "", "replay")

    def can_alternate(self) -> bool:
        return True

    async def run_pair(
        self,
        parent: str,
        child: str,
        seed: int,
        of_parent: Callable[[Progress], None],
        of_child: Callable[[Progress], None],
    ) -> tuple[Outcome, Outcome]:
        return await self.run(parent, seed, of_parent), await self.run(child, seed, of_child, parent)

    async def examine(self, source: str, seed: int, split: str, incumbent: str | None = None) -> Outcome:
        """The same text again: a replay has no holdout of its own."""
        return await self.run(source, seed, lambda progress: None, incumbent)

    async def cool_down(self) -> None: ...
