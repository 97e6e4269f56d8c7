"""torch.compile in a candidate's room on a GPU: it has a compiler and a place to work in, and its time is forgiven.

The stand-in's compiler is g++, where a GPU's are Triton and ptxas; what a room needs for them is the same: a folder to
write in, and programs to start.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from node.execution.gpu.pool import GpuPool
from node.execution.run_progress import Progress
from node.execution.runner import Runner
from node.execution.sandbox import launch
from node.objective.schema import Objective
from scripts.gpu_stand_in import StandInDriver
from tests.node.execution.gpu.conftest import Events, RunnerMaker
from tests.node.execution.gpu.test_gpu_runs import wait_warm
from tests.node.execution.sandbox.conftest import only

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(900)]

COMPILES = '''

_plain_build, _plain_train = build, train


def build(task):
    """Compiled already; the examination, which has no compiler, is to load its weights all the same."""
    return torch.compile(_plain_build(task))


def train(task):
    assert not hasattr(torch.compile(lambda x: x), "there is no such attribute")
    return _plain_train(task)
'''


@pytest.mark.long
async def test_what_compiles_is_trained_and_examined_and_does_not_pay_for_compiling(
    objective: Objective, runner_of: RunnerMaker
) -> None:
    budget = replace(objective.budget, tokens=0, seconds=3.0, warmup_seconds=500.0, wall_seconds=600.0)
    timed = replace(objective, budget=budget, statistics=replace(objective.statistics, slope=0.0), checkpoints=())
    seen: list[tuple[float, Progress]] = []
    async with runner_of(timed) as runner:
        await wait_warm(runner)
        begun = time.monotonic()
        outcome = await runner.run(
            objective.source + COMPILES, 7, lambda progress: seen.append((time.monotonic() - begun, progress))
        )
    assert outcome.failure is None, outcome.log_tail
    assert outcome.value is not None
    trained = next(seconds for seconds, progress in seen if progress.phase == "judge")
    # It took longer than its budget, for compiling; of that nothing counts, and it was not cut short.
    assert trained > 3.5
    assert outcome.tokens > 12 * 16 * objective.context  # more steps than those in which it warms up
    assert max(progress.share for _, progress in seen if progress.phase == "train") > 0.3


@pytest.mark.long
async def test_where_a_source_may_start_no_programs_it_trains_uncompiled(
    objective: Objective, driver: StandInDriver, events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in tier inproc, where the node is not root and so has no user to give to the program."""
    monkeypatch.setattr(launch, "is_supervised", lambda tier, policy: False)
    layers = only("inproc")
    pool = GpuPool(objective, layers, driver.gpus(), driver, tmp_path / "folders", events, tmp_path)
    async with Runner(objective, layers, tmp_path / "weights", events, gpus=pool) as runner:
        outcome = await runner.run(objective.source + COMPILES, 7, lambda progress: None)
    assert outcome.failure is None, outcome.log_tail
    assert (outcome.value is not None, outcome.tier) == (True, "inproc")
