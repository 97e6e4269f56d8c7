"""The rule of a trial: a group-sequential test of whether a child source is better than its parent.

After every pair of runs the rule may stop for efficacy ("improved"), for futility ("no_gain", "unclear"), or ask for
one more pair. Looking several times at growing data accepts more by chance than looking once, so the error rate is
spent over the looks: an alpha-spending schedule (Lan & DeMets), with shares that are fixed in advance, one for each
look. Look n accepts at the t quantile of its own share. By the union bound all looks together then accept a child that
is no better with a probability of at most the sum of their shares. Why so: docs/decisions/sequential-test.md.
What other shares and limits would cost: the comments at the constants in `statistics`.

Pure: it sees pairs of runs and says what to do next. It makes no run and knows neither cache nor ledger;
`trial` makes the runs it asks for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from node.objective.schema import Statistics
from node.trials.statistics import (
    MIN_PREDICTIVE_POWER,
    Z_ONE_SIDED,
    Noise,
    boundary,
    chance_of_acceptance,
    effect_of,
)
from protocol.records import Decision, Pair


@dataclass(frozen=True)
class SequentialTest:
    """Decides after every pair: "improved", "no_gain", "unclear", or None for one more pair."""

    noise: Noise
    statistics: Statistics

    def decide(self, pairs: tuple[Pair, ...], alternated: Collection[int]) -> Decision | None:
        """The decision after these pairs, None to go on.

        alternated: seeds of the pairs whose runs took turns, by which the cost is measured.
        """
        effect = effect_of(pairs, alternated, self.noise, self.statistics)
        if effect is None:
            return None
        # With a deviation of 1 % and the spending schedule: one pair must gain over 5.95 %, two over 2.72 % on average.
        sure, least = -effect.mean / effect.se > boundary(effect.n), self.statistics.minimum_effect
        if sure and -effect.mean > least:
            return Decision.IMPROVED
        # Futility is judged in the child's favour: a lower cost that one pair shows is believed here, for more pairs
        # may confirm it, but is not enough to be accepted on.
        optimistic = effect_of(pairs, alternated, self.noise, self.statistics, optimistic=True) or effect
        if sure and -optimistic.mean <= least:
            return Decision.NO_GAIN  # certainly better, by less than is worth telling
        if optimistic.mean >= 0 or optimistic.mean - Z_ONE_SIDED * optimistic.se > -least:
            return Decision.NO_GAIN  # not better at all, or even the upper end of its 95 % bound is too small
        most = self.statistics.max_pairs
        if effect.n >= most:
            return Decision.UNCLEAR
        chance = chance_of_acceptance(optimistic, self.statistics, most)
        return Decision.UNCLEAR if chance < MIN_PREDICTIVE_POWER else None
