"""The form of `--json` of commands that show one view of the whole, such as `contribution`, `map` and `suggestions`.

As in `forms`, which has the others, and the promise that goes with all of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from node.view.model.forms import Conclusion, Effect, Hex, Measured, PairOfRuns, Peer, Standing, Suggestion


class Found(msgspec.Struct, frozen=True):
    """What became of a node's claims. adopted, live_on: of them; in_bests_of: of so many others' bests."""

    claims: int
    confirmed: int
    open: int
    refuted: int
    doubted: int
    adopted: int
    adoptions: int
    live_on: int
    in_bests_of: int
    others: int


class OwnDiscovery(msgspec.Struct, frozen=True):
    """A claim of this node in short."""

    id: Hex
    title: str
    category: str
    gain_text: str
    replicated_text: str | None
    standing: Standing
    time: int
    reports: int
    adopted_by: int
    lives_in: int


class SwarmTotals(msgspec.Struct, frozen=True):
    """All records held, this node's included."""

    authors: int
    records: int
    experiments: int
    claims: int
    confirmed: int
    replications: int
    adoptions: int


class Contribution(msgspec.Struct, frozen=True, kw_only=True):
    """`contribution --json`. since: milliseconds since 1970. experiments: the proof of a chain is none."""

    since: int | None
    runs: int
    cpu_hours: float
    wall_hours: float
    experiments: int
    kept: int
    claims: int
    replications: int
    audits: int
    transfers: int
    suggestions: int
    found: Found
    discoveries: list[OwnDiscovery]
    swarm: SwarmTotals


class BaselineValue(msgspec.Struct, frozen=True):
    """The baseline's value, that of its first run, and the mean of all (n), with its standard error."""

    source: Hex
    value: float | None
    of: Literal["own runs", "records"]
    n: int
    mean: float | None
    mean_se: float | None


class Foot(msgspec.Struct, frozen=True, kw_only=True):
    """A step of an author from the baseline, with the gain until there; the first is the baseline, without a record."""

    what: Literal["baseline", "bet", "claim", "adoption"]
    gain: float | None
    se: float | None
    value: float | None
    gain_text: str | None
    id: Hex | UnsetType = UNSET
    title: str | UnsetType = UNSET
    by: Peer | UnsetType = UNSET
    time: int | UnsetType = UNSET


class Furthest(msgspec.Struct, frozen=True, kw_only=True):
    """The last claim of the author who got furthest with what it claims."""

    id: Hex
    by: Peer
    title: str
    replicated_text: str | None
    gain: float | None
    se: float | None
    value: float | None
    gain_text: str | None


class ProgressForm(msgspec.Struct, frozen=True):
    """`progress --json`. value: levels, which begin at the baseline's."""

    baseline: BaselineValue
    gain_unit: str
    you: list[Foot]
    best: Furthest | None
    swarm: list[Foot]


Figures = Annotated[list[float], Meta(description="gain, standard error, and of how many")]


class MappedIdea(msgspec.Struct, frozen=True):
    """The best experiment of one title."""

    id: Hex
    title: str
    decision: str
    conclusion: Conclusion
    kept: bool
    gain: Figures | None
    gain_text: str | None
    by: Peer
    times: int
    time: int


class MappedCategory(msgspec.Struct, frozen=True):
    category: str
    tried: int
    kept: int
    failed: int
    claims: int
    confirmed: int
    gain: Figures | None
    gain_text: str | None
    best: Figures | None
    best_text: str | None
    best_id: Hex | None
    ideas: list[MappedIdea]
    more: int


class MapForm(msgspec.Struct, frozen=True):
    """`map --json`."""

    categories: list[MappedCategory]
    rest_categories: int


class ModelHere(msgspec.Struct, frozen=True):
    configured: bool
    text: str


class SuggestionsForm(msgspec.Struct, frozen=True):
    """`suggestions --json`."""

    suggestions: list[Suggestion]
    more: int
    model: ModelHere
    of: int


class CurveHere(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a record that was made here. curve: [share of the budget, loss]."""

    of: Literal["parent", "child"]
    seed: int
    value: float | None
    failure: str | None
    metrics: dict[str, float]
    cpu_seconds: float
    wall_seconds: float
    peak_memory: int
    curve: list[list[float]]


class Side(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """One of the records that are compared. value, from: means over the runs of child and parent, as they were seen."""

    id: Hex
    kind: Literal["experiment", "replication", "transfer"]
    title: str
    category: str | None
    reason: str
    proposer: str | None
    by: Peer
    time: int
    compute_class: str
    device: str
    decision: str
    conclusion: Conclusion | None
    gain: Figures | None
    gain_text: str
    effect: Effect | None
    holdout: Effect | None
    value: float | None
    from_: float | None
    cost_ratio: float | None
    cpu_seconds: float | None
    tokens: int
    standing: Standing | None
    parent: Hex
    child: Hex
    runs: list[PairOfRuns]
    curves: list[CurveHere]


class Compare(Measured, frozen=True, kw_only=True):
    """`compare ID ID --json`. difference: of b's gain and a's. diff: null while a source has not arrived."""

    a: Side
    b: Side
    same_parent: bool
    same_child: bool
    difference: Effect | None
    difference_text: str | None
    shared_seeds: list[int]
    diff: list[str] | None


class SettingForm(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """One setting. value, default, file_value, running: as TOML has it."""

    name: str
    table: str
    value: Any
    default: Any
    file_value: Any
    from_: Literal["option", "page", "swarm.toml", "default"]
    expected: str
    kind: Literal["flag", "number", "share", "hours", "gpus"]
    least: float | None
    most: float | None
    about: str
    takes_effect: str
    running: Any
    pending: bool
    changeable: bool
    why_not: str | None


class Undo(msgspec.Struct, frozen=True):
    name: str
    to: Any
    text: str


class SettingsForm(msgspec.Struct, frozen=True):
    """`settings --json`."""

    settings: list[SettingForm]
    file: str | None
    undo: Undo | None


OVERVIEW_FORMS: dict[str, Any] = {
    "compare": Compare,
    "contribution": Contribution,
    "map": MapForm,
    "progress": ProgressForm,
    "settings": SettingsForm,
    "suggestions": SuggestionsForm,
}
