"""The objectives this machine has: those that come with the program, and those that its home got or researches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from node.authoring.check import usable
from node.execution.sandbox.layers import Layers, tier
from node.ledger.store import Ledger
from node.objective.catalog import EMBEDDED
from node.objective.data import missing_data
from node.objective.limits import HostLimits, excesses
from node.objective.schema import SETTINGS
from node.platform.home import Home


@dataclass(frozen=True)
class ListedObjective:
    """An objective, and whether it can be joined here as it is; `why_not` is a text for people."""

    name: str
    id: str  # hexadecimal; "" where its settings cannot be read
    metric: str
    unit: str
    tokens: int  # of one run
    wall_seconds: float  # the most one run may take
    place: str  # "embedded", or its folder
    current: bool  # what the home researches
    why_not: str

    @property
    def joinable(self) -> bool:
        return not self.why_not


def listed_objectives(home: Home, layers: Layers, limits: HostLimits) -> list[ListedObjective]:
    """Embedded objectives by name, then the home's. The one it researches is among them, even without its files."""
    if not home.ledger.exists():
        return [_listed(root, place, b"", layers, limits) for root, place in _folders(home)]
    ledger = Ledger.read(home.ledger)
    try:
        found = [_listed(root, place, ledger.objective, layers, limits) for root, place in _folders(home)]
        return found if any(each.current for each in found) else [*found, _remembered(ledger)]
    finally:
        ledger.close()


def _remembered(ledger: Ledger) -> ListedObjective:
    """What a home knows of an objective that was given as a folder."""
    why_not = "its folder must be given again: `join --objective FOLDER`"
    settings = ledger.settings
    return ListedObjective(
        settings.objective_name,
        ledger.objective.hex(),
        settings.metric,
        "",
        0,
        0.0,
        "a folder",
        current=True,
        why_not=why_not,
    )


def _folders(home: Home) -> Iterator[tuple[Path, str]]:
    for root in sorted(EMBEDDED.iterdir()):
        if (root / SETTINGS).exists():
            yield root, "embedded"
    held = home.root / "objectives"
    for root in sorted(held.iterdir()) if held.is_dir() else ():
        if (root / SETTINGS).exists():
            yield root, str(root)


def _listed(root: Path, place: str, current: bytes, layers: Layers, limits: HostLimits) -> ListedObjective:
    objective = usable(root, root)
    if isinstance(objective, str):
        return ListedObjective(root.name, "", "", "", 0, 0.0, place, current=False, why_not=objective)
    why_not = ""
    if tier(layers) is None:
        why_not = "no sandbox works here; see `autoresearch-node doctor`"
    elif beyond := excesses(objective, limits):
        why_not = "; ".join(beyond)
    elif objective.prepare is None and missing_data(objective):
        why_not = "its data cannot be made here: join by an invite of a node that has them"
    return ListedObjective(
        name=objective.name,
        id=objective.id.hex(),
        metric=objective.metric,
        unit=objective.unit,
        tokens=objective.budget.tokens,
        wall_seconds=objective.budget.wall_seconds,
        place=place,
        current=objective.id == current,
        why_not=why_not,
    )
