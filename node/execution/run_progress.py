"""The progress of a run under way: how far it is, and its loss curve so far.

It knows what the runner reports. It does not know who shows it, and is forgotten when the run is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MOST_POINTS = 60  # of a curve: enough for a plot, and a status file stays below 3 kB


@dataclass
class RunProgress:
    """One run under way. Its seed is not here: pages show this, and no one is to know the seed before a record does.

    The curve is (share of the budget, loss in nats as the candidate itself reports it).
    """

    source: bytes
    latest: Progress = field(default_factory=lambda: Progress(0.0, None, 0.0, "train"))
    curve: list[tuple[float, float]] = field(default_factory=list)

    def note(self, progress: Progress) -> None:
        """Take in a report. A point is added once the share has grown by 1 / MOST_POINTS since the last one.

        So points ascend, and there are at most MOST_POINTS + 1 of them, whatever a candidate reports.
        """
        self.latest = progress
        due = self.curve[-1][0] + 1 / MOST_POINTS if self.curve else 0.0
        if progress.loss is not None and progress.share >= due:
            self.curve.append((progress.share, progress.loss))

    def as_json(self) -> dict[str, Any]:
        """As plain data, of a bounded size."""
        return {
            "source": self.source.hex(),
            "phase": self.latest.phase,
            "share": round(self.latest.share, 4),
            "seconds": round(self.latest.seconds, 1),
            "loss": self.latest.loss,
            "curve": [[round(share, 4), float(f"{loss:.5g}")] for share, loss in self.curve],
        }


@dataclass(frozen=True)
class Progress:
    """How far a run is. `loss` is in nats; the candidate reports it, nobody has checked it, and it is shown as such."""

    share: float  # of the token budget, 0 to 1
    loss: float | None
    seconds: float  # of wall time since the run began
    phase: str  # "train" or "judge"
