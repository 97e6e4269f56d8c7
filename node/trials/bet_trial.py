"""The trial of an idea while searching: one run at the screening seed, then pairs while the bet rule asks for more.

The driver is asynchronous and makes its runs through a function it is given, as `trial` does, so that a node, the
simulation and the scripts run the same code. It knows neither sandbox nor cache nor ledger.

The screening counts as evidence like any other pair: what is decided on it is a bet, and no claim.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from node.trials.bet_rule import BetRule, Verdict
from node.trials.gain_posterior import GainPosterior
from node.trials.statistics import cost_ratio, in_turns
from node.trials.trial import Made, MakePair, Trial, made_pair
from protocol.records import Decision, Pair


@dataclass(frozen=True)
class BetTrial:
    """The result of trying an idea while searching.

    trial: as it goes into a record, with the effect of its screening and its pairs together. is_bet: whether the search
    goes on from the child. gain: what is believed of it; None where it failed.
    """

    trial: Trial
    is_bet: bool
    gain: GainPosterior | None


async def bet_trial(
    make: MakePair,
    parent: bytes,
    child: bytes,
    screening_seed: int,
    rule: BetRule,
    seed_of_pair: Callable[[int], int],
    least_cost: float = math.inf,
) -> BetTrial:
    """Run the child at the screening seed beside its parent, and in more pairs until the rule drops it or bets on it.

    seed_of_pair: the seed of a further pair by its number, from 1. least_cost: the least CPU seconds per token that the
    parent took here in any run.
    """
    screening: Pair | None = None
    pairs: tuple[Pair, ...] = ()
    alternated: tuple[int, ...] = ()
    while True:
        seed = screening_seed if screening is None else seed_of_pair(len(pairs) + 1)
        made = await made_pair(make, parent, child, seed)
        alternated = (*alternated, *made.alternated)
        screening, pairs = (made.pair, ()) if screening is None else (screening, (*pairs, made.pair))
        if made.child.failure is not None:
            return _failed(made, screening, pairs, alternated)
        evidence = (screening, *pairs)
        verdict = rule.decide(evidence, alternated, least_cost)
        if verdict != Verdict.LOOK_AGAIN:
            is_bet = verdict == Verdict.BET
            effect = rule.effect(evidence, alternated, least_cost)
            ratio = cost_ratio(in_turns(evidence, alternated))
            decision = Decision.UNCLEAR if is_bet else Decision.NO_GAIN
            trial = Trial(decision, effect, ratio, screening, pairs, alternated)
            return BetTrial(trial, is_bet, rule.gain(evidence, alternated, least_cost))


def _failed(made: Made, screening: Pair, pairs: tuple[Pair, ...], alternated: tuple[int, ...]) -> BetTrial:
    child = made.child
    trial = Trial(Decision.FAILED, None, None, screening, pairs, alternated, child.failure, child.log_tail)
    return BetTrial(trial, False, None)
