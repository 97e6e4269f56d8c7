"""Early ends: is a run under way plainly losing beside its parent's run at the same seed?

At a few shares of the budget (LOOKS) the mean loss of a window is compared with the parent's in the same window. The
same seed means the same batches, so what chance does to both is left out, and hardly anything is left to be smoothed.
A run is ended where the chance that it still turns out as a gain is below LEAST_CHANCE. That chance is learnt, for each
category by itself, from the runs that went to their end: schedules look bad for long and are good at the end.

The estimate is a beta posterior. Before any run was seen, the chance at a look falls exponentially with how far the run
is behind, to LEAST_CHANCE at PLAINLY_BEHIND; that counts as much as PRIOR_RUNS runs. Each finished run of the category
that was at least half as far behind at this look counts as one more, by whether it was a gain. A run that is ended
teaches nothing, and a rule that only ever sees what it spares would never learn that it is wrong. So of those that
would be ended, one in CONTROL_EVERY goes on as a control, drawn by the source's hash.

Pure functions: nothing here makes a run or keeps one. The losses are what sources say of themselves. One that lies
gains nothing by it but its author's time: what counts in the end is the judge's value.

Why so, and what it saves: docs/decisions/early-ends.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from node.execution.run_progress import part_at
from node.execution.workers.budgets import CURVE_PARTS
from node.ledger.outcome import CurvePoint
from node.ledger.screenings import Screening

LOOKS = (0.25, 0.375, 0.5, 0.75)  # shares of the budget at which runs are compared
WINDOW = CURVE_PARTS // 8  # parts of the budget before a look, whose mean loss is compared
LEAST_CHANCE = 0.05  # of a gain, below which a run is ended
# At each look, ln(loss / parent's loss) of a run whose chance is that, before any other was seen. Early in a run much
# may still change: in tinylm's shortest runs a gain of 5 % is 4 % behind at 3/8 of the budget and 2 % at half of it.
PLAINLY_BEHIND = (0.1, 0.05, 0.03, 0.01)
# Times what a run is cheaper, that it may be behind on the way: a smaller model is also behind early and less so late.
CREDIT_ON_THE_WAY = 2.0
PRIOR_RUNS = 4.0  # finished runs of a category that weigh as much as what is expected before any
CONTROL_EVERY = 10  # runs that would be ended, of which one is not

Curve = Sequence[CurvePoint]


@dataclass(frozen=True)
class CostCredit:
    """What a cheaper run may be behind, since its cost counts in its gain.

    slope: gain for each unit of ln(cost ratio). deadband: a smaller |ln(cost ratio)| is noise.
    """

    slope: float
    deadband: float

    def of(self, parent: float, child: float) -> float:
        """In the units of a gain, at least 0: a child that costs more is not charged, as its time may be others' load.

        Half the parent's cost, at a slope of 0.15, is credited with 0.104.
        """
        if parent <= 0 or child <= 0 or math.log(parent / child) <= self.deadband:
            return 0.0
        return self.slope * math.log(parent / child)


@dataclass
class EarlyEnd:
    """Whether one run is to be ended, as its curve grows.

    parent: the curve of the run that it stands beside. finished: of the idea's category. control: it goes to its end.
    behind: at each look so far, None where it could not be said. losing: it is, by what was seen.
    """

    parent: Curve
    finished: Sequence[Screening]
    credit: CostCredit
    control: bool = False
    behind: list[float | None] = field(default_factory=list)
    losing: bool = False

    def is_due(self, curve: Curve) -> bool:
        """Whether the run is to be ended now. curve: the run's own, as far as it is."""
        while (look := len(self.behind)) < len(LOOKS) and is_past(curve, LOOKS[look]):
            value = behind_at(LOOKS[look], self.parent, curve, self.credit)
            self.behind.append(value)
            if value is not None and chance_of_gain(value, look, self.finished) < LEAST_CHANCE:
                self.losing = True
        return self.losing and not self.control


def is_past(curve: Curve, share: float) -> bool:
    """Whether a run is past this share of its budget, so that nothing more will be told of the window before it."""
    return bool(curve) and part_at(curve[-1].share) >= part_at(share)


def behind_at(share: float, parent: Curve, child: Curve, credit: CostCredit) -> float | None:
    """How far a child is behind at a share that it is past: ln(loss / parent's loss), less a credit if it is cheaper.

    None where the two have told of no part of the window both, or of losses that have no logarithm.
    """
    end = part_at(share)
    before, tried = ({part_at(point.share): point for point in curve} for curve in (parent, child))
    both = [part for part in range(end - WINDOW, end) if part in before and part in tried]
    losses = [sum(curve[part].loss for part in both) for curve in (before, tried)]
    if not all(0 < loss < math.inf for loss in losses):
        return None
    cheaper = credit.of(before[both[-1]].cost, tried[both[-1]].cost)
    return math.log(losses[1]) - math.log(losses[0]) - CREDIT_ON_THE_WAY * cheaper


def chance_of_gain(behind: float, look: int, finished: Iterable[Screening]) -> float:
    """The chance that a run which is so far behind at this look ends as a gain. look: its number in LOOKS.

    finished: those of its category. With none of them, 0.03 behind at half of the budget is a chance of 0.05, and 0.06
    one of 0.0025. With six that were as far behind, one of them a gain, 0.03: (4 · 0.05 + 1) / (4 + 6) = 0.12.
    """
    if behind <= 0:
        return 1.0
    alike = [run for run in finished if _behind_at(run, look) >= behind / 2]
    gains = sum(run.gained for run in alike)
    return (PRIOR_RUNS * math.pow(LEAST_CHANCE, behind / PLAINLY_BEHIND[look]) + gains) / (PRIOR_RUNS + len(alike))


def is_control(source: bytes) -> bool:
    """Whether a source's run goes to its end although it is plainly losing. source: its id, a hash."""
    return int.from_bytes(source[:4]) % CONTROL_EVERY == 0


def _behind_at(run: Screening, look: int) -> float:
    value = run.behind[look] if look < len(run.behind) else None
    return -math.inf if value is None else value
