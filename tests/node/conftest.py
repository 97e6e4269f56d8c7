"""A laboratory whose runs were all made before: real objective, ledger and runner, and nothing left to train."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.execution.run_progress import Progress
from node.execution.runner import Runner
from node.execution.sandbox.layers import Layers
from node.ledger.outcome import Outcome
from node.ledger.store import Ledger
from node.objective.load import load_objective
from node.trials.cached_runner import CachedRunner
from node.trials.own_seeds import OwnSeeds
from tests.node.records_for_tests import Author

TINYLM = Path(__file__).parents[2] / "objectives" / "tinylm"
# No protection at all, so no run could be started: a test that should find all its runs in the cache shows it if not.
NOTHING_RUNS = Layers(bwrap=False, unshare=False, inproc=False, landlock=0, seccomp=False, root=False)


class NoView:
    def show(self, title: str, progress: Progress) -> None:
        pass

    def clear(self) -> None:
        pass


def outcome(value: float | None = 3.5, tokens_per_second: float = 50_000.0) -> Outcome:
    seconds = 524_288 / tokens_per_second
    failure = None if value is not None else "exception"
    return Outcome(value, {}, (), 524_288, seconds, seconds + 2.0, 400_000_000, failure, "", "inproc")


@pytest.fixture
def cached_runner(tmp_path: Path) -> Iterator[CachedRunner]:
    objective = load_objective(TINYLM, tmp_path / "data")
    ledger = Ledger.open(tmp_path / "ledger.sqlite", objective.id)
    ledger.put_blob(objective.source.encode())
    ledger.set_meta("objective", objective.id)
    ledger.set_meta("baseline", objective.source_id)
    runner = Runner(objective, NOTHING_RUNS, tmp_path / "weights", ignore)
    seeds = OwnSeeds(Author("alice").identity, objective.id)
    yield CachedRunner(objective, ledger, runner, seeds, "cpu", "a processor", "a platform", "inproc", ignore, NoView())
    ledger.close()


def ignore(*_: object, **__: object) -> None:
    pass


def made_before(cached_runner: CachedRunner, text: str, seed: int, outcome: Outcome) -> None:
    """Put a run into the cache, so that the laboratory need not make it."""
    cached_runner.ledger.store_run(hashlib.sha256(text.encode()).digest(), seed, cached_runner.conditions, outcome)
