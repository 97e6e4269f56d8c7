"""The objectives of this machine: what its home has researched, with what came of it, and what it could join."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from node.app.researched import descriptions, remembered
from node.app.this_machine import on_this_machine
from node.authoring.check import usable
from node.execution.sandbox.layers import Layers, tier
from node.ledger.projections.conclusions import tally
from node.ledger.projections.discoveries import discoveries
from node.ledger.projections.leaderboard import best_gain
from node.ledger.projections.steps import steps_of
from node.ledger.settings import JUDGED, Description
from node.ledger.store import Ledger
from node.objective.catalog import EMBEDDED, files_in
from node.objective.data import missing_data
from node.objective.limits import excesses, host_limits
from node.objective.scales import scale_text
from node.objective.schema import SETTINGS, Objective
from node.platform.config import Config
from node.platform.home import Home
from node.platform.log import Json
from node.view.model.leaderboard import effect_json
from protocol.weights import weights_of


@dataclass(frozen=True)
class Researched:
    """What a home holds of an objective. joined: when a node last began on it, in seconds since 1970; 0 if unknown."""

    records: int = 0
    experiments: int = 0  # of this home's own
    discoveries: int = 0  # of everybody
    gain: Json | None = None  # of this home's best source over the baseline
    joined: float = 0.0


@dataclass(frozen=True)
class ListedObjective:
    """An objective, and whether it can be joined here as it is; `why_not` is a text for people."""

    name: str
    id: str  # hexadecimal; "" where its settings cannot be read
    metric: str = ""
    unit: str = ""
    measured: str = JUDGED
    tokens: int = 0  # of one run; 0 where time is the budget
    seconds: float | None = None  # of one run; None where tokens are the budget
    wall_seconds: float = 0.0  # the most one run may take
    scale: str = ""  # at which it would be run here; "" is its own budget
    scales: tuple[str, ...] = ()  # all that it has beside its own budget, in words
    place: str = ""  # "embedded", or its folder
    current: bool = False  # what the home researches
    researched: Researched | None = field(default=None)  # None where it never was, in this home
    why_not: str = ""

    @property
    def joinable(self) -> bool:
        return not self.why_not

    def as_json(self) -> dict[str, Any]:
        """The fields of the objective and of what is researched of it side by side."""
        found = self.researched or Researched()
        researched = {"researched": self.researched is not None, "joinable": self.joinable}
        return asdict(self) | asdict(found) | researched


def listed_objectives(home: Home, layers: Layers, config: Config) -> list[ListedObjective]:
    """What this home has researched, the latest first, then the other objectives that are on this machine."""
    with remembered(home) as memory:
        known = descriptions(memory)
        current = memory.settings.objective if memory is not None else None
        here = {
            listed.id or place: listed
            for root, place in _folders(home)
            for listed in [_listed(usable(root, root), root.name, place, layers, config)]
        }
        mine = []
        for objective, about in known.items():
            assert memory is not None
            row = here.pop(objective.hex(), None) or _held(home, objective, about, memory, layers, config)
            found = _researched(home, objective, about)
            place = about.folder or row.place
            shown = replace(row, name=about.name or row.name, place=place, current=objective == current)
            mine.append(replace(shown, researched=found))
    ordered = sorted(
        mine, key=lambda row: (not row.current, -(row.researched.joined if row.researched else 0), row.name)
    )
    return [*ordered, *here.values()]


def _researched(home: Home, objective: bytes, about: Description) -> Researched:
    ledger = Ledger.read(home.ledger, objective)
    try:
        own, records = ledger.settings.author, ledger.all_records()
        steps = steps_of(ledger.feed(own))
        return Researched(
            records=len(records),
            experiments=tally(ledger.feed(own)).experiments,
            discoveries=len(discoveries(records, weights_of(records, own))),
            gain=effect_json(best_gain(steps), about.measure),
            joined=about.joined or max((record.time / 1000 for record in ledger.feed(own)), default=0.0),
        )
    finally:
        ledger.close()


def _held(
    home: Home, objective: bytes, about: Description, memory: Ledger, layers: Layers, config: Config
) -> ListedObjective:
    """An objective that is neither embedded nor kept in a folder of the home."""
    row = ListedObjective(about.name, "", place="kept in the ledger")
    if about.folder:
        row = _listed(usable(Path(about.folder), Path(about.folder)), about.name, about.folder, layers, config)
    if row.id != objective.hex():  # its folder has other files now, or there is none
        here = files_in(memory, objective) is not None
        why_not = "" if here else "its files are not here: give their folder once more, `join --objective FOLDER`"
        row = ListedObjective(about.name, "", place="kept in the ledger" if here else "–", why_not=why_not)
    return replace(row, id=objective.hex(), metric=about.metric, unit=about.unit, measured=about.trust)


def _folders(home: Home) -> Iterator[tuple[Path, str]]:
    for root in sorted(EMBEDDED.iterdir()):
        if (root / SETTINGS).exists():
            yield root, "embedded"
    kept = home.root / "objectives"
    for root in sorted(kept.iterdir()) if kept.is_dir() else ():
        if (root / SETTINGS).exists():
            yield root, str(root)


def _listed(objective: Objective | str, name: str, place: str, layers: Layers, config: Config) -> ListedObjective:
    """objective: a text says why it cannot be read."""
    if isinstance(objective, str):
        return ListedObjective(name, "", place=place, why_not=objective)
    scales = tuple(scale_text(scale) for scale in objective.scales)
    objective = on_this_machine(objective, config).objective
    why_not = ""
    if tier(layers) is None:
        why_not = "no sandbox works here; see `autoresearch-node doctor`"
    elif beyond := excesses(objective, host_limits(config)):
        why_not = "; ".join(beyond)
    elif objective.prepare is None and missing_data(objective):
        why_not = "its data cannot be made here: join by an invite of a node that has them"
    return ListedObjective(
        name=objective.name,
        id=objective.id.hex(),
        metric=objective.metric,
        unit=objective.unit,
        measured=objective.trust,
        tokens=objective.budget.tokens,
        seconds=objective.budget.seconds,
        wall_seconds=objective.budget.wall_seconds,
        scale=objective.scale,
        scales=scales,
        place=place,
        why_not=why_not,
    )
