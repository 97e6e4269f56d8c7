"""The strategy: which arm to ask for the next hypothesis, by what every record held says of it.

It knows proposers by their interface only, and works with whatever arms they offer at the moment. A proposer that
fails costs its turn, not the node. What to believe is in `beliefs`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from node.objective.edits import fingerprint
from node.objective.schema import Prior
from node.platform.log import Log
from node.proposers.beliefs import ANY_CATEGORY, Arm, Machine, beliefs, ranking
from node.proposers.proposer import Context, Lesson, Proposal, Proposer

# Of proposers that bring what they have: a person's idea is worth a quick look, and what held elsewhere may hold here.
SUGGESTED = "suggested"
EXTERNAL_PRIORS = {SUGGESTED: Prior(0.5, 0.05), "recombine": Prior(0.3, 0.02)}
REMEMBERED = 0.7  # of a proposer's usual thinking time, when a new one is measured


@dataclass
class Strategy:
    """Asks one arm after the other, in the order of what they promise, until one has an idea that was not tried."""

    proposers: Sequence[Proposer]
    priors_for: Callable[[str], Mapping[str, Prior]]  # by compute class
    log: Log
    clock: Callable[[], float] = time.monotonic  # one that leaves out rest, where there is any
    thinking: dict[str, float] = field(default_factory=dict)  # seconds a proposal takes, by proposer
    empty: set[Arm] = field(default_factory=set)  # arms that had nothing when they were last asked
    expected_gain_rate: float = 0.0  # of the arm whose idea was last proposed: gain in ln(metric) expected per second
    _laid_by: dict[str, tuple[bytes, Proposal]] = field(default_factory=dict)  # answers for later, with their source

    def arms(self) -> list[Arm]:
        """What could be asked now."""
        return sorted(
            {
                Arm(category, proposer.name)
                for proposer in self.proposers
                for category in proposer.categories or (ANY_CATEGORY,)
            }
        )

    def priors(self, compute_class: str) -> Mapping[str, Prior]:
        """What is expected of each category beforehand, and of each proposer that brings what it has."""
        return {**EXTERNAL_PRIORS, **self.priors_for(compute_class)}

    async def propose(self, context: Context, machine: Machine, cheap: bool = False) -> Proposal | None:
        """The next idea, None when no proposer has one for this source. `machine.thinking` is filled in here.

        One that a peer is trying comes last, but it does come: a lease binds nobody. An answer that cost something is
        laid by meanwhile, and not paid for again. `cheap` asks only proposers that cost nothing, for what nobody tries.
        """
        self.empty.clear()
        self.expected_gain_rate = 0.0
        costly = {proposer.name for proposer in self.proposers if proposer.costly}
        proposal = await self._first(context, machine, set(costly) if cheap else set())
        if proposal is not None or cheap or not context.leased:
            return proposal
        return self._take_laid_by(context) or await self._first(replace(context, leased=frozenset()), machine, costly)

    async def _first(self, context: Context, machine: Machine, passed_over: set[str]) -> Proposal | None:
        """The idea of the first arm that has one, in the order of what they promise."""
        machine = replace(machine, thinking=dict(self.thinking))
        priors = self.priors(machine.compute_class)
        believed = beliefs(self.arms(), priors, context.results, context.source_id, context.gain_by_category, machine)
        named = {proposer.name: proposer for proposer in self.proposers}
        for arm in ranking(believed, context.rng, context.peers_by_category):
            if arm.proposer in passed_over:
                continue
            asked = replace(context, category=None if arm.category == ANY_CATEGORY else arm.category)
            proposal = await self._idea_of(named[arm.proposer], asked, passed_over)
            if proposal is not None:
                self.empty.discard(arm)
                self.expected_gain_rate = next(belief.score for belief in believed if belief.arm == arm)
                return proposal
            self.empty.add(arm)
            if named[arm.proposer].costly:
                passed_over.add(arm.proposer)
        return None

    def is_scarce(self, proposal: Proposal) -> bool:
        """Whether it would be a pity to lose this idea: it cost something, or it is a person's."""
        costly = any(proposer.costly for proposer in self.proposers if proposer.name == proposal.proposer)
        return costly or proposal.proposer == SUGGESTED

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Tell whoever proposed it what came of it."""
        for proposer in self.proposers:
            if proposer.name == proposal.proposer:
                proposer.learn(proposal, lesson)

    async def _idea_of(self, proposer: Proposer, context: Context, passed_over: set[str]) -> Proposal | None:
        """What was laid by for this source, or what the proposer has now, if no peer is trying it."""
        if not proposer.costly:
            return await self._ask(proposer, replace(context, tried=context.tried | context.leased), passed_over)
        source, proposal = self._laid_by.pop(proposer.name, (b"", None))
        if proposal is None or source != context.source_id or fingerprint(proposal.source) in context.tried:
            proposal = await self._ask(proposer, context, passed_over)
        if proposal is not None and fingerprint(proposal.source) in context.leased:
            self._laid_by[proposer.name] = (context.source_id, proposal)
            return None
        return proposal

    def _take_laid_by(self, context: Context) -> Proposal | None:
        for name, (source, proposal) in self._laid_by.items():
            if source == context.source_id and fingerprint(proposal.source) not in context.tried:
                del self._laid_by[name]
                return proposal
        return None

    async def _ask(self, proposer: Proposer, context: Context, passed_over: set[str]) -> Proposal | None:
        started = self.clock()
        try:
            proposal = await proposer.propose(context)
        except Exception as error:  # whatever a proposer does, research goes on with the others
            why = f"{type(error).__name__}: {error}"
            self.log("proposer failed", level="warning", proposer=proposer.name, why=why)
            passed_over.add(proposer.name)
            return None
        if proposal is None or fingerprint(proposal.source) in context.tried:
            return None
        seconds = self.clock() - started
        usual = self.thinking.get(proposer.name, seconds)
        self.thinking[proposer.name] = REMEMBERED * usual + (1 - REMEMBERED) * seconds
        if proposer.categories and proposal.category not in proposer.categories:
            # else its result would teach nobody anything of an arm
            return replace(proposal, category=context.category or proposal.category)
        return proposal
