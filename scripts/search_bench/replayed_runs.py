"""Runs that are drawn from a model of recorded ones, in the place of a node's runner: a search then takes seconds."""

from __future__ import annotations

from collections.abc import Callable

from node.execution.run_progress import Progress
from node.execution.runs import Runs
from node.ledger.outcome import Outcome
from protocol.records import Failure
from search_bench.model import Drawn, Landscape
from search_bench.stand_in_runs import StandInRuns


class ReplayedRuns(StandInRuns):
    """Draws the runs of one search, all of the same number of tokens."""

    def __init__(self, landscape: Landscape, tokens: int, of_node: Runs) -> None:
        self._landscape, self._tokens = landscape, tokens
        super().__init__(of_node)
        self.spent = 0.0  # in runs; one that was ended early counts by what was made of it

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

    async def examine(self, source: str, seed: int, split: str, incumbent: str | None = None) -> Outcome:
        """The same text again: a replay has no holdout of its own."""
        return await self.run(source, seed, lambda progress: None, incumbent)
