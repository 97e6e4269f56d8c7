"""The course of the run that is going on: how far it is, and its curve so far, as whoever looks from outside is told.

It knows progress as the runner tells it. It does not know who shows it, and is forgotten when the run is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MOST_POINTS = 60  # of the curve, at even distances


@dataclass
class RunProgress:
    """One run under way. The curve's losses are the candidate's own word, in nats, at shares of the budget."""

    source: bytes
    seed: int
    latest: Progress = field(default_factory=lambda: Progress(0.0, None, 0.0, "train"))
    curve: list[tuple[float, float]] = field(default_factory=list)  # shares ascend, so their number is bounded

    def note(self, progress: Progress) -> None:
        self.latest = progress
        due = self.curve[-1][0] + 1 / MOST_POINTS if self.curve else 0.0
        if progress.loss is not None and progress.share >= due:
            self.curve.append((progress.share, progress.loss))

    def as_json(self) -> dict[str, Any]:
        """As plain data, of a bounded size."""
        return {
            "source": self.source.hex(),
            "seed": self.seed,
            "phase": self.latest.phase,
            "share": round(self.latest.share, 4),
            "seconds": round(self.latest.seconds, 1),
            "loss": self.latest.loss,
            "curve": [[round(share, 4), float(f"{loss:.5g}")] for share, loss in self.curve],
        }


@dataclass(frozen=True)
class Progress:
    """How far a run is. `loss` is the candidate's own word, in nats, and shown as such."""

    share: float
    loss: float | None
    seconds: float
    phase: str  # "train" or "judge"
