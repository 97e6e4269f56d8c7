"""In the rooms of a GPU, too, no run reads what its objective hides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.node.conftest import ignore
from tests.node.execution.gpu.conftest import RunnerMaker
from tests.node.execution.small_objective import least_objective
from tests.node.execution.test_hidden_packages import HIDDEN, trying


@pytest.mark.sandbox
async def test_no_run_on_a_gpu_reads_what_is_hidden(runner_of: RunnerMaker, tmp_path: Path) -> None:
    hiding = replace(least_objective(tmp_path), device="gpu", hidden=HIDDEN)
    async with runner_of(hiding) as runner:
        outcome = await runner.run(trying(hiding), 1, ignore)
    assert (outcome.failure, outcome.log_tail) == (None, "")
