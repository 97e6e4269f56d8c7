"""The trials of a simulated node: the node's own rules, with pairs of runs that chance makes.

The rule of bets, the test of claims and the pairs of a report are those of `node/trials` and `protocol/audits`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from node.trials.bet_rule import BetRule, Verdict
from node.trials.gain_posterior import GainPosterior
from node.trials.sequential_test import SequentialTest
from node.trials.statistics import effect_of
from protocol.audits import REPORT_PAIRS, is_enough
from protocol.records import Effect, Pair
from simulated_swarm.world import MACHINE_NOISE, STATISTICS, luck, pair_of


@dataclass(frozen=True)
class Tried:
    """What the trial of an idea, or of something to adopt, came to. luck: of the child's run at the screening seed."""

    is_bet: bool
    effect: Effect
    gain: GainPosterior
    luck: float
    looks: int

    @property
    def runs(self) -> int:
        """The parent was run at the screening seed before."""
        return 1 + 2 * self.looks


def tried(rng: random.Random, gain: float, rule: BetRule, luck_of_parent: float) -> Tried:
    """One run at the parent's screening seed, then pairs while the rule asks for more."""
    luck_of_child = luck(rng)
    pairs: tuple[Pair, ...] = (pair_of(rng, gain, luck_of_child, luck_of_parent),)
    while (verdict := rule.decide(pairs, ())) == Verdict.LOOK_AGAIN:
        pairs = (*pairs, pair_of(rng, gain))
    effect, believed = effect_of(pairs, (), MACHINE_NOISE, STATISTICS), rule.gain(pairs, ())
    assert effect is not None
    assert believed is not None
    return Tried(verdict == Verdict.BET, effect, believed, luck_of_child, len(pairs) - 1)


@dataclass(frozen=True)
class Verified:
    """What the pairs of a chain came to. luck: of the tip's run at the seed of the first pair."""

    decision: str
    gain: float
    runs: int
    luck: float


def verified(rng: random.Random, gain: float) -> Verified:
    """The chain's beginning and its tip on fresh seeds, until the test says something."""
    test = SequentialTest(MACHINE_NOISE, STATISTICS)
    luck_of_tip = luck(rng)
    pairs: tuple[Pair, ...] = (pair_of(rng, gain, luck_of_tip),)
    while (decision := test.decide(pairs, ())) is None:
        pairs = (*pairs, pair_of(rng, gain))
    effect = effect_of(pairs, (), MACHINE_NOISE, STATISTICS)
    assert effect is not None
    return Verified(decision, -effect.mean, 2 * len(pairs), luck_of_tip)


def runs_of_report(rng: random.Random, gain: float) -> int:
    """The runs of a report on a claim with this true gain."""
    pairs: tuple[Pair, ...] = ()
    while len(pairs) < REPORT_PAIRS:
        pairs = (*pairs, pair_of(rng, gain))
        effect = effect_of(pairs, (), MACHINE_NOISE, STATISTICS)
        if effect is not None and is_enough(effect):
            break
    return 2 * len(pairs)
