"""Trials: paired comparisons of a child source with its parent, one pair after the other until the rule decides.

The drivers here are asynchronous: they make the runs that the rule (`sequential_test`) asks for, through a function
they are given. They know neither sandbox nor cache nor ledger.

In every pair the parent runs first, and the child's run names the parent as the source to beat: the judge then has the
parent's losses on the same text and checks closest where the child claims to be better. A screening whose two runs
followed one another is such a pair too, so a gain for which one pair is enough needs no other. Where a machine makes
several runs at once, pairs are made side by side and decided on in their order, so that the rule is the same.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from node.ledger.outcome import HOST_FAILURES, Outcome
from node.objective.schema import Statistics
from node.platform.concurrency import gather
from node.trials.sequential_test import SequentialTest
from node.trials.statistics import Noise, cost_ratio, effect_of
from protocol.audits import is_enough
from protocol.records import Decision, Effect, Failure, Pair, ReplicationDecision, Run

MAX_FAILED_PAIRS = 2  # pairs in which the child failed: one may be bad luck with a seed, the second ends the trial


class Runs(Protocol):
    """Makes the run of a source at a seed; `incumbent` is the source whose run at that seed it is to beat."""

    def __call__(self, source: bytes, seed: int, incumbent: bytes | None = None, /) -> Awaitable[Outcome]: ...


@dataclass(frozen=True)
class Trial:
    """The result of a comparison. `effect` is that of the pairs, or of the screening when there are none.

    A screening by which the child was accepted is the only pair, and `screening` is then None.
    """

    decision: Decision | ReplicationDecision
    effect: Effect | None
    cost_ratio: float | None
    screening: Pair | None
    pairs: tuple[Pair, ...]
    failure: Failure | None = None
    log_tail: str = ""

    @property
    def machine_failure(self) -> Failure | None:
        """How this machine failed a run, which then says nothing of the sources; None if it did not."""
        pairs = self.pairs if self.screening is None else (self.screening, *self.pairs)
        for pair in pairs:
            for run in (pair.parent, pair.child):
                if run.failure in HOST_FAILURES:
                    return run.failure
        return None

    def was_deferred(self, test: SequentialTest) -> bool:
        """Whether `test` ended this trial because other ideas are expected to gain more, and for no other reason."""
        if self.decision != Decision.UNCLEAR or test.opportunity_cost <= 0:
            return False
        without_other_ideas = replace(test, opportunity_cost=0.0)
        if self.pairs or self.screening is None:
            return without_other_ideas.decide(self.pairs) is None
        return without_other_ideas.screen(self.screening) is None


def recorded(outcome: Outcome) -> Run:
    """A run as it goes into a record."""
    failed = outcome.failure is not None
    value = None if failed else outcome.value
    return Run(value, outcome.cpu_seconds, outcome.tokens, () if failed else outcome.checkpoints, outcome.failure)


async def paired_runs(run: Runs, parent: bytes, child: bytes, seed: int) -> tuple[Pair, Outcome]:
    """Both runs of a pair, and the child's outcome. The parent runs first: the judge compares the child with it."""
    before = await run(parent, seed)
    tried = await run(child, seed, parent)
    return Pair(seed, recorded(before), recorded(tried)), tried


async def _pairs(
    run: Runs, parent: bytes, child: bytes, seeds: Sequence[int], parallel_runs: int
) -> AsyncGenerator[tuple[Pair, Outcome, bool], None]:
    """Pairs at these seeds in their order, with the child's outcome and whether the next pair has been run already.

    Made in batches of `parallel_runs`: with three of them and seeds 1 to 5, pairs 1, 2 and 3 are made side by side,
    then 4 and 5, and a trial that is decided at pair 2 has paid for pair 3.
    """
    for start in range(0, len(seeds), parallel_runs):
        batch = seeds[start : start + parallel_runs]
        made = await gather([partial(paired_runs, run, parent, child, seed) for seed in batch])
        for number, (pair, tried) in enumerate(made, 1):
            yield pair, tried, number < len(made)


