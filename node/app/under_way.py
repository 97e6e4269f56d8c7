"""What the node says of the runs under way: which idea each is of, beside what it is run, and how long it may take.

Plain data of a bounded size for status.json, made every second. It looks at the node's parts and changes nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import psutil

from node.execution.run_progress import RunProgress
from node.platform.gpu_types import Gpu, GpuUse
from node.platform.log import Json
from node.proposers.proposer import Proposal
from node.proposers.suggested import suggestion_named
from node.research.candidates import Candidate
from node.trials.cached_runner import CachedRunner

MOST_RUNS = 16  # with their curves, of at most 65 points each; of 64 workers the others are counted
MOST_NEXT = 10
LEAST_SHARE = 0.05  # of a budget, before what is left is told from how long that took


@dataclass
class UnderWay:
    """Tells of the runs that a cached runner makes.

    When asked, candidates: the ideas that are tried next; incumbent: the source that the search stands on; gpu_uses:
    what the drivers said last of the GPUs that runs use.
    """

    cached_runner: CachedRunner
    candidates: Callable[[], Sequence[Candidate]]
    incumbent: Callable[[], bytes]
    gpu_uses: Callable[[], Mapping[Gpu, GpuUse]] = dict
    _expected: tuple[int, float] = (-1, math.nan)  # seconds of a run, and after how many runs that was worked out
    _ids: dict[str, bytes] = field(default_factory=dict)  # of candidates' sources

    def as_json(self) -> Json:
        """Runs, ideas that wait, and how busy the machine is."""
        runner, expected = self.cached_runner, self._expected_seconds()
        ideas = {self._source_of(each): each.proposal for each in self.candidates()}
        runs = runner.runs_under_way
        shown = [self._run(run, ideas, expected) for run in runs[:MOST_RUNS]]
        running = {run.source for run in runs}
        waiting = [proposal for source, proposal in ideas.items() if source not in running]
        return {
            "runs": shown,
            "workers_most": runner.parallel_runs,
            "next": [_idea(proposal) for proposal in waiting[:MOST_NEXT]],
            "expected_seconds": None if math.isnan(expected) else round(expected, 1),
            "runs_made": runner.runs_made,
            "machine": {
                "cpu_percent": psutil.cpu_percent(interval=None),
                "memory_percent": psutil.virtual_memory().percent,
                "gpus": [
                    _gpu(gpu, use) for gpu, use in sorted(self.gpu_uses().items(), key=lambda item: item[0].index)
                ],
            },
        }

    def ideas_running(self) -> int:
        """How many ideas have runs under way."""
        running = {run.source for run in self.cached_runner.runs_under_way}
        return len(running & {self._source_of(each) for each in self.candidates()})

    def _expected_seconds(self) -> float:
        made = self.cached_runner.runs_made
        if self._expected[0] != made:
            self._expected = made, self.cached_runner.seconds_per_run()
        return self._expected[1]

    def _source_of(self, candidate: Candidate) -> bytes:
        """The id of a candidate's source, worked out once."""
        source = candidate.proposal.source
        if source not in self._ids:
            if len(self._ids) > 10 * MOST_RUNS:
                self._ids.clear()
            self._ids[source] = hashlib.sha256(source.encode()).digest()
        return self._ids[source]

    def _run(self, run: RunProgress, ideas: dict[bytes, Proposal], expected: float) -> Json:
        proposal = ideas.get(run.source)
        about = _idea(proposal) if proposal is not None else {"title": self.cached_runner.title}
        shown = run.as_json()
        if shown["beside"] is not None:
            shown["beside"]["role"] = self._role(run.beside_source or b"", ideas)
        return shown | about | {"role": self._role(run.source, ideas), "seconds_left": _seconds_left(run, expected)}

    def _role(self, source: bytes, ideas: dict[bytes, Proposal]) -> str:
        if source in ideas:
            return "idea"
        if source == self.incumbent():
            return "incumbent"
        return "baseline" if source == self.cached_runner.objective.source_id else "peer"


def _gpu(gpu: Gpu, use: GpuUse) -> Json:
    return {
        "index": gpu.index,
        "name": gpu.name,
        "busy_percent": use.busy_percent,
        "memory_used": use.memory_total - use.memory_free,
        "memory_total": use.memory_total,
        "celsius": use.celsius,
    }


def _idea(proposal: Proposal) -> Json:
    return {
        "title": proposal.title,
        "category": proposal.category,
        "reason": proposal.reason,
        "proposer": proposal.proposer,
        "suggestion": suggestion_named(proposal.proposer, proposal.reason),
    }


def _seconds_left(run: RunProgress, expected: float) -> float | None:
    """Until the run is over, by the usual length of a run here; of the first one, by how far it has got.

    At 12 s and 40 % of its budget a run has 18 s left, whatever others took. While it is judged nobody can tell, but
    that others have taken longer in all.
    """
    latest = run.latest
    if latest.phase == "train" and latest.share >= LEAST_SHARE:
        judging = 0.0 if math.isnan(expected) else max(0.0, expected - latest.seconds / latest.share)
        return round(latest.seconds / latest.share - latest.seconds + judging, 1)
    return None if math.isnan(expected) else round(max(0.0, expected - latest.seconds), 1)
