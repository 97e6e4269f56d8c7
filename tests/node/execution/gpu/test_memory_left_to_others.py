"""Of a GPU's memory a run takes what the settings do not leave to others, and no more than its objective asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import trio

from node.execution.gpu.rooms import Given, GpuRooms
from node.execution.gpu_lock import GpuLock
from node.execution.runs import runner_for
from node.execution.sandbox.layers import Layers
from node.objective.schema import Objective
from scripts.gpu_stand_in import StandInDriver
from tests.node.execution.gpu.conftest import Events

GIB = 1 << 30


async def test_a_run_may_take_what_is_not_left_to_others(
    objective: Objective, layers: Layers, driver: StandInDriver, events: Events, tmp_path: Path
) -> None:
    gpu = replace(driver.gpus()[0], memory_bytes=10 * GIB)
    for asked, keep_free, allowed in ((0, 3 * GIB, 7 * GIB), (2 * GIB, 3 * GIB, 2 * GIB), (9 * GIB, 3 * GIB, 7 * GIB)):
        wanted = replace(objective, budget=replace(objective.budget, gpu_memory_bytes=asked))
        async with trio.open_nursery() as nursery:
            given = Given(wanted, layers, driver, tmp_path, events, keep_free)
            assert GpuRooms(gpu, given, nursery, GpuLock(gpu, tmp_path))._allowed() == allowed


async def test_where_all_is_left_to_others_a_run_may_take_none(
    objective: Objective, layers: Layers, driver: StandInDriver, events: Events, tmp_path: Path
) -> None:
    gpu = replace(driver.gpus()[0], memory_bytes=10 * GIB)
    for asked, memory, allowed in ((0, 10 * GIB, 1), (2 * GIB, 10 * GIB, 1), (0, 0, 0), (2 * GIB, 0, 2 * GIB)):
        wanted = replace(objective, budget=replace(objective.budget, gpu_memory_bytes=asked))
        async with trio.open_nursery() as nursery:
            given = Given(wanted, layers, driver, tmp_path, events, keep_free=20 * GIB)
            rooms = GpuRooms(replace(gpu, memory_bytes=memory), given, nursery, GpuLock(gpu, tmp_path))
            assert rooms._allowed() == allowed


def test_what_is_left_comes_from_the_settings(
    objective: Objective, layers: Layers, driver: StandInDriver, events: Events, tmp_path: Path
) -> None:
    made = runner_for(objective, layers, tmp_path, events, gpus=driver.gpus(), driver=driver, gpu_keep_free=3 * GIB)
    assert made._gpus._given.keep_free == 3 * GIB  # type: ignore[attr-defined]
