"""The strategy: which arm is asked for the next hypothesis, by what all records held say of its ideas.

It knows proposers by their interface only, and works with the arms they offer at the moment. A proposer that raises
loses its turn, and research goes on with the others. What is believed of an arm is worked out in `beliefs`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from node.ledger.projections.transfers import ALL
from node.objective.schema import Prior
from node.platform.log import Log
from node.proposers.beliefs import ANY_CATEGORY, DEFAULT_PRIOR, Arm, Machine, at_larger_scale, beliefs, ranking
from node.proposers.proposer import Context, Lesson, Proposal, Proposer, Rechecking, Stocked

# Priors of the proposers whose edits come from other people and nodes. Generous guesses: an idea that a person took the
# trouble to write down, or that held on another node, is worth an early trial, and results correct them soon.
SUGGESTED = "suggested"
EXTERNAL_PRIORS = {
    SUGGESTED: Prior(0.5, 0.05),
    "recombine": Prior(0.3, 0.02),
    "elsewhere": Prior(0.3, 0.02),
    "thinning": Prior(0.3, 0.005),
}


class Urgent(Protocol):
    """What this node's person has asked for, which is tried before any idea of an arm."""

    def urgent_waits(self, source: bytes) -> bool:
        """Whether something was asked for that was not looked at yet for the source (its id) that is edited now."""

    async def urgent(self, context: Context, most: int) -> list[Proposal]:
        """What was asked for and can be tried on this source, in order, so many at most."""

    def is_withdrawn(self, proposal: Proposal) -> bool:
        """Whether the person does not want an idea tried any more."""


# Of a simpler source: as more help than harm, one that shows no difference has a posterior mean above 0, and is kept.
SIMPLER_PRIOR = Prior(0.5, 0.01)
OLD_WEIGHT = 0.7  # of a proposer's usual thinking time when a new one is measured (exponential moving average)


