"""Claims: the bets since the last claim, verified together on fresh seeds, and signed as one discovery where they hold.

A chain is told once that costs little beside what is told (`node.trials.bet_rule.claim_is_due`), or when nothing else
is left to do. Where it holds, the claim says what each step is believed to have gained of the sum. Where it shows no
gain, the chain is cut: the search goes back to the best of the sources between. Where the runs say neither,
the search goes on, and the chain is told when it has grown. It does not choose ideas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.ledger.projections.effects import chain as sum_of
from node.ledger.projections.effects import gain_text
from node.ledger.projections.steps import Step, open_chain, proven
from node.objective.schema import Prior
from node.platform.log import Log, short_id
from node.proposers.beliefs import DEFAULT_PRIOR
from node.proposers.titles import joined
from node.research.incumbent import Incumbent
from node.trials.bet_rule import attributed, chain_of, claim_is_due, runs_of_proof
from node.trials.cached_runner import CachedRunner
from node.trials.effect_parts import measured_parts_text, parts_of
from node.trials.gain_posterior import GainPosterior, gain_prior, posterior
from node.trials.own_seeds import Use
from node.trials.sequential_test import SequentialTest
from node.trials.statistics import Noise
from node.trials.trial import Trial, unscreened_trial
from protocol.fields import TEXT_LIMITS
from protocol.records import MAX_CHAIN, ChainStep, Decision, Effect, Experiment, Record, metric_of

PROPOSER = "chain"


@dataclass(frozen=True)
class Chain:
    """Bets that follow one another: the source before them, the steps, and what is believed of each one's gain."""

    start: bytes
    steps: tuple[Step, ...]
    gains: tuple[GainPosterior, ...]

    @property
    def tip(self) -> bytes:
        return self.steps[-1].source

    @property
    def gain(self) -> GainPosterior:
        """What is believed of all of them together."""
        return chain_of(self.gains)


