"""A command on a GPU has one to itself: its device file, its name for CUDA, and nothing of another's."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from node.execution.command.command_runner import CommandRunner
from node.execution.free_gpus import FreeGpus
from node.execution.gpu_lock import GpuLock
from node.execution.sandbox.layers import Layers
from node.ledger.outcome import Outcome
from node.objective.schema import Objective
from node.platform.gpus import Gpu, GpuUse
from tests.node.execution.command.folders import SEED, command_objective
from tests.node.execution.sandbox import gpu_stand_in

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(gpu_stand_in.lack() is not None, reason=str(gpu_stand_in.lack())),
]

# Its value is the number of the GPU it was given; it is 100 more for each other one that it can open.
SHELL = """
import fcntl, glob, os, sys, time
given = int(os.environ["CUDA_VISIBLE_DEVICES"].removeprefix("GPU-"))
opened = []
for number in (0, 1):
    try:
        device = os.open(f"{DEVICES}/gpu{number}", os.O_RDWR)
    except OSError:
        continue
    opened.append(number)
    try:
        fcntl.ioctl(device, 0x30000001)
    except OSError as problem:
        assert problem.errno == 25, problem
assert given in opened, opened
time.sleep(1)
print(f"METRIC score={1 + given + 100 * (len(opened) - 1)}")
"""


class Driver:
    """Says that the second GPU has more memory free."""

    def gpus(self) -> tuple[Gpu, ...]:
        return ()

    def use(self, gpu: Gpu) -> GpuUse | None:
        return GpuUse(1000 + gpu.index, 2000, {}, None, None)


@pytest.fixture
def gpus(tmp_path: Path) -> tuple[Gpu, ...]:
    made = gpu_stand_in.make(tmp_path / "devices")
    return tuple(
        Gpu(number, f"gpu {number}", 1 << 30, "nvidia", f"GPU-{number}", "580", (str(path),), "cpu")
        for number, path in enumerate((made.given, made.other))
    )


@pytest.fixture
def objective(tmp_path: Path) -> Objective:
    script = SHELL.replace("{DEVICES}", str(tmp_path / "devices"))
    files = {"bench.sh": "python3 bench.py", "bench.py": script}
    return command_objective(tmp_path / "folder", files, rest="")


def ignore(*_: object, **__: object) -> None:
    """Events that no test reads."""


async def runs(count: int, objective: Objective, layers: Layers, gpus: tuple[Gpu, ...], folders: Path) -> list[Outcome]:
    outcomes: list[Outcome] = []
    free = FreeGpus(gpus, Driver(), ignore, folders.parent) if objective.device == "gpu" else None
    async with CommandRunner(objective, layers, folders, 2, free) as runner, trio.open_nursery() as nursery:

        async def one(seed: int) -> None:
            outcomes.append(await runner.run(objective.source, seed, lambda progress: None))

        for number in range(count):
            nursery.start_soon(one, SEED + number)
    return outcomes


def on_a_gpu(objective: Objective) -> Objective:
    return replace(objective, device="gpu")


async def test_each_of_two_runs_has_a_gpu_of_its_own(
    objective: Objective, layers: Layers, gpus: tuple[Gpu, ...], tmp_path: Path
) -> None:
    outcomes = await runs(2, on_a_gpu(objective), layers, gpus, tmp_path / "runs")
    assert sorted(outcome.value or 0 for outcome in outcomes) == [1.0, 2.0], outcomes
    for outcome in outcomes:
        assert 1 < outcome.cpu_seconds <= outcome.wall_seconds, "it costs the time that it had its GPU"


async def test_a_run_gets_the_gpu_that_has_most_memory_free_and_gives_it_back(
    objective: Objective, machine: Layers, gpus: tuple[Gpu, ...], tmp_path: Path
) -> None:
    for _ in range(2):
        (outcome,) = await runs(1, on_a_gpu(objective), machine, gpus, tmp_path / "runs")
        assert outcome.value == 2.0


@pytest.mark.long
async def test_with_one_gpu_runs_wait_for_each_other(
    objective: Objective, machine: Layers, gpus: tuple[Gpu, ...], tmp_path: Path
) -> None:
    outcomes = await runs(3, on_a_gpu(objective), machine, gpus[:1], tmp_path / "runs")
    assert [outcome.value for outcome in outcomes] == [1.0] * 3


async def test_a_run_waits_for_a_gpu_that_another_node_has_and_the_log_says_so(
    objective: Objective, machine: Layers, gpus: tuple[Gpu, ...], tmp_path: Path
) -> None:
    events: list[tuple[str, object]] = []
    free = FreeGpus(
        gpus[:1], None, lambda event, level="info", **details: events.append((event, details["why"])), tmp_path
    )
    other = GpuLock(gpus[0], tmp_path)
    assert other.take()
    async with CommandRunner(on_a_gpu(objective), machine, tmp_path / "runs", gpus=free) as runner:
        with trio.move_on_after(3.0):
            await runner.run(objective.source, SEED, lambda progress: None)
            pytest.fail("it ran on a GPU that another node has")
        assert events == [("GPU in use", f"another node on this machine uses it (process {os.getpid()})")]
        other.release()
        outcome = await runner.run(objective.source, SEED, lambda progress: None)
    assert outcome.value == 1.0


async def test_a_command_for_processors_gets_none(
    objective: Objective, machine: Layers, gpus: tuple[Gpu, ...], tmp_path: Path
) -> None:
    (outcome,) = await runs(1, objective, machine, gpus, tmp_path / "runs")
    assert "CUDA_VISIBLE_DEVICES" in outcome.log_tail
    assert outcome.value is None
