"""Screening: a real run that is plainly losing is ended, frees its workers, and is not begun again.

The objective is the template with a budget of a few steps; what its sources say of their loss is made up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from node.execution.runner import UNFINISHED, Runner
from node.execution.sandbox.layers import probe
from node.ledger.store import Ledger
from node.trials.cached_runner import CachedRunner
from node.trials.early_end import is_control
from node.trials.own_seeds import OwnSeeds
from tests.node.conftest import NoView
from tests.node.execution.drawn_objective import drawn_objective
from tests.node.execution.kept_servers import workers_left
from tests.node.records_for_tests import Author

pytestmark = pytest.mark.sandbox
SEED = 12
CATEGORY = "schedule"
SAID = "task.report(model, loss)"


@dataclass
class Events:
    """What was logged."""

    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, event: str, *, level: str = "info", **details: Any) -> None:
        self.seen.append((event, details))

    def of(self, name: str) -> list[dict[str, Any]]:
        return [details for event, details in self.seen if event == name]


@contextmanager
def machine(folder: Path) -> Iterator[tuple[CachedRunner, Events]]:
    """A node's runs in this folder, as after a start. Its runner is not entered yet."""
    objective = drawn_objective(folder / "objective" if not (folder / "objective").exists() else folder / "again")
    ledger, events = Ledger.open(folder / "ledger.sqlite", objective.id), Events()
    runner = Runner(objective, probe(), folder / "weights", events)
    seeds = OwnSeeds(Author("alice").identity, objective.id)
    yield CachedRunner(objective, ledger, runner, seeds, "cpu", "", "", "", events, NoView()), events
    ledger.close()


def saying(source: str, loss: str, control: bool = False) -> str:
    """A source that says this of its loss, which goes to its end as a control or is ended, as its hash has it."""
    assert source.count(SAID) == 1
    changed = source.replace(SAID, f"task.report(model, {loss})")
    texts = (f"{changed}\n# {number}\n" for number in range(1000))
    return next(text for text in texts if is_control(hashlib.sha256(text.encode()).digest()) == control)


async def test_a_run_that_is_plainly_losing_is_ended_and_not_begun_again_after_a_restart(tmp_path: Path) -> None:
    with machine(tmp_path) as (runs, events):
        put = runs.ledger.put_blob
        parent = put(runs.objective.source.encode())
        child = put(saying(runs.objective.source, "2 * loss.detach()").encode())
        async with runs.runner:
            before = await runs.run(parent, SEED)
            outcome = await runs.screen(child, SEED, parent, CATEGORY)
            assert runs.runs_under_way == []
            after = await runs.run(put(f"{runs.objective.source}\n# another\n".encode()), SEED)
        assert workers_left() == []
    assert before.value is not None
    assert len(before.curve) > 20
    assert (outcome.value, outcome.failure) == (None, None)
    assert outcome.ended_at is not None
    assert 0.25 <= outcome.ended_at < 0.5
    assert outcome.behind is not None
    assert outcome.behind > 0.5
    assert 0 < outcome.cpu_seconds < before.cpu_seconds
    assert after.value == before.value  # the next run finds everything as it was
    assert [run["ended_at"] for run in events.of("run") if "ended_at" in run] == [round(outcome.ended_at, 2)]
    assert list((tmp_path / "weights" / UNFINISHED).iterdir()) == []

    with machine(tmp_path) as (again, _):
        known = again.cached(parent, SEED)
        assert known is not None
        assert known.curve == before.curve
        assert await again.screen(child, SEED, parent, CATEGORY) == outcome  # no runner is there to make it
        assert again.cached(child, SEED) is None
        assert again.ledger.runs(child) == []
        assert again.ledger.screenings.finished(CATEGORY, again.conditions) == []


@pytest.mark.long
async def test_a_control_that_recovers_teaches_to_let_runs_of_its_category_go_on(tmp_path: Path) -> None:
    with machine(tmp_path) as (runs, events):
        put, source = runs.ledger.put_blob, runs.objective.source
        parent = put(saying(source, "9.0").encode())
        better = source.replace("LR = 3e-3", "LR = 6e-3")
        late = "20.0 if task.progress < 0.8 else 1.0"
        control, like_it = (put(saying(better, late, is_it).encode()) for is_it in (True, False))
        async with runs.runner:
            before = await runs.run(parent, SEED)
            outcomes = [await runs.screen(child, SEED, parent, CATEGORY) for child in (control, like_it)]
            elsewhere = await runs.screen(like_it, SEED, put(saying(source, "8.0").encode()), CATEGORY)
            other = await runs.screen(put(saying(better, f"({late}) + 1").encode()), SEED, parent, "batch")
        finished = runs.ledger.screenings.finished(CATEGORY, runs.conditions)
    assert before.value is not None
    assert [outcome.ended_at for outcome in outcomes] == [None, None]
    assert all(outcome.value is not None and outcome.value < before.value for outcome in outcomes)
    assert [one.gained for one in finished] == [True, True]
    assert all(value is not None and value > 0.5 for one in finished for value in one.behind)
    assert [told["gained"] for told in events.of("control went to its end")] == [True]
    assert elsewhere == outcomes[1]  # a run that went to its end is one beside any parent
    assert other.ended_at is not None  # of another category nothing was learnt


@pytest.mark.long
async def test_where_the_parent_was_not_run_the_run_goes_to_its_end(tmp_path: Path) -> None:
    with machine(tmp_path) as (runs, _):
        parent = runs.ledger.put_blob(runs.objective.source.encode())
        child = runs.ledger.put_blob(saying(runs.objective.source, "2 * loss.detach()").encode())
        async with runs.runner:
            outcome = await runs.screen(child, SEED, parent, CATEGORY)
    assert outcome.value is not None


@pytest.mark.long
async def test_a_source_that_fails_fails_as_ever_and_is_no_screening(tmp_path: Path) -> None:
    with machine(tmp_path) as (runs, _):
        parent = runs.ledger.put_blob(runs.objective.source.encode())
        child = runs.ledger.put_blob(saying(runs.objective.source, "float('nan')").encode())
        async with runs.runner:
            await runs.run(parent, SEED)
            outcome = await runs.screen(child, SEED, parent, CATEGORY)
        assert outcome.failure == "diverged"
        assert runs.ledger.screenings.finished(CATEGORY, runs.conditions) == []
        assert runs.cached(child, SEED) == outcome