async def run_trial(
    run: Runs,
    parent: bytes,
    child: bytes,
    parent_seed: int,
    test: SequentialTest,
    seed_of_pair: Callable[[int], int],
    parallel_runs: int = 1,
    contended: bool = False,
    parent_is_fresh: bool = False,
) -> Trial:
    """Compare child and parent: screening at the parent's seed, then fresh pairs until the test has decided.

    The parent's run at that seed may be hours old, or have been made alone and the child's beside others. So a child
    that took more CPU time there is not dropped for it, unless it took more than the machine's own changes explain
    (DRIFT); its cost is measured in fresh pairs, whose runs follow one another.

    seed_of_pair: as in `unscreened_trial`. parallel_runs: how many pairs are made side by side. contended: the child's
    screening run was made beside others, so that its CPU time says nothing of it. parent_is_fresh: the parent's run at
    that seed was made just before, or is made now, and the seed is not known to anybody else, so that the screening is
    as good as a fresh pair.
    """
    screening, tried = await paired_runs(run, parent, child, parent_seed)
    if tried.failure is not None:
        return Trial(Decision.FAILED, None, None, screening, (), tried.failure, tried.log_tail)
    if parent_is_fresh and not contended and test.decide((screening,)) == Decision.IMPROVED:
        return _decided(Decision.IMPROVED, test, None, (screening,))
    decision = test.screen(screening)
    if decision is not None:
        # A child is deferred for what its metric shows, whatever time it took; a contended time shows nothing.
        cost_counts = not contended and decision != Decision.UNCLEAR
        statistics = test.statistics if cost_counts else replace(test.statistics, slope=0.0)
        ratio = None if contended else cost_ratio([screening])
        return Trial(decision, effect_of([screening], test.noise, statistics), ratio, screening, ())
    return await unscreened_trial(run, parent, child, test, seed_of_pair, parallel_runs, screening)


async def unscreened_trial(
    run: Runs,
    parent: bytes,
    child: bytes,
    test: SequentialTest,
    seed_of_pair: Callable[[int], int],
    parallel_runs: int = 1,
    screening: Pair | None = None,
) -> Trial:
    """Compare child and parent by fresh pairs until the test decides.

    seed_of_pair: the seed of a pair by its number, from 1. screening: the run before them, for the result; it does not
    count among the pairs.
    """
    pairs: tuple[Pair, ...] = ()
    failed = 0
    # Pairs with a failed run show no effect, so there may be as many more of them as a trial survives.
    seeds = [seed_of_pair(number) for number in range(1, test.statistics.max_pairs + MAX_FAILED_PAIRS + 1)]
    side_by_side = min(parallel_runs, test.statistics.max_pairs)
    async with aclosing(_pairs(run, parent, child, seeds, side_by_side)) as made:
        async for pair, tried, next_pair_already_run in made:
            pairs = (*pairs, pair)
            failed += pair.child.failure is not None
            if failed >= MAX_FAILED_PAIRS:
                return Trial(Decision.FAILED, None, None, screening, pairs, tried.failure, tried.log_tail)
            decision = test.decide(pairs, next_pair_already_run)
            if decision is not None:
                return _decided(decision, test, screening, pairs)
    return _decided(Decision.UNCLEAR, test, screening, pairs)


def _decided(decision: Decision, test: SequentialTest, screening: Pair | None, pairs: tuple[Pair, ...]) -> Trial:
    return Trial(decision, effect_of(pairs, test.noise, test.statistics), cost_ratio(pairs), screening, pairs)


async def replicate_trial(
    run: Runs,
    parent: bytes,
    child: bytes,
    noise: Noise,
    statistics: Statistics,
    seeds: Sequence[int],
    parallel_runs: int = 1,
) -> Trial:
    """Re-run a claim: the pairs of a report, at its author's seeds, until they are enough.

    "supports" when the gain is larger than its standard error, "contradicts" when there is none, else "unclear".
    """
    pairs: tuple[Pair, ...] = ()
    effect: Effect | None = None
    async with aclosing(_pairs(run, parent, child, seeds, parallel_runs)) as made:
        async for pair, tried, _ in made:
            pairs = (*pairs, pair)
            if tried.failure is not None or pair.parent.failure in HOST_FAILURES:
                return Trial(ReplicationDecision.FAILED, None, None, None, pairs, tried.failure, tried.log_tail)
            effect = effect_of(pairs, noise, statistics)
            if effect is None or is_enough(effect):
                break
    if effect is None or math.isnan(effect.mean):
        return Trial(
            ReplicationDecision.UNCLEAR, None, None, None, pairs, Failure.KILLED, "the claim's parent does not run here"
        )
    return Trial(judged(effect), effect, cost_ratio(pairs), None, pairs)


def judged(effect: Effect) -> ReplicationDecision:
    """What the effect that the pairs of a report show says of the claim."""
    if -effect.mean > effect.se:
        return ReplicationDecision.SUPPORTS
    return ReplicationDecision.CONTRADICTS if effect.mean >= 0 else ReplicationDecision.UNCLEAR
