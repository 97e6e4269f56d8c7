"""Reproducing: what a record reports is run again and agrees to the last digit, or does not and is shown so."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from node.app.reproduce import CannotReproduceError, reproduce
from node.execution.runner import Runner
from node.execution.sandbox.layers import probe
from node.ledger.store import Ledger
from protocol.records import Hypothesis, Pair, Run
from tests.node.execution.small_objective import small_objective
from tests.node.records_for_tests import Author, experiment


def ignore(*_: object, **__: object) -> None:
    """Progress that no test reads."""


@pytest.mark.long
def test_an_honest_record_is_reproduced_to_the_last_digit_and_a_false_one_is_not(tmp_path: Path) -> None:
    layers = probe()
    objective = small_objective(tmp_path)
    ledger = Ledger.open(tmp_path / "ledger.sqlite", objective.id)
    source = ledger.put_blob(objective.source.encode())

    async def measured() -> Run:
        async with Runner(objective, layers, tmp_path / "weights", ignore) as runner:
            outcome = await runner.run(objective.source, 5, ignore)
        return Run(outcome.value, outcome.cpu_seconds, outcome.tokens, outcome.checkpoints, None)

    honest = trio.run(measured)
    false = replace(honest, value=(honest.value or 0.0) * 0.9)
    body = replace(experiment("claim", source, source), screening=None, pairs=(Pair(5, honest, false),))
    record = Author("alice").write(body)
    parent, child = trio.run(reproduce, record, ledger, objective, layers, ignore)
    assert (parent.same, parent.checkpoints_equal, parent.found) == (True, True, honest.value)
    assert (child.same, child.checkpoints_equal) == (False, True)
    ledger.close()


def test_a_record_that_cannot_be_run_again_is_an_error_with_a_reason(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.sqlite", bytes(32))
    idea = Author("alice").write(Hypothesis("an idea", "optimizer", "because", None, None))
    for record, reason in ((idea, "reports no runs"), (Author("bob").write(experiment()), "has not arrived here")):
        with pytest.raises(CannotReproduceError, match=reason):
            trio.run(reproduce, record, ledger, None, None, ignore)
    ledger.close()
