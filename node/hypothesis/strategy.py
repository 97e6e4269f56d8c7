"""The strategy: which arm to ask for the next hypothesis, by what every record held says of it.

It knows proposers by their interface only, and works with whatever arms they offer at the moment. A proposer that
fails costs its turn, not the node. What to believe is in `beliefs`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from node.experiment.edits import fingerprint
from node.hypothesis.beliefs import WHATEVER, Arm, Machine, Prior, beliefs, ranking
from node.hypothesis.proposer import Context, Lesson, Proposal, Proposer

# Of proposers that bring what they have: a person's idea is worth a quick look, and what held elsewhere may hold here.
BROUGHT = {"suggested": Prior(0.5, 0.05), "recombine": Prior(0.3, 0.02)}
REMEMBERED = 0.7  # of a proposer's usual thinking time, when a new one is measured


@dataclass
class Strategy:
    """Asks one arm after the other, in the order of what they promise, until one has an idea that was not tried."""

    proposers: Sequence[Proposer]
    priors_for: Callable[[str], Mapping[str, Prior]]  # by compute class
    log: Callable[..., None]
    clock: Callable[[], float] = time.monotonic  # one that leaves out rest, where there is any
    thinking: dict[str, float] = field(default_factory=dict)  # seconds a proposal takes, by proposer
    empty: set[Arm] = field(default_factory=set)  # arms that had nothing when they were last asked

    def arms(self) -> list[Arm]:
        """What could be asked now."""
        return sorted(
            {
                Arm(category, proposer.name)
                for proposer in self.proposers
                for category in proposer.categories or (WHATEVER,)
            }
        )

    def priors(self, compute_class: str) -> Mapping[str, Prior]:
        """What is expected of each category beforehand, and of each proposer that brings what it has."""
        return {**BROUGHT, **self.priors_for(compute_class)}

    async def propose(self, context: Context, machine: Machine) -> Proposal | None:
        """The next idea, None when no proposer has one for this source. `machine.thinking` is filled in here."""
        machine = replace(machine, thinking=dict(self.thinking))
        priors = self.priors(machine.compute_class)
        believed = beliefs(self.arms(), priors, context.results, context.source_id, context.banked, machine)
        named = {proposer.name: proposer for proposer in self.proposers}
        passed_over: set[str] = set()
        self.empty.clear()
        for arm in ranking(believed, context.rng):
            if arm.proposer in passed_over:
                continue
            started = self.clock()
            asked = replace(context, category=None if arm.category == WHATEVER else arm.category)
            proposal = await self._ask(named[arm.proposer], asked, passed_over)
            seconds = self.clock() - started
            if proposal is not None:
                usual = self.thinking.get(arm.proposer, seconds)
                self.thinking[arm.proposer] = REMEMBERED * usual + (1 - REMEMBERED) * seconds
                return proposal
            self.empty.add(arm)
            if named[arm.proposer].costly:
                passed_over.add(arm.proposer)
        return None

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Tell whoever proposed it what came of it."""
        for proposer in self.proposers:
            if proposer.name == proposal.proposer:
                proposer.learn(proposal, lesson)

    async def _ask(self, proposer: Proposer, context: Context, passed_over: set[str]) -> Proposal | None:
        try:
            proposal = await proposer.propose(context)
        except Exception as error:  # whatever a proposer does, research goes on with the others
            why = f"{type(error).__name__}: {error}"
            self.log("proposer failed", level="warning", proposer=proposer.name, why=why)
            passed_over.add(proposer.name)
            return None
        if proposal is None or fingerprint(proposal.source) in context.tried:
            return None
        if proposer.categories and proposal.category not in proposer.categories:
            # else its result would teach nobody anything of an arm
            return replace(proposal, category=context.category or proposal.category)
        return proposal
