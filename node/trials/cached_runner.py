"""The cached runner: runs of one objective on this machine, remembered. Research and review measure through it.

It knows the objective, the runner and the ledger's cache, so that the same run is never made twice. It does not decide
anything: trials do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from node.execution.parsing.parser import SourceParser
from node.execution.run_progress import EndRun, Progress, RunProgress
from node.execution.runs import Runs
from node.ledger.outcome import HOST_FAILURES, Outcome, PairOutcome
from node.ledger.screenings import ScreenedRun, Screening
from node.ledger.store import Ledger
from node.objective.schema import Objective
from node.platform.concurrency import gather
from node.platform.hardware import ComputeClass
from node.platform.log import Log, short_id
from node.trials.early_end import CostCredit, EarlyEnd, is_control
from node.trials.own_seeds import OwnSeeds
from node.trials.statistics import Noise, noise_of_feed, shrunk_effect
from protocol.metric import Direction
from protocol.records import Effect, Experiment, Pair, Replication

RECENT_RUNS = 30  # of which the usual length is averaged: enough to smooth, few enough to follow a slower machine


class ProgressView(Protocol):
    """Shows a run while it goes on: a progress bar, say."""

    def show(self, title: str, progress: Progress) -> None: ...

    def clear(self) -> None: ...


@dataclass
class CachedRunner:
    """Runs sources of one objective on this machine, as many side by side as its runner can make.

    seeds: where those of its own runs come from. title: what the present runs are for, as the progress bar shows it.
    runs_under_way: the oldest first. parser: tells what a source says, where that has to be known around its runs.
    """

    objective: Objective
    ledger: Ledger
    runner: Runs
    seeds: OwnSeeds
    compute_class: str
    device: str
    platform: str
    sandbox: str
    log: Log
    view: ProgressView
    title: str = ""
    runs_under_way: list[RunProgress] = field(default_factory=list)
    runs_made: int = 0
    parser: SourceParser = field(init=False)

    def __post_init__(self) -> None:
        self.parser = SourceParser(self.log, self.objective.editable)

    def join_class(self, found: ComputeClass) -> None:
        """Work as a machine of this class from the next run on."""
        self.compute_class = found.name

    @property
    def conditions(self) -> str:
        """What runs are made under and are remembered by."""
        return self.objective.conditions

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

        `incumbent` is the source that this one is to beat: the judge compares with the incumbent's own run at this
        seed, as long as its weights are kept here. An outcome that says more of the machine at this moment than of the
        source (HOST_FAILURES) is not remembered, so that the run can be tried again. Raises KeyError for a source that
        is not in the ledger.
        """
        known = self.cached(source, seed)
        if known is not None:
            return known
        text = self.source_text(source)
        to_beat = None if incumbent is None else self.source_text(incumbent)
        with self._under_way(source) as under_way:
            self._compare(under_way, incumbent, seed)
            outcome = await self.runner.run(text, seed, partial(self._show, under_way), to_beat)
        return self._made(source, seed, outcome, under_way)

    async def run_anew(self, source: bytes, seed: int) -> Outcome:
        """The outcome of a run that is made now, though it was made before; it is not remembered. Raises as `run`."""
        text = self.source_text(source)
        with self._under_way(source) as under_way:
            outcome = await self.runner.run(text, seed, partial(self._show, under_way), None)
        self.runs_made += 1
        return outcome

    async def screen(self, source: bytes, seed: int, parent: bytes, category: str) -> Outcome:
        """The outcome of an idea's source beside its parent's run at this seed: as `run` has it, unless it is losing.

        A run that plainly is (`node.trials.early_end`) is ended. Its outcome then has `ended_at`, `behind` and what it
        cost, and neither a value nor a failure. That is remembered, so it is not begun again beside this parent; but it
        is no outcome of the source, so `run` and `run_pair` would make the run from its beginning. Where the parent was
        not run at this seed, or either reports no loss, the run goes to its end. category: the idea's, for what runs of
        its kind have shown. Raises KeyError as `run` does.
        """
        run = ScreenedRun(source, parent, seed, self.conditions)
        known = self.cached(source, seed) or self.ledger.screenings.ended(run)
        if known is not None:
            return known
        before = self.cached(parent, seed)
        if before is None or before.value is None:
            return await self.run(source, seed, parent)
        text, to_beat = self.source_text(source), self.source_text(parent)
        statistics = self.objective.statistics
        credit = CostCredit(statistics.slope, statistics.cost_deadband)
        finished = self.ledger.screenings.finished(category, self.conditions)
        with self._under_way(source) as under_way:
            under_way.beside_source, under_way.beside = parent, before.curve
            watch = EarlyEnd(before.curve, finished, credit, is_control(source))

            def told(progress: Progress) -> None:
                self._show(under_way, progress)
                if watch.is_due(under_way.curve):
                    raise EndRun(progress.share)

            outcome = await self.runner.run(text, seed, told, to_beat)
        if outcome.ended_at is not None:
            outcome = replace(outcome, behind=watch.behind[-1], curve=tuple(under_way.curve))
            self.ledger.screenings.keep_ended(run, category, watch.behind, outcome)
        elif outcome.value is not None:
            effect = self.objective.measure.difference(before.value, outcome.value)
            effect -= credit.of(before.cpu_seconds, outcome.cpu_seconds)
            gained = effect < -statistics.minimum_effect
            self.ledger.screenings.keep_finished(run, category, Screening(watch.behind, gained))
            if watch.losing:
                self.log(
                    "control went to its end", level="debug", source=short_id(source), category=category, gained=gained
                )
        return self._made(source, seed, outcome, under_way)

    async def run_pair(self, parent: bytes, child: bytes, seed: int) -> PairOutcome:
        """Both runs of a pair. They take turns where neither was made before and there is memory for both at once.

        Else what is missing of them is made, the parent's run first. Where the objective is timed, what was measured
        before does not count: both are made now. Raises KeyError as `run` does.
        """
        known = None if self.objective.timed else self.cached(parent, seed) or self.cached(child, seed)
        if known is None and parent != child and self.runner.can_alternate():
            texts = self.source_text(parent), self.source_text(child)
            with self._under_way(parent) as of_parent, self._under_way(child) as of_child:
                of_parent.takes_turns = of_child.takes_turns = True
                of_child.beside_source, of_child.beside = parent, of_parent.curve
                shown = partial(self._show, of_parent), partial(self._show, of_child)
                before, tried = await self.runner.run_pair(*texts, seed, *shown)
            before = self._made(parent, seed, replace(before, beside=child), of_parent)
            tried = self._made(child, seed, replace(tried, beside=parent), of_child)
        else:
            before = await self.run(parent, seed)
            tried = await self.run(child, seed, parent)
        return PairOutcome(before, tried, before.beside == child and tried.beside == parent)

    @contextmanager
    def _under_way(self, source: bytes) -> Iterator[RunProgress]:
        """The run of this source is under way inside the block; what it yields is to be told of its progress."""
        run_progress = RunProgress(source)
        self.runs_under_way.append(run_progress)
        try:
            yield run_progress
        finally:
            self.runs_under_way.remove(run_progress)
        if not self.runs_under_way:
            self.view.clear()

    def _compare(self, run_progress: RunProgress, with_source: bytes | None, seed: int) -> None:
        """Have a run under way shown beside that of another source at its seed, if that was made here."""
        before = self.cached(with_source, seed) if with_source is not None else None
        if before is not None:
            run_progress.beside_source, run_progress.beside = with_source, before.curve

    def _made(self, source: bytes, seed: int, outcome: Outcome, run_progress: RunProgress) -> Outcome:
        """Count, remember and log a run; returns its outcome, with its curve."""
        self.runs_made += 1
        outcome = replace(outcome, curve=tuple(run_progress.curve))
        if outcome.failure not in HOST_FAILURES and outcome.ended_at is None:
            self.ledger.store_run(source, seed, self.conditions, outcome)
        if outcome.replay is not None and outcome.value is not None:
            higher = self.objective.measure.direction == Direction.HIGHER
            self.ledger.replays.keep(source, -outcome.value if higher else outcome.value, outcome.replay)
        self.log(
            "run",
            level="debug",
            source=short_id(source),
            value=outcome.value,
            failure=outcome.failure,
            cpu_seconds=round(outcome.cpu_seconds, 1),
            **({} if outcome.ended_at is None else {"ended_at": round(outcome.ended_at, 2)}),
        )
        return outcome

    @property
    def parallel_runs(self) -> int:
        """How many runs this machine makes side by side."""
        return self.runner.parallel_runs

    @property
    def runs_at_once(self) -> int:
        """How many runs are being made now. Two that take turns are one: either waits while the other goes on."""
        in_turns = sum(run.takes_turns for run in self.runs_under_way)
        return len(self.runs_under_way) - in_turns // 2

    def under_way_in_words(self) -> str:
        """What goes on beside one run: "2 runs side by side"; "" where there is no more than one."""
        if self.runs_at_once > 1:
            return f"{self.runs_at_once} runs side by side"
        return "the two runs of a pair in turns" if len(self.runs_under_way) > 1 else ""

    def _show(self, run_progress: RunProgress, progress: Progress) -> None:
        run_progress.note(progress)
        if run_progress is self.runs_under_way[0]:  # the view shows one run: the oldest
            self.view.show(self.title, progress)

    def cached(self, source: bytes, seed: int) -> Outcome | None:
        """The outcome of a run that was made here before, under the present conditions."""
        return self.ledger.cached_run(source, seed, self.conditions)

    def least_cost(self, source: bytes) -> float:
        """The least CPU seconds per token that the source took here under the present conditions; infinite before.

        Of runs that count no tokens, the least CPU seconds.
        """
        made = [run for run in self.ledger.runs(source, self.conditions) if run.failure is None]
        return min((run.cpu_seconds / max(1, run.tokens) for run in made), default=math.inf)

    def seconds_per_run(self) -> float:
        """The mean wall time (seconds) of the last successful runs here; NaN before the first."""
        recent = self.ledger.recent_runs(RECENT_RUNS, self.conditions)
        seconds = [outcome.wall_seconds for outcome in recent if outcome.failure is None]
        return math.fsum(seconds) / len(seconds) if seconds else math.nan

    def noise(self, author: bytes) -> Noise:
        """How much paired runs differ by chance on this machine, learnt from the trials that its node has signed.

        Those under another budget say nothing of it.
        """
        feed = [
            record
            for record in self.ledger.feed(author)
            if isinstance(record.body, Experiment | Replication)
            and self.objective.same_budget(record.body.compute_class)
        ]
        return noise_of_feed(feed, self.objective.statistics)

    def memory_of(self, source: bytes) -> int:
        """The most memory (bytes) a run of this source took here under these conditions; 0 when none was made."""
        return max((outcome.peak_memory for outcome in self.ledger.runs(source, self.conditions)), default=0)

    def source_text(self, source: bytes) -> str:
        """The text of a source by its id. Raises KeyError when it is not in the ledger."""
        data = self.ledger.use_source(source)
        if data is None:
            raise KeyError(f"source {short_id(source)} is not in the ledger")
        # A peer's source may be no text: it then runs with replacement characters, and fails as a source.
        return data.decode("utf-8", errors="replace")

    async def holdout(self, parent: bytes, child: bytes, pairs: Sequence[Pair], s0: float) -> Effect | None:
        """The holdout effect of an accepted child: both runs of each of its pairs, scored again on unseen data.

        s0: the prior of the paired standard deviation, as an effect. Cost is left out: only the metric can have been
        overfitted. None when the weights of no pair are kept any more, and where the objective is timed: its values of
        different sessions do not compare.
        """
        if self.objective.timed:
            return None
        found = await gather([partial(self._holdout_difference, parent, child, pair.seed) for pair in pairs])
        differences = [difference for difference in found if difference is not None]
        return shrunk_effect(differences, s0) if differences else None

    async def _holdout_difference(self, parent: bytes, child: bytes, seed: int) -> float | None:
        """The effect on the metric of holdout data, of two runs whose weights are kept; else None."""
        values = []
        for source, incumbent in ((parent, None), (child, self.source_text(parent))):
            outcome = await self.runner.examine(self.source_text(source), seed, "holdout", incumbent)
            values.append(outcome.value)
        if values[0] is None or values[1] is None:
            return None
        return self.objective.measure.difference(values[0], values[1])
