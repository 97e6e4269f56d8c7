"""Trials: paired comparisons of a child source with its parent, decided one pair at a time.

`SequentialTest` is the rule, pure; the async drivers make the runs it asks for through a function they are given,
so they know neither sandbox nor cache. Source of the rule: DESIGN.md, "Accepting an own hypothesis".

In every pair the parent runs first, and the child's run is told that it is to beat the parent: the judge then has the
parent's losses on the same text and looks hardest where the child claims to be better. A screening whose runs followed
one another is such a pair too, so a gain that one pair is enough for needs no other. Where a machine makes several
runs at once, pairs are made side by side and looked at in their order, so that the rule is the same.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from node.ledger.outcome import HOST_FAILURES, Outcome
from node.objective.schema import Statistics
from node.platform.concurrency import gather
from node.trials.statistics import (
    DRIFT,
    LEAST_CHANCE,
    OPPORTUNITY_SHARE,
    SCREEN,
    Z_ONE_SIDED,
    Noise,
    bar,
    chance_of_acceptance,
    cost_ratio,
    effect_of,
    worth_of_more,
)
from protocol.audits import is_enough
from protocol.draw import pair_seed
from protocol.records import FAILURES, Effect, Pair, Run


class Runs(Protocol):
    """Makes the run of a source at a seed; `incumbent` is the source whose run at that seed it is to beat."""

    def __call__(self, source: bytes, seed: int, incumbent: bytes | None = None, /) -> Awaitable[Outcome]: ...


MAX_FAILED_PAIRS = 2


@dataclass(frozen=True)
class Trial:
    """What a comparison came to. `effect` is that of the pairs, or of the screening when there are none.

    A screening that decided is the one pair, and `screening` is then None.
    """

    decision: str
    effect: Effect | None
    cost_ratio: float | None
    screening: Pair | None
    pairs: tuple[Pair, ...]
    failure: str | None = None
    log_tail: str = ""

    @property
    def machine_failure(self) -> str | None:
        """How this machine failed a run, which then says nothing of the claim; None if it did not."""
        pairs = self.pairs if self.screening is None else (self.screening, *self.pairs)
        runs = (run for pair in pairs for run in (pair.parent, pair.child))
        return next((run.failure for run in runs if run.failure in HOST_FAILURES), None)


@dataclass(frozen=True)
class SequentialTest:
    """Looks at pairs one after the other until it can say "improved" or "no_gain", or has had enough of them.

    enough: the standard errors by which the gain must be beyond zero after every pair, where the child is not one's own
    best guess of many, but has passed such a test elsewhere already: what is seen here has only to bear that out.

    elsewhere: the gain that a run promises when it is spent on other ideas, in ln(metric).
    """

    noise: Noise
    statistics: Statistics
    z_needed: float | None = None
    opportunity_cost: float = 0.0

    def screen(self, screening: Pair) -> str | None:
        """The decision after the first run, at the parent's seed, None to go on.

        "no_gain" when it is not even better by half of its noise, "unclear" when other ideas promise more.
        """
        effect = effect_of([screening], self.noise, self.statistics, DRIFT, optimistic=True)
        if effect is None or effect.mean > -SCREEN * self.noise.metric:
            return "no_gain"
        return "unclear" if self._other_ideas_promise_more(effect, screening=True) else None

    def decide(self, pairs: tuple[Pair, ...], next_pair_already_run: bool = False) -> str | None:
        """The decision after these pairs, None to go on. paid: the next one is made already."""
        effect = effect_of(pairs, self.noise, self.statistics)
        if effect is None:
            return None
        sure, least = -effect.mean / effect.se > self._z_needed(effect.n), self.statistics.minimum_effect
        if sure and -effect.mean > least:
            return "improved"
        optimistic = effect_of(pairs, self.noise, self.statistics, optimistic=True) or effect
        if sure and -optimistic.mean <= least:
            return "no_gain"
        if optimistic.mean >= 0 or optimistic.mean - Z_ONE_SIDED * optimistic.se > -least:
            return "no_gain"
        most = self.statistics.max_pairs
        if effect.n >= most or (not next_pair_already_run and self._other_ideas_promise_more(optimistic)):
            return "unclear"
        return (
            "unclear"
            if chance_of_acceptance(optimistic, self.statistics, most, self._z_needed(most)) < LEAST_CHANCE
            else None
        )

    def stopped_for_opportunity_cost(self, trial: Trial) -> bool:
        """Whether this trial ended because runs are expected to gain more elsewhere, and for no other reason."""
        if trial.decision != "unclear" or self.opportunity_cost <= 0:
            return False
        patient = replace(self, opportunity_cost=0.0)
        if trial.pairs or trial.screening is None:
            return patient.decide(trial.pairs) is None
        return patient.screen(trial.screening) is None

    def _other_ideas_promise_more(self, effect: Effect, screening: bool = False) -> bool:
        """Whether other ideas promise more than seeing this one through."""
        return (
            worth_of_more(effect, self.statistics, screening, self._z_needed)
            < OPPORTUNITY_SHARE * self.opportunity_cost
        )

    def _z_needed(self, pairs: int) -> float:
        return bar(pairs) if self.z_needed is None else self.z_needed


def screening_seed(source: bytes, pairs: Sequence[Pair] = (), effect: Effect | None = None) -> int:
    """The seed at which edits of a source are screened: its own, and so a new one with every new parent.

    Where the pairs and the effect are given by which this node took the source over, and one pair was enough, it is
    that pair's: the source was run there already. A gain so large owes little to how that run happened to come out.
    """
    measured = [pair for pair in pairs if pair.parent.value is not None and pair.child.value is not None]
    if len(measured) == 1 and one_pair_was_enough(effect):
        return measured[0].seed
    return pair_seed(source, source, 0)


def one_pair_was_enough(effect: Effect | None) -> bool:
    """Whether an effect is a gain that one pair was enough for."""
    return effect is not None and effect.n == 1 and -effect.mean > bar(1) * effect.se


def recorded(outcome: Outcome) -> Run:
    """A run as it goes into a record."""
    failure = outcome.failure if outcome.failure in FAILURES else "exception" if outcome.failure else None
    value = outcome.value if failure is None else None
    return Run(value, outcome.cpu_seconds, outcome.tokens, outcome.checkpoints if failure is None else (), failure)


async def paired_runs(run: Runs, parent: bytes, child: bytes, seed: int) -> tuple[Pair, Outcome]:
    """Both runs of a pair, the parent's first: what the child claims is held against it."""
    before = await run(parent, seed)
    tried = await run(child, seed, parent)
    return Pair(seed, recorded(before), recorded(tried)), tried


