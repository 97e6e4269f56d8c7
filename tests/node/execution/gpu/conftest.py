"""A stand-in for a GPU, and runners on it, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.execution.gpu.pool import GpuPool
from node.execution.runner import Runner
from node.execution.sandbox.layers import Layers, probe
from node.objective.schema import Objective
from node.platform.gpu_types import Gpu
from scripts.gpu_stand_in import StandInDriver, stand_in
from tests.node.execution.small_objective import small_objective

TOKENS = 8192  # eight steps of tinylm


class Events:
    """A log that tests read."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, level: str = "info", **details: Any) -> None:
        self.seen.append((event, details))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [details for name, details in self.seen if name == event]


@pytest.fixture(scope="session")
def layers() -> Layers:
    return probe()


@pytest.fixture(scope="session")
def objective(tmp_path_factory: pytest.TempPathFactory) -> Objective:
    """tinylm for a GPU, with a budget of a few steps."""
    folder = tmp_path_factory.mktemp("tinylm")
    return replace(small_objective(folder, whole_judge=False, tokens=TOKENS, wall_seconds=200), device="gpu")


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def driver() -> StandInDriver:
    return StandInDriver([stand_in()])


RunnerMaker = Callable[..., Runner]


@pytest.fixture
def runner_of(layers: Layers, tmp_path: Path, driver: StandInDriver, events: Events) -> RunnerMaker:
    def make(objective: Objective, gpus: Sequence[Gpu] = (), home: str = "home") -> Runner:
        folders = tmp_path / home / "folders"
        pool = GpuPool(objective, layers, gpus or driver.gpus(), driver, folders, events, tmp_path)
        return Runner(objective, layers, tmp_path / "weights", events, parallel_runs=pool.count, gpus=pool)

    return make
