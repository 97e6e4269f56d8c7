"""The form of what shows one view of the whole: strategy, comparison, contribution, progress, map, swarm, a peer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from node.view.model.forms.figures import Conclusion, Effect, Hex, Measured, Peer, Standing
from node.view.model.forms.research import PairOfRuns

Figures = Annotated[tuple[float, float, int], Meta(description="gain, its standard error, and of how many")]

# ---- strategy --------------------------------------------------------------------------------------------------------


class CarriedOver(msgspec.Struct, frozen=True):
    """How a category's gains carry over to a larger scale. category: "all" where `all` is true."""

    category: str
    all: bool
    scale: str
    tried: float
    carried: float
    rate: float
    rate_error: float
    ratio: float | None
    ratio_error: float | None
    expected: float
    text: str


class CameFrom(msgspec.Struct, frozen=True):
    """What came of ideas that were confirmed in another objective."""

    objective: Hex
    name: str | None
    category: str
    all: bool
    tried: int
    gained: int
    rate: float
    rate_error: float
    gain: float | None
    gain_error: float | None
    gain_text: str | None
    text: str


class ArmOfStrategy(msgspec.Struct, frozen=True):
    """A kind of idea: what is expected of it, and how likely it is to be tried next."""

    category: str
    proposer: str
    chance: float
    chance_deviation: float
    gain: float
    already: float
    gain_text: str
    runs: float
    thinking_seconds: float
    seconds: float
    gain_per_hour: float
    rate_text: str
    tried: int
    kept: int
    has_ideas: bool
    next: float
    gain_percent: float | UnsetType = UNSET
    already_percent: float | UnsetType = UNSET
    gain_percent_per_hour: float | UnsetType = UNSET


class Strategy(Measured, frozen=True, kw_only=True):
    """`strategy --json`. at_scale: that gains are expected at, "" for the scale of the search."""

    compute_class: str
    seconds_per_run: float
    noise: float
    noise_percent: float | UnsetType = UNSET
    source: Hex
    experiments: int
    explored_share: float
    at_scale: str
    transfers: list[CarriedOver]
    from_objectives: list[CameFrom]
    arms: list[ArmOfStrategy]
    why: str


# ---- two records -----------------------------------------------------------------------------------------------------


class RunHere(msgspec.Struct, frozen=True):
    """A run that was made here. curve: [share of the budget, training loss]."""

    of: Literal["parent", "child"]
    seed: int
    value: float | None
    failure: str | None
    metrics: dict[str, float]
    cpu_seconds: float
    wall_seconds: float
    peak_memory: int
    curve: list[tuple[float, float]]


class Side(msgspec.Struct, frozen=True, rename={"start": "from"}):
    """One of two records that are compared. value, from: means of the child's and of the parent's runs."""

    id: Hex
    kind: str
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
    start: float | None
    cost_ratio: float | None
    cpu_seconds: float | None
    tokens: int
    standing: Standing | None
    parent: Hex
    child: Hex
    runs: list[PairOfRuns]
    curves: list[RunHere]


class Compared(Measured, frozen=True, kw_only=True):
    """`compare ID ID --json`. difference: how much more b gained than a, each against its own parent."""

    a: Side
    b: Side
    same_parent: bool
    same_child: bool
    difference: Effect | None
    difference_text: str | None
    shared_seeds: list[int]
    diff: list[str] | None


# ---- contribution ----------------------------------------------------------------------------------------------------


class ClaimLine(msgspec.Struct, frozen=True):
    """A claim in a list."""

    id: Hex
    title: str
    category: str
    gain_text: str
    replicated_text: str | None
    standing: Standing
    time: int


class OwnClaim(ClaimLine, frozen=True):
    """A claim of this node's. lives_in: how many others' best sources go back to it."""

    reports: int
    adopted_by: int
    lives_in: int


class Found(msgspec.Struct, frozen=True):
    """What became of this node's claims. in_bests_of: other nodes whose best goes back to one of them."""

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


class WholeSwarm(msgspec.Struct, frozen=True):
    """All records that this node holds, by what they are."""

    authors: int
    records: int
    experiments: int
    claims: int
    confirmed: int
    replications: int
    adoptions: int


class Sums(msgspec.Struct, frozen=True):
    """Figures that can be added up over objectives. confirmed: of the claims."""

    runs: int
    cpu_hours: float
    wall_hours: float
    experiments: int
    kept: int
    claims: int
    confirmed: int
    replications: int
    adopted: int
    audits: int


class ToObjective(Sums, frozen=True, kw_only=True):
    """What was contributed to one objective. current: the one that all else here is of."""

    id: Hex
    name: str
    current: bool
    since: int | None


class Contribution(msgspec.Struct, frozen=True, rename={"sums": "all"}):
    """`contribution --json`: of the objective that is researched. objectives, all: of each of this home's, and of all.

    since: of the first own record, in milliseconds since 1970. discoveries: the newest.
    """

    since: int | None
    runs: int
    cpu_hours: float
    wall_hours: float
    experiments: int
    kept: int
    claims: int
    replications: int
    adopted: int
    audits: int
    transfers: int
    suggestions: int
    found: Found
    discoveries: list[OwnClaim]
    swarm: WholeSwarm
    objectives: list[ToObjective]
    sums: Sums


