"""Runs on a GPU: rooms of whole processes, warm, each serving once, and whatever a source does is an outcome.

Everything is real but the GPU: the sandbox, torch, tinylm with a budget of a few steps, the objective's own judge. The
GPU is a stand-in on this processor (scripts/gpu_stand_in.py).
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import trio

from node.execution import worker as worker_module
from node.execution.gpu import rooms as gpu_rooms
from node.execution.gpu.pool import GpuPool
from node.execution.gpu.room_process import CANDIDATE, GpuRoom
from node.execution.run_progress import Progress
from node.execution.runner import Runner
from node.execution.sandbox.layers import Layers
from node.objective.schema import Objective
from scripts.gpu_stand_in import StandInDriver, stand_in
from tests.node.execution.gpu.conftest import TOKENS, Events, RunnerMaker
from tests.node.execution.kept_servers import workers_left
from tests.node.execution.sandbox.conftest import only
from tests.node.execution.sandbox.tiers import TIERS

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(600)]

ENDS_IN = 20.0  # seconds for a run to be ended and cleared away, on a busy machine; a second on an idle one


def ignore(*_: object, **__: object) -> None:
    """Progress and events that no test reads."""


def with_line(objective: Objective, line: str) -> str:
    """The baseline with a line of its own before the first step."""
    begins = "def train(task):\n"
    assert objective.source.count(begins) == 1
    return objective.source.replace(begins, f"{begins}    {line}\n")


def folder_of(room: GpuRoom) -> Path:
    assert room._folder is not None
    return room._folder.root


async def wait_warm(runner: Runner, program: str = CANDIDATE) -> GpuRoom:
    """The room that waits for the next run, when it is ready."""
    assert runner._gpus is not None
    room = runner._gpus._idle[0]._ahead[program]
    await room.wait_ready()
    return room


@pytest.mark.long
async def test_a_run_on_a_gpu_scores_as_one_on_processors_and_its_successor_waits_warm(
    objective: Objective, layers: Layers, tmp_path: Path, runner_of: RunnerMaker, driver: StandInDriver
) -> None:
    """The same bits: the stand-in computes on the processor, and all else is to make no difference to the source."""
    on_cpu = replace(objective, device="cpu")
    async with Runner(on_cpu, layers, tmp_path / "cpu weights", ignore) as runner:
        expected = await runner.run(objective.source, 7, ignore)
    sees_device = with_line(objective, "assert str(task.device) == 'cpu' and task.tokens == 8192")
    seen: list[Progress] = []
    async with runner_of(objective) as runner:
        first_room = await wait_warm(runner)
        begun = time.monotonic()

        def note(progress: Progress) -> None:
            if not seen:
                first_step.append(time.monotonic() - begun)
            seen.append(progress)

        first_step: list[float] = []
        first = await runner.run(sees_device, 7, note)
        assert not first_room.alive  # it serves once
        second_room = await wait_warm(runner)
        folders = [folder_of(room) for room in (first_room, second_room)]
        assert [folder.exists() for folder in folders] == [False, True]
        second = await runner.run(objective.source, 7, ignore)
        holdout = await runner.examine(objective.source, 7, "holdout")
        third_room = await wait_warm(runner)
        await runner.cool_down()
        assert not third_room.alive
        assert not workers_left()
    assert first.failure is None, first.log_tail
    assert (second.value, second.checkpoints) == (expected.value, expected.checkpoints)
    assert first.metrics["bits"] == expected.metrics["bits"]  # its score, but for the price of its length
    assert second_room.process.pid != first_room.process.pid
    assert holdout.value is not None
    assert first.tokens == TOKENS
    assert 0 < first.cpu_seconds <= first.wall_seconds  # seconds of the GPU
    assert first_step[0] < 5  # no import of torch, which takes that long on a machine as busy as one that runs tests
    assert driver.asked > 0
    assert not workers_left()
    assert not any(folder.exists() for folder in folders)


@pytest.mark.long
async def test_nothing_of_one_run_is_there_in_the_next(objective: Objective, runner_of: RunnerMaker) -> None:
    """A source that writes to all places it can, and marks torch itself, and then looks for what it left."""
    line = (
        "import os, pathlib; places = [pathlib.Path(os.environ[name]) for name in ('HOME', 'TMPDIR')]"
        " + [place for place in map(pathlib.Path, ('/dev/shm', '/tmp', '.')) if os.access(place, os.W_OK)]"
        "; assert not [p for place in places for p in place.glob('mark*')] and not hasattr(torch, 'mark')"
        "; [(place / 'mark').write_text('here') for place in places]; torch.mark = True"
    )
    async with runner_of(objective) as runner:
        for _ in range(2):
            outcome = await runner.run(with_line(objective, line), 7, ignore)
            assert outcome.failure is None, outcome.log_tail


FAILS = {
    "syntax": ("def train(task:", "syntax"),
    "torch says that the GPU's memory ran out": ("raise torch.OutOfMemoryError('CUDA out of memory.')", "memory"),
    "a library says so": ("raise RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED')", "memory"),
    "it crashes": ("import os; os.kill(os.getpid(), 11)", "exception"),
    "it leaves children and goes": (
        "import os; [os.fork() or __import__('time').sleep(600) for _ in range(3)]; os._exit(0)",
        "exception",
    ),
}


@pytest.mark.long
async def test_whatever_ends_a_run_is_an_outcome_and_leaves_no_process_and_no_memory(
    objective: Objective, runner_of: RunnerMaker, driver: StandInDriver, events: Events
) -> None:
    async with runner_of(objective) as runner:
        for what, (line, failure) in FAILS.items():
            source = line if failure == "syntax" else with_line(objective, line)
            outcome = await runner.run(source, 7, ignore)
            assert (outcome.value, outcome.failure) == (None, failure), f"{what}: {outcome}"
            use = driver.use(driver.gpus()[0])
            assert use is not None
            assert set(use.processes) <= rooms_ahead(runner), what
        await runner.cool_down()
        assert not workers_left()
    assert not events.of("GPU set aside")


def rooms_ahead(runner: Runner) -> set[int]:
    assert runner._gpus is not None
    ahead = runner._gpus._idle[0]._ahead.values()
    return {child.pid for room in ahead for child in psutil.Process(room.process.pid).children(recursive=True)}


@pytest.mark.long
async def test_a_hang_ends_at_its_time_even_if_it_ignores_signals(objective: Objective, runner_of: RunnerMaker) -> None:
    short = replace(objective, budget=replace(objective.budget, wall_seconds=4.0))
    line = "import signal, threading; signal.signal(signal.SIGTERM, signal.SIG_IGN); threading.Event().wait()"
    async with runner_of(short) as runner:
        await wait_warm(runner)
        begun = time.monotonic()
        outcome = await runner.run(with_line(objective, line), 7, ignore)
        took = time.monotonic() - begun
    assert (outcome.value, outcome.failure) == (None, "timeout")
    assert took < 4 + ENDS_IN
    assert not workers_left()


@pytest.mark.long
async def test_a_run_that_takes_more_of_the_gpu_than_it_may_is_ended_for_it(
    objective: Objective, runner_of: RunnerMaker, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_rooms, "WATCH_SECONDS", 0.05)
    small = replace(objective, budget=replace(objective.budget, gpu_memory_bytes=900 << 20))
    line = "import time; kept = torch.ones(200 << 20); time.sleep(600)"  # 800 MB, besides torch's own 300
    async with runner_of(small) as runner:
        await wait_warm(runner)
        begun = time.monotonic()
        outcome = await runner.run(with_line(objective, line), 7, ignore)
        took = time.monotonic() - begun
    assert (outcome.value, outcome.failure) == (None, "memory")
    assert took < ENDS_IN
    (exceeded,) = events.of("GPU memory exceeded")
    assert exceeded["used_mb"] > exceeded["allowed_mb"] == 900
    assert not workers_left()


@pytest.mark.long
async def test_a_gpu_that_does_not_get_its_memory_back_is_set_aside_until_it_does(
    objective: Objective,
    runner_of: RunnerMaker,
    driver: StandInDriver,
    events: Events,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu_rooms, "BACK_SECONDS", 0.5)
    source = with_line(objective, "raise ValueError")
    async with runner_of(objective) as runner:
        room = await wait_warm(runner)
        leaking = {child.pid: 1 << 30 for child in psutil.Process(room.process.pid).children(recursive=True)}
        driver.left |= leaking
        assert (await runner.run(source, 7, ignore)).failure == "exception"
        (aside,) = events.of("GPU set aside")
        assert str(min(leaking)) in aside["why"]
        assert "reset the GPU" in aside["hint"]
        with trio.move_on_after(1.0):
            await runner.run(source, 8, ignore)
            pytest.fail("a run was made on a GPU that is set aside")
        driver.left.clear()
        assert (await runner.run(source, 8, ignore)).failure == "exception"
        assert len(events.of("GPU is back")) == 1


@pytest.mark.long
async def test_a_driver_that_gives_no_answer_stops_no_run(
    objective: Objective, runner_of: RunnerMaker, driver: StandInDriver
) -> None:
    driver.mute = True
    async with runner_of(objective) as runner:
        outcome = await runner.run(objective.source, 7, ignore)
    assert outcome.failure is None, outcome.log_tail


@pytest.mark.long
async def test_one_gpu_has_one_run_at_a_time_and_a_pair_stays_on_its_gpu(
    objective: Objective, runner_of: RunnerMaker, driver: StandInDriver
) -> None:
    two = [stand_in(0), stand_in(1)]
    driver.all_gpus = two
    source = with_line(objective, "import os; raise ValueError(os.environ['CUDA_VISIBLE_DEVICES'])")
    async with runner_of(objective, two[:1]) as runner:
        assert runner.parallel_runs == 1
        spans: list[tuple[float, float]] = []

        async def one(seed: int) -> None:
            begun = math.inf

            def note(progress: Progress) -> None:
                nonlocal begun
                begun = min(begun, time.monotonic())

            await runner.run(objective.source, seed, note)
            spans.append((begun, time.monotonic()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, 7)
            nursery.start_soon(one, 8)
        assert spans[0][1] <= spans[1][0]
    async with runner_of(objective, two) as runner:
        assert runner.parallel_runs == 2
        assert runner.can_alternate()
        parent, child = await runner.run_pair(source, source, 7, ignore, ignore)
    assert two[0].uuid in parent.log_tail or two[1].uuid in parent.log_tail
    assert parent.log_tail == child.log_tail


@pytest.mark.long
async def test_two_nodes_do_not_use_one_gpu_at_once_and_the_second_says_who_has_it(
    objective: Objective, runner_of: RunnerMaker, events: Events
) -> None:
    source = with_line(objective, "raise ValueError('it ran')")
    async with runner_of(objective) as first:
        await wait_warm(first)
        async with runner_of(objective, home="another home") as second:
            (waits,) = events.of("GPU in use")
            assert f"(process {os.getpid()})" in waits["why"]
            with trio.move_on_after(1.0):
                await second.run(source, 7, ignore)
                pytest.fail("both used it")
            await first.cool_down()  # as a node does that is paused
            outcome = await second.run(source, 7, ignore)
            assert "it ran" in outcome.log_tail
            assert len(events.of("GPU in use")) == 1


@pytest.mark.long
@pytest.mark.parametrize("tier", TIERS[1:])
async def test_a_run_on_a_gpu_works_behind_the_weaker_tiers_too(
    tier: str, objective: Objective, driver: StandInDriver, events: Events, tmp_path: Path
) -> None:
    layers = only(tier)
    pool = GpuPool(objective, layers, driver.gpus(), driver, tmp_path / "folders", events, tmp_path)
    async with Runner(objective, layers, tmp_path / "weights", events, gpus=pool) as runner:
        outcome = await runner.run(objective.source, 7, ignore)
    assert outcome.failure is None, outcome.log_tail
    assert outcome.tier == tier
    assert not workers_left()


@pytest.mark.long
async def test_a_process_that_cannot_be_killed_costs_its_run_and_its_gpu_but_not_the_node(
    objective: Objective, runner_of: RunnerMaker, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a driver's fault makes one. Here nobody kills it: no process can be made that ignores SIGKILL."""
    monkeypatch.setattr(worker_module, "STUCK_SECONDS", 1.0)
    async with runner_of(objective) as runner:
        room = await wait_warm(runner)
        kill, room.process.kill = room.process.kill, lambda reason="killed": None  # type: ignore[method-assign]
        with trio.fail_after(60), trio.move_on_after(2.0):  # a run that is cancelled
            await runner.run(with_line(objective, "import time; time.sleep(600)"), 7, ignore)
        (aside,) = events.of("GPU set aside")
        assert "does not end" in aside["why"]
        kill()
        await room.worker.ended.wait()
        assert (await runner.run(with_line(objective, "raise ValueError"), 8, ignore)).failure == "exception"
        assert len(events.of("GPU is back")) == 1
