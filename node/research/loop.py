"""The research loop's one turn: propose, try, keep or revert, record.

It builds on the own feed (which source is best, what was tried) and meets the network only in the ledger. A turn that
is interrupted leaves nothing behind but cached runs, so it can be taken again at little or no cost.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from node.ledger.projections.effects import gain_text
from node.platform.log import Log, short_id
from node.proposers.beliefs import Machine
from node.proposers.proposer import Context, Lesson, runs_of
from node.proposers.strategy import Strategy
from node.research.candidates import Candidate, Candidates
from node.research.context import ContextBuilder
from node.research.incumbent import Incumbent
from node.research.leased_runs import expected_run_seconds
from node.research.workspace import Entry, Workspace
from node.trials.cached_runner import CachedRunner
from node.trials.effect_parts import measured_parts_text, parts_of
from node.trials.opportunity_cost import gain_per_run
from node.trials.own_seeds import Use
from node.trials.sequential_test import SequentialTest
from node.trials.statistics import Noise
from node.trials.trial import Trial, run_trial
from protocol.identity import Identity
from protocol.records import Decision, Effect, Experiment, Record, metric_of


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

    def __post_init__(self) -> None:
        self.contexts = ContextBuilder(self.cached_runner, self.incumbent, self.rng)
        self.candidates = Candidates(self.cached_runner, self.incumbent, self.strategy, self.context, self.machine)

    async def turn(self, remaining: int | None = None) -> Record | None:
        """Try one hypothesis and record what came of it. None when no proposer has an idea.

        remaining: how many experiments are still to be made, if that is known; no more ideas are begun side by side.
        """
        await self.cached_runner.runner.pause_gate.wait_open()
        self.incumbent.roll_back()
        parent = self.incumbent.source()
        candidate = await self.candidates.next(parent, remaining)
        if candidate is None:
            return None
        proposal = candidate.proposal
        self.log("hypothesis", title=proposal.title, category=proposal.category, proposer=proposal.proposer)
        child = self.cached_runner.ledger.put_blob(proposal.source.encode())
        with self.cached_runner.working_on(proposal.title):
            noise = self.cached_runner.noise(self.identity.author)
            trial = await self._try(candidate, parent, child, noise)
            holdout = None
            if trial.decision == Decision.IMPROVED:
                holdout = await self.cached_runner.holdout(parent, child, trial.pairs, noise.metric)
        body = self._experiment(candidate, parent, child, trial, holdout)
        record = self.cached_runner.ledger.append_own(self.identity, body, self.now_ms())
        # Only once the record is durable: a turn that a full disk ended is taken again with the same candidate.
        self.candidates.remove(candidate)
        self._log_result(record, body, trial)
        effect = trial.effect.mean if trial.effect else None
        self.strategy.learn(proposal, Lesson(trial.decision, effect, trial.failure, trial.log_tail))
        entry = Entry(record, body, proposal.source, self.cached_runner.memory_of(child))
        self.workspace.add(entry, self.cached_runner.source_text(parent))
        return record

    async def _try(self, candidate: Candidate, parent: bytes, child: bytes, noise: Noise) -> Trial:
        seed = self.incumbent.screening_seed()
        statistics = self.cached_runner.objective.statistics
        # Whoever wrote a source, or a part of it, after a record showed the seed may know the text that it brings, so
        # that run is no pair.
        secret = not self.incumbent.has_published(seed)
        return await run_trial(
            candidate.runs(self.cached_runner, parent, seed).pair,
            parent,
            child,
            seed,
            SequentialTest(noise, statistics, opportunity_cost=self._opportunity_cost_of(candidate)),
            self.cached_runner.seeds.of_pairs(Use.EXPERIMENT, parent, child),
            parallel_runs=self.cached_runner.parallel_runs,
            seed_is_fair=secret,
            least_cost=self.cached_runner.least_cost(parent),
        )

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
        """The gain expected of a run on other ideas of this kind; 0 for a scarce idea, which is seen through."""
        scarce = self.strategy.is_scarce(candidate.proposal)
        return 0.0 if scarce else self.opportunity_cost(candidate.expected_gain_rate)

    def recent_gain_per_run(self) -> float:
        """The gain (ln) of each run of this node's own last trials; a gain that was rolled back counts as none."""
        standing = {step.record.id for step in self.incumbent.steps()}
        trials: list[tuple[float, int]] = []
        for record in self.cached_runner.ledger.feed(self.identity.author):
            body = record.body
            if isinstance(body, Experiment):
                gain = -body.effect.mean if record.id in standing and body.effect else 0.0
                trials.append((gain, runs_of(body)))
        return gain_per_run(trials)

    async def context(self, parent: bytes) -> Context:
        """What a proposer may know for a hypothesis on this source."""
        statistics = self.cached_runner.objective.statistics
        return await self.contexts.build(
            parent,
            SequentialTest(
                self.cached_runner.noise(self.identity.author), statistics, opportunity_cost=self.recent_gain_per_run()
            ),
        )

    # ---- what is recorded and logged of it -------------------------------------------------------------------------

    def _experiment(
        self, candidate: Candidate, parent: bytes, child: bytes, trial: Trial, holdout: Effect | None
    ) -> Experiment:
        proposal = candidate.proposal
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
            holdout=holdout,
            cost_ratio=trial.cost_ratio,
            screening=trial.screening,
            pairs=trial.pairs,
            alternated=trial.alternated,
            metric=self.cached_runner.objective.recorded_metric,
        )

    def _log_result(self, record: Record, body: Experiment, trial: Trial) -> None:
        about = {"title": body.title, "record": short_id(record.id)}
        metric = metric_of(body)
        if body.decision == Decision.FAILED:
            self.log("run failed", **about, failure=trial.failure, log_tail=trial.log_tail)
        else:
            gain, parts = gain_text(body.effect, metric), measured_parts_text(parts_of(body), metric)
            self.log("result", **about, gain=gain, parts=parts, decision=self._decision_text(body))
        if body.decision == Decision.IMPROVED:
            self.log("kept", **about, gain=gain_text(body.effect, metric), holdout=gain_text(body.holdout, metric))

    def _decision_text(self, body: Experiment) -> str:
        """The decision in words, with the reason why no more runs were made."""
        if not body.pairs:
            dropped = body.decision == Decision.NO_GAIN
            return "dropped at screening" if dropped else "deferred: other ideas are expected to gain more"
        all_pairs_run = len(body.pairs) >= self.cached_runner.objective.statistics.max_pairs
        if body.decision == Decision.UNCLEAR and not all_pairs_run:
            return "unclear, and not worth more runs"
        return body.decision.replace("_", " ")
