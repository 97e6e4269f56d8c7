"""The research loop's one turn: propose, try, go on from it or not, record; and now and then prove what was gained.

It builds on the own feed (which source is best, what was tried) and meets the network only in the ledger. A turn that
is interrupted leaves nothing behind but cached runs, so it can be taken again at little or no cost.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from msgspec import UNSET, UnsetType

from node.ledger.projections.conclusions import conclusion
from node.ledger.projections.effects import chain, gain_text
from node.ledger.projections.steps import open_chain
from node.objective.schema import Prior
from node.platform.log import Log, short_id
from node.proposers.beliefs import DEFAULT_PRIOR, Machine
from node.proposers.hearsay import STRANGERS
from node.proposers.proposer import Context, Lesson, runs_of
from node.proposers.strategy import Strategy
from node.research.candidates import Candidate, Candidates
from node.research.claims import Claims
from node.research.context import ContextBuilder
from node.research.designs import Designs
from node.research.incumbent import Incumbent
from node.research.leased_runs import expected_run_seconds
from node.research.workspace import Entry, Workspace
from node.trials.bet_rule import BetRule, Verdict
from node.trials.bet_trial import BetTrial, bet_trial
from node.trials.cached_runner import CachedRunner
from node.trials.effect_parts import measured_parts_text, parts_of
from node.trials.gain_posterior import gain_prior, value_of_new_idea
from node.trials.opportunity_cost import gain_per_run
from node.trials.own_seeds import Use
from node.trials.trial import Trial
from protocol.identity import Identity, short
from protocol.records import Decision, Experiment, Record, metric_of

SCARCE_SHARE = 0.1  # of the opportunity cost that a scarce idea is held against: as good as seen through
# What a trial comes to that ended in the middle of its first run.
ENDED = BetTrial(Trial(Decision.NO_GAIN, None, None, None, ()), is_bet=False, gain=None)


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
    contexts: ContextBuilder = field(init=False)
    candidates: Candidates = field(init=False)
    claims: Claims = field(init=False)
    designs: Designs = field(init=False)
    _not_believed: set[bytes] = field(default_factory=set)  # as was logged last

    def __post_init__(self) -> None:
        self.contexts = ContextBuilder(self.cached_runner, self.incumbent, self.rng)
        self.claims = Claims(self.incumbent, self.cached_runner, self.identity.author, self.log)
        self.designs = Designs(self.cached_runner, self.identity.author)
        self.candidates = Candidates(self.cached_runner, self.incumbent, self.strategy, self.context, self.machine)

    async def turn(self, remaining: int | None = None) -> Record | None:
        """Try one hypothesis, or verify the bets since the last claim where that is due, and record what came of it.

        None when no proposer has an idea and there is nothing to verify. remaining: how many experiments are still to
        be made, if that is known; no more ideas are begun side by side.
        """
        await self.cached_runner.runner.pause_gate.wait_open()
        self.incumbent.roll_back()
        parent = self.incumbent.source()
        await self.candidates.take_urgent(parent)
        # A claim moves the screening to another seed, at which the runs of those that wait would be made again.
        claim = None if self.candidates.wait_for(parent) else await self.claim()
        if claim is not None:
            return claim
        record = await self._design(parent, remaining)
        if record is not None:
            return record
        candidate = await self.candidates.next(parent, remaining)
        if candidate is None:
            return await self.claim(last=True)
        proposal = candidate.proposal
        self.log("hypothesis", title=proposal.title, category=proposal.category, proposer=proposal.proposer)
        child = self.cached_runner.ledger.put_blob(proposal.source.encode())
        with self.cached_runner.working_on(proposal.title):
            candidate = await self._screened(candidate, parent, child)
            found = await self._try(candidate, parent, child) if candidate.ended_at is None else ENDED
        body = self._experiment(candidate, parent, child, found)
        record = self.cached_runner.ledger.append_own(self.identity, body, self.now_ms())
        # Only once the record is durable: a turn that a full disk ended is taken again with the same candidate.
        self.candidates.remove(candidate)
        self._log_result(record, body, candidate, found)
        effect = found.trial.effect.mean if found.trial.effect else None
        failure, log_tail = found.trial.failure, found.trial.log_tail
        self.strategy.learn(proposal, Lesson("kept" if found.is_bet else body.decision, effect, failure, log_tail))
        self._show_in_workspace(record, body)
        return record

    async def _design(self, parent: bytes, remaining: int | None) -> Record | None:
        """Screen several ideas together, where that is expected to gain more; the last of their records, else None."""
        planned = self.designs.plan()
        if not planned.edits or (remaining is not None and remaining < planned.edits):
            return None
        chosen = await self.designs.together(parent, await self.candidates.several(parent, planned.edits))
        if not chosen:
            return None
        titles = [candidate.proposal.title for candidate in chosen]
        self.log("design", edits=len(chosen), titles=", ".join(titles))
        with self.cached_runner.working_on(f"{len(chosen)} ideas together"):
            bodies = await self.designs.screen(parent, chosen)
        record = None
        for body in bodies:
            record = self.cached_runner.ledger.append_own(self.identity, body, self.now_ms())
            self._log_estimate(record, body)
            self._show_in_workspace(record, body)
        for candidate in chosen:
            self.candidates.remove(candidate)
        return record

    async def claim(self, last: bool = False) -> Record | None:
        """Verify the bets since the last claim, if that is due, and record what came of it.

        last: nothing else is left to do, so that it need not be worth other runs.
        """
        chain = self.claims.chain()
        if chain is None or not self.claims.is_due(chain, self.recent_gain_per_run(), last):
            return None
        body = await self.claims.verify(chain)
        record = self.cached_runner.ledger.append_own(self.identity, body, self.now_ms())
        self.claims.log_result(record, body)
        self._show_in_workspace(record, body)
        steps = self.incumbent.steps()
        if body.decision in (Decision.NO_GAIN, Decision.FAILED):
            best = self.cached_runner.source_text(self.incumbent.source())
            self.workspace.stand_on(best, steps[-1].record.id if steps else None)
        return record

    def _show_in_workspace(self, record: Record, body: Experiment) -> None:
        runner = self.cached_runner
        entry = Entry(record, body, runner.source_text(body.child), runner.memory_of(body.child))
        self.workspace.add(entry, runner.source_text(body.parent))

    async def _screened(self, candidate: Candidate, parent: bytes, child: bytes) -> Candidate:
        """The candidate with its first run, where the parent was run at that seed, so that a losing run can be ended.

        Where it was not, or times only compare within a session, both runs of the first pair are made together.
        """
        runner, seed = self.cached_runner, self.incumbent.screening_seed()
        if candidate.screened is not None or runner.objective.timed or runner.cached(parent, seed) is None:
            return candidate
        return replace(candidate, screened=await candidate.runs(runner, parent, seed).screen(child))

    async def _try(self, candidate: Candidate, parent: bytes, child: bytes) -> BetTrial:
        seed = self.incumbent.screening_seed()
        return await bet_trial(
            candidate.runs(self.cached_runner, parent, seed).pair,
            parent,
            child,
            seed,
            self._rule(candidate.expected, self._opportunity_cost_of(candidate)),
            self.cached_runner.seeds.of_pairs(Use.EXPERIMENT, parent, child),
            self.cached_runner.least_cost(parent),
        )

    def _rule(self, expected: Prior, opportunity_cost: float) -> BetRule:
        noise, objective = self.cached_runner.noise(self.identity.author), self.cached_runner.objective
        return BetRule(noise, objective.statistics, gain_prior(expected), opportunity_cost, objective.repeatable)

    # ---- what trials cost here, and what other ideas would gain ----------------------------------------------------

    def machine(self) -> Machine:
        """What a trial costs here, as far as it was measured."""
        return Machine(
            compute_class=self.cached_runner.compute_class,
            seconds_per_run=expected_run_seconds(self.cached_runner),
            noise=self.cached_runner.noise(self.identity.author).metric,
            max_pairs=self.cached_runner.objective.statistics.max_pairs,
            thinking=self.strategy.thinking,
        )

    def opportunity_cost(self, expected_gain_rate: float | None = None) -> float:
        """The gain expected of a run that is spent on this node's own ideas, in ln(metric).

        expected_gain_rate: that of the ideas in question, in ln(metric) per second; if not given, that of the ideas
        that were proposed last. Peers' records have a say in it, so it is capped by what this node's runs recently
        gained: where they gain nothing, every small gain is seen through, whatever peers say.
        """
        rate = self.strategy.expected_gain_rate if expected_gain_rate is None else expected_gain_rate
        return min(self.recent_gain_per_run(), rate * self.machine().seconds_per_run)

    def _opportunity_cost_of(self, candidate: Candidate) -> float:
        """The gain expected of a run on other ideas of this kind; of a scarce one a part: it is seen through."""
        share = SCARCE_SHARE if self.strategy.is_scarce(candidate.proposal) else 1.0
        return share * self.opportunity_cost(candidate.expected_gain_rate)

    def recent_gain_per_run(self) -> float:
        """The gain (ln) of each run of this node's own last trials; what was gone back from counts as none."""
        gains: dict[bytes, float] = {}
        for step in self.incumbent.steps():
            body = step.record.body
            if isinstance(body, Experiment) and body.chain:
                gains |= {part.record: -part.mean for part in body.chain}
            elif step.effect is not None:
                gains[step.record.id] = -step.effect.mean
        trials: list[tuple[float, int]] = []
        for record in self.cached_runner.ledger.feed(self.identity.author):
            body = record.body
            if isinstance(body, Experiment):
                trials.append((max(0.0, gains.get(record.id, 0.0)), runs_of(body)))
        return gain_per_run(trials, self._expected_of_a_run())

    def _expected_of_a_run(self) -> float:
        """The gain (ln) that the objective's own priors expect of a run on a new idea, of any category alike."""
        objective = self.cached_runner.objective
        noise = self.cached_runner.noise(self.identity.author).metric
        priors = [gain_prior(prior) for prior in objective.priors_for(self.cached_runner.compute_class).values()] or [
            gain_prior(DEFAULT_PRIOR)
        ]
        return math.fsum(value_of_new_idea(prior, noise) for prior in priors) / len(priors)

    async def context(self, parent: bytes) -> Context:
        """What a proposer may know for a hypothesis on this source."""
        compute_class = self.cached_runner.compute_class
        opportunity_cost, least_cost = self.recent_gain_per_run(), self.cached_runner.least_cost(parent)

        def worth_more(body: Experiment) -> bool:
            expected = self.strategy.expected_of(body.category, body.proposer, compute_class)
            rule = self._rule(expected, opportunity_cost)
            pairs = (*((body.screening,) if body.screening else ()), *body.pairs)
            return bool(pairs) and rule.decide(pairs, body.alternated or (), least_cost) != Verdict.DROP

        context = await self.contexts.build(parent, worth_more)
        self._tell_of_hearsay()
        return context

    def _tell_of_hearsay(self) -> None:
        """Log whose word of what they tried in vain counts no more, and whose counts again."""
        hearsay = self.contexts.hearsay
        for author in hearsay.rechecks:
            who = short(author) if author != STRANGERS else "strangers"
            if hearsay.is_wrong(author) and author not in self._not_believed:
                self._not_believed.add(author)
                self.log("not believed", who=who, rechecks=hearsay.rechecks[author], gained=hearsay.gains[author])
            elif not hearsay.is_wrong(author) and author in self._not_believed:
                self._not_believed.remove(author)
                self.log("believed again", who=who, rechecks=hearsay.rechecks[author], gained=hearsay.gains[author])

    # ---- what is recorded and logged of it -------------------------------------------------------------------------

    def _experiment(self, candidate: Candidate, parent: bytes, child: bytes, found: BetTrial) -> Experiment:
        proposal, trial = candidate.proposal, found.trial
        return Experiment(
            title=proposal.title,
            category=proposal.category,
            reason=proposal.reason,
            proposer=proposal.proposer,
            parent=parent,
            child=child,
            fingerprint=candidate.fingerprint,
            compute_class=self.cached_runner.compute_class,
            device=self.cached_runner.device,
            sandbox=self.cached_runner.sandbox,
            decision=Decision(trial.decision),
            effect=trial.effect,
            holdout=None,
            cost_ratio=trial.cost_ratio,
            screening=trial.screening,
            pairs=trial.pairs,
            alternated=trial.alternated,
            metric=self.cached_runner.objective.recorded_metric,
            bet=True if found.is_bet else UNSET,
            ended_at=UNSET if candidate.ended_at is None else candidate.ended_at,
            origin=proposal.origin or UNSET,
        )

    def _log_estimate(self, record: Record, body: Experiment) -> None:
        """Log what a design says of one idea."""
        gain = gain_text(body.effect, metric_of(body))
        self.log("estimate", title=body.title, record=short_id(record.id), gain=gain, decision=conclusion(body))

    def _log_result(self, record: Record, body: Experiment, candidate: Candidate, found: BetTrial) -> None:
        about, metric = {"title": body.title, "record": short_id(record.id)}, metric_of(body)
        if body.decision == Decision.FAILED:
            self.log("run failed", **about, failure=found.trial.failure, log_tail=found.trial.log_tail)
            return
        if not isinstance(body.ended_at, UnsetType):
            behind = candidate.screened.behind if candidate.screened is not None else None
            self.log("ended early", **about, share=round(body.ended_at, 2), behind=round(behind or 0.0, 4))
            return
        gain, parts = gain_text(body.effect, metric), measured_parts_text(parts_of(body), metric)
        self.log("result", **about, gain=gain, parts=parts, decision=conclusion(body))
        if found.is_bet:
            bets = open_chain(self.incumbent.steps())
            ahead = gain_text(chain(step.effect for step in bets), metric)
            self.log("kept", **about, gain=gain, ahead=ahead, unproven=len(bets))
