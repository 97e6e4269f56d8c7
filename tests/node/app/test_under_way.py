"""What a node says of its runs under way: each with its idea and the run it stands beside, within bounds."""

from __future__ import annotations

import hashlib
import json

from node.app.under_way import MOST_NEXT, MOST_RUNS, UnderWay
from node.execution.run_progress import Progress, RunProgress
from node.ledger.outcome import CurvePoint
from node.platform.gpu_types import Gpu, GpuUse
from node.proposers.proposer import Proposal
from node.research.candidates import Candidate
from node.trials.cached_runner import CachedRunner
from tests.node.conftest import made_before, outcome


def candidate(number: int, proposer: str = "numeric", reason: str = "why") -> Candidate:
    return Candidate(Proposal(f"idea {number}", "batch", reason, proposer, f"A = {number}\n"), bytes([number]))


def source(number: int) -> bytes:
    return hashlib.sha256(f"A = {number}\n".encode()).digest()


def trained(run: RunProgress, share: float, seconds: float) -> RunProgress:
    run.note(Progress(share, 3.0, seconds, "train"))
    return run


def test_a_run_is_told_with_its_idea_and_beside_the_incumbents(cached_runner: CachedRunner) -> None:
    baseline = cached_runner.objective.source_id
    suggested = candidate(1, "suggested", "Suggested by …abcdef12, record 0123456789. Because.")
    run = RunProgress(source(1), beside_source=baseline, beside=[CurvePoint(0.5, 3.1, 1.0)])
    cached_runner.runs_under_way.append(trained(run, 0.4, 12.0))
    told = UnderWay(cached_runner, lambda: [suggested, candidate(2)], lambda: baseline).as_json()
    (shown,) = told["runs"]
    assert (shown["title"], shown["category"], shown["role"]) == ("idea 1", "batch", "idea")
    assert (shown["suggestion"], shown["reason"]) == ("0123456789", suggested.proposal.reason)
    assert shown["beside"] == {"source": baseline.hex(), "role": "incumbent", "curve": [[0.5, 3.1]]}
    assert shown["seconds_left"] == 18.0, "40 % took 12 s"
    assert [idea["title"] for idea in told["next"]] == ["idea 2"]
    assert told["expected_seconds"] is None


def test_what_is_left_is_told_by_how_long_runs_take_here(cached_runner: CachedRunner) -> None:
    made_before(cached_runner, "A = 9\n", 1, outcome(3.5, tokens_per_second=52428.8))  # 10 s, and 2 s of judging
    run = RunProgress(source(1))
    cached_runner.runs_under_way.append(run)
    under_way = UnderWay(cached_runner, list, lambda: b"")
    assert under_way.as_json()["runs"][0]["seconds_left"] == 12.0
    trained(run, 0.5, 5.0)
    assert under_way.as_json()["runs"][0]["seconds_left"] == 7.0
    run.note(Progress(1.0, None, 11.0, "judge"))
    assert under_way.as_json()["runs"][0]["seconds_left"] == 1.0


def test_sixty_four_workers_are_told_of_within_bounds(cached_runner: CachedRunner) -> None:
    for number in range(64):
        run = RunProgress(source(number), beside_source=b"x" * 32)
        for part in range(1000):
            run.note(Progress(part / 1000, 3.14159265, part, "train"))
        run.beside = list(run.curve)
        cached_runner.runs_under_way.append(run)
    told = UnderWay(cached_runner, lambda: [candidate(number) for number in range(64)], lambda: b"").as_json()
    assert len(told["runs"]) == MOST_RUNS
    assert len(told["next"]) <= MOST_NEXT
    assert len(json.dumps(told)) < 64 << 10


def test_gpus_are_told_of_as_their_drivers_said_last(cached_runner: CachedRunner) -> None:
    gpu = Gpu(1, "a GPU", 8 << 30, "nvidia", "", "", ())
    use = GpuUse(2 << 30, 8 << 30, {}, 93, 61)
    told = UnderWay(cached_runner, list, lambda: b"", lambda: {gpu: use}).as_json()["machine"]["gpus"]
    named = {"index": 1, "name": "a GPU", "busy_percent": 93, "celsius": 61}
    assert told == [named | {"memory_used": 6 << 30, "memory_total": 8 << 30}]
