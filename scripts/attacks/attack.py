"""An attack: what it does, what is measured of honest nodes while it lasts, and how much of it would be a failure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from attacks.scene import Scene

Figures = Mapping[str, float | None]  # None: it never came, which misses every goal


@dataclass(frozen=True)
class Measure:
    """Something that is measured of honest nodes. most: the goal; it may be no more."""

    text: str
    unit: str
    most: float

    def shown(self, value: float | None) -> str:
        if value is None:
            return f"{self.text} never"
        digits = 0 if value >= 20 or self.unit == "" else 1 if value >= 1 or self.unit in ("MiB", "%") else 2
        return f"{self.text} {value:.{digits}f} {self.unit}".rstrip()

    def reached(self, value: float | None) -> bool:
        return value is not None and value <= self.most


# The goals of memory are for a node of some 70 MiB. What a newcomer says has to be held by the node it dials and by
# another: alone, connecting and that take a second together.
MEASURES: Mapping[str, Measure] = {
    "newcomer": Measure("newcomer heard after", "s", 5.0),
    "newcomer_later": Measure("another, later, after", "s", 5.0),
    "fold": Measure("what is held folds in", "s", 1.0),
    "fold_all": Measure("all of it would fold in", "s", 1.0),
    "memory": Measure("memory", "MiB more", 20.0),
    "invite": Measure("invite answered after", "s", 5.0),
    "sync": Measure("50 records synced after", "s", 10.0),
    "source": Measure("source fetched after", "s", 3.0),
    "wrong": Measure("wrong verdicts", "%", 0.0),
    "wasted": Measure("honest runs wasted", "%", 10.0),
    "links_lost": Measure("honest links lost of 5:", "", 1.0),
    "visits": Measure("connections to a third party:", "", 8.0),
    "forgotten": Measure("honest presences forgotten:", "", 0.0),
}


@dataclass(frozen=True)
class Attack:
    """One attack. newcomers: how many honest nodes join while it lasts. nodes: whether there are real nodes to attack.
    limits: goals other than the usual ones."""

    name: str
    what: str
    play: Callable[[Scene], Awaitable[Figures]]
    newcomers: int = 1
    blob_mib: int = 512
    nodes: bool = True
    limits: Mapping[str, float] = field(default_factory=dict)

    def measure(self, key: str) -> Measure:
        usual = MEASURES[key]
        return Measure(usual.text, usual.unit, self.limits.get(key, usual.most))


@dataclass(frozen=True)
class Outcome:
    """What one attack came to: figures of honest nodes, and what it cost the attacker."""

    attack: Attack
    figures: Figures
    keys: int
    bytes_sent: int
    cpu_seconds: float

    @property
    def missed(self) -> list[str]:
        """The names of the figures that are beyond their goals."""
        return [key for key, value in self.figures.items() if not self.attack.measure(key).reached(value)]