@dataclass
class Strategy:
    """Asks one arm after the other, the highest sampled score first, until one has an idea that was not tried.

    priors_for: the objective's priors by category, for a compute class. clock: seconds, without those in which the
    node was paused. scale: the larger one for which a person researches; "" for the objective's own. carry_over: by
    category the gain there for one here (`transfers.expected_ratios`). thinking: the seconds that each proposer takes
    for a proposal. empty: the arms that had no idea when they were last asked, or say that they have none.
    expected_gain_rate: that of the arm whose idea was last proposed, in ln(metric) per second. expected: what is
    believed of that arm's ideas, or of simpler sources. asked_for: what a person wants tried next.
    """

    proposers: Sequence[Proposer]
    priors_for: Callable[[str], Mapping[str, Prior]]
    log: Log
    clock: Callable[[], float] = time.monotonic
    scale: str = ""
    carry_over: Callable[[], Mapping[str, float]] = dict
    asked_for: Urgent | None = None
    thinking: dict[str, float] = field(default_factory=dict)
    empty: set[Arm] = field(default_factory=set)
    expected_gain_rate: float = 0.0
    expected: Prior = DEFAULT_PRIOR
    _postponed: dict[str, tuple[bytes, Proposal]] = field(default_factory=dict)  # by proposer, with the source's id
    _believed: dict[Arm, Prior] = field(default_factory=dict)  # when an idea was last asked for

    def arms(self) -> list[Arm]:
        """The arms that could be asked now, in a fixed order."""
        found = set()
        for proposer in self.proposers:
            for category in proposer.categories or (ANY_CATEGORY,):
                found.add(Arm(category, proposer.name))
        return sorted(found)

    def priors(self, compute_class: str) -> Mapping[str, Prior]:
        """What is expected beforehand of each category, and of each proposer that has no categories (by its name)."""
        return {**EXTERNAL_PRIORS, **self.priors_for(compute_class)}

    def expected_of(self, category: str, proposer: str, compute_class: str) -> Prior:
        """What was believed of such ideas when one was last asked for; beforehand, what is expected of them."""
        for arm in (Arm(category, proposer), Arm(ANY_CATEGORY, proposer)):
            if arm in self._believed:
                return self._believed[arm]
        return self.priors(compute_class).get(category, DEFAULT_PRIOR)

    async def propose(self, context: Context, machine: Machine, cheap: bool = False) -> Proposal | None:
        """The next idea, None when no proposer has one for this source. `machine.thinking` is filled in here.

        An idea that a peer is trying comes last, but it does come: a lease is advice. A costly proposer's answer that a
        peer is trying is kept meanwhile, and not paid for again. cheap: ask only proposers that cost nothing, and only
        for ideas that no peer is trying.
        """
        self.empty.clear()
        self.expected_gain_rate, self.expected = 0.0, DEFAULT_PRIOR
        costly = {proposer.name for proposer in self.proposers if proposer.costly}
        proposal = await self._first(context, machine, set(costly) if cheap else set())
        if proposal is not None or cheap or not context.leased:
            return proposal
        proposal = await self._take_postponed(context)
        return proposal or await self._first(replace(context, leased=frozenset()), machine, costly)

    async def _first(self, context: Context, machine: Machine, passed_over: set[str]) -> Proposal | None:
        """The idea of the first arm that has one, in sampled order. Proposers in `passed_over` are not asked; those
        that failed, and costly ones that had no idea, join them."""
        machine = replace(machine, thinking=dict(self.thinking))
        priors = self.priors(machine.compute_class)
        believed = beliefs(
            self.arms(),
            priors,
            context.results,
            context.source_id,
            context.gain_by_category,
            machine,
            context.distances,
        )
        if self.scale:
            ratios = self.carry_over()
            believed = at_larger_scale(believed, ratios, ratios.get(ALL, 1.0))
        self._believed = {belief.arm: Prior(belief.chance, belief.gain) for belief in believed}
        named = {proposer.name: proposer for proposer in self.proposers}
        self.empty |= {arm for arm in self.arms() if _is_out_of_stock(named[arm.proposer], context)}
        order = ranking(believed, context.rng, context.peers_by_category)
        if context.recheck:
            order.sort(key=lambda arm: not _rechecks(named[arm.proposer], arm, context))
        for arm in order:
            if arm.proposer in passed_over:
                continue
            asked = replace(context, category=None if arm.category == ANY_CATEGORY else arm.category)
            proposal = await self._idea_of(named[arm.proposer], asked, passed_over)
            if proposal is not None:
                self.empty.discard(arm)
                of_arm = next(belief for belief in believed if belief.arm == arm)
                self.expected_gain_rate = of_arm.score
                self.expected = SIMPLER_PRIOR if proposal.simpler else Prior(of_arm.chance, of_arm.gain)
                return proposal
            self.empty.add(arm)
            if named[arm.proposer].costly:
                passed_over.add(arm.proposer)
        return None

    def urgent_waits(self, source: bytes) -> bool:
        """Whether this node's person has asked for something that was not looked at yet for this source."""
        return self.asked_for is not None and self.asked_for.urgent_waits(source)

    async def urgent(self, context: Context, most: int) -> list[Proposal]:
        """What this node's person has asked for and can be tried on this source: it needs no score, and no lease."""
        return await self.asked_for.urgent(context, most) if self.asked_for is not None else []

    def is_withdrawn(self, proposal: Proposal) -> bool:
        """Whether this node's person does not want an idea tried any more."""
        return self.asked_for is not None and self.asked_for.is_withdrawn(proposal)

    def is_scarce(self, proposal: Proposal) -> bool:
        """Whether this idea is hard to get again: it cost time or money, or it is a person's."""
        costly = any(proposer.costly for proposer in self.proposers if proposer.name == proposal.proposer)
        return costly or proposal.proposer == SUGGESTED

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Tell the proposer of this idea what came of it."""
        for proposer in self.proposers:
            if proposer.name == proposal.proposer:
                proposer.learn(proposal, lesson)

    async def _idea_of(self, proposer: Proposer, context: Context, passed_over: set[str]) -> Proposal | None:
        """The proposer's idea for this source, asked for now or postponed earlier; None if a peer is trying it.

        A free proposer looks for another one by itself. A costly one answers once, and its answer is postponed.
        """
        if not proposer.costly:
            return await self._ask(proposer, replace(context, tried=context.tried | context.leased), passed_over)
        source, proposal = self._postponed.pop(proposer.name, (b"", None))
        if proposal is None or source != context.source_id or await context.was_tried(proposal.source):
            proposal = await self._ask(proposer, context, passed_over)
        if proposal is not None and await context.parser.fingerprint(proposal.source) in context.leased:
            self._postponed[proposer.name] = (context.source_id, proposal)
            return None
        return proposal

    async def _take_postponed(self, context: Context) -> Proposal | None:
        for name, (source, proposal) in list(self._postponed.items()):
            if source == context.source_id and not await context.was_tried(proposal.source):
                del self._postponed[name]
                return proposal
        return None

    async def _ask(self, proposer: Proposer, context: Context, passed_over: set[str]) -> Proposal | None:
        started = self.clock()
        try:
            proposal = await proposer.propose(context)
        except Exception as error:  # proposers call services and libraries: any failure of one leaves the others
            why = f"{type(error).__name__}: {error}"
            self.log("proposer failed", level="warning", proposer=proposer.name, why=why)
            passed_over.add(proposer.name)
            return None
        if proposal is None or await context.was_tried(proposal.source):
            return None
        seconds = self.clock() - started
        usual = self.thinking.get(proposer.name, seconds)
        self.thinking[proposer.name] = OLD_WEIGHT * usual + (1 - OLD_WEIGHT) * seconds
        if proposer.categories and proposal.category not in proposer.categories:
            # Filed under a category that is no arm's, its result would count for no arm.
            return replace(proposal, category=context.category or proposal.category)
        return proposal


def _rechecks(proposer: Proposer, arm: Arm, context: Context) -> bool:
    return isinstance(proposer, Rechecking) and arm.category in proposer.to_recheck(context)


def _is_out_of_stock(proposer: Proposer, context: Context) -> bool:
    return isinstance(proposer, Stocked) and not proposer.has_stock(context)
