"""Where an objective is timed, values of two sessions do not compare: both runs of a pair are always made at once."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from node.execution.program.program_runner import ProgramRunner
from node.execution.sandbox.layers import probe
from node.ledger.outcome import Outcome
from node.ledger.store import Ledger
from node.trials.cached_runner import CachedRunner
from node.trials.own_seeds import OwnSeeds
from protocol.records import Pair, Run
from tests.node.conftest import NoView, ignore, made_before, outcome
from tests.node.execution.program.objectives import program_objective
from tests.node.records_for_tests import Author

COUNTS = """
class Rejected(Exception):
    pass

def judge(session, seed, split):
    session.ask([1.0])
    answer, seconds = session.time([2.0], shape=(1,))
    return {"value": 1.0 + answer[0]}
"""
PARENT, CHILD = "def answer(task, inputs):\n    return inputs\n", "def answer(task, inputs):\n    return 2 * inputs\n"


@pytest.mark.sandbox
async def test_a_pair_is_made_at_once_though_a_run_of_it_was_made_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = program_objective(tmp_path, COUNTS, PARENT, program="timed = true")
    ledger = Ledger.open(tmp_path / "ledger.sqlite", objective.id)
    parent, child = (hashlib.sha256(text.encode()).digest() for text in (PARENT, CHILD))
    for text in (PARENT, CHILD):
        ledger.put_blob(text.encode())
    async with ProgramRunner(objective, probe(), ignore, parallel_runs=3) as runner:
        assert runner.parallel_runs == 1  # or runs beside it would slow a timed one down
        seeds = OwnSeeds(Author("alice").identity, objective.id)
        cached = CachedRunner(objective, ledger, runner, seeds, "cpu", "", "", "bwrap", ignore, NoView())
        made_before(cached, PARENT, 5, outcome(9.0))
        told: list[tuple[int, str]] = []
        make = runner.run_pair

        async def watched(*given: Any) -> tuple[Outcome, Outcome]:
            told.append((cached.runs_at_once, cached.under_way_in_words()))
            return await make(*given)

        monkeypatch.setattr(runner, "run_pair", watched)
        pair = await cached.run_pair(parent, child, 5)
        assert told == [(1, "the two runs of a pair in turns")]
        assert cached.under_way_in_words() == ""
        assert (pair.parent.value, pair.child.value, pair.alternated) == (3.0, 5.0, True)
        assert (await cached.run(parent, 5)).value == 3.0  # what is remembered is the last
        run = Run(3.0, 1.0, 0, (), None)
        assert await cached.holdout(parent, child, [Pair(5, run, run)], 0.01) is None
    ledger.close()
