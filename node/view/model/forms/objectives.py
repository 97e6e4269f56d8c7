"""The form of what is said of objectives: those of this machine, the one that is researched, checks and imports."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from node.view.model.forms.figures import Effect, Hex, Measured
from node.view.model.forms.views import Baseline


class ListedObjective(msgspec.Struct, frozen=True):
    """A row of `objective list --json`. current: what `join` goes on with. id: "" where its settings are not readable.
    researched: whether this home ever did; experiments: own, discoveries: everybody's. joined: seconds since 1970.
    """

    name: str
    id: Hex
    metric: str
    unit: str
    measured: str
    tokens: int
    seconds: float | None
    wall_seconds: float
    scale: str
    scales: list[str]
    place: str
    current: bool
    why_not: str
    records: int
    experiments: int
    discoveries: int
    gain: Effect | None
    joined: float
    researched: bool
    joinable: bool


class BestHere(msgspec.Struct, frozen=True):
    """This node's best source."""

    source: Hex
    value: float | None
    gain_text: str


class OtherObjective(msgspec.Struct, frozen=True):
    """Another objective that this home has researched."""

    id: Hex
    name: str
    records: int


class Budget(msgspec.Struct, frozen=True):
    """What one run may use."""

    tokens: int | None
    seconds: float | None
    wall_seconds: float
    threads: int
    memory_bytes: int
    text: str


class ObjectiveShown(Measured, frozen=True, kw_only=True):
    """`objective show --json`. trust: who measures, in words.

    Where its files are not here, what they say is null or empty.
    """

    id: Hex
    trust: str
    editable: list[str]
    baseline: Baseline
    best: BestHere | None
    records: int
    authors: int
    others: list[OtherObjective]
    kind: str | None
    summary: str | None
    device: str | None
    budget: Budget | None
    categories: list[str]
    scales: list[str]
    minimum_effect: float | None
    program: str
    program_cut: bool


# ---- checking --------------------------------------------------------------------------------------------------------


class ScaleHere(msgspec.Struct, frozen=True):
    """At which scale it would be run here, and why."""

    name: str
    why: str


class Fault(msgspec.Struct, frozen=True):
    """What is wrong: the file of the folder, and a sentence that says what to do."""

    file: str
    says: str


class MeasuredBaseline(msgspec.Struct, frozen=True):
    """What its runs here showed. noise: standard deviation of a pair's difference, as an effect, of so many runs.

    least_noise, most_noise: what it hardly is below and above. suggested_s0: the upper bound, in the metric's units.
    paired: the noise is that of pairs at one seed, of the baseline and an own idea.
    """

    value: float
    holdout: float | None
    wall_seconds: float
    cpu_seconds: float
    tokens_per_second: float
    memory_bytes: int
    noise: float
    least_noise: float
    most_noise: float
    suggested_s0: float
    runs: int
    seeds: list[int]
    paired: bool
    sandbox: str


class Change(msgspec.Struct, frozen=True):
    """A setting that --fix has written. before: "" where there was none."""

    setting: str
    before: str
    after: str


class ObjectiveChecked(msgspec.Struct, frozen=True):
    """`objective check FOLDER --json`. id, baseline: null where there are faults. refused: this machine would not.

    former_id: the id before --fix wrote something; null where it is the same.
    """

    folder: str
    id: Hex | None
    former_id: Hex | None
    scale: ScaleHere | None
    scales: list[str]
    faults: list[Fault]
    warnings: list[str]
    refused: bool
    prepared: bool
    baseline: MeasuredBaseline | None
    advice: str | None
    fixed: list[Change]


# ---- importing -------------------------------------------------------------------------------------------------------


class MetricFound(msgspec.Struct, frozen=True):
    """The metric that was recognised. reading: where its value is read."""

    name: str
    unit: str
    direction: Literal["lower", "higher"]
    scale: Literal["log", "linear"]
    reading: str


class EnvironmentFound(msgspec.Struct, frozen=True):
    paths: list[str]
    lock: str | None
    lock_sha256: Hex | None


class Rewrite(msgspec.Struct, frozen=True):
    """A seed in a file that is rewritten for each run."""

    file: str
    find: str


class SeedFound(msgspec.Struct, frozen=True):
    variable: str | None
    rewrites: list[Rewrite]
    says: str


class BudgetFound(msgspec.Struct, frozen=True):
    seconds: float | None
    wall_seconds: float
    threads: int
    memory_mb: int


class HistoryFound(msgspec.Struct, frozen=True):
    """Results from before a swarm. skipped: lines that could not be read."""

    file: str
    results: int
    skipped: int
    kept: int
    discarded: int
    crashed: int
    tried: int


class ObjectiveImported(msgspec.Struct, frozen=True):
    """`objective import FOLDER --json`. family: what it was taken for; others: what else it could be."""

    folder: str
    id: Hex
    name: str
    family: str
    certain: bool
    why: str
    others: list[str]
    editable: list[str]
    locked: list[str]
    left_out: list[str]
    metric: MetricFound
    command: dict[str, Any]
    environment: EnvironmentFound | None
    prepare: str | None
    seed: SeedFound
    device: str
    budget: BudgetFound
    history: HistoryFound | None
    notes: list[str]
