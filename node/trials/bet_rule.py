"""When to build on an idea, when to run it again, and when to tell others. Pure functions; nothing here makes a run.

Searching and claiming ask for different proof. What the next idea edits is a bet: it may be wrong, and being wrong
costs little, so an idea becomes one as soon as a gain is to be expected of it, by its posterior mean. What is told to
strangers is proven first: all bets since the last claim together, a chain, by the sequential test on fresh seeds.

One rule decides on bets: the next run goes where it is worth most. One more run of this idea is worth its knowledge
gradient (`gain_posterior.value_of_look`), a run of another idea the opportunity cost. Why so, and what was tried
instead: docs/decisions/bets-and-claims.md.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from msgspec import structs

from node.objective.schema import Statistics
from node.trials.gain_posterior import GainPosterior, GainPrior, posterior, value_of_look
from node.trials.statistics import (
    COST_Z,
    STANDARD_NORMAL,
    Noise,
    boundary,
    cost_ratio,
    effect_of,
    in_turns,
)
from protocol.records import Effect, Pair

RUNS_OF_A_LOOK = 2  # parent and child at a fresh seed
MOST_LOOKS = 4  # pairs of one idea beside its first run: more than this is for a claim to measure
# An edit is text to carry: it must be expected to gain this share of the least effect that is worth telling. At 0 the
# search gets no further and more of its steps are no gain; at .5 it gets less far where gains are small.
BET_SHARE = 0.25
# Of the least effect that is worth telling, what a run costs where there is nothing else to do: power, and time.
LEAST_PRICE = 0.02
# Where runs repeat to the bit, a small change of the source makes a small change of a run's luck too. Measured with
# tinylm, 438 edits at two or three seeds each (scripts/bench_search.py record): those that gain or lose .45, 2 and 7 %
# deviate by .25, .5 and 1.1 % from seed to seed (medians; a few by much more), and s0 was 1 %. So the variance is taken
# to grow in proportion to the effect, up to s0 for three times s0.
EFFECT_OF_NOISE, LEAST_NOISE = 3.0, 0.1  # in and of the machine's noise
CLAIM_SHARE = 0.05  # of a chain's gain, that measuring it may cost in gains forgone
PROOF_CHANCE = 0.8  # of being proven, from which on a claim is worth its runs


class Verdict(StrEnum):
    DROP = "drop"
    BET = "bet"
    LOOK_AGAIN = "look again"


def least_bet(statistics: Statistics) -> float:
    """The gain that must be expected of an edit for the search to go on from it."""
    return BET_SHARE * statistics.minimum_effect


@dataclass(frozen=True)
class BetRule:
    """Decides after each run of an idea: drop it, bet on it, or look again with one more pair at a fresh seed.

    prior: of ideas of this kind, on this parent. opportunity_cost: the gain, in ln(metric), that one run is expected to
    bring when it is spent on other ideas. repeatable: whether the same source at the same seed gives the same value.
    """

    noise: Noise
    statistics: Statistics
    prior: GainPrior
    opportunity_cost: float = 0.0
    repeatable: bool = False

    def effect(self, pairs: Sequence[Pair], alternated: Collection[int], least_cost: float = math.inf) -> Effect | None:
        """What these pairs show, the first run among them; None without any value.

        Where no runs took turns, only this counts of the cost: load makes CPU time longer and never shorter, so a child
        that took less than the parent ever did is cheaper, by what goes beyond chance.
        """
        effect = effect_of(pairs, alternated, self.noise, self.statistics)
        if effect is None or in_turns(pairs, alternated):
            return effect
        ratio = cost_ratio([at_least_cost(pair, least_cost) for pair in pairs])
        cheaper = -math.log(ratio) - self._chance_of_cost if ratio is not None else 0.0
        return structs.replace(effect, mean=effect.mean - self.statistics.slope * max(0.0, cheaper))

    def gain(
        self, pairs: Sequence[Pair], alternated: Collection[int], least_cost: float = math.inf
    ) -> GainPosterior | None:
        """What is believed of the idea's gain after these pairs, the first run among them; None without any value.

        Parameters as of `decide`.
        """
        effect = self.effect(pairs, alternated, least_cost)
        return None if effect is None else posterior(self.prior, -effect.mean, self._error(effect))

    def decide(
        self,
        pairs: Sequence[Pair],
        alternated: Collection[int],
        least_cost: float = math.inf,
    ) -> Verdict:
        """What to do after these pairs, the first run among them.

        alternated: seeds of the pairs whose runs took turns. The cost is part of the gain where it was measured so.
        least_cost: the least CPU seconds per token that the parent took here in any run.
        """
        effect = self.effect(pairs, alternated, least_cost)
        if effect is None:
            return Verdict.DROP
        seen, error = -effect.mean, self._error(effect)
        worth_it = posterior(self.prior, seen, error).mean - least_bet(self.statistics)
        price = RUNS_OF_A_LOOK * max(self.opportunity_cost, LEAST_PRICE * self.statistics.minimum_effect)
        if len(pairs) <= MOST_LOOKS:
            deviation = error * math.sqrt(effect.n)
            if value_of_look(self.prior, seen, error, deviation) > price:
                return Verdict.LOOK_AGAIN
            if worth_it > 0 and self._may_cost_its_gain(pairs, alternated, least_cost, seen, error):
                # Whether it is slower or the machine was busy, a pair that takes turns will show; if it is worth one.
                return Verdict.LOOK_AGAIN if worth_it > price else Verdict.DROP
        return Verdict.BET if worth_it > 0 else Verdict.DROP

    def _error(self, effect: Effect) -> float:
        """The standard error of an effect, in which how much an edit differs by chance grows with what it does."""
        if not self.repeatable:
            return effect.se
        share = math.sqrt(abs(effect.mean) / (EFFECT_OF_NOISE * self.noise.metric))
        return effect.se * min(1.0, max(LEAST_NOISE, share))

    @property
    def _chance_of_cost(self) -> float:
        """By how much ln(cost ratio) of runs that took no turns may differ by chance."""
        return max(self.statistics.cost_deadband, COST_Z * self.noise.cost)

    def _may_cost_its_gain(
        self, pairs: Sequence[Pair], alternated: Collection[int], least_cost: float, seen: float, se: float
    ) -> bool:
        """Whether the CPU time of runs that took no turns, taken at its word, would make it no gain.

        Load makes CPU time longer and never shorter, so the child is compared with the parent at its least.
        """
        if in_turns(pairs, alternated):
            return False
        ratio = cost_ratio([at_least_cost(pair, least_cost) for pair in pairs])
        if ratio is None or math.log(ratio) < self._chance_of_cost:
            return False
        charged = posterior(self.prior, seen - self.statistics.slope * math.log(ratio), se)
        return charged.mean <= least_bet(self.statistics)


def at_least_cost(pair: Pair, least_cost: float) -> Pair:
    """The pair with its parent as cheap as it ever was: at most `least_cost` CPU seconds per token."""
    least = min(pair.parent.cpu_seconds, least_cost * max(1, pair.parent.tokens))
    return structs.replace(pair, parent=structs.replace(pair.parent, cpu_seconds=least))


# ---- claims ----------------------------------------------------------------------------------------------------------


def chain_of(steps: Sequence[GainPosterior]) -> GainPosterior:
    """What is believed of a chain of bets: the sum of its steps, whose errors are taken to be independent."""
    mean = math.fsum(step.mean for step in steps)
    deviation = math.sqrt(math.fsum(step.deviation**2 for step in steps))
    chance = STANDARD_NORMAL.cdf(mean / deviation) if deviation > 0 else float(mean > 0)
    return GainPosterior(mean, deviation, chance)


def chance_of_proof(chain: GainPosterior, pairs: int, noise: Noise, statistics: Statistics) -> float:
    """The chance that this many fresh pairs of the last claimed source and the tip prove the chain's gain.

    The mean they will show is normal around the chain's, with its variance and that of the pairs' mean together.
    Worked example: a chain of 4 % ± 1 %, pairs with 1 %. Two pairs prove from 3.85 · 1 % / √2 = 2.72 % on. They will
    show 4 % ± 1.22 %, so that is 1.05 deviations below what is expected, and the chance is .85.
    """
    error = noise.metric / math.sqrt(pairs)
    needed = max(boundary(pairs) * error, statistics.minimum_effect)
    return STANDARD_NORMAL.cdf((chain.mean - needed) / math.hypot(chain.deviation, error))


def runs_of_proof(chain: GainPosterior, noise: Noise, statistics: Statistics) -> int | None:
    """The runs of the fewest pairs that prove the chain with a chance of `PROOF_CHANCE`; None where no trial would."""
    for pairs in range(1, statistics.max_pairs + 1):
        if chance_of_proof(chain, pairs, noise, statistics) >= PROOF_CHANCE:
            return 2 * pairs
    return None


def claim_is_due(chain: GainPosterior, noise: Noise, statistics: Statistics, opportunity_cost: float) -> bool:
    """Whether the chain is worth telling: proving it costs a small share of what is told.

    opportunity_cost: the gain of a run that is spent on searching, as the last runs had it. By that, claims take at
    most `CLAIM_SHARE` of all runs.
    """
    runs = runs_of_proof(chain, noise, statistics)
    return runs is not None and runs * opportunity_cost <= CLAIM_SHARE * chain.mean


def attributed(steps: Sequence[GainPosterior], measured: float) -> tuple[float, ...]:
    """What each step gained, given what fresh pairs measured of all together. Sums to `measured`.

    The Gaussian update of independent steps by their known sum: what is missing or left over goes to each step in
    proportion to its variance. Steps of 3 % ± 1 % and 2 % ± 2 % of which 4 % were measured: 1 % is missing, .2 of it in
    the first and .8 in the second, so 2.8 % and 1.2 %.
    """
    missing = measured - math.fsum(step.mean for step in steps)
    variance = math.fsum(step.deviation**2 for step in steps)
    if variance == 0:
        return tuple(step.mean + missing / len(steps) for step in steps)
    return tuple(step.mean + missing * step.deviation**2 / variance for step in steps)
