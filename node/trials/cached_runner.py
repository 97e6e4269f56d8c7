"""The laboratory: runs, remembered. It is where research and replication get their measurements from.

It knows the objective, the runner and the ledger's cache, so that the same run is never paid for twice. It does not
decide anything: trials do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from node.execution.run_progress import Progress, RunProgress
from node.execution.runner import Runner
from node.ledger.outcome import HOST_FAILURES, Outcome
from node.ledger.store import Ledger
from node.objective.schema import Objective
from node.platform.concurrency import gather
from node.platform.hardware import ComputeClass
from node.platform.log import Log
from node.trials.statistics import shrunk_effect
from protocol.records import Effect, Pair

RECENT_RUNS = 30
FRESH_FOR_RUN_LENGTHS = 4.0  # a run ended at most so many times its own length ago
RECENT_ENDS_KEPT = 16


class ProgressView(Protocol):
    """Whoever shows a run while it goes on."""

    def show(self, title: str, progress: Progress) -> None: ...

    def clear(self) -> None: ...


@dataclass
class CachedRunner:
    """Runs sources of one objective on this machine, as many at a time as its runner makes."""

    objective: Objective
    ledger: Ledger
    runner: Runner
    compute_class: str
    device: str
    platform: str
    sandbox: str
    log: Log
    view: ProgressView
    title: str = ""
    runs_under_way: list[RunProgress] = field(default_factory=list)  # of the runs under way, the oldest first
    runs_made: int = 0
    conditions: str = "cpu"  # what runs are made under, and so remembered by: the device, and a budget of its own
    _ended: dict[tuple[bytes, int, str], float] = field(init=False, default_factory=dict)  # the last runs

    def join_class(self, found: ComputeClass) -> None:
        """Work as a machine of this class from the next run on."""
        self.compute_class = found.name
        self.conditions = found.device if found.tokens is None else f"{found.device}, {found.tokens} tokens"
        self.runner.tokens = found.tokens or self.objective.budget.tokens

    @contextmanager
    def working_on(self, title: str) -> Iterator[None]:
        """Name what the runs inside the block are for, as the progress bar shows it."""
        self.title = title
        try:
            yield
        finally:
            self.title = ""
            self.view.clear()

    async def run(self, source: bytes, seed: int, incumbent: bytes | None = None) -> Outcome:
        """The outcome of a source at a seed: from the cache, or by training and judging it now.

        The sources must be in the ledger. `incumbent` is what this one is to be better than: the judge holds its claims
        against the incumbent's own run at this seed, where what is kept of that is still here. An outcome that says
        more of the machine at this moment than of the source is not remembered, so that it can be tried again.
        """
        known = self.cached(source, seed)
        if known is not None:
            return known
        text = self.source_text(source)
        beaten = None if incumbent is None else self.source_text(incumbent)
        run_progress = RunProgress(source, seed)
        self.runs_under_way.append(run_progress)
        try:
            outcome = await self.runner.run(text, seed, partial(self._show, run_progress), beaten)
        finally:
            self.runs_under_way.remove(run_progress)
        if not self.runs_under_way:
            self.view.clear()
        self.runs_made += 1
        if outcome.failure not in HOST_FAILURES:
            self.ledger.store_run(source, seed, self.conditions, outcome)
            self._ended[source, seed, self.conditions] = time.monotonic()
            if len(self._ended) > RECENT_ENDS_KEPT:
                del self._ended[next(iter(self._ended))]
        self.log(
            "run",
            level="debug",
            source=source.hex()[:10],
            seed=seed,
            value=outcome.value,
            failure=outcome.failure,
            cpu_seconds=round(outcome.cpu_seconds, 1),
        )
        return outcome

    @property
    def parallel_runs(self) -> int:
        """How many runs this machine makes side by side."""
        return self.runner.parallel_runs

    def _show(self, run_progress: RunProgress, progress: Progress) -> None:
        run_progress.note(progress)
        if run_progress is self.runs_under_way[0]:  # there is room for one
            self.view.show(self.title, progress)

    def cached(self, source: bytes, seed: int) -> Outcome | None:
        """The outcome of a run that was made here before, under the present conditions."""
        return self.ledger.cached_run(source, seed, self.conditions)

    def can_pair(self, parent: bytes, child: bytes, seed: int) -> bool:
        """Whether these runs are made alone and one soon after the other, so that their CPU time compares.

        Each was made lately, or is still to be made.
        """
        return self.parallel_runs == 1 and self._is_of_now(parent, seed) and self._is_of_now(child, seed)

    def _is_of_now(self, source: bytes, seed: int) -> bool:
        known = self.cached(source, seed)
        ended = self._ended.get((source, seed, self.conditions), -math.inf)
        return known is None or time.monotonic() - ended <= FRESH_FOR_RUN_LENGTHS * known.wall_seconds

    def seconds_per_run(self) -> float:
        """Wall time of a run here lately; NaN before the first."""
        recent = [outcome.wall_seconds for outcome in self.ledger.recent_runs(RECENT_RUNS) if outcome.failure is None]
        return math.fsum(recent) / len(recent) if recent else math.nan

    def memory_of(self, source: bytes) -> int:
        """The most memory (bytes) a run of this source took here; 0 when none was made."""
        return max((outcome.peak_memory for outcome in self.ledger.runs(source)), default=0)

    def source_text(self, source: bytes) -> str:
        data = self.ledger.get_blob(source)
        if data is None:
            raise KeyError(f"source {source.hex()[:10]} is not in the ledger")
        return data.decode("utf-8", errors="replace")  # a source that is no text fails as one

    async def holdout(self, parent: bytes, child: bytes, pairs: Sequence[Pair], s0: float) -> Effect | None:
        """The holdout effect of an accepted child: both sides of its pairs, scored again on unseen data.

        Cost is left out: it is the metric alone that could have been overfitted. None when no pair has kept weights.
        """
        found = await gather([partial(self._holdout_difference, parent, child, pair.seed) for pair in pairs])
        differences = [difference for difference in found if difference is not None]
        return shrunk_effect(differences, s0) if differences else None

    async def _holdout_difference(self, parent: bytes, child: bytes, seed: int) -> float | None:
        """Δ ln(metric) on holdout data between two runs whose weights are kept, else None."""
        values = []
        for source, incumbent in ((parent, None), (child, self.source_text(parent))):
            outcome = await self.runner.examine(self.source_text(source), seed, "holdout", incumbent)
            values.append(outcome.value)
        return math.log(values[1] / values[0]) if values[0] is not None and values[1] is not None else None
