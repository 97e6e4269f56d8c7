"""What a proposer is: from what was tried it proposes one edited source.

Proposers see the results in records, never a holdout figure, and make no runs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import msgspec

from node.execution.parsing.parser import SourceParser
from node.objective.edits import EditError
from node.proposers.reopening import Distance
from node.trials.opportunity_cost import was_deferred
from protocol.records import Decision, Experiment, Origin, Record


@dataclass(frozen=True)
class TriedResult:
    """One idea's experiment, this node's or a peer's, as proposers and the strategy learn from it.

    effect, error: J as in records, negative is better, so the gain is −J, and its standard error. changed, before: the
    numeric constants in which child and parent differ, with the child's values and with the parent's (none for one that
    the parent had not). runs: those that the trial took, a part of one where it was ended early. cost_ratio: the
    child's CPU cost per token over the parent's. deferred: it ended at its screening because other ideas were expected
    to gain more. bet: its author's search went on from the child, unproven. ended_early: its run was plainly losing.
    proven: its author is this node, or one whom this node's runs have found right; keys of others are free.
    """

    parent: bytes
    child: bytes
    category: str
    title: str
    proposer: str
    effect: float | None
    decision: str
    changed: Mapping[str, float]
    compute_class: str = ""
    runs: float = 1
    cost_ratio: float | None = None
    deferred: bool = False
    error: float | None = None
    before: Mapping[str, float] = field(default_factory=dict)
    bet: bool = False
    ended_early: bool = False
    failure: str | None = None
    taken_back: bool = False
    refuted: bool = False
    proven: bool = True
    origin: Origin | None = None

    @property
    def gained(self) -> bool:
        """Whether its author's search went on from the child, proven or not."""
        return self.bet or self.decision == Decision.IMPROVED


def runs_of(body: Experiment) -> int:
    """The runs that an experiment took, at the parent's seed only the child's: the parent's was made before.

    A screening and three pairs took 1 + 2 · 3 = 7 runs; a screening that was enough, and so is the only pair, took 1.
    """
    if body.screening is None and len(body.pairs) == 1:
        return 1
    return max(1, 2 * len(body.pairs) + (body.screening is not None))


Constants = tuple[Mapping[str, float], Mapping[str, float]]  # `changed` and `before` of a result


def nothing_of_constants(body: Experiment) -> Constants:
    """For a reader who has no sources."""
    return {}, {}


def tried_results(
    records: Iterable[Record],
    constants: Callable[[Experiment], Constants] = nothing_of_constants,
    refuted: Set[bytes] = frozenset(),
    is_proven: Callable[[bytes], bool] = lambda author: True,
) -> tuple[TriedResult, ...]:
    """What experiments can teach, in the order of the records. refuted: discoveries (record ids) that are.

    is_proven: whether this node has found an author right before, or it is this node.

    A chain is no idea; what it says is said of its bets: each has the effect that was attributed to it when the whole
    was measured on fresh seeds, and where that did not hold, its author went back.
    """
    experiments = [(record, record.body) for record in records if isinstance(record.body, Experiment)]
    attributed = {
        (record.author, step.record): (step.mean, body.decision) for record, body in experiments for step in body.chain
    }
    disproved = {
        (record.author, step.record) for record, body in experiments if record.id in refuted for step in body.chain
    }
    found = []
    for record, body in experiments:
        if body.chain:
            continue
        result = _tried_result(body, *constants(body))
        mean, decision = attributed.get((record.author, record.id), (result.effect, None))
        holds = decision not in (Decision.NO_GAIN, Decision.FAILED)
        found.append(
            replace(
                result,
                effect=mean,
                bet=result.bet and holds,
                taken_back=result.bet and not holds,
                refuted=record.id in refuted or (record.author, record.id) in disproved,
                proven=is_proven(record.author),
            )
        )
    return tuple(found)


def _tried_result(body: Experiment, changed: Mapping[str, float], before: Mapping[str, float]) -> TriedResult:
    ended_at = None if isinstance(body.ended_at, msgspec.UnsetType) else body.ended_at
    return TriedResult(
        parent=body.parent,
        child=body.child,
        category=body.category,
        title=body.title,
        proposer=body.proposer,
        effect=body.effect.mean if body.effect else None,
        error=body.effect.se if body.effect else None,
        decision=body.decision,
        changed=changed,
        before=before,
        compute_class=body.compute_class,
        runs=runs_of(body) if ended_at is None else ended_at,
        deferred=was_deferred(body),
        cost_ratio=body.cost_ratio,
        bet=body.is_bet,
        ended_early=ended_at is not None,
        failure=_failure_of(body),
        origin=None if isinstance(body.origin, msgspec.UnsetType) else body.origin,
    )


def _failure_of(body: Experiment) -> str | None:
    """How the child's run failed; None where it did not."""
    pairs = (*((body.screening,) if body.screening else ()), *body.pairs)
    return next((str(pair.child.failure) for pair in pairs if pair.child.failure is not None), None)