@dataclass
class Claims:
    """Decides when this node's bets are told, and verifies them. It makes the record, which `loop` signs."""

    incumbent: Incumbent
    cached_runner: CachedRunner
    author: bytes
    log: Log

    def chain(self) -> Chain | None:
        """The bets that no claim has closed yet, at most as many as a claim may have; None where there are none."""
        steps = self.incumbent.steps()
        bets, before = open_chain(steps), proven(steps)
        if not bets:
            return None
        start = before[-1].source if before else self.cached_runner.objective.source_id
        priors = self.cached_runner.objective.priors_for(self.cached_runner.compute_class)
        first = tuple(bets[:MAX_CHAIN])
        return Chain(start, first, tuple(_believed(step, priors.get(_category(step), DEFAULT_PRIOR)) for step in first))

    def is_due(self, chain: Chain, opportunity_cost: float, last: bool) -> bool:
        """Whether to verify this chain now. last: nothing else is left to do, so that it need not be worth other runs.

        A chain whose claim others doubt is verified at once. One that was verified in vain is not again.
        """
        own = self.cached_runner.ledger.feed(self.author)
        verified = [record for record in own if _is_about(record, chain)]
        if verified:
            return verified[-1].id in self.incumbent.doubted()
        noise, statistics = self._noise(), self.cached_runner.objective.statistics
        if len(chain.steps) == MAX_CHAIN or last:
            return runs_of_proof(chain.gain, noise, statistics) is not None
        return claim_is_due(chain.gain, noise, statistics, opportunity_cost)

    async def verify(self, chain: Chain) -> Experiment:
        """Run the beginning and the end of a chain on fresh seeds; what the record of that says.

        "improved" is a claim. "no_gain" and "failed" cut the chain at the best of the sources between. "unclear"
        changes nothing; it is also what is recorded where a claim that others doubt holds here once more.
        """
        runner, title = self.cached_runner, _title(chain.steps)
        seeds = runner.seeds.of_pairs(Use.CLAIM, chain.start, chain.tip)
        shown = self._pairs_shown(chain)
        self.log(
            "verifying", title=title, steps=len(chain.steps), gain=gain_text(_sum(chain), runner.objective.measure)
        )
        with runner.working_on(f"verifying: {title}"):
            trial = await self._compare(chain, lambda number: seeds(shown + number))
            holdout = None
            if trial.decision == Decision.IMPROVED:
                holdout = await runner.holdout(chain.start, chain.tip, trial.pairs, self._noise().metric)
            elif trial.decision != Decision.UNCLEAR and trial.machine_failure is None:
                chain, trial = await self._cut(chain, trial)
        return await self._experiment(chain, trial, holdout)

    async def _cut(self, chain: Chain, trial: Trial) -> tuple[Chain, Trial]:
        """The part of a chain that falls, with the pairs that show it.

        The sources between are run at the first seed of the pairs, where none of them was chosen by its luck, and the
        chain holds up to the best of them. The rest is compared with that, and where it shows a gain after all, nothing
        falls.
        """
        seed = trial.pairs[0].seed
        before = trial.pairs[0].parent.value
        difference = self.cached_runner.objective.measure.difference
        best, held = 0.0, 0
        for number, step in enumerate(chain.steps[:-1], 1):
            outcome = await self.cached_runner.run(step.source, seed, chain.start)
            gain = -difference(before, outcome.value) if before is not None and outcome.value is not None else 0.0
            if gain > best:
                best, held = gain, number
        if held == 0:
            return chain, trial
        rest = Chain(chain.steps[held - 1].source, chain.steps[held:], chain.gains[held:])
        made = [pair.seed for pair in trial.pairs]
        fresh = self.cached_runner.seeds.of_pairs(Use.CLAIM, rest.start, rest.tip)
        found = await self._compare(rest, lambda number: made[number - 1] if number <= len(made) else fresh(number))
        return (rest, found) if found.decision in (Decision.NO_GAIN, Decision.FAILED) else (chain, trial)

    async def _compare(self, chain: Chain, seed_of_pair: Callable[[int], int]) -> Trial:
        runner = self.cached_runner
        test = SequentialTest(self._noise(), runner.objective.statistics)
        make, runs_at_once = runner.run_pair, runner.parallel_runs
        return await unscreened_trial(make, chain.start, chain.tip, test, seed_of_pair, runs_at_once)

    async def _experiment(self, chain: Chain, trial: Trial, holdout: Effect | None) -> Experiment:
        runner, steps = self.cached_runner, chain.steps
        measured = -trial.effect.mean if trial.effect is not None else math.fsum(one.mean for one in chain.gains)
        gains = attributed(chain.gains, measured)
        largest = max(range(len(steps)), key=lambda number: gains[number])
        return Experiment(
            title=_title(steps),
            category=_category(steps[largest]),
            reason=_reason(steps),
            proposer=PROPOSER,
            parent=chain.start,
            child=chain.tip,
            fingerprint=await runner.parser.fingerprint(runner.source_text(chain.tip)),
            compute_class=runner.compute_class,
            device=runner.device,
            sandbox=runner.sandbox,
            decision=self._decision(chain, trial),
            effect=trial.effect,
            holdout=holdout,
            cost_ratio=trial.cost_ratio,
            screening=None,
            pairs=trial.pairs,
            alternated=trial.alternated,
            metric=runner.objective.recorded_metric,
            steps=tuple(
                ChainStep(step.record.id, _category(step), -gain) for step, gain in zip(steps, gains, strict=True)
            ),
        )

    def _decision(self, chain: Chain, trial: Trial) -> Decision:
        claimed = any(
            isinstance(record.body, Experiment) and record.body.decision == Decision.IMPROVED
            for record in self.cached_runner.ledger.feed(self.author)
            if _is_about(record, chain)
        )
        if trial.machine_failure is not None or (claimed and trial.decision == Decision.IMPROVED):
            return Decision.UNCLEAR
        return Decision(trial.decision)

    def log_result(self, record: Record, body: Experiment) -> None:
        metric = metric_of(body)
        about = {"title": body.title, "record": short_id(record.id), "gain": gain_text(body.effect, metric)}
        if body.decision == Decision.IMPROVED:
            parts = measured_parts_text(parts_of(body), metric)
            self.log("claimed", **about, parts=parts, holdout=gain_text(body.holdout, metric), steps=len(body.chain))
        elif body.decision == Decision.UNCLEAR:
            self.log("not proven yet", **about, steps=len(body.chain))
        else:
            self.log("cut", **about, steps=len(body.chain), best=short_id(self.incumbent.source()))

    def _noise(self) -> Noise:
        return self.cached_runner.noise(self.author)

    def _pairs_shown(self, chain: Chain) -> int:
        """How many pairs of this chain's ends own records show: a seed that is known is not fresh."""
        feed = self.cached_runner.ledger.feed(self.author)
        bodies = [record.body for record in feed if _is_about(record, chain)]
        return sum(len(body.pairs) for body in bodies if isinstance(body, Experiment))


def _is_about(record: Record, chain: Chain) -> bool:
    body = record.body
    return isinstance(body, Experiment) and bool(body.chain) and (body.parent, body.child) == (chain.start, chain.tip)


def _believed(step: Step, prior: Prior) -> GainPosterior:
    assert step.effect is not None  # a record of a bet has one
    return posterior(gain_prior(prior), -step.effect.mean, step.effect.se)


def _category(step: Step) -> str:
    body = step.record.body
    assert isinstance(body, Experiment)
    return body.category


def _sum(chain: Chain) -> Effect | None:
    """The effects of a chain's steps, as they were seen."""
    return sum_of(step.effect for step in chain.steps)


def _title(steps: Sequence[Step]) -> str:
    return joined([step.record.body.title for step in steps if isinstance(step.record.body, Experiment)])


def _reason(steps: Sequence[Step]) -> str:
    """Of one edit its own reason, else each edit's, as far as there is room; and how all were proven."""
    bodies = [step.record.body for step in steps]
    reasons = [body.reason for body in bodies if isinstance(body, Experiment) and body.reason]
    told = f"What {len(steps)} edits one after the other gained together, on seeds that chose none of them."
    if len(steps) > 1:
        return _cut(" ".join([told, *reasons]), TEXT_LIMITS["reason"])
    told = "Proven on seeds that did not choose it."
    return " ".join([*(_cut(reason, TEXT_LIMITS["reason"] - len(told) - 1) for reason in reasons), told])


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
