"""The incumbent: the source that this node's next hypothesis edits, the steps that led to it, and its screening seed.

The one owner of that: research edits it, reviews of peers' claims compare with it and replace it, and both roll it back
here when a discovery that it rests on is refuted. Worked out from the own feed, so it survives a restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from node.ledger.projections.cached import CachedProjection
from node.ledger.projections.discoveries import discoveries, refuted
from node.ledger.projections.effects import gain_text
from node.ledger.projections.steps import Step, bases_of, invalidated, steps_of
from node.platform.log import Log, short_id
from node.research.workspace import Workspace
from node.trials.cached_runner import CachedRunner
from node.trials.sequential_test import fair_screening_seed
from protocol.records import Audit, Experiment, Record, Replication, metric_of


@dataclass
class Incumbent:
    """This node's best source. author: the node's own key."""

    author: bytes
    cached_runner: CachedRunner
    workspace: Workspace
    log: Log
    _run_at: dict[bytes, int] = field(default_factory=dict)  # by source: the seed at which it was run, see `note_run`
    _rolled_back: frozenset[bytes] = frozenset()  # ids of invalidated discoveries that were logged already

    def __post_init__(self) -> None:
        ledger, author = self.cached_runner.ledger, self.author
        self._refuted = CachedProjection(ledger, lambda: refuted(ledger.all_records(), bases_of(ledger.feed(author))))
        self._invalidated = CachedProjection(ledger, lambda: invalidated(ledger.feed(author), self._refuted()))
        self._steps = CachedProjection(ledger, lambda: steps_of(ledger.feed(author), self._refuted()))
        self._published = CachedProjection(ledger, lambda: published_seeds(ledger.feed(author)))
        self._rolled_back = self._invalidated()

    def steps(self) -> Sequence[Step]:
        """The steps that led to the best source, without those invalidated and what was built on them."""
        return self._steps()

    def source(self) -> bytes:
        """The id of the source that the next hypothesis will edit."""
        steps = self.steps()
        return steps[-1].source if steps else self.cached_runner.objective.source_id

    def note_run(self, source: bytes, seed: int) -> None:
        """Remember the seed at which a source was run alone and one pair was enough, in case it becomes the incumbent.

        In memory only: after a restart the incumbent is run once more, at its usual screening seed.
        """
        self._run_at[source] = seed

    def screening_seed(self) -> int:
        """The seed at which edits of the incumbent are screened: one at which it was run already, where that is fair.

        When it is fair, `node.trials.sequential_test.fair_screening_seed` says. Runs made side by side disturb each
        other's CPU time, so where several are, the incumbent of an own experiment is run anew.
        """
        steps = self.steps()
        known = None
        if steps and self.cached_runner.parallel_runs == 1 and isinstance(steps[-1].record.body, Experiment):
            known = fair_screening_seed(steps[-1].record.body.pairs, steps[-1].effect)
        elif steps:
            known = self._run_at.get(steps[-1].source)
        return self.cached_runner.seeds.of_screening(self.source()) if known is None else known

    def has_published(self, seed: int) -> bool:
        """Whether a record of this node shows the seed, so that who wrote a source since may know what it brings.

        Peers' records show no seed of this node's but in audits of its reports, whose seeds are used for nothing else.
        """
        return seed in self._published()

    def roll_back(self) -> None:
        """Return to the last source that holds, if a discovery that this one rests on has been invalidated."""
        invalidated_now = self._invalidated() - self._rolled_back
        if not invalidated_now:
            return
        self._rolled_back |= invalidated_now
        steps = self.steps()
        for found in discoveries(self.cached_runner.ledger.all_records(), invalidated_now):
            self.log(
                "rolled back",
                title=found.claim.title,
                record=short_id(found.record.id),
                claimed=gain_text(found.claim.effect, metric_of(found.claim)),
                replicated=gain_text(found.standing.effect, metric_of(found.claim)),
                reports=found.standing.reports,
                best=short_id(self.source()),
            )
        self.workspace.stand_on(self.cached_runner.source_text(self.source()), steps[-1].record.id if steps else None)


def published_seeds(feed: Iterable[Record]) -> frozenset[int]:
    """The seeds of all pairs in these records."""
    found: set[int] = set()
    for record in feed:
        body = record.body
        if isinstance(body, Experiment | Replication):
            found |= {pair.seed for pair in body.pairs}
        if isinstance(body, Experiment) and body.screening is not None:
            found.add(body.screening.seed)
        if isinstance(body, Audit):
            found.add(body.pair.seed)
    return frozenset(found)