async def _pairs(
    run: Runs, parent: bytes, child: bytes, seeds: Sequence[int], parallel_runs: int
) -> AsyncGenerator[tuple[Pair, Outcome, bool], None]:
    """Pairs at these seeds, in their order, with the outcome of the child and whether the next pair is made too."""
    for start in range(0, len(seeds), parallel_runs):
        some = seeds[start : start + parallel_runs]
        made = await gather([partial(paired_runs, run, parent, child, seed) for seed in some])
        for number, (pair, tried) in enumerate(made, 1):
            yield pair, tried, number < len(made)


async def run_trial(
    run: Runs,
    parent: bytes,
    child: bytes,
    parent_seed: int,
    test: SequentialTest,
    salt: bytes = b"",
    parallel_runs: int = 1,
    contended: bool = False,
    parent_is_fresh: bool = False,
) -> Trial:
    """Compare child and parent: screening at the parent's seed, then fresh pairs until the test has decided.

    The parent's run at that seed may be hours old, or have been made alone and the child's beside others. So a child
    that took more CPU time there is not dropped for it, unless for more than a machine's own change; its cost is
    measured in fresh pairs, whose runs follow one another.

    at_once: pairs made side by side. crowded: the child's screening run was made beside others, so that its CPU time
    tells nothing of it. lately: the parent's run at that seed was made just before, or is made now, so that the
    screening is as good as a fresh pair.
    """
    noise, statistics = test.noise, test.statistics
    before = await run(parent, parent_seed)
    tried = await run(child, parent_seed, parent)
    screening = Pair(parent_seed, recorded(before), recorded(tried))
    if tried.failure is not None:
        return Trial("failed", None, None, screening, (), tried.failure, tried.log_tail)
    if parent_is_fresh and not contended and test.decide((screening,)) == "improved":
        return _decided("improved", test, None, (screening,))
    decision = test.screen(screening)
    if decision is not None:
        timeless = contended or decision == "unclear"  # it was left for what the metric promises, whatever its time
        counted = replace(statistics, slope=0.0) if timeless else statistics
        ratio = None if contended else cost_ratio([screening])
        return Trial(decision, effect_of([screening], noise, counted), ratio, screening, ())
    return await unscreened_trial(run, parent, child, test, salt, parallel_runs, screening)


async def unscreened_trial(
    run: Runs,
    parent: bytes,
    child: bytes,
    test: SequentialTest,
    salt: bytes = b"",
    parallel_runs: int = 1,
    screening: Pair | None = None,
) -> Trial:
    """Compare child and parent by fresh pairs until the test decides.

    salt: what distinguishes their seeds from those of other comparisons of the two.
    """
    pairs: tuple[Pair, ...] = ()
    failed = 0
    seeds = [pair_seed(parent, child, k, salt) for k in range(1, test.statistics.max_pairs + MAX_FAILED_PAIRS + 1)]
    side_by_side = min(parallel_runs, test.statistics.max_pairs)
    async with aclosing(_pairs(run, parent, child, seeds, side_by_side)) as made:
        async for pair, tried, next_pair_already_run in made:
            pairs = (*pairs, pair)
            failed += pair.child.failure is not None
            if failed >= MAX_FAILED_PAIRS:
                return Trial("failed", None, None, screening, pairs, tried.failure, tried.log_tail)
            decision = test.decide(pairs, next_pair_already_run)
            if decision is not None:
                return _decided(decision, test, screening, pairs)
    return _decided("unclear", test, screening, pairs)


def _decided(decision: str, test: SequentialTest, screening: Pair | None, pairs: tuple[Pair, ...]) -> Trial:
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
                return Trial("failed", None, None, None, pairs, tried.failure, tried.log_tail)
            effect = effect_of(pairs, noise, statistics)
            if effect is None or is_enough(effect):
                break
    if effect is None or math.isnan(effect.mean):
        return Trial("unclear", None, None, None, pairs, "killed", "the claim's parent does not run here")
    return Trial(judged(effect), effect, cost_ratio(pairs), None, pairs)


def judged(effect: Effect) -> str:
    """What the pairs of a report say of a claim."""
    return "supports" if -effect.mean > effect.se else "contradicts" if effect.mean >= 0 else "unclear"
