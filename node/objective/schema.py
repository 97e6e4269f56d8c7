"""An objective as typed data: what is measured, which file may be edited, the budget, what is expected, its noise.

Nothing here reads a file; `load` does, and refuses what is wrong, so that an `Objective` inside cannot be.
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
    """What is expected of a category before anything was tried: share of successes, and the gain of one."""

    success: float
    gain: float


@dataclass(frozen=True)
class Statistics:
    """What an objective says about its own noise and cost. `slope` is ln(metric) lost per ln(cost)."""

    s0: float = 0.01
    cost_s0: float = 0.05
    slope: float = 0.15
    cost_deadband: float = 0.05
    minimum_effect: float = 0.002
    max_pairs: int = 6


@dataclass(frozen=True)
class Data:
    """A data file, made by prepare.py, by hand, or had from peers: known by its hash, shown to one room only."""

    name: str
    entry: FileEntry
    room: str  # "candidate" or "judge"


@dataclass(frozen=True)
class Budget:
    """What one run may use."""

    tokens: int
    wall_seconds: float
    threads: int
    memory_bytes: int


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
    prepare: str | None  # None: the data cannot be made, only had
    budget: Budget
    context: int
    vocabulary: int
    checkpoints: tuple[int, ...]
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
        """(name, path) of the data files a room may see."""
        return [(data.name, self.data_dir / data.entry.path) for data in self.data if data.room == room]


class ObjectiveError(Exception):
    """The objective cannot be used; the text names the file and field and says what to do."""
