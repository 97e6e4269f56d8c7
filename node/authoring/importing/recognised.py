"""What the importer took a folder for: everything that goes into objective.toml, and what a person is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from node.objective.schema import SeedRewrite
from protocol.metric import Direction, Scale

MACHINE_LEARNING = (
    "architecture",
    "optimizer",
    "learning rate",
    "schedule",
    "batch",
    "initialisation",
    "regularisation",
    "simplification",
)
KERNELS = ("tiling", "memory access", "fusion", "precision", "launch", "algorithm", "simplification")
PROGRAMS = ("algorithm", "data structure", "parameters", "less work", "simplification")


class ImportRefusedError(Exception):
    """A folder cannot be imported as it is; the text says what is missing and what to do."""


@dataclass(frozen=True)
class Choice:
    """What a person says of a folder; it holds against what is found there."""

    command: str | None = None
    metric: str | None = None
    direction: Direction | None = None
    editable: tuple[str, ...] = ()
    seconds: float | None = None
    files: tuple[str, ...] = ()  # glob patterns of what belongs to the objective
    family: str | None = None  # which family to take it for


NO_CHOICE = Choice()


@dataclass(frozen=True)
class MetricFound:
    """The metric. reading: how its value is read, in words for a person."""

    name: str
    unit: str
    direction: Direction
    scale: Scale
    reading: str


@dataclass(frozen=True)
class SeedsFound:
    """How a run gets a seed of its own: by an environment variable, or by rewriting where the source has one."""

    variable: str | None = None
    rewrites: tuple[SeedRewrite, ...] = ()
    says: str = "none found"


@dataclass(frozen=True)
class EnvironmentFound:
    """What a run needs beside the files, as [environment] has it."""

    paths: tuple[str, ...] = ()
    lock: str | None = None
    prepare: str | None = None

    def __bool__(self) -> bool:
        return bool(self.paths or self.lock or self.prepare)


@dataclass(frozen=True)
class BudgetFound:
    """What a run may use. seconds: in which it computes, as the repository says; None where it does not."""

    wall_seconds: float
    seconds: float | None = None
    warmup_seconds: float | None = None
    threads: int = 1
    memory_mb: int = 2048


@dataclass(frozen=True)
class Recognised:
    """A folder as a command objective."""

    family: str  # for people: "karpathy/autoresearch"
    certain: bool  # nothing else has these files
    why: str  # what was seen that says so
    name: str
    summary: str
    editable: tuple[str, ...]
    metric: MetricFound
    command: Mapping[str, Any]  # [command] of objective.toml, without seeds
    seeds: SeedsFound
    environment: EnvironmentFound
    budget: BudgetFound
    device: str
    categories: tuple[str, ...]
    spread: float  # s0 before anything was measured, as [statistics] has it
    minimum_effect: float
    needed: tuple[str, ...] = ()  # files that must be among the objective's: those that measure
    history: str | None = None
    direction: str | None = None  # the file with a person's direction for the search, where it is not program.md
    notes: tuple[str, ...] = field(default=())  # what else a person should know
