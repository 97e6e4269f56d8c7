"""A local trial of a peer's claim: whether one of its adoption candidates is better than this node's best.

It is tried as a bet, like an own idea and by the same rule: one run, and more only while they are worth it. What is
believed of claims is its prior, and this node's runs decide. It makes runs; signing and adopting what holds is the
reviewer's.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass

from node.review.adopt import Attempt, adoption_candidates
from node.review.schedule import LocalTrial
from node.review.workbench import Workbench
from node.trials.bet_rule import BetRule
from node.trials.bet_trial import BetTrial, bet_trial
from node.trials.own_seeds import Use
from protocol.records import Replication


@dataclass(frozen=True)
class Evaluation:
    """The results of a claim's adoption candidates."""

    attempts: tuple[Attempt, ...]

    @property
    def adoption(self) -> Attempt | None:
        return next((attempt for attempt in self.attempts if attempt.holds), None)

    @property
    def machine_failure(self) -> str | None:
        """How this machine failed the last attempt, which then says nothing of the claim; None if it did not."""
        return self.attempts[-1].trial.machine_failure if self.attempts else None


async def evaluate(bench: Workbench, trial: LocalTrial, opportunity_cost: float) -> Evaluation:
    """Try a claim's adoption candidates against this node's best until one holds or the machine fails.

    opportunity_cost: the gain (ln) expected of a run spent on own ideas. Raises LedgerError when there is no room for
    merged sources.
    """
    cached_runner = bench.cached_runner
    await cached_runner.runner.pause_gate.wait_open()
    noise, statistics = cached_runner.noise(bench.identity.author), cached_runner.objective.statistics
    # Not as runs that repeat: a lineage differs from this best by many edits, so a small effect is no small change.
    rule = BetRule(noise, statistics, trial.prior, opportunity_cost)
    best = bench.incumbent.source()
    seed, seeds = local_trial_seed(bench, best), cached_runner.seeds
    attempts: list[Attempt] = []
    candidates = adoption_candidates(cached_runner, trial.claim, bench.identity.author, best)
    async with aclosing(candidates):
        async for source, route in candidates:
            found = await bet_trial(
                cached_runner.run_pair,
                best,
                source,
                seed,
                rule,
                seeds.of_pairs(Use.LOCAL_TRIAL, best, source),
                cached_runner.least_cost(best),
            )
            attempts.append(Attempt(source, best, route, found.trial, _holds(found)))
            if attempts[-1].holds:
                bench.incumbent.note_run(source, seed)  # the next local trial uses another seed, so this may be known
            if attempts[-1].holds or found.trial.machine_failure is not None:
                break
    return Evaluation(tuple(attempts))


def _holds(found: BetTrial) -> bool:
    """Whether to adopt it: it is worth building on, and what was run here is better, whatever was believed before."""
    effect = found.trial.effect
    return found.is_bet and effect is not None and effect.mean < 0


def local_trial_seed(bench: Workbench, best: bytes) -> int:
    """The seed at which this node's best is compared with what it might adopt: a new one after every adoption.

    No record shows it before that. Then edits of what was adopted are screened at it, and their records do.
    """
    feed = bench.cached_runner.ledger.feed(bench.identity.author)
    adopted = sum(isinstance(record.body, Replication) and record.body.adopted is not None for record in feed)
    return bench.cached_runner.seeds.seed(Use.LOCAL_SCREENING, best, best, adopted)
