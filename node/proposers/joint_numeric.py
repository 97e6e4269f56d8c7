"""Several constants at once: CMA-ES, warm-started from the effects of changing them one by one.

When two or more constants each gained something alone, their best values are not the best together. From the results
on the present source it estimates a Gaussian of good points (Nomura et al., "Warm Starting CMA-ES for Hyperparameter
Optimization", AAAI 2021) and samples from it. Like the search over one constant it is built anew from the records each
time, so nothing is lost with the process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from node.objective.edits import Constant, EditError
from node.proposers.numeric import CATEGORY, Axis, is_far_enough, searchable, shown
from node.proposers.proposer import Context, Lesson, Proposal, TriedResult
from protocol.fields import TEXT_LIMITS

LEAST_RESULTS = 6  # so that the best share of them is at least two points
MOST_CONSTANTS = 8  # dimensions: results are few, and each more of them needs more
BEST_SHARE = 0.4  # of the results, from which the Gaussian is estimated (gamma in the paper)
TRIES = 20  # points sampled for one proposal until one is new
REASON = "A search over several constants together (CMA-ES), from the effects of changing them one by one."


@dataclass(frozen=True)
class _Searched:
    """A constant and the range in which it is searched."""

    constant: Constant
    axis: Axis

    def position(self, value: float) -> float:
        """Where a value lies between the ends of the axis, 0 to 1 on a logarithmic scale: 2 lies at 0.5 of 1 to 4."""
        low, high = math.log(self.axis.low), math.log(self.axis.high)
        at = math.log(max(self.axis.flip(value), self.axis.low))
        return min(1.0, max(0.0, (at - low) / (high - low)))

    def value(self, position: float) -> float:
        """The inverse of `position`, rounded for a whole constant."""
        low, high = math.log(self.axis.low), math.log(self.axis.high)
        value = self.axis.flip(math.exp(low + position * (high - low)))
        return round(value) if self.axis.whole else value


class JointNumeric:
    """Proposes new values for several numeric constants at a time."""

    name = "cma-es"
    costly = False
    categories = (CATEGORY,)

    async def propose(self, context: Context) -> Proposal | None:
        try:
            searched = {constant.name: _Searched(constant, axis) for constant, axis in await searchable(context)}
        except EditError:
            return None
        known = [tried for tried in context.results if _is_usable(tried, context, searched)]
        gained: set[str] = set()
        for tried in known:
            if tried.effect is not None and tried.effect < 0:  # J: negative is better
                gained.update(tried.changed)
        if len(gained) < 2 or len(known) < LEAST_RESULTS:
            return None
        return await self._sample(context, [searched[name] for name in sorted(gained)[:MOST_CONSTANTS]], known)

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Nothing to do: the effect is in the ledger."""

    async def _sample(self, context: Context, searched: list[_Searched], known: list[TriedResult]) -> Proposal | None:
        import cmaes  # imports numpy, which only the numeric searches need
        import numpy

        points = []
        for tried in known:
            values = [tried.changed.get(one.constant.name, one.constant.value) for one in searched]
            positions = [one.position(value) for one, value in zip(searched, values, strict=True)]
            points.append((numpy.array(positions), tried.effect or 0.0))
        mean, sigma, covariance = cmaes.get_warm_start_mgd(points, gamma=BEST_SHARE)
        search = cmaes.CMA(
            mean=mean,
            sigma=sigma,
            cov=covariance,
            bounds=numpy.array([[0.0, 1.0]] * len(searched)),
            seed=context.rng.getrandbits(32),
        )
        for _ in range(TRIES):
            changed = []
            for one, position in zip(searched, search.ask(), strict=True):
                value = one.value(float(position))
                if is_far_enough(one.constant, value):
                    changed.append((one.constant, value))
            proposal = await self._with(context, changed) if len(changed) > 1 else None
            if proposal is not None:
                return proposal
        return None

    async def _with(self, context: Context, changed: list[tuple[Constant, float]]) -> Proposal | None:
        edits = [constant.set_to(shown(value)) for constant, value in changed]
        try:
            source = await context.parser.apply(context.source, edits)
        except EditError:
            return None
        if await context.was_tried(source):
            return None
        title = ", ".join(f"{constant.name} {shown(constant.value)} → {shown(value)}" for constant, value in changed)
        return Proposal(title[: TEXT_LIMITS["title"]].strip(), CATEGORY, REASON, self.name, source)


def _is_usable(tried: TriedResult, context: Context, searched: dict[str, _Searched]) -> bool:
    """Whether it is known what changing these constants, and nothing else, did to the present source."""
    return (
        tried.parent == context.source_id
        and tried.proposer in ("numeric", JointNumeric.name)
        and tried.effect is not None
        and len(tried.changed) > 0
        and tried.changed.keys() <= searched.keys()
    )
