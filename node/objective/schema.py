"""An objective as typed data: what is measured, which files may be edited, the budget, what is expected, its noise.

Nothing here reads a file. `load` does, and refuses what is wrong, so an `Objective` is always valid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import msgspec

from node.objective import trees
from node.platform.hardware import ComputeClass
from protocol.metric import LOSS, Metric
from protocol.objective import FileEntry

SETTINGS = "objective.toml"
DIRECTION = "program.md"


class Kind(StrEnum):
    """How a source is scored."""

    MODEL = "model"  # it trains a model, which a judge asks for predictions
    PROGRAM = "program"  # it answers arrays with arrays, which a judge checks or times
    COMMAND = "command"  # a command runs it and prints values


class Trust(StrEnum):
    """Who measured a value."""

    JUDGED = "judged"  # a process that the source cannot reach
    SELF_MEASURED = "self-measured"  # a script that the source cannot change, but may share a process with


@dataclass(frozen=True)
class Prior:
    """What is expected of ideas of a category before anything was tried."""

    success: float  # the share of them that succeed, 0 to 1
    gain: float  # of one that succeeds, as effects are measured (protocol.metric); positive is better


@dataclass(frozen=True)
class Statistics:
    """What an objective says about its own noise and cost, and how its values compare.

    Differences are effects as `metric` takes them: of a loss, of natural logarithms, so that 0.01 is about 1 %.
    """

    metric: Metric = LOSS
    s0: float = 0.01  # expected standard deviation of a pair's difference; measured pairs are pooled with it
    cost_s0: float = 0.05  # the same of Δ ln(cost)
    slope: float = 0.15  # what a run of the baseline gains per ln(tokens): what time is worth
    cost_deadband: float = 0.05  # |ln(cost ratio)| below which the costs count as equal
    minimum_effect: float = 0.002  # a smaller gain is not worth claiming
    max_pairs: int = 6  # of one trial


@dataclass(frozen=True)
class Data:
    """A data file, made by prepare.py, put there by hand, or fetched from peers. One worker alone may read it.

    shared: whether peers may be given it, and are asked for it.
    """

    name: str
    entry: FileEntry
    room: str  # the worker that may read it: "candidate" or "judge"
    shared: bool = True


@dataclass(frozen=True)
class Download:
    """A file that prepare.py reads, fetched over HTTP once a person agrees, or from peers."""

    name: str  # by which prepare.py knows it
    urls: tuple[str, ...]  # mirrors, in the order in which they are tried
    entry: FileEntry


@dataclass(frozen=True)
class Budget:
    """What one run may use: so many tokens, or so many seconds."""

    tokens: int  # that it trains on; 0 where time is the budget
    seconds: float | None  # of the device, in which it computes; None where tokens are the budget
    warmup_seconds: float  # of compiling and warming up, which do not count among those; this is the most of them
    wall_seconds: float  # of the whole training or command, after which it is ended
    threads: int
    memory_bytes: int  # resident, of the candidate
    weights_bytes: int  # of one model, as it is handed out
    gpu_memory_bytes: int = 0  # of one GPU; 0 where the objective leaves it to the machine


@dataclass(frozen=True)
class SeedRewrite:
    """A place in a file where a seed is written, which the node rewrites for each run. `{seed}` stands in `replace`."""

    file: str
    find: str  # occurs once
    replace: str


@dataclass(frozen=True)
class Command:
    """What runs a source and how its values are read. One of `run` and `evaluator` is given."""

    run: str | None  # a line for bash, in the objective's folder
    evaluator: str | None  # a Python file with evaluate(path of the first editable file), which returns values by name
    values: str  # "lines": METRIC name=value; "block": key: value; "json": result files
    files: tuple[str, ...]  # the result files, merged in this order
    require: Mapping[str, str]  # what else must stand among the values, or the run failed
    failed_by: tuple[str, ...]  # texts that, anywhere in the output, mean that the run failed
    checks: str | None  # a line for bash after a run; where it ends with another status than 0 the run failed
    checks_seconds: float
    seed_variable: str  # environment variable with the run's seed
    seed_rewrites: tuple[SeedRewrite, ...]


@dataclass(frozen=True)
class Environment:
    """What a command needs beside its files. A person prepares it; runs may read it."""

    paths: tuple[str, ...]  # folders, below the objective's own or below "~/"
    lock: FileEntry | None  # the file that says what is in the environment
    prepare: str | None  # the one command, in the objective's folder and with the network, that a person runs


@dataclass(frozen=True)
class Program:
    """How a judge asks a program."""

    causal: bool  # one step at a time, so that what comes later stays hidden
    timed: bool  # the judge's clock is the metric: parent and child are asked in one session
    modules: tuple[str, ...] = ()  # files that the editable ones import, and that no edit changes


@dataclass(frozen=True)
class BudgetScale:
    """Another budget for the same sources: for machines without the objective's device, or a larger one of it.

    What a scale does not say is as in the objective's own budget. Values of different scales never compare.
    """

    name: str
    device: str  # "cpu" or "gpu"
    budget: Budget
    context: int
    checkpoints: tuple[int, ...]
    s0: float  # as an effect, as is the slope
    slope: float


@dataclass(frozen=True)
class Objective:
    """What is measured, which files may be edited, the budget and the judge. Same id = same swarm."""

    kind: Kind
    id: bytes
    manifest_bytes: bytes
    files: Mapping[str, bytes]
    root: Path
    data_dir: Path
    name: str
    summary: str
    metric: str  # its name; how its values compare is in `measure`
    unit: str
    editable: tuple[str, ...]
    judge: str | None  # None where a command measures itself
    prepare: str | None  # None: the data cannot be made; they are put there by hand or fetched from peers
    draw: str | None  # the module that draws the text of each run; None: the text is in `data`
    budget: Budget
    device: str  # "cpu" or "gpu"
    context: int  # of a model, as are the next two; 0 elsewhere
    vocabulary: int  # where it is above 256, texts have two bytes a token, little-endian
    checkpoints: tuple[int, ...]
    secret_seed: bool  # no worker that runs a source learns the run's seed, and the judge asks one of them, once
    categories: tuple[str, ...]
    priors: Mapping[str, Prior]  # by category
    classes: tuple[ComputeClass, ...]
    class_priors: Mapping[str, Mapping[str, Prior]]  # where a compute class differs, by its name
    statistics: Statistics
    data: tuple[Data, ...]
    command: Command | None = None
    environment: Environment | None = None
    program: Program | None = None
    scales: tuple[BudgetScale, ...] = ()
    scale: str = ""  # the name of that among them at which this one's runs are made; "" for the objective's own budget
    downloads: tuple[Download, ...] = ()
    hidden: tuple[str, ...] = ()  # packages of this Python, by their folders' names, that no run may read
    token_bytes: str | None = None  # of a model: the file with the bytes of each token, one byte for each
    history: str | None = None  # a file with results from before, which becomes memory of what was tried
    direction: str = DIRECTION  # a person's direction for the search, in words; it need not be there

    @cached_property
    def source(self) -> str:
        """The baseline: the text of the editable file, or the tree of the editable files."""
        return trees.source_of({path: self.files[path].decode() for path in self.editable})

    @cached_property
    def source_id(self) -> bytes:
        return hashlib.sha256(self.source.encode()).digest()

    @property
    def measure(self) -> Metric:
        """How values of the metric compare."""
        return self.statistics.metric

    @property
    def recorded_metric(self) -> Metric | msgspec.UnsetType:
        """What records say of the metric: nothing of a model's loss, as in the first version."""
        return msgspec.UNSET if self.kind == Kind.MODEL and self.measure == LOSS else self.measure

    @property
    def trust(self) -> Trust:
        return Trust.SELF_MEASURED if self.kind == Kind.COMMAND else Trust.JUDGED

    @property
    def unshared(self) -> tuple[Data, ...]:
        """The data that peers are neither given nor asked for."""
        return tuple(data for data in self.data if not data.shared)

    @property
    def timed(self) -> bool:
        """Whether values are times, so that two of them compare only where both were measured in one session."""
        return self.program is not None and self.program.timed

    @property
    def repeatable(self) -> bool:
        """Whether the same source at the same seed gives the same value on one machine."""
        if self.kind == Kind.PROGRAM:  # its seconds are a limit and no time to be used: answers do not depend on them
            return self.device == "cpu" and not self.timed
        return self.kind == Kind.MODEL and self.device == "cpu" and self.budget.seconds is None

    @property
    def conditions(self) -> str:
        """What runs are made under and remembered by: the device, and the scale where it is not the objective's own."""
        return f"{self.device}, {self.scale}" if self.scale else self.device

    @property
    def told_of_scale(self) -> dict[str, str]:
        """What the workers of a run are told of its scale: nothing where that is the objective's own budget."""
        return {"scale": self.scale} if self.scale else {}

    def at_scale(self, name: str) -> Objective:
        """The same objective, with the budget and device of one of its scales. Raises KeyError for an unknown name."""
        found = next((scale for scale in self.scales if scale.name == name), None)
        if found is None:
            raise KeyError(name)
        return replace(
            self,
            scale=found.name,
            device=found.device,
            budget=found.budget,
            context=found.context,
            checkpoints=found.checkpoints,
            statistics=replace(self.statistics, s0=found.s0, slope=found.slope),
        )

    @property
    def larger_scales(self) -> tuple[BudgetScale, ...]:
        """The scales to which what was found on this device may be promoted, in their order."""
        return tuple(scale for scale in self.scales if scale.device == self.device and scale.name != self.scale)

    def on_device(self, device: str) -> Objective | None:
        """The objective as it is run on a device: by its own budget, else at its first scale for it; None without one.

        So each device has one budget here, and each compute class, which is of one device, too. Scales beyond those
        are larger ones, at which only what was found is run again.
        """
        if device == self.device:
            return self
        name = next((scale.name for scale in self.scales if scale.device == device), None)
        return None if name is None else self.at_scale(name)

    def on_machine(self, gpus: bool) -> Objective:
        """The objective as a machine runs it: on a CPU where it is for a GPU, `gpus` is False, and it has a scale."""
        return self if gpus or self.device == "cpu" else self.on_device("cpu") or self

    def same_budget(self, compute_class: str) -> bool:
        """Whether runs of a compute class are made with this budget: a class is of one device, and that of one budget.

        Of an objective without a scale for another device, those of every class are.
        """
        if not self.scale and all(scale.device == self.device for scale in self.scales):
            return True
        devices = {one.name: one.device for one in self.classes}
        return devices.get(compute_class, compute_class) == self.device

    def priors_for(self, compute_class: str) -> Mapping[str, Prior]:
        """What is expected of each category on a machine of this class before anything was tried."""
        return {**self.priors, **self.class_priors.get(compute_class, {})}

    def data_for(self, room: str) -> list[tuple[str, Path]]:
        """(name, path) of the data files that a worker ("candidate" or "judge") may read."""
        return [(data.name, self.data_dir / data.entry.path) for data in self.data if data.room == room]


class ObjectiveError(Exception):
    """The objective cannot be used; the text names the file and field and says what to do."""
