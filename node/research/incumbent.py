"""The incumbent: the source that this node's search stands on, how it got there, and at which seed it was run.

The one owner of that: research edits it, reviews of peers' claims compare with it and replace it, and both roll it back
here when a discovery that it rests on is refuted. Worked out from the own feed, so it survives a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from node.ledger.projections.cached import CachedProjection
from node.ledger.projections.discoveries import discoveries, refuted
from node.ledger.projections.effects import effect_text
from node.ledger.projections.steps import Step, bases_of, invalidated, steps_of
from node.platform.log import Log, short_id
from node.research.workspace import Workspace
from node.trials.cached_runner import CachedRunner
from node.trials.trial import screening_seed
from protocol.records import Experiment


@dataclass
class Incumbent:
    """What this node stands on. author: its own key."""

    author: bytes
    cached_runner: CachedRunner
    workspace: Workspace
    log: Log
    _run_at: dict[bytes, int] = field(default_factory=dict)  # the seeds at which sources proved better than the best
    _rolled_back: frozenset[bytes] = frozenset()  # invalidated discoveries that were told of

    def __post_init__(self) -> None:
        ledger, author = self.cached_runner.ledger, self.author
        self._refuted = CachedProjection(ledger, lambda: refuted(ledger.all_records(), bases_of(ledger.feed(author))))
        self._invalidated = CachedProjection(ledger, lambda: invalidated(ledger.feed(author), self._refuted()))
        self._steps = CachedProjection(ledger, lambda: steps_of(ledger.feed(author), self._refuted()))
        self._rolled_back = self._invalidated()

    def steps(self) -> Sequence[Step]:
        """How this node got to its best source; what does not hold is left out, with what was built on it."""
        return self._steps()

    def source(self) -> bytes:
        """The id of the source that the next hypothesis will edit."""
        steps = self.steps()
        return steps[-1].source if steps else self.cached_runner.objective.source_id

    def note_run(self, source: bytes, seed: int) -> None:
        """Remember the seed at which a source was run alone, in case it becomes the incumbent."""
        self._run_at[source] = seed

    def screening_seed(self) -> int:
        """The seed at which edits of the incumbent are screened: one at which it was run already, where that is fair.

        Runs made side by side disturb each other's CPU time, so then the incumbent is run anew.
        """
        steps = self.steps()
        if not steps:
            return screening_seed(self.cached_runner.objective.source_id)
        step = steps[-1]
        body = step.record.body
        if self.cached_runner.parallel_runs == 1 and isinstance(body, Experiment):
            return screening_seed(step.source, body.pairs, step.effect)
        return self._run_at.get(step.source, screening_seed(step.source))

    def roll_back(self) -> None:
        """Return to the last source that holds, if a discovery that this one rests on has been invalidated."""
        news = self._invalidated() - self._rolled_back
        if not news:
            return
        self._rolled_back |= news
        steps = self.steps()
        for found in discoveries(self.cached_runner.ledger.all_records(), news):
            self.log(
                "rolled back",
                title=found.claim.title,
                record=short_id(found.record.id),
                claimed=effect_text(found.claim.effect),
                replicated=effect_text(found.standing.effect),
                reports=found.standing.reports,
                best=short_id(self.source()),
            )
        self.workspace.stand_on(self.cached_runner.source_text(self.source()), steps[-1].record.id if steps else None)
