"""On claims of another budget a node makes no reports; it adopts what its own runs, with its own, show to be better.

The ledger, the sandbox, the training and the judge are real; peers' records are written here.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from node.execution.runner import Runner
from node.execution.sandbox.layers import Layers
from node.ledger.store import Added
from node.objective.load import load_objective
from node.review.case import DRAWN_REPORT
from node.review.reviewer import TURN_LEAST_SECONDS
from protocol.evidence import Verdict, standing_of
from protocol.records import Replication
from protocol.weights import weights_of
from tests.node.conftest import ignore
from tests.node.execution.test_scales import small
from tests.node.records_for_tests import Author, experiment, refuters
from tests.node.review.test_reviewer import House, layers, no_bets

__all__ = ["layers"]


@pytest.mark.long
async def test_a_discovery_of_a_larger_budget_is_adopted_by_runs_with_this_one_and_never_reported_on(
    layers: Layers, tmp_path: Path
) -> None:
    objective = load_objective(small(tmp_path), tmp_path / "data").at_scale("small")
    async with Runner(objective, layers, tmp_path / "weights", ignore) as runner:
        carol = House("carol", tmp_path, objective, runner)
        child = carol.ledger.put_blob(objective.source.replace("INIT_STD = 0.3", "INIT_STD = 0.02").encode())
        claim = Author("alice").write(
            structs.replace(experiment("smaller", parent=objective.source_id, child=child), compute_class="gpu")
        )
        assert carol.ledger.add(claim, "a peer") is Added.NEW
        trial = carol.reviewer.next_local_trial(0.0)
        assert trial is not None
        record = await carol.reviewer.try_here(trial, 0.0, no_bets)
    assert record is not None
    assert isinstance(record.body, Replication)
    assert (record.body.compute_class, record.body.adopted, record.body.pairs) == ("cpu", child, ())
    assert carol.incumbent.source() == child
    assert {outcome.tokens for outcome in carol.ledger.runs(child, "cpu, small")} == {8192}
    assert carol.ledger.runs(child) == carol.ledger.runs(child, "cpu, small")

    for _ in range(5):
        assert carol.reviewer.next_task() is None
        carol.now_ms += int(1000 * 10 * TURN_LEAST_SECONDS)
    against = refuters(claim, lambda body: carol.ledger.append_own(carol.identity, body, 1), compute_class="gpu")
    for number, refutation in enumerate(against):
        assert carol.ledger.add(refutation, f"peer {number}") is Added.NEW
    records = carol.ledger.all_records()
    assert standing_of(claim, records, weights_of(records, carol.identity.author)).says == Verdict.REFUTED
    task = carol.reviewer.next_task()
    assert task is not None
    assert (task.claim, task.audit, task.order[0]) == (claim, None, DRAWN_REPORT), "what it adopted is measured again"
