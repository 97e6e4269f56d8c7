"""What a proposer is: it looks at what was tried and proposes one edited source.

Proposers see records' results, never a holdout figure, and make no runs.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from node.objective.edits import changes_nothing, fingerprint
from node.trials.opportunity_cost import was_deferred
from protocol.records import Experiment


@dataclass(frozen=True)
class TriedResult:
    """One experiment of anybody's, as far as it can teach somebody. `effect` is J, negative is better.

    `runs` are those that the trial took, `cost_ratio` the child's CPU cost per token over the parent's.
    """

    parent: bytes
    child: bytes
    category: str
    title: str
    proposer: str
    effect: float | None
    decision: str
    changed: Mapping[str, float]  # numeric constants in which child and parent differ, with the child's values
    compute_class: str = ""
    runs: int = 1
    cost_ratio: float | None = None
    left: bool = False  # for other ideas, at its screening


def runs_of(body: Experiment) -> int:
    """The runs that an experiment took: at the parent's seed only the child's, for the parent's was made before."""
    if body.screening is None and len(body.pairs) == 1:
        return 1
    return max(1, 2 * len(body.pairs) + (body.screening is not None))


def tried_result(body: Experiment, changed: Mapping[str, float]) -> TriedResult:
    """What a record says of an experiment."""
    return TriedResult(
        parent=body.parent,
        child=body.child,
        category=body.category,
        title=body.title,
        proposer=body.proposer,
        effect=body.effect.mean if body.effect else None,
        decision=body.decision,
        changed=changed,
        compute_class=body.compute_class,
        runs=runs_of(body),
        left=was_deferred(body),
        cost_ratio=body.cost_ratio,
    )


@dataclass(frozen=True)
class Context:
    """What a proposer may know. `tried` has the fingerprints that need not be tried again on this source, `leased`
    those that peers are trying now, and `peers_by_category` how many of them are trying ideas of each category.

    `category` is that of the idea asked for, None for any. `gain_by_category` is what the source has gained over the
    baseline by ideas of each category, in ln(metric). `idle` names constants that the objective's own source reads and
    this one no more, so that changing them would change nothing.
    """

    source: str
    source_id: bytes
    tried: frozenset[bytes]
    results: tuple[TriedResult, ...]
    rng: random.Random
    category: str | None = None
    leased: frozenset[bytes] = frozenset()
    peers_by_category: Mapping[str, int] = field(default_factory=dict)
    gain_by_category: Mapping[str, float] = field(default_factory=dict)
    idle: frozenset[str] = frozenset()

    def is_new(self, source: str) -> bool:
        """Whether an edited source was not tried yet, and differs in more than what nothing reads."""
        return fingerprint(source) not in self.tried and not changes_nothing(self.source, source, self.idle)


@dataclass(frozen=True)
class Proposal:
    """A hypothesis with its edit carried out."""

    title: str
    category: str
    reason: str
    proposer: str
    source: str


@dataclass(frozen=True)
class Lesson:
    """What became of a proposal. `failure` and the last output of the run are those of a crash."""

    decision: str
    effect: float | None
    failure: str | None
    log_tail: str


class Proposer(Protocol):
    """A source of ideas. `categories` are those it can be asked for; none when it brings what it has.

    Asking a `costly` one takes time or money, so it is asked once for each hypothesis.
    """

    name: str
    costly: bool

    @property
    def categories(self) -> Sequence[str]: ...

    async def propose(self, context: Context) -> Proposal | None:
        """The next idea of the category for this source whose fingerprint was not tried, None when there is none."""

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Told once of each proposal of its own that was tried, what the ledger does not keep (a crash's output)."""
