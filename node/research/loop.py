"""The research loop's one turn: propose, try, keep or revert, record.

It stands on the own feed (which source is best, what was tried) and meets the network only in the ledger. A turn that
is interrupted leaves nothing behind but cached runs, so it can be taken again at little or no cost.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from node.ledger.outcome import Outcome
from node.ledger.projections.effects import effect_text
from node.ledger.projections.lineage import measured_gain_by_category
from node.objective.edits import Constant, EditError, constants, fingerprint, names_read
from node.platform.concurrency import gather
from node.platform.log import Log, short_id
from node.proposers.beliefs import Machine
from node.proposers.proposer import Context, Lesson, Proposal, TriedResult, runs_of, tried_result
from node.proposers.strategy import BROUGHT, Strategy
from node.proposers.strategy_snapshot import StrategySnapshot, pack_snapshot
from node.research.incumbent import Incumbent
from node.research.workspace import Entry, Workspace
from node.trials.cached_runner import CachedRunner
from node.trials.opportunity_cost import gain_per_run, was_deferred
from node.trials.statistics import Noise, noise_of_feed
from node.trials.trial import Runs, SequentialTest, Trial, run_trial
from protocol.identity import Identity
from protocol.messages import MAX_LEASE_SECONDS, Lease
from protocol.records import Decision, Effect, Experiment, Record

LEASE_RUNS = 3  # a lease is taken for so many expected runs, and again while the trial goes on
LEASE_LEAST_SECONDS = 60.0  # the record of a trial may be that long on its way
UNMEASURED_SECONDS = 10.0  # a run, before the first


@dataclass(frozen=True)
class Candidate:
    """An idea, and its run at the parent's seed where that was made ahead, beside others."""

    proposal: Proposal
    screened: Outcome | None = None
    promise: float = 0.0  # of ideas like it: gain in ln(metric) expected per second


