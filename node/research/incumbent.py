"""The incumbent: the source that this node's next hypothesis edits, the steps that led to it, and its screening seed.

It is a bet where steps since the last claim are not proven. The one owner of that: research edits it, reviews of peers'
claims compare with it and replace it, and both roll it back here when a discovery that it rests on does not hold by
this node's own runs. Worked out from the own feed, so it survives a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from node.ledger.projections.cached import CachedProjection
from node.ledger.projections.discoveries import discoveries, doubted
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
    _said_doubted: frozenset[bytes] = frozenset()  # the same of those that others doubt

    def __post_init__(self) -> None:
        ledger, author = self.cached_runner.ledger, self.author
        self._doubted = CachedProjection(ledger, self._find_doubted)
        self._invalidated = CachedProjection(ledger, lambda: invalidated(ledger.feed(author)))
        self._steps = CachedProjection(ledger, lambda: steps_of(ledger.feed(author), self._reopened()))
        self._rolled_back = self._invalidated()

    def _find_doubted(self) -> frozenset[bytes]:
        ledger = self.cached_runner.ledger
        return doubted(ledger.all_records(), ledger.weights(self.author), bases_of(ledger.feed(self.author)))

    def steps(self) -> Sequence[Step]:
        """The steps that led to the best source, without those invalidated and what was built on them."""
        return self._steps()

    def _reopened(self) -> frozenset[bytes]:
        """Own claims of chains that are doubted: their bets are not proven any more, until they were verified again."""
        feed = self.cached_runner.ledger.feed(self.author)
        chains = {record.id for record in feed if isinstance(record.body, Experiment) and record.body.chain}
        return self.doubted() & chains

    def doubted(self) -> frozenset[bytes]:
        """The discoveries (record ids) under this node's steps that do not hold by what others' reports say.

        They are run again here, and only what that shows makes this node go back.
        """
        return self._doubted()

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
        """Return to the last source that holds, if a discovery that this one rests on has been invalidated.

        What others' reports say does not do so; it is logged once.
        """
        invalidated_now = self._invalidated() - self._rolled_back
        doubted_now = self.doubted() - self._said_doubted
        if not invalidated_now | doubted_now:
            return
        self._rolled_back |= invalidated_now
        self._said_doubted |= doubted_now
        ledger = self.cached_runner.ledger
        weights = ledger.weights(self.author)
        for found in discoveries(ledger.all_records(), weights, invalidated_now | doubted_now):
            about = {
                "title": found.claim.title,
                "record": short_id(found.record.id),
                "claimed": gain_text(found.claim.effect, metric_of(found.claim)),
                "replicated": gain_text(found.standing.effect, metric_of(found.claim)),
                "reports": found.standing.reports,
            }
            if found.record.id in invalidated_now:
                self.log("rolled back", **about, best=short_id(self.source()))
            else:
                self.log("claim doubted", level="warning", **about)
        if invalidated_now:
            steps = self.steps()
            text = self.cached_runner.source_text(self.source())
            self.workspace.stand_on(text, steps[-1].record.id if steps else None)
