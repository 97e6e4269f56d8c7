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

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from msgspec import structs

from node.objective.schema import Statistics
from node.trials.statistics import (
    MIN_PREDICTIVE_POWER,
    OPPORTUNITY_SHARE,
    SCREENING_MARGIN,
    Z_ONE_SIDED,
    Noise,
    boundary,
    chance_of_acceptance,
    cost_ratio,
    effect_of,
    gain_per_further_run,
)
from protocol.records import Decision, Effect, Pair


@dataclass(frozen=True)
class SequentialTest:
    """Decides after every pair: "improved", "no_gain", "unclear", or None for one more pair.

    z_needed: the standard errors by which the gain must be beyond zero, the same after every pair. For a peer's claim,
    which is not the best of many guesses of this node's own but has passed such a test at its author's already, so
    that the runs here have only to bear it out. None: the boundary of the spending schedule.

    opportunity_cost: the gain, in ln(metric), that one run is expected to bring when it is spent on other ideas.
    """

    noise: Noise
    statistics: Statistics
    z_needed: float | None = None
    opportunity_cost: float = 0.0

    def screen(self, screening: Pair, alternated: Collection[int], least_cost: float = math.inf) -> Decision | None:
        """The decision after the first run, at the parent's seed, None to go on.

        "no_gain" when it is not even better by half of its noise, "unclear" when other ideas are expected to gain more.

        alternated: the screening's seed if its runs took turns. Else the parent's run may be hours old, and its cost
        only says this: load makes CPU time longer and never shorter, so a child that took less than the parent ever did
        (`least_cost`, in CPU seconds per token) may be cheaper, and a pair is to show it. One that took more is not
        dropped for it.
        """
        if screening.seed not in alternated:
            screening = _at_least_cost(screening, least_cost)
            ratio = cost_ratio([screening])
            alternated = (screening.seed,) if ratio is not None and ratio < 1 else ()
        effect = effect_of([screening], alternated, self.noise, self.statistics, optimistic=True)
        if effect is None or effect.mean > -SCREENING_MARGIN * self.noise.metric:
            return Decision.NO_GAIN
        return Decision.UNCLEAR if self._other_ideas_gain_more(effect, screening=True) else None

    def accepts_screening(self, screening: Pair, alternated: Collection[int], least_cost: float = math.inf) -> bool:
        """Whether the screening alone accepts the child, as a first pair would. Parameters as of `screen`.

        Where its runs did not take turns, the child must have cost no more than the parent at its least, since nothing
        is charged for its cost then.
        """
        if screening.seed not in alternated and self.statistics.slope > 0:
            ratio = cost_ratio([_at_least_cost(screening, least_cost)])
            if ratio is not None and math.log(ratio) >= self.statistics.cost_deadband:
                return False
        return self.decide((screening,), alternated) == Decision.IMPROVED

    def decide(
        self, pairs: tuple[Pair, ...], alternated: Collection[int], next_pair_already_run: bool = False
    ) -> Decision | None:
        """The decision after these pairs, None to go on.

        alternated: seeds of the pairs whose runs took turns, by which the cost is measured. next_pair_already_run: one
        more pair costs nothing, so other ideas are no reason to stop before it.
        """
        effect = effect_of(pairs, alternated, self.noise, self.statistics)
        if effect is None:
            return None
        # With a deviation of 1 % and the spending schedule: one pair must gain over 5.95 %, two over 2.72 % on average.
        sure, least = -effect.mean / effect.se > self._z_needed(effect.n), self.statistics.minimum_effect
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
        if effect.n >= most or (not next_pair_already_run and self._other_ideas_gain_more(optimistic)):
            return Decision.UNCLEAR
        chance = chance_of_acceptance(optimistic, self.statistics, most, self._z_needed(most))
        return Decision.UNCLEAR if chance < MIN_PREDICTIVE_POWER else None

    def _other_ideas_gain_more(self, effect: Effect, screening: bool = False) -> bool:
        """Whether a run is expected to gain more than twice as much on other ideas as on seeing this one through."""
        here = gain_per_further_run(effect, self.statistics, screening, self._z_needed)
        return here < OPPORTUNITY_SHARE * self.opportunity_cost

    def _z_needed(self, pairs: int) -> float:
        return boundary(pairs) if self.z_needed is None else self.z_needed


def _at_least_cost(pair: Pair, least_cost: float) -> Pair:
    """The pair with its parent as cheap as it ever was: at most `least_cost` CPU seconds per token."""
    least = min(pair.parent.cpu_seconds, least_cost * max(1, pair.parent.tokens))
    return structs.replace(pair, parent=structs.replace(pair.parent, cpu_seconds=least))


def fair_screening_seed(pairs: Sequence[Pair], effect: Effect | None) -> int | None:
    """The seed of the pair by which a source was accepted, where its edits can be screened at it; None where not.

    Where a single pair was enough, its seed is used again, since the source was run there already: a gain so large owes
    little to how that one run happened to come out. After a smaller gain it would not be fair, for the run that was
    accepted is likely to be one that came out well, and its edits would be compared with that.
    """
    measured = [pair for pair in pairs if pair.parent.value is not None and pair.child.value is not None]
    if len(measured) == 1 and one_pair_was_enough(effect):
        return measured[0].seed
    return None


def one_pair_was_enough(effect: Effect | None) -> bool:
    """Whether an effect is a gain that the first look of the spending schedule accepts."""
    return effect is not None and effect.n == 1 and -effect.mean > boundary(1) * effect.se
