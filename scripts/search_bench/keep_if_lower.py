"""The rule of a plain loop, in the place of this node's: one run at a fixed seed, keep the edit if it is lower.

All else stays: proposers, strategy, cache, records. The measure is the same too, with CPU cost where it was measured;
every CPU time is believed, as a plain loop does.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from node.trials.sequential_test import SequentialTest
from node.trials.statistics import cost_ratio, effect_of
from node.trials.trial import MakePair, Trial, made_pair

FIXED_SEED = 42


async def keep_if_lower(
    make: MakePair, parent: bytes, child: bytes, _: int, test: SequentialTest, *_seeds: object, **_unused: object
) -> Trial:
    made = await made_pair(make, parent, child, FIXED_SEED)
    pair, tried = made.pair, made.child
    effect = effect_of([pair], (pair.seed,), test.noise, test.statistics, optimistic=True)
    if effect is None:
        return Trial("failed", None, None, None, (pair,), (), tried.failure, tried.log_tail)
    decision = "improved" if effect.mean < 0 else "no_gain"
    return Trial(decision, effect, cost_ratio([pair]), None, (pair,), (pair.seed,))


def in_its_place() -> AbstractContextManager[Any]:
    """Inside the block, trials of own ideas are decided by it."""
    return patch("node.research.loop.run_trial", keep_if_lower)