@dataclass
class Research:
    """Turns ideas into signed experiments, one at a time."""

    identity: Identity
    cached_runner: CachedRunner
    incumbent: Incumbent
    strategy: Strategy
    workspace: Workspace
    rng: random.Random
    now_ms: Callable[[], int]
    log: Log
    known_constants: dict[bytes, dict[str, float]] = field(default_factory=dict)
    _candidates: list[Candidate] = field(default_factory=list)  # what comes next, on this source:
    _meant_for: tuple[bytes, int] = (b"", 0)

    async def turn(self, left: int | None = None) -> Record | None:
        """Try one hypothesis and record what came of it. None when nobody has an idea left.

        left: how many experiments are to be made yet, if that is known; no more ideas are begun side by side.
        """
        ledger = self.cached_runner.ledger
        await self.cached_runner.runner.pause_gate.wait_open()
        self.incumbent.roll_back()
        parent = self.incumbent.source()
        candidate = await self._next(parent, left)
        if candidate is None:
            return None
        proposal = candidate.proposal
        self.log("hypothesis", title=proposal.title, category=proposal.category, proposer=proposal.proposer)
        child = ledger.put_blob(proposal.source.encode())
        with self.cached_runner.working_on(proposal.title):
            noise, seed = self.noise(), self.incumbent.screening_seed()
            trial = await run_trial(
                self._leasing(parent, candidate, seed),
                parent,
                child,
                seed,
                SequentialTest(
                    noise, self.cached_runner.objective.statistics, opportunity_cost=self._opportunity_cost(candidate)
                ),
                salt=self.identity.author,
                parallel_runs=self.cached_runner.parallel_runs,
                contended=candidate.screened is not None,
                parent_is_fresh=proposal.proposer not in BROUGHT and self.cached_runner.can_pair(parent, child, seed),
            )
            holdout = None
            if trial.decision == Decision.IMPROVED:
                holdout = await self.cached_runner.holdout(parent, child, trial.pairs, noise.metric)
        body = self._experiment(proposal, parent, child, trial, holdout)
        record = ledger.append_own(self.identity, body, self.now_ms())
        self._candidates.remove(candidate)
        self._tell(record, body, trial)
        effect = trial.effect.mean if trial.effect else None
        self.strategy.learn(proposal, Lesson(trial.decision, effect, trial.failure, trial.log_tail))
        entry = Entry(record, body, proposal.source, self.cached_runner.memory_of(child))
        self.workspace.add(entry, self.cached_runner.source_text(parent))
        return record

    async def _next(self, parent: bytes, left: int | None) -> Candidate | None:
        """The next idea. Where several runs are made at once it is one of several that were screened side by side.

        What was meant for another source says nothing of this one, and is forgotten.
        """
        meant_for = parent, self.incumbent.screening_seed()
        if self._meant_for != meant_for:
            self._candidates, self._meant_for = [], meant_for
        if not self._candidates:
            parallel_runs = self.cached_runner.parallel_runs
            self._candidates = await self._several(parent, parallel_runs if left is None else min(left, parallel_runs))
            if len(self._candidates) > 1:
                self._candidates = await self._screen(parent, self._candidates)
        return self._candidates[0] if self._candidates else None

    async def _several(self, parent: bytes, count: int) -> list[Candidate]:
        """Different ideas; at most one of them from a proposer that costs. Those that peers are trying come last."""
        now, leases, records = (
            time.monotonic(),
            self.cached_runner.ledger.leases,
            self.cached_runner.ledger.all_records(),
        )
        ended = {(r.body.parent, r.body.fingerprint) for r in records if isinstance(r.body, Experiment)}
        peers_by_category = leases.peers_by_category(now, ended)
        context = replace(self._context(parent), leased=leases.taken(parent, now), peers_by_category=peers_by_category)
        found: list[Candidate] = []
        while len(found) < count:
            proposal = await self.strategy.propose(context, self.machine(), cheap=bool(found))
            self._save_strategy_snapshot()
            if proposal is None:
                break
            found.append(Candidate(proposal, promise=self.strategy.promise))
            peers_by_category[proposal.category] += 1
            context = replace(context, tried=context.tried | {fingerprint(proposal.source)})
        return found

    async def _screen(self, parent: bytes, candidates: list[Candidate]) -> list[Candidate]:
        """Make the screening runs of these ideas side by side, for their trials to find.

        Returned are first those that did no better than the parent, whose trials end there. Of the others those come
        first that it would be a pity to lose, for the first to be kept makes the rest worthless; then the best.
        """
        seed, ledger = self.incumbent.screening_seed(), self.cached_runner.ledger
        with self.cached_runner.working_on(f"screening {len(candidates)} ideas"):
            before = await self.cached_runner.run(parent, seed)

            async def screen(candidate: Candidate) -> Candidate:
                child = ledger.put_blob(candidate.proposal.source.encode())
                return replace(candidate, screened=await self._leasing(parent, candidate, seed)(child, seed, parent))

            screened = await gather([partial(screen, candidate) for candidate in candidates])

        def place(candidate: Candidate) -> tuple[bool, bool, float]:
            value = candidate.screened.value if candidate.screened is not None else None
            if value is None or before.value is None or value >= before.value:
                return False, False, 0.0
            return True, not self.strategy.is_scarce(candidate.proposal), value

        return sorted(screened, key=place)

    def _leasing(self, parent: bytes, candidate: Candidate, screened_at: int) -> Runs:
        """Runs of a trial, before each of which peers are told again what is being tried, if it is time to.

        A screening run that was made already is not made again, also where it said more of this machine.
        """
        due = 0.0
        tried, screened = fingerprint(candidate.proposal.source), candidate.screened

        async def run(source: bytes, seed: int, incumbent: bytes | None = None, /) -> Outcome:
            nonlocal due
            if screened is not None and incumbent is not None and seed == screened_at:
                return screened
            seconds = max(LEASE_RUNS * self.machine().seconds_per_run, LEASE_LEAST_SECONDS)
            now = time.monotonic()
            if now >= due:
                lease = Lease(parent, tried, min(MAX_LEASE_SECONDS, math.ceil(seconds)), candidate.proposal.category)
                self.cached_runner.ledger.leases.take(lease, now)
                due = now + seconds / LEASE_RUNS
            return await self.cached_runner.run(source, seed, incumbent)

        return run

    def machine(self) -> Machine:
        """What a trial costs here, as far as it was measured."""
        seconds = self.cached_runner.seconds_per_run()
        return Machine(
            compute_class=self.cached_runner.compute_class,
            seconds_per_run=seconds if seconds > 0 else UNMEASURED_SECONDS,
            noise=self.noise().metric,
            max_pairs=self.cached_runner.objective.statistics.max_pairs,
            thinking=self.strategy.thinking,
        )

    def _opportunity_cost(self, candidate: Candidate) -> float:
        """The gain that a run promises when it is spent on ideas like this one instead of it, in ln(metric).

        Peers' records have a say in that, but it is no more than what this node's runs lately brought: where they
        bring nothing, every small gain is seen through, whatever is said. So is what it would be a pity to lose.
        """
        return 0.0 if self.strategy.is_scarce(candidate.proposal) else self.opportunity_cost(candidate.promise)

    def opportunity_cost(self, promise: float | None = None) -> float:
        """The gain that a run promises when it is spent on this node's own ideas, in ln(metric).

        promise: of such ideas, by the second; of those that were proposed last unless it is given.
        """
        of_ideas = self.strategy.promise if promise is None else promise
        return min(self.brought(), of_ideas * self.machine().seconds_per_run)

    def brought(self) -> float:
        """The gain that each run of this node's own last trials brought, as far as it holds."""
        standing = {step.record.id for step in self.incumbent.steps()}
        trials = [
            (-record.body.effect.mean if record.id in standing and record.body.effect else 0.0, runs_of(record.body))
            for record in self.cached_runner.ledger.feed(self.identity.author)
            if isinstance(record.body, Experiment)
        ]
        return gain_per_run(trials)

    def _save_strategy_snapshot(self) -> None:
        """Leave in the ledger what the strategy goes by besides the records, for whoever wants to look at it."""
        strategy, machine = self.strategy, self.machine()
        priors = strategy.priors(machine.compute_class)
        snapshot = StrategySnapshot(machine, priors, tuple(strategy.arms()), frozenset(strategy.empty))
        self.cached_runner.ledger.settings.strategy_snapshot = pack_snapshot(snapshot)

    def noise(self) -> Noise:
        """How much paired runs differ by chance on this machine, learnt from this node's own trials."""
        feed = self.cached_runner.ledger.feed(self.identity.author)
        return noise_of_feed(feed, self.cached_runner.objective.statistics)

    def _experiment(
        self, proposal: Proposal, parent: bytes, child: bytes, trial: Trial, holdout: Effect | None
    ) -> Experiment:
        return Experiment(
            title=proposal.title,
            category=proposal.category,
            reason=proposal.reason,
            proposer=proposal.proposer,
            parent=parent,
            child=child,
            fingerprint=fingerprint(proposal.source),
            compute_class=self.cached_runner.compute_class,
            device=self.cached_runner.device,
            sandbox=self.cached_runner.sandbox,
            decision=Decision(trial.decision),
            effect=trial.effect,
            holdout=holdout,
            cost_ratio=trial.cost_ratio,
            screening=trial.screening,
            pairs=trial.pairs,
        )

    def _tell(self, record: Record, body: Experiment, trial: Trial) -> None:
        about = {"title": body.title, "record": short_id(record.id)}
        if body.decision == Decision.FAILED:
            self.log("run failed", **about, failure=trial.failure, log_tail=trial.log_tail)
        else:
            said = body.decision.replace("_", " ")
            if not body.pairs:
                said = (
                    "dropped at screening"
                    if body.decision == Decision.NO_GAIN
                    else "deferred: other ideas are expected to gain more"
                )
            elif (
                body.decision == Decision.UNCLEAR
                and len(body.pairs) < self.cached_runner.objective.statistics.max_pairs
            ):
                said = "unclear, and not worth more runs"
            self.log("result", **about, effect=effect_text(body.effect), decision=said)
        if body.decision == Decision.IMPROVED:
            self.log("kept", **about, effect=effect_text(body.effect), holdout=effect_text(body.holdout))

    def _context(self, parent: bytes) -> Context:
        ledger = self.cached_runner.ledger
        experiments = [r.body for r in ledger.all_records() if isinstance(r.body, Experiment)]
        text = self.cached_runner.source_text(parent)
        test = SequentialTest(self.noise(), self.cached_runner.objective.statistics, opportunity_cost=self.brought())

        def is_worth_it_now(body: Experiment) -> bool:
            return was_deferred(body) and body.screening is not None and test.screen(body.screening) is None

        tried = {body.fingerprint for body in experiments if body.parent == parent and not is_worth_it_now(body)}
        tried.add(fingerprint(text))
        tried |= {body.fingerprint for body in self._on_the_way()}
        return Context(
            source=text,
            source_id=parent,
            tried=frozenset(tried),
            results=self._results(experiments),
            rng=self.rng,
            gain_by_category=measured_gain_by_category(ledger.all_records(), self.incumbent.steps()),
            idle=self._idle(text),
        )

    @cached_property
    def _read_at_first(self) -> frozenset[str]:
        return names_read(self.cached_runner.objective.source)

    def _idle(self, source: str) -> frozenset[str]:
        """Constants that are read in the objective's own source and in this one no longer.

        One that was never read there may be read by the objective's own programs.
        """
        try:
            return self._read_at_first - names_read(source)
        except EditError:
            return frozenset()

    def _on_the_way(self) -> list[Experiment]:
        own = self.cached_runner.ledger.feed(self.identity.author)
        return [r.body for r in own if isinstance(r.body, Experiment) and r.body.decision == Decision.IMPROVED]

    def _results(self, experiments: Sequence[Experiment]) -> tuple[TriedResult, ...]:
        return tuple(tried_result(body, self._changed(body)) for body in experiments)

    def _changed(self, body: Experiment) -> dict[str, float]:
        before, after = self._constants(body.parent), self._constants(body.child)
        return {name: value for name, value in after.items() if before.get(name) != value}

    def _constants(self, source: bytes) -> dict[str, float]:
        """The numeric constants of a source, worked out once; none of a source that is not here or does not parse."""
        if source not in self.known_constants:
            data = self.cached_runner.ledger.get_blob(source)
            if data is None:
                return {}
            try:
                found = constants(data.decode("utf-8", errors="replace"))
            except EditError:
                found = []
            self.known_constants[source] = _numbers(found)
        return self.known_constants[source]


def _numbers(found: Sequence[Constant]) -> dict[str, float]:
    """Those that are finite numbers: a stranger's source may hold an integer that no float can."""
    numbers = {}
    for constant in found:
        if isinstance(constant.value, int | float) and abs(constant.value) <= sys.float_info.max:
            numbers[constant.name] = float(constant.value)
    return numbers