@dataclass(frozen=True)
class Offer:
    """An idea that was confirmed in another objective of this home.

    objective: its name. gain: there, in ln(metric) or units of it. standing: why this node believes in it. parent,
    child: the sources there, whose difference is the edit.
    """

    origin: Origin
    objective: str
    title: str
    category: str
    reason: str
    parent: bytes
    child: bytes
    gain: float
    gain_text: str
    standing: str


@dataclass(frozen=True)
class Context:
    """What a proposer may know.

    tried: fingerprints that need not be tried again on this source. category: that of the idea asked for, None for any.
    leased: fingerprints that peers are trying on this source now. peers_by_category: how many peers are trying ideas of
    each category, on any source. gain_by_category: what the source has gained over the baseline by ideas of each
    category, in ln(metric). idle: constants that the objective's own source reads and this one no longer, so that
    changing them would change nothing. parser: what edited sources are read with. settled: (parent, child) of what was
    tried and is not worth another trial on this source. plateau: this node's own ideas bring hardly anything any more.
    offers: what was confirmed in other objectives and can only be told in words. heeds_leases: whether ideas that
    peers try are left to them. recheck: whether nobody else is believed this time. hearsay: titles of ideas to
    recheck first, which only the word of others closes who are not believed this time.
    """

    source: str
    source_id: bytes
    tried: frozenset[bytes]
    results: tuple[TriedResult, ...]
    rng: random.Random
    parser: SourceParser
    category: str | None = None
    leased: frozenset[bytes] = frozenset()
    peers_by_category: Mapping[str, int] = field(default_factory=dict)
    gain_by_category: Mapping[str, float] = field(default_factory=dict)
    idle: frozenset[str] = frozenset()
    distances: Mapping[bytes, Distance] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()
    settled: frozenset[tuple[bytes, bytes]] = frozenset()
    plateau: bool = False
    offers: tuple[Offer, ...] = ()
    heeds_leases: bool = True
    recheck: bool = False
    hearsay: frozenset[str] = frozenset()

    def is_near(self, source: bytes) -> bool:
        """Whether what was found on a source holds here: it is this source, or one that it was made from lately."""
        distance = self.distances.get(source)
        return source == self.source_id or (distance is not None and not distance.is_far())

    async def was_tried(self, source: str) -> bool:
        """Whether a source need not be tried, by its fingerprint alone."""
        return await self.parser.fingerprint(source) in self.tried

    async def is_new(self, source: str) -> bool:
        """Whether an edited source was not tried yet, and differs in more than seeds and what nothing reads."""
        return await self.refusal(source) is None

    async def refusal(self, source: str) -> str | None:
        """Why an edited source is not worth a trial, in words for its proposer; None where it is."""
        facts = await self.parser.facts(source)
        if facts.error is not None:
            return facts.error
        if facts.fingerprint in self.tried:
            return "this edit was tried on this source already, or changes nothing but comments"
        try:
            nothing, chance = await self.parser.compare(self.source, source, self.idle)
        except EditError as error:
            return str(error)
        if nothing:
            return "this edit changes nothing but constants that nothing reads any more"
        if chance:
            return "this edit changes nothing but chance: it gives random generators another seed, and does no more"
        return None


@dataclass(frozen=True)
class Proposal:
    """A hypothesis with its edit carried out.

    simpler: it takes something away, so it need not gain to be better. origin: where it was confirmed, if that was in
    another objective.
    """

    title: str
    category: str
    reason: str
    proposer: str
    source: str
    simpler: bool = False
    origin: Origin | None = None


@dataclass(frozen=True)
class Lesson:
    """What became of a proposal. effect: J, negative is better. failure, log_tail: a crash's kind and last output."""

    decision: str
    effect: float | None
    failure: str | None
    log_tail: str


@runtime_checkable
class Stocked(Protocol):
    """A proposer whose ideas come from elsewhere, and which can tell without work that there are none."""

    def has_stock(self, context: Context) -> bool:
        """Whether it may have an idea for this source; False where it surely has none."""


@runtime_checkable
class Rechecking(Protocol):
    """A proposer that knows its ideas, and so whether others say of some that they tried them in vain."""

    def to_recheck(self, context: Context) -> Set[str]:
        """The categories in which it has ideas that `context.hearsay` names."""


class Proposer(Protocol):
    """A source of ideas. categories: those it can be asked for; empty when its ideas come from elsewhere, of any kind.

    Asking a `costly` one takes time or money, so it is asked once for each hypothesis.
    """

    name: str
    costly: bool

    @property
    def categories(self) -> Sequence[str]: ...

    async def propose(self, context: Context) -> Proposal | None:
        """The next idea of the category for this source whose fingerprint was not tried, None when there is none."""

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Called once for each proposal of its own that was tried, with what the ledger does not keep, such as a
        crash's output."""
