"""What searches came to, as data: one line of JSON for each, with what fresh seeds say of every source it held.

Gains are in ln(metric), positive is better. Sources are named by their id in hexadecimal.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec

COST_DEADBAND = 0.05  # |ln(cost ratio)| below this counts as none, as in the objective


class Point(msgspec.Struct, frozen=True):
    """Where a search was after an experiment. experiments: ideas that were tried by then."""

    runs: int
    cpu_seconds: float
    experiments: int
    incumbent: str


class Kept(msgspec.Struct, frozen=True):
    """An edit that became the incumbent, and the gain that was seen of it then."""

    parent: str
    child: str
    gain: float
    title: str
    category: str
    proposer: str


class Claim(msgspec.Struct, frozen=True):
    """A signed discovery, and the gain that it claims."""

    parent: str
    child: str
    gain: float


class FreshRun(msgspec.Struct, frozen=True):
    """A source at a seed that no search has seen, scored on validation and on holdout text; None where it failed."""

    value: float | None
    holdout: float | None
    cpu_seconds: float


class Search(msgspec.Struct, frozen=True):
    """One search. fresh: by source, its runs at the same fresh seeds in the same order."""

    rule: str
    seed: int
    asked_runs: int
    points: tuple[Point, ...]
    kept: tuple[Kept, ...]
    claims: tuple[Claim, ...]
    fresh: dict[str, tuple[FreshRun, ...]]
    slope: float = 0.15  # ln(metric) that a source is charged for ln(CPU seconds)

    @property
    def baseline(self) -> str:
        return self.points[0].incumbent

    def real_gain(self, parent: str, child: str) -> float:
        """The gain of a child on fresh seeds, its cost included; −inf where it fails at any of them."""
        before, after = self.fresh[parent], self.fresh[child]
        gain = _gain([run.value for run in before], [run.value for run in after])
        ratios = [
            math.log(b.cpu_seconds / a.cpu_seconds)
            for a, b in zip(before, after, strict=True)
            if a.cpu_seconds > 0 and b.cpu_seconds > 0
        ]
        ratio = statistics.median(ratios) if ratios else 0.0
        return gain - self.slope * ratio if abs(ratio) > COST_DEADBAND else gain

    def holdout_gain(self, parent: str, child: str) -> float:
        """The gain on holdout text, without cost."""
        return _gain([run.holdout for run in self.fresh[parent]], [run.holdout for run in self.fresh[child]])

    def at_runs(self, runs: int) -> Point:
        """The last point by which no more than these runs were made."""
        return [point for point in self.points if point.runs <= runs][-1]

    def at_cpu(self, cpu_seconds: float) -> Point:
        """The last point by which no more than these CPU seconds were spent; the first where there is none."""
        return ([point for point in self.points if point.cpu_seconds <= cpu_seconds] or [self.points[0]])[-1]

    def cpu_to(self, gain: float) -> float | None:
        """The CPU seconds after which the incumbent's real gain was this large for the first time."""
        for point in self.points:
            if self.real_gain(self.baseline, point.incumbent) >= gain:
                return point.cpu_seconds
        return None

    @property
    def no_gain(self) -> int:
        """Kept edits that are no better than what they edited."""
        return sum(self.real_gain(each.parent, each.child) <= 0 for each in self.kept)

    @property
    def false_claims(self) -> int:
        return sum(self.real_gain(each.parent, each.child) <= 0 for each in self.claims)

    @property
    def real_over_claimed(self) -> float | None:
        """What fresh seeds say of all that was claimed, over what was claimed; None where nothing was."""
        claimed = sum(each.gain for each in self.claims)
        return sum(self.real_gain(each.parent, each.child) for each in self.claims) / claimed if claimed else None


def _gain(before: Sequence[float | None], after: Sequence[float | None]) -> float:
    gains = []
    for old, new in zip(before, after, strict=True):
        if old is not None:  # a seed at which the parent fails says nothing
            gains.append(-math.inf if new is None else math.log(old / new))
    return statistics.mean(gains) if gains else math.nan


def read_searches(path: Path) -> list[Search]:
    """The searches of a file; a last line that was cut off is left out."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [msgspec.json.decode(line, type=Search) for line in lines if line.endswith(b"\n")]


def append_search(path: Path, search: Search) -> None:
    with path.open("ab") as file:
        file.write(msgspec.json.encode(search) + b"\n")
