"""Workers are forks of servers that never ran a source: a run leaves nothing to the next, and servers are replaced."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from node.execution import fork_servers
from node.execution.run_progress import Progress
from node.execution.runner import Runner
from node.execution.sandbox.layers import Layers, probe
from node.execution.sandbox.tree import children
from node.objective.schema import Objective
from tests.node.execution.cheats import BASELINE, in_answer, in_step
from tests.node.execution.small_objective import small_objective

VANDAL = (
    """
import builtins, os, random, sys
import numpy as np
import torch
torch.set_num_threads(2)
torch.set_default_dtype(torch.float64)
torch.nn.functional.cross_entropy = lambda *_, **__: torch.zeros((), requires_grad=True)
torch.nn.Module.state_dict = lambda self: {}
torch.optim.AdamW.step = lambda *_, **__: None
torch.randn = torch.ones
np.random.seed(1)
random.seed = lambda *_: None
builtins.sum = max
sys.modules["json"].loads = lambda *_: {}
sys.modules["node.execution.workers.chance"].begin = lambda *_: None
os.environ["PYTHONHASHSEED"] = "5"
raise RuntimeError("vandalised")
"""
    + BASELINE
)
UNSEEDED = in_step(
    "raise RuntimeError([np.random.rand(), random.random(), torch.rand(()).item(), str({str(n) for n in range(20)})])"
).replace("import", "import random\nimport numpy as np\nimport", 1)


@pytest.fixture(autouse=True)
def kept_servers() -> None:
    """Servers are what is tested here, so each test starts its own."""


@pytest.fixture(scope="module")
def layers() -> Layers:
    return probe()


@pytest.fixture(scope="module")
def objective(tmp_path_factory: pytest.TempPathFactory, layers: Layers) -> Objective:
    folder = tmp_path_factory.mktemp("tinylm")
    return small_objective(folder, whole_judge=False, wall_seconds=120, memory_mb=1200)


def ignore(*_: object, **__: object) -> None:
    """Progress and events that no test reads."""


async def test_a_source_that_changes_everything_changes_nothing_for_the_next_run(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    async with Runner(objective, layers, tmp_path, ignore) as runner:
        before = await runner.run(objective.source, 3, ignore)
        vandal = await runner.run(VANDAL, 3, ignore)
        after = await runner.run(objective.source, 3, ignore)
        at_random = [await runner.run(UNSEEDED, 3, ignore) for _ in range(2)]
    async with Runner(objective, layers, tmp_path / "another", ignore) as elsewhere:
        at_random.append(await elsewhere.run(UNSEEDED, 3, ignore))
    assert "vandalised" in vandal.log_tail
    assert before.value is not None
    assert (after.value, after.checkpoints) == (before.value, before.checkpoints)
    # Generators that nobody seeded, and the order of sets, are the run's and not the server's.
    (drawn,) = {outcome.log_tail.splitlines()[-1] for outcome in at_random}
    assert drawn.startswith("RuntimeError: [0.")


@pytest.mark.long
async def test_a_server_that_ends_is_replaced(objective: Objective, layers: Layers, tmp_path: Path) -> None:
    def kill(_: Progress) -> None:
        pair.torch.process.kill()

    async with Runner(objective, layers, tmp_path, ignore) as runner:
        pool = runner._servers
        (pair,) = pool._idle
        lost = await runner.run(objective.source, 1, kill)
        assert (lost.value, lost.failure) == (None, "killed")
        assert not pool._idle
        honest = await runner.run(objective.source, 1, ignore)
        (pair,) = pool._idle
        pair.numpy.process.kill()  # while it waits
        await pair.numpy.ended.wait()
        again = await runner.run(objective.source, 1, ignore)
        assert pool._idle != [pair]
    assert honest.value == again.value is not None


@pytest.mark.long
async def test_servers_wait_only_while_there_is_memory_and_no_pause(
    objective: Objective, layers: Layers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Runner(objective, layers, tmp_path, ignore) as runner:
        pool = runner._servers
        assert len(pool._idle) == 1
        await runner.cool_down()
        assert not pool._idle
        first = await runner.run(objective.source, 1, ignore)
        assert len(pool._idle) == 1
        monkeypatch.setattr(fork_servers, "WARM_MEMORY", 1 << 60)
        second = await runner.run(objective.source, 1, ignore)
        assert not pool._idle
        with trio.CancelScope() as scope:
            await runner.run(objective.source, 1, lambda _: scope.cancel())
    assert first.value == second.value is not None


async def test_a_source_may_make_no_process_and_in_its_examination_no_thread(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    thread = "__import__('threading').Thread(target=print).start()"
    async with Runner(objective, layers, tmp_path, ignore) as runner:
        forks = await runner.run(in_step("__import__('os').fork()"), 1, ignore)
        threads = await runner.run(in_step(thread), 1, ignore)
        examined = await runner.run(in_answer(thread), 1, ignore)
    assert (forks.failure, "Operation not permitted" in forks.log_tail) == ("exception", True)
    assert threads.failure is None, threads.log_tail
    assert (examined.value, "can't start new thread" in examined.log_tail) == (None, True)


async def test_what_a_source_takes_in_its_examination_is_a_cost_of_the_run(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    """Else it could train there, by the questions of the judge, and pay for none of it."""
    busy = in_answer("sum(range(10_000_000))")
    async with Runner(objective, layers, tmp_path, ignore) as runner:
        honest = await runner.run(objective.source, 1, ignore)
        cheat = await runner.run(busy, 1, ignore)
        again = await runner.examine(objective.source, 1, "holdout")
    assert cheat.metrics["bits"] == honest.metrics["bits"]
    assert cheat.cpu_seconds > honest.cpu_seconds + 0.3
    assert 0 < again.cpu_seconds < honest.cpu_seconds


async def test_a_runner_that_is_cancelled_closes_in_order(objective: Objective, layers: Layers, tmp_path: Path) -> None:
    """A node ends by being cancelled, while servers wait for a run."""
    with trio.CancelScope() as node:
        async with trio.open_nursery(), Runner(objective, layers, tmp_path, ignore) as runner:
            await runner.run(objective.source, 1, ignore)
            node.cancel()
            await trio.sleep_forever()
    assert node.cancelled_caught
    assert not children(os.getpid())


async def test_weights_are_limited_by_the_objective(objective: Objective, layers: Layers, tmp_path: Path) -> None:
    assert objective.budget.weights_bytes == 4 << 20
    capped = replace(objective, budget=replace(objective.budget, weights_bytes=1 << 20))
    larger = BASELINE.replace("    return finish(model, state)\n", "    return nn.Embedding(1 << 19, 1)\n")
    assert larger != BASELINE
    async with Runner(capped, layers, tmp_path, ignore) as runner:
        outcome = await runner.run(larger, 1, ignore)
    assert (outcome.value, outcome.failure) == (None, "output")
    assert outcome.log_tail == "the model has 2.1 MB of weights; 1.0 MB at most ([budget] weights_mb)"


@pytest.mark.long
def test_nothing_is_left_of_a_run_in_the_nodes_descriptors(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    async def run() -> list[int]:
        async with Runner(objective, layers, tmp_path, ignore) as runner:
            counts = []
            for _ in range(3):
                await runner.run(objective.source, 1, ignore)
                counts.append(len(os.listdir("/proc/self/fd")))
        return counts

    counts = trio.run(run)
    assert counts[1] == counts[2]
