"""An objective as a page shows it: what is measured and by whom, under which budget, what may be edited, and how far.

Its settings are read from its files, where they are on this machine; else only what the ledger noted of it is shown.
"""

from __future__ import annotations

from node.ledger.projections.effects import gain_text
from node.ledger.store import Ledger
from node.objective.catalog import embedded_with
from node.objective.load import load_objective
from node.objective.schema import SETTINGS, Objective, ObjectiveError
from node.platform.home import Home
from node.platform.log import Json
from node.view.model import leaderboard as data
from node.view.model.folds import Folds

MOST_PROGRAM = 8000  # characters of program.md
TRUST = {
    "judged": "a judge that the source cannot reach has measured the values",
    "self-measured": "a script that the source cannot change has measured the values; the two may share a process",
    "observed": "the values are what people did, of this audience only",
}


def objective_here(home: Home, ledger: Ledger) -> Objective | None:
    """The objective of a ledger, where its files came with the program or lie in the home; nothing is written."""
    embedded = embedded_with(ledger.objective)
    if embedded is not None:
        return embedded
    root = home.objective(ledger.objective)
    try:
        found = load_objective(root, home.data(ledger.objective)) if (root / SETTINGS).exists() else None
    except (ObjectiveError, OSError):
        return None
    return found if found is not None and found.id == ledger.objective else None


def objective_page(folds: Folds, objective: Objective | None, others: Json) -> Json:
    """Everything about the objective that is researched. others: records of this home's other ones, by id (hex)."""
    ledger = folds.ledger
    about = ledger.settings.description
    start = folds.start
    best = folds.bests.get(folds.me)
    descriptions = ledger.settings.descriptions
    shown: Json = {
        "id": ledger.objective.hex(),
        **data.measured_json(ledger),
        "trust": TRUST.get(str(about.trust), str(about.trust)),
        "editable": list(about.editable),
        "baseline": start.as_json(),
        "best": None,
        "records": len(folds.records),
        "authors": len(folds.feeds),
        "others": [
            {"id": other.hex(), "name": descriptions[other].name, "records": others.get(other.hex(), 0)}
            for other in descriptions
            if other != ledger.objective
        ],
    }
    if best is not None and best.effect is not None:
        value = None if start.value is None else about.measure.moved(start.value, best.effect.mean)
        shown["best"] = {
            "source": best.source.hex(),
            "value": value,
            "gain_text": gain_text(best.effect, about.measure),
        }
    return shown | (_settings(objective) if objective is not None else _unknown())


def _settings(objective: Objective) -> Json:
    budget = objective.budget
    program = objective.files.get(objective.direction, b"").decode("utf-8", "replace")
    return {
        "kind": str(objective.kind),
        "summary": objective.summary,
        "device": objective.device,
        "budget": {
            "tokens": budget.tokens or None,
            "seconds": budget.seconds,
            "wall_seconds": budget.wall_seconds,
            "threads": budget.threads,
            "memory_bytes": budget.memory_bytes,
            "text": budget_text(objective),
        },
        "categories": list(objective.categories),
        "scales": [scale.name for scale in objective.larger_scales],
        "minimum_effect": objective.statistics.minimum_effect,
        "program": program[:MOST_PROGRAM],
        "program_cut": len(program) > MOST_PROGRAM,
    }


def _unknown() -> Json:
    names = ("kind", "summary", "device", "budget", "minimum_effect")
    return dict.fromkeys(names) | {"categories": [], "scales": [], "program": "", "program_cut": False}


def budget_text(objective: Objective) -> str:
    """What one run may use, in words."""
    budget = objective.budget
    parts = []
    if budget.tokens:
        parts.append(f"{budget.tokens:,} tokens")
    if budget.seconds is not None:
        parts.append(f"{budget.seconds:g} s of computing")
    parts.append(f"{budget.threads} {'thread' if budget.threads == 1 else 'threads'}")
    parts.append(f"{budget.memory_bytes / 2**30:.3g} GiB of memory")
    parts.append(f"at most {budget.wall_seconds:g} s")
    return ", ".join(parts)
