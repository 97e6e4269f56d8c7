"""Designs: several ideas screened together, where the noise of a run is large beside what ideas gain.

Whether that is so is for `node.trials.designs.plan` to say, by what this node's own ideas have shown. Ideas whose edits
merge are run together, each in half of the runs and every run at a seed of its own, and each gets the estimate of its
effect. Those that are worth it are built on at once, one edit on the other; a claim measures their sum, as of all bets.
It makes runs and says what to record; signing is the research loop's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import UNSET

from node.ledger.outcome import Outcome
from node.objective.schema import Prior
from node.proposers.beliefs import DEFAULT_PRIOR
from node.research.candidates import Candidate
from node.trials.bet_rule import least_bet
from node.trials.cached_runner import CachedRunner
from node.trials.design_trial import design_trial
from node.trials.designs import FIRST_ROWS, Estimate, Plan, plan, run_deviation
from node.trials.gain_posterior import GainPrior, gain_prior, learnt, posterior
from node.trials.own_seeds import Use
from protocol.records import Decision, Effect, Experiment

REMEMBERED = 100  # own ideas by which the prior of the next ones is learnt
LEAST_TRIED = 10  # own ideas before the first design: until then nothing says that gains are small
LEAST_EDITS = 5  # in a design; fewer are tried one by one
MOST_EDITS = max(FIRST_ROWS) - 1


@dataclass(frozen=True)
class Designs:
    """Plans and runs designs for one node. author: its key."""

    cached_runner: CachedRunner
    author: bytes

    def plan(self) -> Plan:
        """How many ideas to screen together now, 0 for one by one, and the gain expected of a run."""
        own = self._own()
        if self.cached_runner.objective.timed or len(own) < LEAST_TRIED:
            return Plan(0, 0.0)
        noise = self.cached_runner.noise(self.author).metric
        return plan([self._prior(own)] * MOST_EDITS, noise, self._run_noise(own))

    async def together(self, parent: bytes, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those candidates whose edits of this parent can be made together: of two that cannot, the first.

        [] where these are too few for a design.
        """
        merged, found = parent, list[Candidate]()
        for candidate in candidates[:MOST_EDITS]:
            grown = await self._merge(parent, merged, self._put(candidate))
            if grown is not None:
                merged = grown
                found.append(candidate)
        return found if len(found) >= LEAST_EDITS else []

    async def screen(self, parent: bytes, candidates: Sequence[Candidate]) -> list[Experiment]:
        """Run these candidates together; what the record of each says, in the order in which they are to be signed."""
        runner = self.cached_runner
        children = [self._put(candidate) for candidate in candidates]
        whole = hashlib.sha256(b"".join(children)).digest()
        made: list[Outcome] = []

        async def run(source: bytes, seed: int) -> Outcome:
            made.append(await runner.run(source, seed))
            return made[-1]

        async def source_with(chosen: Sequence[int]) -> bytes:
            source = parent
            for number in chosen:
                source = await self._merge(parent, source, children[number]) or source
            return source

        deviation, measure = self._run_noise(self._own()), runner.objective.measure
        seeds = runner.seeds.of_pairs(Use.DESIGN, parent, whole)
        trial = await design_trial(run, source_with, len(candidates), deviation, measure, seeds)
        least, tip = least_bet(runner.objective.statistics), parent
        dropped, kept = list[Experiment](), list[Experiment]()
        for number, (candidate, found) in enumerate(zip(candidates, trial.estimates, strict=True)):
            child, grown = children[number], None
            if found is not None and posterior(gain_prior(candidate.expected), found.gain, found.se).mean > least:
                grown = await self._merge(parent, tip, child)
            if grown is None:
                decision = Decision.FAILED if number in trial.crashed else Decision.NO_GAIN
                dropped.append(await self._experiment(candidate, parent, child, found, len(made), decision))
            else:
                kept.append(await self._experiment(candidate, tip, grown, found, len(made), Decision.UNCLEAR))
                tip = grown
        return [*dropped, *kept]

    async def _experiment(
        self,
        candidate: Candidate,
        parent: bytes,
        child: bytes,
        found: Estimate | None,
        runs: int,
        decision: Decision,
    ) -> Experiment:
        """What is recorded of one idea of a design; where the decision is "unclear" the search goes on from it."""
        runner, proposal = self.cached_runner, candidate.proposal
        own = child == self._put(candidate)
        fingerprint = candidate.fingerprint if own else await runner.parser.fingerprint(runner.source_text(child))
        return Experiment(
            title=proposal.title,
            category=proposal.category,
            reason=proposal.reason,
            proposer=proposal.proposer,
            parent=parent,
            child=child,
            fingerprint=fingerprint,
            compute_class=runner.compute_class,
            device=runner.device,
            sandbox=runner.sandbox,
            decision=decision,
            effect=None if found is None else Effect(-found.gain, found.se, max(1, runs // 2)),
            holdout=None,
            cost_ratio=None,
            screening=None,
            pairs=(),
            alternated=(),
            metric=runner.objective.recorded_metric,
            bet=True if decision == Decision.UNCLEAR else UNSET,
            design=max(2, runs),
            origin=proposal.origin or UNSET,
        )

    # ---- what own ideas have shown ---------------------------------------------------------------------------------

    def _own(self) -> list[Experiment]:
        """The last ideas of this node's own, without chains and what failed."""
        feed = self.cached_runner.ledger.feed(self.author)
        bodies = [record.body for record in feed if isinstance(record.body, Experiment)]
        return [body for body in bodies if not body.chain and body.effect is not None][-REMEMBERED:]

    def _prior(self, own: Sequence[Experiment]) -> GainPrior:
        """What the next idea is believed to gain: by the objective's priors, all alike, and what own ideas showed."""
        given = list(self.cached_runner.objective.priors_for(self.cached_runner.compute_class).values())
        given = given or [DEFAULT_PRIOR]
        success, gain = (sum(getattr(prior, name) for prior in given) / len(given) for name in ("success", "gain"))
        seen = [(-body.effect.mean, body.effect.se) for body in own if body.effect is not None]
        return learnt(gain_prior(Prior(success, gain)), seen)

    def _run_noise(self, own: Sequence[Experiment]) -> float:
        """The deviation of a run at a seed of its own, by the sources that were run at several seeds."""
        runner, measure = self.cached_runner, self.cached_runner.objective.measure
        found: list[list[float]] = []
        for source in dict.fromkeys(body.parent for body in own):
            runs = runner.ledger.runs(source, runner.conditions)
            values = [run.value for run in runs if run.value is not None]
            if len(values) > 1:
                found.append([-measure.difference(values[0], value) for value in values])
        return run_deviation(found, runner.objective.statistics.s0)

    # ---- sources ---------------------------------------------------------------------------------------------------

    def _put(self, candidate: Candidate) -> bytes:
        return self.cached_runner.ledger.put_blob(candidate.proposal.source.encode())

    async def _merge(self, parent: bytes, ours: bytes, theirs: bytes) -> bytes | None:
        """Ours with the edit that made theirs of the parent; None where both have changed the same passage."""
        if ours == parent:
            return theirs
        base, own, other = (self.cached_runner.source_text(source) for source in (parent, ours, theirs))
        merged = await self.cached_runner.parser.merge(base, own, other)
        return None if merged is None else self.cached_runner.ledger.put_blob(merged.encode())
