"""A run of tinylm in a fork of this process: trained and judged without a sandbox, so that it costs little else.

Only for sources of this repository: nothing here protects anything. What forks load of torch is loaded once, before.
"""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import in_process

from node.execution.workers import preload_torch
from node.objective.schema import Objective

CURVE_PARTS = 8  # of the budget; a curve is the mean loss in each
RUN_SECONDS = 90.0  # of wall time; a usual run takes one or two


@dataclass(frozen=True)
class Measured:
    """A run that did not fail. values: by the splits that were asked for. cpu_seconds: of training.

    curve: the mean training loss in each part of the budget.
    """

    values: tuple[float, ...]
    cpu_seconds: float
    curve: tuple[float, ...]


def prepare() -> None:
    """Load in this process what every run needs. Before the first one."""
    preload_torch.main()


def measure(objective: Objective, source: str, seed: int, splits: Sequence[str]) -> Measured:
    """A run in this process. Raises whatever the source raises."""
    losses: list[list[float]] = [[] for _ in range(CURVE_PARTS)]

    def report(progress: float, loss: Any) -> None:
        number = float(loss.detach()) if hasattr(loss, "detach") else float(loss)
        if not math.isfinite(number):
            raise ValueError(f"the loss is {number}")
        losses[min(CURVE_PARTS - 1, int(progress * CURVE_PARTS))].append(number)

    begun = time.process_time()
    rooms = in_process.trained(objective, source, seed, mixed=True, report=report)
    cpu_seconds = time.process_time() - begun
    values = tuple(in_process.value(objective, rooms, seed, split) for split in splits)
    if not all(map(math.isfinite, values)):
        raise ValueError(f"the values are {values}")
    return Measured(values, cpu_seconds, tuple(sum(part) / len(part) if part else math.nan for part in losses))


def _measure_into(sending: Connection, objective: Objective, source: str, seed: int, splits: Sequence[str]) -> None:
    try:
        sending.send(measure(objective, source, seed, splits))
    except Exception:  # whatever a source raises is a failed run
        sending.send(None)


def run(objective: Objective, source: str, seed: int, splits: Sequence[str] = ("val",)) -> Measured | None:
    """A run in a fork, so that sources share nothing. None where it failed, crashed or took too long."""
    for name in ("train", *splits):
        in_process.text(objective, seed, name)  # here, once, for all forks
    fork = multiprocessing.get_context("fork")
    receiving, sending = fork.Pipe(duplex=False)
    process = fork.Process(target=_measure_into, args=(sending, objective, source, seed, splits))
    process.start()
    sending.close()
    found: Measured | None = None
    try:
        if receiving.poll(RUN_SECONDS):
            found = receiving.recv()
    except EOFError:  # it died
        found = None
    process.kill()
    process.join()
    return found
