"""Where objectives are found: those that come with the program, a folder that a person names, those in a home."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import node
from node.objective.load import load_objective
from node.objective.schema import Objective
from node.platform.home import Home, HomeError

EMBEDDED = Path(node.__file__).parent.parent / "objectives"


class CatalogError(HomeError):
    """The objective that was asked for is not on this machine; the text says what to do."""


def held_objective(home: Home, objective_id: bytes) -> Objective:
    """The objective that this home researches, with its data in the home. Raises CatalogError when it is not here."""
    embedded = embedded_with(objective_id)
    if embedded is not None:
        return replace(embedded, data_dir=home.data(objective_id))
    root = home.objective(objective_id)
    if not (root / "objective.toml").exists():
        raise CatalogError(
            f"the objective's files are not in {root}; a folder given with --objective must be given again"
        )
    return load_objective(root, home.data(objective_id))


def embedded_with(objective_id: bytes) -> Objective | None:
    """The objective with this id among those that come with the program; None when there is none."""
    for folder in sorted(EMBEDDED.iterdir()):
        if (folder / "objective.toml").exists():
            objective = load_objective(folder, folder)
            if objective.id == objective_id:
                return objective
    return None


def named_objective(name: str) -> Objective:
    """An embedded objective, or a folder's. Raises CatalogError when there is none."""
    root = _named(name)
    return load_objective(root, root)


def _named(name: str) -> Path:
    for root in (EMBEDDED / name, Path(name).expanduser()):
        if (root / "objective.toml").exists():
            return root.resolve()
    known = ", ".join(sorted(p.name for p in EMBEDDED.iterdir() if (p / "objective.toml").exists()))
    raise CatalogError(f"no objective {name!r}: give one of {known}, or the path of a folder with an objective.toml")
