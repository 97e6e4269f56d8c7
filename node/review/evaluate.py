"""A local trial of a peer's claim: whether one of its adoption candidates is better than this node's best.

It is a trial like that of an own idea, and as cheap: one run where that leaves nothing to chance. It makes runs and
decides; signing and adopting what holds is the reviewer's.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass

from node.review.adopt import Attempt, adoption_candidates
from node.review.schedule import LocalTrial
from node.review.workbench import Workbench
from node.trials.own_seeds import Use
from node.trials.sequential_test import SequentialTest, one_pair_was_enough
from node.trials.statistics import Z_ONE_SIDED, Z_UNSUPPORTED
from node.trials.trial import run_trial
from protocol.records import Replication


@dataclass(frozen=True)
class Evaluation:
    """The results of a claim's adoption candidates. deferred: stopped because own ideas are expected to gain more."""

    attempts: tuple[Attempt, ...]
    deferred: bool

    @property
    def adoption(self) -> Attempt | None:
        return next((attempt for attempt in self.attempts if attempt.holds), None)

    @property
    def machine_failure(self) -> str | None:
        """How this machine failed the last attempt, which then says nothing of the claim; None if it did not."""
        return self.attempts[-1].trial.machine_failure if self.attempts else None


async def evaluate(bench: Workbench, trial: LocalTrial, opportunity_cost: float) -> Evaluation:
    """Try a claim's adoption candidates against this node's best until one holds or the machine fails.

    As the claim has passed its author's test, less evidence is asked than of an own idea, and least where reports
    support it. opportunity_cost: the gain (ln) expected of a run spent on own ideas. Raises LedgerError when there is
    no room for merged sources.
    """
    z_needed = Z_ONE_SIDED if trial.supported else Z_UNSUPPORTED
    test = SequentialTest(
        bench.cached_runner.noise(bench.identity.author),
        bench.cached_runner.objective.statistics,
        z_needed,
        opportunity_cost,
    )
    best = bench.incumbent.source()
    attempts = tuple(await _attempts(bench, trial, best, test))
    deferred = any(attempt.trial.was_deferred(test) for attempt in attempts)
    return Evaluation(attempts, deferred)


async def _attempts(bench: Workbench, trial: LocalTrial, best: bytes, test: SequentialTest) -> list[Attempt]:
    cached_runner = bench.cached_runner
    await cached_runner.runner.pause_gate.wait_open()
    seed, seeds = local_trial_seed(bench, best), cached_runner.seeds
    attempts: list[Attempt] = []
    candidates = adoption_candidates(cached_runner, trial.claim, bench.identity.author, best)
    async with aclosing(candidates):
        async for source, route in candidates:
            found = await run_trial(
                cached_runner.run_pair,
                best,
                source,
                seed,
                test,
                seeds.of_pairs(Use.LOCAL_TRIAL, best, source),
                parallel_runs=cached_runner.parallel_runs,
                seed_is_fair=True,
                least_cost=cached_runner.least_cost(best),
            )
            attempts.append(Attempt(source, best, route, found))
            if one_pair_was_enough(found.effect):
                bench.incumbent.note_run(source, seed)  # the next local trial uses another seed, so this may be known
            if attempts[-1].holds or found.machine_failure is not None:
                break
    return attempts


def local_trial_seed(bench: Workbench, best: bytes) -> int:
    """The seed at which this node's best is compared with what it might adopt: a new one after every adoption.

    No record shows it before that. Then edits of what was adopted are screened at it, and their records do.
    """
    feed = bench.cached_runner.ledger.feed(bench.identity.author)
    adopted = sum(isinstance(record.body, Replication) and record.body.adopted is not None for record in feed)
    return bench.cached_runner.seeds.seed(Use.LOCAL_SCREENING, best, best, adopted)
