"""The portfolio objective in its real sandbox: the baseline scores, and the future is not there to be read."""

from __future__ import annotations

import pytest
import trio

from node.execution.program.program_runner import ProgramRunner
from node.execution.sandbox.layers import probe
from node.ledger.outcome import Outcome
from node.objective.load import load_objective
from tests.objectives.portfolio.in_process import BASELINE, PORTFOLIO

LOOKS_AHEAD = BASELINE.replace(
    "def answer(task, inputs):\n",
    "def answer(task, inputs):\n"
    "    import select, sys\n"
    "    if select.select([int(sys.argv[2])], [], [], 0)[0]:\n"
    "        raise RuntimeError('the next day is there')\n",
)


def ignore(*_: object, **__: object) -> None:
    """Progress and events that no test reads."""


@pytest.mark.sandbox
def test_the_baseline_scores_and_no_day_lies_there_before_its_time() -> None:
    objective = load_objective(PORTFOLIO, PORTFOLIO)

    async def runs() -> tuple[Outcome, Outcome]:
        async with ProgramRunner(objective, probe(), ignore) as runner:
            return await runner.run(BASELINE, 5, ignore), await runner.run(LOOKS_AHEAD, 5, ignore)

    baseline, looked = trio.run(runs)
    assert baseline.value is not None, baseline.log_tail
    assert baseline.value > 0.3
    assert looked.value == baseline.value, looked.log_tail
