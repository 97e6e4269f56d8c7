"""Runs on a GPU: rooms of whole processes, warm, each serving once, and whatever a source does is an outcome.

Everything is real but the GPU: the sandbox, torch, tinylm with a budget of a few steps, the objective's own judge. The
GPU is a stand-in on this processor (scripts/gpu_stand_in.py).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio

from node.execution.gpu.pool import GpuPool
from node.execution.run_progress import Progress
from node.execution.runner import Runner
from node.execution.sandbox.layers import Layers, probe
from node.ledger.outcome import Outcome
from node.objective.schema import Objective
from scripts.gpu_stand_in import StandInDriver, stand_in
from tests.node.execution.small_objective import small_objective

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def layers() -> Layers:
    return probe()


@pytest.fixture(scope="module")
def objective(tmp_path_factory: pytest.TempPathFactory) -> Objective:
    found = small_objective(tmp_path_factory.mktemp("tinylm"), whole_judge=False, tokens=8192, wall_seconds=400)
    return replace(found, device="gpu")


def ignore(*_: object, **__: object) -> None:
    """Progress and events that no test reads."""


async def test_walk(objective: Objective, layers: Layers, tmp_path: Path) -> None:
    driver = StandInDriver([stand_in()])
    pool = GpuPool(objective, layers, driver.gpus(), driver, tmp_path / "folders", ignore, tmp_path)
    async with Runner(objective, layers, tmp_path / "weights", ignore, gpus=pool) as runner:
        t = time.monotonic()
        o = await runner.run(objective.source, 7, lambda p: print(time.monotonic() - t, p))
        print(o, time.monotonic() - t)
        t = time.monotonic()
        o = await runner.run(objective.source, 7, lambda p: print(time.monotonic() - t, p))
        print(o, time.monotonic() - t)
    assert o.failure is None