# ---- progress and map ------------------------------------------------------------------------------------------------


class Baseline(msgspec.Struct, frozen=True):
    """The baseline's value, that of its first run, and the mean of all n, with its standard error. of: whose runs."""

    source: Hex
    value: float | None
    of: Literal["own runs", "records"]
    n: int
    mean: float | None
    mean_se: float | None


class ProgressStep(msgspec.Struct, frozen=True):
    """A step from the baseline: gains are over the baseline and add up. `what` is missing of `best` alone."""

    gain: float | None
    se: float | None
    value: float | None
    gain_text: str | None
    what: Literal["baseline", "adoption", "bet", "claim"] | UnsetType = UNSET
    id: Hex | UnsetType = UNSET
    title: str | UnsetType = UNSET
    by: Peer | UnsetType = UNSET
    time: int | UnsetType = UNSET


class BestOfAll(ProgressStep, frozen=True, kw_only=True):
    """Who got furthest with what it claims, and what others found of that."""

    replicated_text: str | None


class Progress(msgspec.Struct, frozen=True):
    """`progress --json`"""

    baseline: Baseline
    gain_unit: str
    you: list[ProgressStep]
    best: BestOfAll | None
    swarm: list[ProgressStep]


class IdeaOfMap(msgspec.Struct, frozen=True):
    """An idea that was tried. times: how often, under this title."""

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


class CategoryOfMap(msgspec.Struct, frozen=True):
    """A category. measured: of what was tried; gain: its mean. more: ideas that are not listed."""

    category: str
    tried: int
    measured: int
    kept: int
    failed: int
    claims: int
    confirmed: int
    gain: Figures | None
    gain_text: str | None
    best: Figures | None
    best_text: str | None
    best_id: Hex | None
    ideas: list[IdeaOfMap]
    more: int


class Map(msgspec.Struct, frozen=True):
    """`map --json`"""

    categories: list[CategoryOfMap]
    rest_categories: int


# ---- the swarm -------------------------------------------------------------------------------------------------------


class LastRecord(msgspec.Struct, frozen=True):
    id: Hex
    kind: str
    time: int
    title: str


class NodeOfGraph(msgspec.Struct, frozen=True):
    """An author. weight: of its reports at this node; standing: on what that rests."""

    peer: Peer
    you: bool
    compute_class: str
    experiments: int
    discoveries: int
    confirmed: int
    reports: int
    adopted: int
    weight: float
    standing: str
    online: bool
    gain_text: str | None
    last: LastRecord


class Edge(msgspec.Struct, frozen=True, rename={"source": "from", "target": "to"}):
    """What one author did with the claims and reports of another."""

    source: Peer
    target: Peer
    reports: int
    audits: int
    adopted: int
    transfers: int
    supports: int
    contradicts: int


class LeftOut(msgspec.Struct, frozen=True):
    """What the graph does not show, since there is too much of it."""

    nodes: int
    edges: int
    discoveries: int
    records: int


class News(msgspec.Struct, frozen=True):
    """A record that is worth telling. number: in the order of arrival. via: the peer that brought it."""

    number: int
    id: Hex
    kind: str
    by: Peer
    to: Peer | None
    via: str | None
    title: str
    what: str
    time: int


class SwarmGraph(msgspec.Struct, frozen=True):
    """`swarm graph --json`"""

    nodes: list[NodeOfGraph]
    edges: list[Edge]
    left_out: LeftOut
    news: list[News]


# ---- a peer ----------------------------------------------------------------------------------------------------------


class Vouching(msgspec.Struct, frozen=True):
    peer: Peer
    weight: float
    you: bool


class Standings(msgspec.Struct, frozen=True):
    confirmed: int
    open: int
    refuted: int
    total: int


class ReportsOfPeer(msgspec.Struct, frozen=True):
    """How a peer's reports fared that were run again. weight_by_checks: what in_a_row is worth."""

    made: int
    audited_here: int
    agreed: int
    differed: int
    audited_by_others: int
    in_a_row: int
    weight_by_checks: float


class TriedHere(msgspec.Struct, frozen=True):
    """How many of a peer's claims this node ran, and how many of them were right by its own runs."""

    claims: int
    right: int
    wrong: int


class Adopted(msgspec.Struct, frozen=True, rename={"source": "from"}):
    id: Hex
    of: Hex
    title: str
    source: Peer | None
    gain_text: str | None
    route: str
    time: int


class PeerShown(msgspec.Struct, frozen=True):
    """`peer show PEER --json`. latest: rows of its last records, open."""

    peer: Peer
    you: bool
    compute_class: str
    online: bool
    records: int
    first: int
    last: int
    forked: bool
    weight: float
    standing: str
    because: str
    vouched_by: list[Vouching]
    gain_text: str | None
    claims: Standings
    holdout_ratio: float | None
    reports: ReportsOfPeer
    tried_here: TriedHere
    experiments: int
    kept: int
    audits: int
    transfers: int
    suggestions: int
    found: list[ClaimLine]
    found_more: int
    adopted: list[Adopted]
    adopted_more: int
    latest: list[dict[str, Any]]
    of: int
