"""The form of what is known of research: records, claims, leaderboards, what runs now."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from node.view.model.forms.figures import Conclusion, Effect, Hex, Measured, Peer, Standing
from node.view.model.forms.home import Suggestion


class Ahead(msgspec.Struct, frozen=True):
    """Bets since the last claim."""

    source: Hex
    gain: Effect | None
    bets: list[Hex]


class Node(msgspec.Struct, frozen=True):
    """How far one author has got: as it measured it, and as others did. place: in its class; alone in `leaderboard`."""

    peer: Peer
    compute_class: str
    best_source: Hex
    gain: Effect | None
    holdout: Effect | None
    replicated: Effect | None
    replicated_steps: int
    steps: list[Hex]
    ahead: Ahead | None
    experiments: int
    replications: int
    place: int | UnsetType = UNSET


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """A claim beside what others found. replicated: by reports that count at this node; unchecked: by others."""

    id: Hex
    title: str
    category: str
    author: Peer
    compute_class: str
    claimed: Effect | None
    holdout: Effect | None
    holdout_ratio: float | None
    seeds: list[int]
    cost_ratio: float | None
    replicated: Effect | None
    unchecked: Effect | None
    reports: int
    keys: int
    checked_keys: int
    run_again_here: int
    weight: float
    missing_reports: int
    made_up: int
    classes: list[str]
    reach: Literal["general", "class-bound"] | None
    standing: Standing
    rests_on: str
    arrived: Annotated[int, Meta(description="in `watch`: its number in the order of arrival")] | UnsetType = UNSET


class OtherVersion(msgspec.Struct, frozen=True):
    """What was researched from the same folder when it had other files."""

    id: Hex
    records: int


class Leaderboard(Measured, frozen=True, kw_only=True):
    """`leaderboard --json`"""

    objective: Hex
    baseline: Hex
    records: int
    same_folder: list[OtherVersion]
    nodes: list[Node]
    discoveries: list[Discovery]


class Models(msgspec.Struct, frozen=True):
    """What language models have cost, in tokens and in the currency of the prices in `[llm]`."""

    tokens: int
    money: float
    tokens_last_hour: int
    money_last_hour: float


class Status(Measured, frozen=True, kw_only=True):
    """`status --json`. live: what runs now. now: what the running node says of itself, null where none runs."""

    running: bool
    peer: Peer | None
    objective: Hex
    records: int
    authors: int
    forks: int
    best: Node | None
    gain: Effect | None
    models: Models
    live: dict[str, Any]
    now: dict[str, Any] | None


class Record(msgspec.Struct, frozen=True):
    """One signed record. time: milliseconds since 1970, as its author states it."""

    id: Hex
    author: Peer
    objective: Hex
    seq: int
    prev: Hex
    time: int
    kind: str
    body: dict[str, Any]
    conclusion: Conclusion | UnsetType = UNSET


class Run(msgspec.Struct, frozen=True):
    """One run as its author saw it. checkpoints: [steps, value]."""

    value: float | None
    cpu_seconds: float
    tokens: int
    checkpoints: list[tuple[int, float]]
    failure: str | None


class PairOfRuns(msgspec.Struct, frozen=True):
    """Parent and child with one seed. of: "screening", or "pair" and its number."""

    of: str
    seed: int
    parent: Run
    child: Run


class Report(msgspec.Struct, frozen=True):
    """What another author found of a claim."""

    id: Hex
    peer: Peer
    compute_class: str
    decision: str
    effect: Effect | None
    adoption: Effect | None
    adopted: Hex | None
    route: str


class Audit(msgspec.Struct, frozen=True):
    """One pair of a report, run again. agrees: null where the report is not held."""

    id: Hex
    peer: Peer
    report: Hex
    compute_class: str
    seed: int
    parent: Run
    child: Run
    agrees: bool | None


class LineageStep(msgspec.Struct, frozen=True):
    id: Hex
    title: str
    effect: Effect | None


class Show(Measured, frozen=True, kw_only=True):
    """`show ID --json`. What a kind of record does not have is left out. diff: null while a source has not arrived."""

    record: Record
    author: Peer
    conclusion: Conclusion | UnsetType = UNSET
    conclusion_text: str | UnsetType = UNSET
    effect: Effect | UnsetType | None = UNSET
    holdout: Effect | UnsetType | None = UNSET
    adoption: Effect | UnsetType | None = UNSET
    runs: list[PairOfRuns] | UnsetType = UNSET
    diff: list[str] | UnsetType | None = UNSET
    replications: list[Report] | UnsetType = UNSET
    audits: list[Audit] | UnsetType = UNSET
    standing: Standing | UnsetType | None = UNSET
    rests_on: str | UnsetType | None = UNSET
    lineage: list[LineageStep] | UnsetType = UNSET
    claim: Record | UnsetType | None = UNSET
    fate: Suggestion | UnsetType = UNSET
    replay: dict[str, Any] | UnsetType | None = UNSET


class ClassBest(msgspec.Struct, frozen=True, rename={"compute_class": "class"}):
    """The best of a compute class. values: of the metric, each time it got better."""

    compute_class: str
    nodes: int
    peer: Peer
    replicated: Effect | None
    gain: Effect | None
    values: list[float]


class Watch(Measured, frozen=True, kw_only=True):
    """`watch --json`, where there is a ledger. trouble: why nothing of it could be read, "" where it could.
    live: what runs now.
    """

    peer: Peer | None
    records: int
    authors: int
    standings: dict[Standing, int]
    discoveries: list[Discovery]
    classes: list[ClassBest]
    waiting: int
    waiting_titles: list[str]
    live: dict[str, Any]
    now: dict[str, Any] | None
    paused: bool
    models: Models
    since: int | None
    trouble: str
