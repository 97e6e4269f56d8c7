"""What a judge records of a run is kept for people, of the split that research goes by and never of the holdout."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.execution.program.program_runner import ProgramRunner
from node.execution.sandbox.layers import probe
from node.ledger.store import Ledger
from node.trials.cached_runner import CachedRunner
from node.trials.own_seeds import OwnSeeds
from protocol.records import Pair, Run
from tests.node.conftest import NoView, ignore
from tests.node.execution.program.objectives import program_objective
from tests.node.records_for_tests import Author

RECORDS = """
class Rejected(Exception):
    pass

def judge(session, seed, split):
    answer = session.ask([1.0, 2.0], shape=(2,))
    session.replay(**{split: {"answer": answer}})
    return {"value": answer.sum()}
"""
PARENT, CHILD = "def answer(task, inputs):\n    return inputs\n", "def answer(task, inputs):\n    return 2 * inputs\n"


@pytest.mark.sandbox
async def test_a_run_leaves_its_replay_and_a_holdout_score_none(tmp_path: Path) -> None:
    objective = program_objective(tmp_path, RECORDS, PARENT)
    ledger = Ledger.open(tmp_path / "ledger.sqlite", objective.id)
    parent, child = (ledger.put_blob(text.encode()) for text in (PARENT, CHILD))
    seeds = OwnSeeds(Author("alice").identity, objective.id)
    async with ProgramRunner(objective, probe(), ignore) as runner:
        cached = CachedRunner(objective, ledger, runner, seeds, "cpu", "", "", "bwrap", ignore, NoView())
        pair = await cached.run_pair(parent, child, 5)
        run = Run(3.0, 1.0, 0, (), None)
        assert await cached.holdout(parent, child, [Pair(5, run, run)], 0.01) is not None
    assert (pair.parent.value, pair.child.value) == (3.0, 6.0)
    assert ledger.replays.of(parent) == {"val": {"answer": (1.0, 2.0)}}
    assert ledger.replays.of(child) == {"val": {"answer": (2.0, 4.0)}}
    ledger.close()
