"""The strategy: a plain round-robin between proposers, with a memory of fingerprints.

It knows proposers by their interface only. A proposer that fails costs its turn, not the node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from node.experiment.edits import fingerprint
from node.hypothesis.proposer import Context, Lesson, Proposal, Proposer


class RoundRobin:
    """Asks one proposer after the other; whoever has an idea that was not tried gets the turn."""

    def __init__(self, proposers: Sequence[Proposer], log: Callable[..., None]) -> None:
        self._proposers = list(proposers)
        self._log = log
        self._turn = 0

    async def propose(self, context: Context) -> Proposal | None:
        """The next idea, None when no proposer has one for this source."""
        for step in range(len(self._proposers)):
            place = (self._turn + step) % len(self._proposers)
            proposal = await self._ask(self._proposers[place], context)
            if proposal is not None:
                self._turn = (place + 1) % len(self._proposers)
                return proposal
        return None

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Tell whoever proposed it what came of it."""
        for proposer in self._proposers:
            if proposer.name == proposal.proposer:
                proposer.learn(proposal, lesson)

    async def _ask(self, proposer: Proposer, context: Context) -> Proposal | None:
        try:
            proposal = await proposer.propose(context)
        except Exception as error:  # whatever a proposer does, research goes on with the others
            why = f"{type(error).__name__}: {error}"
            self._log("proposer failed", level="warning", proposer=proposer.name, why=why)
            return None
        if proposal is not None and fingerprint(proposal.source) in context.tried:
            return None
        return proposal
