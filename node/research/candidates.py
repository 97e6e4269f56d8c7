"""Candidates: the ideas that are tried next on the present source, of which several may be screened side by side.

Where a machine makes one run at a time there is one candidate. Where it makes several, as many ideas are screened at
once, and their trials follow one after the other. They are noted in the ledger until their experiments are recorded, so
that a node which was stopped or killed goes on with them, and with the run that was under way.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import msgspec

from node.ledger.outcome import Outcome
from node.objective.schema import Prior
from node.platform.concurrency import gather
from node.proposers.beliefs import DEFAULT_PRIOR, Machine
from node.proposers.proposer import Context, Proposal
from node.proposers.strategy import SUGGESTED, Strategy
from node.proposers.strategy_snapshot import StrategySnapshot, pack_snapshot
from node.research.incumbent import Incumbent
from node.research.leased_runs import LeasedRuns, expected_run_seconds
from node.trials.cached_runner import CachedRunner
from protocol.records import Experiment

# Expected runs of this machine, for which it leaves an idea to whoever said first that they try it: four times a lease.
# After that it may be tried here, too: whoever tries it is slow, or does not.
PATIENCE_RUNS = 12


@dataclass(frozen=True)
class Candidate:
    """An idea to try. fingerprint: that of its source.

    screened: the outcome of its run at the parent's screening seed, where that was made ahead and beside others.
    expected_gain_rate: of ideas of its arm, in ln(metric) per second. expected: what is believed of such ideas.
    """

    proposal: Proposal
    fingerprint: bytes
    screened: Outcome | None = None
    expected_gain_rate: float = 0.0
    expected: Prior = DEFAULT_PRIOR

    @property
    def ended_at(self) -> float | None:
        """The share of the budget at which its run was ended, since it was plainly losing; None where it was not."""
        return self.screened.ended_at if self.screened is not None else None

    def runs(self, cached_runner: CachedRunner, parent: bytes, screening_seed: int) -> LeasedRuns:
        """The runs of this candidate's trial, of which peers are kept informed."""
        category = self.proposal.category
        return LeasedRuns(cached_runner, parent, self.fingerprint, category, screening_seed, self.screened)


class _Noted(msgspec.Struct, frozen=True):
    """Candidates for a source and a screening seed, as the ledger keeps them.

    (proposal, fingerprint, expected gain rate, expected success rate, expected gain of a success)
    """

    meant_for: tuple[bytes, int]
    candidates: tuple[tuple[Proposal, bytes, float, float, float], ...]


