"""Several constants at once: CMA-ES, warm-started from the effects of changing them one by one.

When two or more constants each gained something alone, their best values are not the best together. From the results
on the present source it estimates a Gaussian of good points (Nomura et al., "Warm Starting CMA-ES", 2021) and draws
from it. Like the search over one constant it is built anew from the records each time, so nothing is lost with the
process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from node.objective.edits import Constant, EditError, SetConstant, apply, fingerprint
from node.proposers.numeric import CATEGORY, Axis, searchable, shown, tells
from node.proposers.proposer import Context, Lesson, Proposal, TriedResult
from protocol.fields import TEXT_LIMITS

LEAST_RESULTS = 6
MOST_CONSTANTS = 8
BEST_SHARE = 0.4  # of the results, that the Gaussian is estimated from
TRIES = 20
REASON = "A search over several constants together (CMA-ES), from the effects of changing them one by one."


@dataclass(frozen=True)
class _Searched:
    """A constant and where it is searched."""

    constant: Constant
    axis: Axis

    def place(self, value: float) -> float:
        """Where a value lies between the ends of the axis, 0 to 1 on a logarithmic scale."""
        low, high = math.log(self.axis.low), math.log(self.axis.high)
        at = math.log(max(self.axis.flip(value), self.axis.low))
        return min(1.0, max(0.0, (at - low) / (high - low)))

    def value(self, place: float) -> float:
        low, high = math.log(self.axis.low), math.log(self.axis.high)
        value = self.axis.flip(math.exp(low + place * (high - low)))
        return round(value) if self.axis.whole else value


class JointNumeric:
    """Proposes new values for several numeric constants at a time."""

    name = "cma-es"
    costly = False
    categories = (CATEGORY,)

    async def propose(self, context: Context) -> Proposal | None:
        try:
            every = {constant.name: _Searched(constant, axis) for constant, axis in searchable(context)}
        except EditError:
            return None
        known = [tried for tried in context.results if _teaches(tried, context, every)]
        gained = {name for tried in known for name in tried.changed if tried.effect is not None and tried.effect < 0}
        if len(gained) < 2 or len(known) < LEAST_RESULTS:
            return None
        return self._draw(context, [every[name] for name in sorted(gained)[:MOST_CONSTANTS]], known)

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Every effect is in the ledger."""

    def _draw(self, context: Context, searched: list[_Searched], known: list[TriedResult]) -> Proposal | None:
        import cmaes  # imports numpy, which only the numeric searches need
        import numpy

        points = [
            (numpy.array([one.place(tried.changed.get(one.constant.name, one.constant.value)) for one in searched]),
             tried.effect or 0.0)
            for tried in known
        ]  # fmt: skip
        mean, sigma, covariance = cmaes.get_warm_start_mgd(points, gamma=BEST_SHARE)
        search = cmaes.CMA(
            mean=mean,
            sigma=sigma,
            cov=covariance,
            bounds=numpy.array([[0.0, 1.0]] * len(searched)),
            seed=context.rng.getrandbits(32),
        )
        for _ in range(TRIES):
            values = [(one, one.value(float(place))) for one, place in zip(searched, search.ask(), strict=True)]
            changed = [(one.constant, value) for one, value in values if tells(one.constant, value)]
            proposal = self._with(context, changed) if len(changed) > 1 else None
            if proposal is not None:
                return proposal
        return None

    def _with(self, context: Context, changed: list[tuple[Constant, float]]) -> Proposal | None:
        edits = [SetConstant(constant.name, shown(value)) for constant, value in changed]
        try:
            source = apply(context.source, edits)
        except EditError:
            return None
        if fingerprint(source) in context.tried:
            return None
        title = ", ".join(f"{constant.name} {shown(constant.value)} → {shown(value)}" for constant, value in changed)
        return Proposal(title[: TEXT_LIMITS["title"]].strip(), CATEGORY, REASON, self.name, source)


def _teaches(tried: TriedResult, context: Context, every: dict[str, _Searched]) -> bool:
    """Whether it is known what changing these constants, and nothing else, did to the present source."""
    return (
        tried.parent == context.source_id
        and tried.proposer in ("numeric", JointNumeric.name)
        and tried.effect is not None
        and len(tried.changed) > 0
        and tried.changed.keys() <= every.keys()
    )
