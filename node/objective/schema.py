"""An objective as typed data: what is measured, which file may be edited, the budget, what is expected, its noise.

Nothing here reads a file. `load` does, and refuses what is wrong, so an `Objective` is always valid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from node.platform.hardware import ComputeClass
from protocol.objective import FileEntry

SETTINGS = "objective.toml"


@dataclass(frozen=True)
class Prior:
    """What is expected of ideas of a category before anything was tried."""

    success: float  # the share of them that succeed, 0 to 1
    gain: float  # of one that succeeds, in ln(metric); positive is better


@dataclass(frozen=True)
class Statistics:
    """What an objective says about its own noise and cost. Differences are of natural logarithms: 0.01 is about 1 %."""

    s0: float = 0.01  # expected standard deviation of a pair's Δ ln(metric); measured pairs are pooled with it
    cost_s0: float = 0.05  # the same of Δ ln(cost)
    slope: float = 0.15  # ln(metric) that a run of the baseline gains per ln(tokens): what time is worth
    cost_deadband: float = 0.05  # |ln(cost ratio)| below which the costs count as equal
    minimum_effect: float = 0.002  # in ln(metric): a smaller gain is not worth claiming
    max_pairs: int = 6  # of one trial


@dataclass(frozen=True)
class Data:
    """A data file, made by prepare.py, put there by hand, or fetched from peers. One worker alone may read it."""

    name: str
    entry: FileEntry
    room: str  # the worker that may read it: "candidate" or "judge"


@dataclass(frozen=True)
class Budget:
    """What one run may use."""

    tokens: int  # that it trains on
    wall_seconds: float  # of training, after which the run is ended
    threads: int
    memory_bytes: int  # resident, of the candidate
    weights_bytes: int  # of one model, as it is handed out


@dataclass(frozen=True)
class Objective:
    """What is measured, which file may be edited, the budget and the judge. Same id = same swarm."""

    id: bytes
    manifest_bytes: bytes
    files: Mapping[str, bytes]
    root: Path
    data_dir: Path
    name: str
    summary: str
    metric: str
    unit: str
    editable: str
    judge: str
    prepare: str | None  # None: the data cannot be made; they are put there by hand or fetched from peers
    draw: str | None  # the module that draws the text of each run; None: the text is in `data`
    budget: Budget
    context: int
    vocabulary: int
    checkpoints: tuple[int, ...]
    secret_seed: bool  # no worker that runs a source learns the run's seed, and the judge asks one of them, once
    categories: tuple[str, ...]
    priors: Mapping[str, Prior]  # by category
    classes: tuple[ComputeClass, ...]
    class_priors: Mapping[str, Mapping[str, Prior]]  # where a compute class differs, by its name
    statistics: Statistics
    data: tuple[Data, ...]

    @property
    def source(self) -> str:
        """The baseline text of the editable file."""
        return self.files[self.editable].decode()

    @property
    def source_id(self) -> bytes:
        return hashlib.sha256(self.files[self.editable]).digest()

    def priors_for(self, compute_class: str) -> Mapping[str, Prior]:
        """What is expected of each category on a machine of this class before anything was tried."""
        return {**self.priors, **self.class_priors.get(compute_class, {})}

    def data_for(self, room: str) -> list[tuple[str, Path]]:
        """(name, path) of the data files that a worker ("candidate" or "judge") may read."""
        return [(data.name, self.data_dir / data.entry.path) for data in self.data if data.room == room]


class ObjectiveError(Exception):
    """The objective cannot be used; the text names the file and field and says what to do."""
