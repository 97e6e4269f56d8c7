"""Reading [[scales]]: other budgets for the same sources, each written as what differs from the objective's own.

A scale for another device lets machines without the objective's device take part. One for the same device is larger,
and for promoting what was found at the own budget: search makes no runs at it. Which of them a machine runs is
`Objective.on_device`'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from node.objective.kinds import read_budget
from node.objective.schema import SETTINGS, BudgetScale, Kind, Objective, ObjectiveError
from node.objective.table import Table

DEVICES = ("cpu", "gpu")
MAX_NAME = 40  # characters
_NAME = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{MAX_NAME - 1}}}")
MOST_SCALES = 8

_BUDGET = {
    "device": "text",
    "seconds": "positive",
    "warmup_seconds": "positive",
    "wall_seconds": "number",
    "threads": "whole",
    "memory_mb": "whole",
    "gpu_memory_mb": "whole",
    "s0": "positive",
}
FIELDS: Mapping[Kind, Mapping[str, str]] = {
    Kind.MODEL: _BUDGET
    | {"tokens": "whole", "weights_mb": "weights", "context": "whole", "checkpoints": "wholes", "slope": "number"},
    Kind.PROGRAM: _BUDGET | {"slope": "number"},
    Kind.COMMAND: _BUDGET | {"slope": "number"},
}


@dataclass(frozen=True)
class _Own:
    """What a scale has where it says nothing else: the objective's own settings, as tables."""

    kind: Kind
    device: str
    budget: Table
    task: Table
    statistics: Table
    unit: float  # of effects, by which s0 and slope are divided


def device_of(settings: Table) -> str:
    return settings.choice("device", *DEVICES) if "device" in settings else DEVICES[0]


def read_scales(settings: Table, kind: Kind, task: Table, unit: float) -> tuple[BudgetScale, ...]:
    """The scales, in their order. Raises ObjectiveError. unit: of effects, as `Metric.unit`."""
    rows = settings.rows("scales")
    if not rows:
        return ()
    if len(rows) > MOST_SCALES:
        raise ObjectiveError(f"{SETTINGS}: there are {len(rows)} [[scales]]; at most {MOST_SCALES} will do")
    own = _Own(kind, device_of(settings), settings.table("budget"), task, settings.table("statistics"), unit)
    found = tuple(_read_scale(row, own) for row in rows)
    names = [scale.name for scale in found]
    if len(set(names)) < len(names):
        raise ObjectiveError(f"{SETTINGS}: each of [[scales]] needs a name of its own, not twice {names!r:.200}")
    return found


def spreads(settings: Table, kind: Kind, repeatable: bool) -> float:
    """The largest s0 of the budgets with which runs do not repeat, as objective.toml has it; 0 where all repeat.

    repeatable: whether runs by the objective's own budget do. Of a model, those by a scale's do where it is tokens.
    """
    own = settings.table("statistics")
    found = [] if repeatable else [own.positive("s0")]
    for row in settings.rows("scales"):
        repeats = "tokens" in row or ("seconds" not in row and repeatable) if kind == Kind.MODEL else repeatable
        if not repeats:
            found.append(row.positive("s0") if "s0" in row else own.positive("s0"))
    return max(found, default=0.0)


def _read_scale(row: Table, own: _Own) -> BudgetScale:
    for name, reading in FIELDS[own.kind].items():
        if name in row:
            getattr(row, reading)(name)
    name = row.text("name")
    if not _NAME.fullmatch(name):
        raise ObjectiveError(
            f"{SETTINGS}: scales.name must be a word of at most {MAX_NAME} small letters, digits, - and _, not "
            f"{name!r:.80}"
        )
    budget = read_budget(Table(_budget_values(row, own), "scales"), own.kind)
    timed = own.kind == Kind.MODEL and budget.seconds is not None
    slope = row.number("slope") if "slope" in row else _own_slope(own, timed)
    if timed and slope != 0:
        raise ObjectiveError(f"{SETTINGS}: scales.slope must be 0 with scales.seconds: what is slow trains less")
    return BudgetScale(
        name=name,
        device=row.choice("device", *DEVICES) if "device" in row else own.device,
        budget=budget,
        context=_of(row, own.task, "context").whole("context") if own.kind == Kind.MODEL else 0,
        checkpoints=_of(row, own.task, "checkpoints").wholes("checkpoints") if own.kind == Kind.MODEL else (),
        s0=_of(row, own.statistics, "s0").number("s0") / own.unit,
        slope=slope / own.unit,
    )


def _budget_values(row: Table, own: _Own) -> dict[str, object]:
    """The settings of [budget] as the scale changes them: tokens take the place of seconds, and the reverse."""
    values = dict(own.budget.values)
    if own.kind == Kind.MODEL and "tokens" in row:
        values.pop("seconds", None)
        values.pop("warmup_seconds", None)
    if "seconds" in row:
        values.pop("tokens", None)
    budgeted = ("tokens", "seconds", "warmup_seconds", "wall_seconds", "threads", "memory_mb")
    changed = (*budgeted, "gpu_memory_mb", "weights_mb")
    return values | {name: row.values[name] for name in changed if name in row}


def _own_slope(own: _Own, timed: bool) -> float:
    return own.statistics.number("slope") if "slope" in own.statistics and not timed else 0.0


def _of(row: Table, own: Table, name: str) -> Table:
    """Where a setting stands: in the scale, else among the objective's own."""
    return row if name in row else own


def scale_text(scale: BudgetScale) -> str:
    """A scale as a person is shown it: "large (gpu, 300 s)"."""
    return f"{scale.name} ({scale.device}, {budget_text(scale)})"


def scale_here(objective: Objective) -> str:
    """The scale at which a machine runs the objective, for a person: "cpu (131,072 tokens)"; "" for its own budget."""
    return f"{objective.scale} ({budget_text(objective)})" if objective.scale else ""


def budget_text(of: Objective | BudgetScale) -> str:
    """What a run may use, in words: "524,288 tokens" or "60 s"."""
    budget = of.budget
    if budget.tokens:
        return f"{budget.tokens:,} tokens"
    return f"{budget.wall_seconds if budget.seconds is None else budget.seconds:g} s"
