"""The progress of a run under way: how far it is, and its loss curve so far.

It knows what the runner reports. It does not know who shows it, who keeps the curve, or who decides by it that the run
is to be ended (`node.trials.early_end`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from node.execution.workers.budgets import CURVE_PARTS
from node.ledger.outcome import CurvePoint


class EndRun(Exception):
    """Raised by what is told of a run's progress, to have the run ended at once, at this share of its budget."""

    def __init__(self, share: float) -> None:
        super().__init__(f"ended at {share:.0%} of its budget")
        self.share = share


@dataclass
class RunProgress:
    """One run under way. Its seed is not here: pages show this, and no one is to know the seed before a record does.

    Of each of CURVE_PARTS parts of the budget the curve has what was reported last: the share there, the mean loss of
    the part until then (nats, as the candidate itself reports it), and what the training had cost. beside: the curve of
    the run at the same seed that this one is compared with, of the source beside_source; it may be growing too.
    takes_turns: with the other run of its pair, on the same processors.
    """

    source: bytes
    latest: Progress = field(default_factory=lambda: Progress(0.0, None, 0.0, "train"))
    curve: list[CurvePoint] = field(default_factory=list)
    beside_source: bytes | None = None
    beside: Sequence[CurvePoint] = ()
    takes_turns: bool = False

    def note(self, progress: Progress) -> None:
        """Take in a report.

        Points ascend, and there are at most CURVE_PARTS + 1 of them, whatever a candidate reports.
        """
        self.latest = progress
        if progress.loss is None:
            return
        latest = part_at(self.curve[-1].share) if self.curve else -1
        if part_at(progress.share) == latest:
            self.curve.pop()
        if part_at(progress.share) >= latest:
            self.curve.append(CurvePoint(progress.share, progress.loss, progress.cost))

    def as_json(self) -> dict[str, Any]:
        """As plain data, of a bounded size."""
        return {
            "source": self.source.hex(),
            "phase": self.latest.phase,
            "share": round(self.latest.share, 4),
            "seconds": round(self.latest.seconds, 1),
            "loss": self.latest.loss,
            "curve": _points(self.curve),
            "beside": None
            if self.beside_source is None
            else {"source": self.beside_source.hex(), "curve": _points(self.beside)},
        }


@dataclass(frozen=True)
class Progress:
    """How far a run is. `loss` is in nats; the candidate reports it, nobody has checked it, and it is shown as such."""

    share: float  # of the token budget, 0 to 1
    loss: float | None
    seconds: float  # of wall time since the run began, pauses left out
    phase: str  # "train" or "judge"
    cost: float = 0.0  # CPU seconds of the training so far, or a GPU's seconds; 0 where nobody measures them


def _points(curve: Sequence[CurvePoint]) -> list[list[float]]:
    return [[round(share, 4), float(f"{loss:.5g}")] for share, loss, _ in curve]


def part_at(share: float) -> int:
    """The part of the budget, from 0, in which a share of it is."""
    return int(share * CURVE_PARTS)
