"""The rule of a plain loop, in the place of this node's: one run at a fixed seed, keep the edit if it is lower.

All else stays: proposers, strategy, cache, records. The measure is the same too, with CPU cost where it was measured;
every CPU time is believed, as a plain loop does. What is kept is recorded as a claim, and so is never verified.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from node.trials.bet_rule import BetRule
from node.trials.bet_trial import BetTrial
from node.trials.statistics import cost_ratio, effect_of
from node.trials.trial import MakePair, Trial, made_pair
from protocol.records import Decision

FIXED_SEED = 42


async def keep_if_lower(
    make: MakePair, parent: bytes, child: bytes, _: int, rule: BetRule, *_seeds: object, **_unused: object
) -> BetTrial:
    """In the place of `bet_trial`."""
    made = await made_pair(make, parent, child, FIXED_SEED)
    pair, tried = made.pair, made.child
    effect = effect_of([pair], (pair.seed,), rule.noise, rule.statistics, optimistic=True)
    if effect is None:
        failed = Trial(Decision.FAILED, None, None, None, (pair,), (), tried.failure, tried.log_tail)
        return BetTrial(failed, False, None)
    decision = Decision.IMPROVED if effect.mean < 0 else Decision.NO_GAIN
    return BetTrial(Trial(decision, effect, cost_ratio([pair]), None, (pair,), (pair.seed,)), False, None)


def in_its_place() -> AbstractContextManager[Any]:
    """Inside the block, own ideas are decided on by it."""
    return patch("node.research.loop.bet_trial", keep_if_lower)
