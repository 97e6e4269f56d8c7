"""Trials: paired comparisons of a child source with its parent, one pair after the other until the rule decides.

The drivers here are asynchronous: they make the runs that the rule (`sequential_test`) asks for, through a function
they are given. They know neither sandbox nor cache nor ledger.

In every pair the parent is scored first, and the child's run names the parent as the source to beat: the judge then
has the parent's losses on the same text and checks closest where the child claims to be better. Where a machine makes
several runs at once, pairs are made side by side and decided on in their order, so that the rule is the same.

The cost of a child is measured by the pairs whose two runs took turns (docs/decisions/cost-measure.md). In other pairs
it counts as its parent's: CPU time of the same work changes by half with what else the machine does.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from node.ledger.outcome import HOST_FAILURES, Outcome, PairOutcome
from node.objective.schema import Statistics
from node.platform.concurrency import gather
from node.trials.sequential_test import SequentialTest
from node.trials.statistics import Noise, cost_ratio, effect_of, in_turns
from protocol.audits import is_enough
from protocol.records import Decision, Effect, Failure, Pair, ReplicationDecision, Run

MAX_FAILED_PAIRS = 2  # pairs in which the child failed: one may be bad luck with a seed, the second ends the trial


class MakePair(Protocol):
    """Makes both runs of a pair, of a parent and its child, at a seed."""

    def __call__(self, parent: bytes, child: bytes, seed: int, /) -> Awaitable[PairOutcome]: ...


@dataclass(frozen=True)
class Trial:
    """The result of a comparison. `effect` is that of the screening, where there is one, and the pairs together.

    alternated: the seeds of
    pairs, the screening among them, whose runs took turns. cost_ratio: by those pairs; None if there are none.
    """

    decision: Decision | ReplicationDecision
    effect: Effect | None
    cost_ratio: float | None
    screening: Pair | None
    pairs: tuple[Pair, ...]
    alternated: tuple[int, ...] = ()
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


def recorded(outcome: Outcome) -> Run:
    """A run as it goes into a record."""
    failed = outcome.failure is not None
    value = None if failed else outcome.value
    return Run(value, outcome.cpu_seconds, outcome.tokens, () if failed else outcome.checkpoints, outcome.failure)


@dataclass(frozen=True)
class Made:
    """A pair that was made: as it goes into a record, its seed if its runs took turns, and the child's outcome."""

    pair: Pair
    alternated: tuple[int, ...]
    child: Outcome


async def made_pair(make: MakePair, parent: bytes, child: bytes, seed: int) -> Made:
    found = await make(parent, child, seed)
    pair = Pair(seed, recorded(found.parent), recorded(found.child))
    return Made(pair, (seed,) if found.alternated else (), found.child)


async def _pairs(
    make: MakePair, parent: bytes, child: bytes, seeds: Sequence[int], parallel_runs: int
) -> AsyncGenerator[Made, None]:
    """Pairs at these seeds in their order.

    Made in batches of `parallel_runs`: with three of them and seeds 1 to 5, pairs 1, 2 and 3 are made side by side,
    then 4 and 5, and a trial that is decided at pair 2 has paid for pair 3.
    """
    for start in range(0, len(seeds), parallel_runs):
        batch = seeds[start : start + parallel_runs]
        found = await gather([partial(made_pair, make, parent, child, seed) for seed in batch])
        for made in found:
            yield made


async def unscreened_trial(
    make: MakePair,
    parent: bytes,
    child: bytes,
    test: SequentialTest,
    seed_of_pair: Callable[[int], int],
    parallel_runs: int = 1,
) -> Trial:
    """Compare child and parent by fresh pairs until the test decides.

    seed_of_pair: the seed of a pair by its number, from 1. parallel_runs: how many pairs are made side by side.
    """
    pairs: tuple[Pair, ...] = ()
    alternated: tuple[int, ...] = ()
    failed = 0
    # Pairs with a failed run show no effect, so there may be as many more of them as a trial survives.
    seeds = [seed_of_pair(number) for number in range(1, test.statistics.max_pairs + MAX_FAILED_PAIRS + 1)]
    side_by_side = min(parallel_runs, test.statistics.max_pairs)
    async with aclosing(_pairs(make, parent, child, seeds, side_by_side)) as found:
        async for made in found:
            pairs, alternated = (*pairs, made.pair), (*alternated, *made.alternated)
            failed += made.child.failure is not None
            if failed >= MAX_FAILED_PAIRS:
                return _failed(made, pairs, alternated)
            decision = test.decide(pairs, alternated)
            if decision is not None:
                return _decided(decision, test, pairs, alternated)
    return _decided(Decision.UNCLEAR, test, pairs, alternated)


def _decided(
    decision: Decision,
    test: SequentialTest,
    pairs: tuple[Pair, ...],
    alternated: tuple[int, ...],
) -> Trial:
    effect = effect_of(pairs, alternated, test.noise, test.statistics)
    return Trial(decision, effect, cost_ratio(in_turns(pairs, alternated)), None, pairs, alternated)


def _failed(made: Made, pairs: tuple[Pair, ...], alternated: tuple[int, ...]) -> Trial:
    child = made.child
    return Trial(Decision.FAILED, None, None, None, pairs, alternated, child.failure, child.log_tail)


async def replicate_trial(
    make: MakePair,
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
    alternated: tuple[int, ...] = ()
    effect: Effect | None = None
    async with aclosing(_pairs(make, parent, child, seeds, parallel_runs)) as found:
        async for made in found:
            pairs, alternated = (*pairs, made.pair), (*alternated, *made.alternated)
            tried = made.child
            if tried.failure is not None or made.pair.parent.failure in HOST_FAILURES:
                failed = ReplicationDecision.FAILED
                return Trial(failed, None, None, None, pairs, alternated, tried.failure, tried.log_tail)
            effect = effect_of(pairs, alternated, noise, statistics)
            if effect is None or is_enough(effect):
                break
    if effect is None or math.isnan(effect.mean):
        unclear, why = ReplicationDecision.UNCLEAR, "the claim's parent does not run here"
        return Trial(unclear, None, None, None, pairs, alternated, Failure.KILLED, why)
    return Trial(judged(effect), effect, cost_ratio(in_turns(pairs, alternated)), None, pairs, alternated)


def judged(effect: Effect) -> ReplicationDecision:
    """What the effect that the pairs of a report show says of the claim."""
    if -effect.mean > effect.se:
        return ReplicationDecision.SUPPORTS
    return ReplicationDecision.CONTRADICTS if effect.mean >= 0 else ReplicationDecision.UNCLEAR