@dataclass
class Candidates:
    """The candidates for the present source, the next one first.

    context: what a proposer may know for a source. machine: what trials cost here at the moment.
    """

    cached_runner: CachedRunner
    incumbent: Incumbent
    strategy: Strategy
    context: Callable[[bytes], Awaitable[Context]]
    machine: Callable[[], Machine]
    waiting: list[Candidate] = field(default_factory=list)
    _meant_for: tuple[bytes, int] = (b"", 0)  # the source and the screening seed that those waiting are for

    async def next(self, parent: bytes, remaining: int | None) -> Candidate | None:
        """The next candidate, None when no proposer has an idea. It stays first until it is removed.

        Candidates for another source say nothing of this one, and are dropped. remaining: as in `Research.turn`.
        """
        self._look_at(parent)
        parallel_runs = self.cached_runner.parallel_runs
        if not self.waiting:
            count = parallel_runs if remaining is None else min(remaining, parallel_runs)
            self.waiting = await self._propose(parent, count)
            self._note()
        first, others = self.waiting[:parallel_runs], self.waiting[parallel_runs:]
        if len(first) > 1 and any(candidate.screened is None for candidate in first):
            self.waiting = [*await self._screen(parent, first), *others]
        return self.waiting[0] if self.waiting else None

    async def take_urgent(self, parent: bytes) -> None:
        """Put what this node's person has asked for in front of all that waits, and drop what was withdrawn since.

        Only as many as are run at once: of the rest the person may still change the order.
        """
        kept = [candidate for candidate in self.waiting if not self.strategy.is_withdrawn(candidate.proposal)]
        if len(kept) < len(self.waiting):
            self.waiting = kept
            self._note()
        if not self.strategy.urgent_waits(parent):
            return
        self._look_at(parent)
        in_front = sum(candidate.proposal.proposer == SUGGESTED for candidate in self.waiting)
        room = self.cached_runner.parallel_runs - in_front
        if room <= 0:
            return
        context = await self.context(parent)
        known = {candidate.fingerprint for candidate in self.waiting}
        found = []
        for proposal in await self.strategy.urgent(context, room):
            fingerprint = await context.parser.fingerprint(proposal.source)
            if fingerprint not in known:
                known.add(fingerprint)
                compute_class = self.cached_runner.compute_class
                expected = self.strategy.expected_of(proposal.category, proposal.proposer, compute_class)
                found.append(Candidate(proposal, fingerprint, expected=expected))
        if found:
            self.waiting = [*found, *self.waiting]
            self._note()

    async def several(self, parent: bytes, count: int) -> list[Candidate]:
        """Up to `count` candidates to be tried together, none of which was run. They stay until they are removed."""
        self._look_at(parent)
        if not any(candidate.screened is not None for candidate in self.waiting) and len(self.waiting) < count:
            self.waiting += await self._propose(parent, count - len(self.waiting), self.waiting)
            self._note()
        return [candidate for candidate in self.waiting if candidate.screened is None]

    def _look_at(self, parent: bytes) -> None:
        """Drop what waits for another source; what was noted for this one, before a restart, waits again."""
        meant_for = parent, self.incumbent.screening_seed()
        if self._meant_for != meant_for:
            self._meant_for = meant_for
            self.waiting = self._noted()

    def wait_for(self, parent: bytes) -> bool:
        """Whether candidates for this source, some of which may have been run, wait for their trials."""
        return bool(self.waiting) and self._meant_for == (parent, self.incumbent.screening_seed())

    def remove(self, candidate: Candidate) -> None:
        """Forget a candidate whose experiment is recorded."""
        self.waiting = [one for one in self.waiting if one.fingerprint != candidate.fingerprint]
        self._note()

    def _note(self) -> None:
        noted = (
            (one.proposal, one.fingerprint, one.expected_gain_rate, one.expected.success, one.expected.gain)
            for one in self.waiting
        )
        self.cached_runner.ledger.settings.candidates = msgspec.msgpack.encode(_Noted(self._meant_for, tuple(noted)))

    def _noted(self) -> list[Candidate]:
        """What was being tried on this source when the node ended, less what it has recorded; [] where it was another.

        Their screening runs are in the cache as far as they were made.
        """
        ledger = self.cached_runner.ledger
        packed = ledger.settings.candidates
        try:
            noted = msgspec.msgpack.decode(packed, type=_Noted) if packed is not None else None
        except msgspec.ValidationError:  # noted by an earlier version
            return []
        if noted is None or noted.meant_for != self._meant_for:
            return []
        own = [record.body for record in ledger.feed(ledger.settings.author)]
        recorded = {(body.parent, body.fingerprint) for body in own if isinstance(body, Experiment)}
        return [
            Candidate(proposal, fingerprint, None, rate, Prior(success, gain))
            for proposal, fingerprint, rate, success, gain in noted.candidates
            if (self._meant_for[0], fingerprint) not in recorded
        ]

    async def _propose(self, parent: bytes, count: int, before: Sequence[Candidate] = ()) -> list[Candidate]:
        """Up to `count` different ideas, at most one of them from a costly proposer. Ideas that peers try come last.

        before: candidates that are there already.
        """
        ledger, context = self.cached_runner.ledger, await self.context(parent)
        now = time.monotonic()
        experiments = [record.body for record in ledger.all_records() if isinstance(record.body, Experiment)]
        ended = {(body.parent, body.fingerprint) for body in experiments}
        patience = PATIENCE_RUNS * expected_run_seconds(self.cached_runner) if context.heeds_leases else 0.0
        peers_by_category = ledger.leases.peers_by_category(now, ended, patience)
        leased = ledger.leases.taken(parent, now, patience)
        context = replace(context, leased=leased, peers_by_category=peers_by_category)
        context = replace(context, tried=context.tried | {candidate.fingerprint for candidate in before})
        found: list[Candidate] = []
        while len(found) < count:
            proposal = await self.strategy.propose(context, self.machine(), cheap=bool(before or found))
            self._save_strategy_snapshot()
            if proposal is None:
                break
            tried = await context.parser.fingerprint(proposal.source)
            found.append(Candidate(proposal, tried, None, self.strategy.expected_gain_rate, self.strategy.expected))
            # For the next one this node is another that tries the category: of several only one would stay.
            peers_by_category[proposal.category] += 1
            context = replace(context, tried=context.tried | {tried})
        return found

    async def _screen(self, parent: bytes, candidates: list[Candidate]) -> list[Candidate]:
        """Make the screening runs of these candidates side by side, for their trials to find.

        Those that did no better than the parent come first: their trials end there. Of the others the scarce ones come
        first, since the first to be kept makes the rest worthless; then the better come first.
        """
        seed, ledger = self.incumbent.screening_seed(), self.cached_runner.ledger
        with self.cached_runner.working_on(f"screening {len(candidates)} ideas"):
            before = await self.cached_runner.run(parent, seed)

            async def screen(candidate: Candidate) -> Candidate:
                child = ledger.put_blob(candidate.proposal.source.encode())
                runs = candidate.runs(self.cached_runner, parent, seed)
                return replace(candidate, screened=await runs.screen(child))

            screened = await gather([partial(screen, candidate) for candidate in candidates])

        def order(candidate: Candidate) -> tuple[bool, bool, float]:
            value = candidate.screened.value if candidate.screened is not None else None
            if value is None or before.value is None or value >= before.value:
                return False, False, 0.0
            return True, not self.strategy.is_scarce(candidate.proposal), value

        return sorted(screened, key=order)

    def _save_strategy_snapshot(self) -> None:
        """Store in the ledger what the strategy goes by besides the records, for views to show."""
        strategy, machine = self.strategy, self.machine()
        priors = strategy.priors(machine.compute_class)
        snapshot = StrategySnapshot(machine, priors, tuple(strategy.arms()), frozenset(strategy.empty), strategy.scale)
        self.cached_runner.ledger.settings.strategy_snapshot = pack_snapshot(snapshot)
