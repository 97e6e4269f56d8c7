"""The incumbent: the source that this node's next hypothesis edits, the steps that led to it, and its screening seed.

It is a bet where steps since the last claim are not proven. The one owner of that: research edits it, reviews of peers'
claims compare with it and replace it, and both roll it back here when a discovery that it rests on is refuted. Worked
out from the own feed, so it survives a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from node.ledger.projections.cached import CachedProjection
from node.ledger.projections.discoveries import discoveries, refuted
from node.ledger.projections.effects import gain_text
from node.ledger.projections.steps import Step, bases_of, invalidated, steps_of
from node.platform.log import Log, short_id
from node.research.workspace import Workspace
from node.trials.cached_runner import CachedRunner
from protocol.records import Experiment, metric_of


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
        self._rolled_back = self._invalidated()

    def steps(self) -> Sequence[Step]:
        """The steps that led to the best source, without those invalidated and what was built on them."""
        return self._steps()

    def refuted(self) -> frozenset[bytes]:
        """The discoveries (record ids) under this node's steps that are refuted on the records held here."""
        return self._refuted()

    def source(self) -> bytes:
        """The id of the source that the next hypothesis will edit."""
        steps = self.steps()
        return steps[-1].source if steps else self.cached_runner.objective.source_id

    def note_run(self, source: bytes, seed: int) -> None:
        """Remember the seed at which what may be adopted was run, in case it becomes the incumbent.

        In memory only: after a restart the incumbent is run once more, at its usual screening seed.
        """
        self._run_at[source] = seed

    def screening_seed(self) -> int:
        """The seed at which edits of the incumbent are screened: one at which it was run already.

        It stays the same through a chain of bets, so that the luck of a seed, which every bet is chosen with a little
        of, adds up to no more than one seed can give. The claim moves it to a fresh seed, at which the search finds
        what its source is worth without that luck.
        """
        steps = self.steps()
        body = steps[-1].record.body if steps else None
        if isinstance(body, Experiment) and body.is_bet and body.screening is not None:
            return body.screening.seed
        if isinstance(body, Experiment) and body.chain:
            measured = [pair.seed for pair in body.pairs if pair.child.value is not None]
            if measured:
                return measured[0]
        known = self._run_at.get(self.source())
        return self.cached_runner.seeds.of_screening(self.source()) if known is None else known

    def roll_back(self) -> None:
        """Return to the last source that holds, if a discovery that this one rests on has been invalidated."""
        invalidated_now = self._invalidated() - self._rolled_back
        if not invalidated_now:
            return
        self._rolled_back |= invalidated_now
        steps = self.steps()
        for found in discoveries(self.cached_runner.ledger.all_records(), invalidated_now):
            about = {
                "title": found.claim.title,
                "record": short_id(found.record.id),
                "claimed": gain_text(found.claim.effect, metric_of(found.claim)),
                "replicated": gain_text(found.standing.effect, metric_of(found.claim)),
                "reports": found.standing.reports,
            }
            if found.record.author == self.author and found.claim.chain:
                self.log("claim refuted", level="warning", **about)  # what is left of it, this node's own runs say
            else:
                self.log("rolled back", **about, best=short_id(self.source()))
        self.workspace.stand_on(self.cached_runner.source_text(self.source()), steps[-1].record.id if steps else None)
