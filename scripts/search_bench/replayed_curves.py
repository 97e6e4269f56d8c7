"""Replayed runs that report their losses as they go on, so that a node can end them early."""

from __future__ import annotations

from collections.abc import Callable

from node.execution.run_progress import EndRun, Progress
from node.execution.verdict import ended_early
from node.execution.workers.budgets import CURVE_PARTS
from node.ledger.outcome import Outcome
from search_bench.replayed_runs import ReplayedRuns


class ReplayedCurves(ReplayedRuns):
    """As ReplayedRuns, with a curve that is level in each of the parts that were recorded."""

    async def run(
        self, source: str, seed: int, progress: Callable[[Progress], None], incumbent: str | None = None
    ) -> Outcome:
        drawn = self._landscape.run(source, seed)
        try:
            for part in range(CURVE_PARTS if drawn.curve else 0):
                share = part / CURVE_PARTS
                loss = drawn.curve[part * len(drawn.curve) // CURVE_PARTS]
                cost = share * drawn.cpu_seconds
                progress(Progress(share, loss, cost, "train", cost))
        except EndRun as end:
            self.spent += end.share
            seconds = end.share * drawn.cpu_seconds
            return ended_early(end.share, seconds, seconds, 0, "replay")
        return self._outcome(drawn)
