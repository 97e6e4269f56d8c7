"""Runs of any kind of objective: what every runner offers, and the one place that chooses one for an objective.

A run is one execution of a source at a seed under the objective's budget, which gives a value or a failure. How that is
done differs by kind: a model is trained and judged, a program is asked by a judge, a command prints its values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from node.execution.command.command_runner import CommandRunner
from node.execution.drawn_texts import MAX_TEXT
from node.execution.free_gpus import FreeGpus
from node.execution.gpu.pool import KEEP_FREE, GpuPool
from node.execution.pause_gate import PauseGate
from node.execution.program.program_runner import ProgramRunner
from node.execution.run_progress import Progress
from node.execution.runner import Runner, Timing
from node.execution.sandbox.layers import Layers
from node.ledger.outcome import Outcome
from node.objective.schema import Kind, Objective, ObjectiveError
from node.platform.gpus import Gpu, GpuDriver, InstalledDrivers
from node.platform.log import Log

# Folder beside a model's weights, in which the folders of runs are made that have one: a command's, and those on a GPU.
RUN_FOLDERS = "run-folders"


class Runs(Protocol):
    """Makes runs, `parallel_runs` of them at a time. An async context manager; leaving it ends every worker.

    pause_gate: freezes runs.
    """

    parallel_runs: int
    pause_gate: PauseGate
    timing: Timing

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def run(
        self, source: str, seed: int, progress: Callable[[Progress], None], incumbent: str | None = None
    ) -> Outcome:
        """Run a source at a seed. A run that fails is an outcome with a failure. Cancelling ends it at once.

        incumbent: the source it is to be better than. Raises OSError when a process cannot be started.
        """

    def can_alternate(self) -> bool:
        """Whether `run_pair` can be asked for: both runs of a pair at once, so that what they cost compares."""

    async def run_pair(
        self,
        parent: str,
        child: str,
        seed: int,
        of_parent: Callable[[Progress], None],
        of_child: Callable[[Progress], None],
    ) -> tuple[Outcome, Outcome]:
        """Run both sources beside each other. Otherwise as `run`."""

    async def examine(self, source: str, seed: int, split: str, incumbent: str | None = None) -> Outcome:
        """Score an earlier run on another split; an outcome with a failure where that cannot be had."""

    async def cool_down(self) -> None:
        """Give back memory that is held for the next run."""


def runner_for(
    objective: Objective,
    layers: Layers,
    weights_dir: Path,
    log: Log,
    parallel_runs: int = 1,
    data_bytes: int = MAX_TEXT,
    gpus: Sequence[Gpu] = (),
    driver: GpuDriver | None = None,
    gpu_keep_free: int = KEEP_FREE,
) -> Runs:
    """Who makes the runs of this objective. Parameters as of `Runner`. Raises ObjectiveError for an unknown kind.

    gpus: those that runs of an objective for GPUs may use, each by one run at a time. driver: who is asked about them;
    None for those that are installed. gpu_keep_free: bytes of each GPU that a model's runs leave to others.
    """
    on_gpu, driver = objective.device == "gpu", driver or InstalledDrivers()
    if on_gpu and not gpus:
        raise ObjectiveError(f"{objective.name} is for a GPU, and no GPU can be used here")
    folders = weights_dir / RUN_FOLDERS
    if objective.kind in (Kind.MODEL, Kind.PROGRAM):
        pool = GpuPool(objective, layers, gpus, driver, folders, log, keep_free=gpu_keep_free) if on_gpu else None
    if objective.kind == Kind.MODEL:
        return Runner(objective, layers, weights_dir, log, parallel_runs, data_bytes, pool)
    if objective.kind == Kind.PROGRAM:
        return ProgramRunner(objective, layers, log, parallel_runs, data_bytes, pool)
    if objective.kind == Kind.COMMAND:
        free = FreeGpus(gpus, driver, log) if on_gpu else None
        return CommandRunner(objective, layers, folders, parallel_runs, free)
    raise ObjectiveError(f"{objective.name} is of the kind {objective.kind}, which this version cannot run")
