"""Where objectives are found: those that come with the program, a folder that a person names, those in a home."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import node
from node.ledger.settings import Description
from node.ledger.store import Ledger
from node.objective.load import load_objective, write_objective
from node.objective.schema import SETTINGS, Kind, Objective
from node.platform.file_trouble import HomeError
from node.platform.home import Home
from node.platform.log import short_id
from protocol.objective import decode_manifest

ENTRY_POINTS: Mapping[str, tuple[str, ...]] = {Kind.MODEL: ("train", "build"), Kind.PROGRAM: ("answer",)}
EMBEDDED = Path(node.__file__).parent.parent / "objectives"


class CatalogError(HomeError):
    """The objective that was asked for is not on this machine; the text says what to do."""


def held_objective(home: Home, objective_id: bytes, ledger: Ledger) -> Objective:
    """An objective that this home has, with its data in the home. Raises CatalogError when its files are not here.

    Their contents are in the ledger too, from which a folder that was lost is written again.
    """
    embedded = embedded_with(objective_id)
    if embedded is not None:
        return replace(embedded, data_dir=home.data(objective_id))
    root = home.objective(objective_id)
    if not (root / SETTINGS).exists():
        files = files_in(ledger, objective_id)
        if files is None:
            raise CatalogError(
                f"the files of objective {short_id(objective_id)} are not in {root}; give their folder once more with "
                "--objective, and they are kept there"
            )
        write_objective(files, root)
    objective = load_objective(root, home.data(objective_id))
    if objective.id != objective_id:
        raise CatalogError(
            f"the files in {root} are not those of objective {short_id(objective_id)} any more; remove that folder, "
            "and it is written again"
        )
    return objective


def keep_files(home: Home, objective: Objective) -> None:
    """Keep an objective's files in the home, so that it can be researched again without the folder they came from."""
    root = home.objective(objective.id)
    if not (root / SETTINGS).exists() and embedded_with(objective.id) is None:
        root.parent.mkdir(parents=True, exist_ok=True)
        write_objective(objective.files, root)


def files_in(ledger: Ledger, objective_id: bytes) -> dict[str, bytes] | None:
    """An objective's files from the ledger's contents; None where one of them is not there."""
    packed = ledger.get_blob(objective_id)
    if packed is None:
        return None
    found = {entry.path: ledger.get_blob(entry.sha256) for entry in decode_manifest(packed).files}
    files = {path: content for path, content in found.items() if content is not None}
    return files if len(files) == len(found) else None


def paths_in(ledger: Ledger) -> tuple[str, ...]:
    """The paths of the files of the ledger's objective; () where its manifest is not here."""
    packed = ledger.get_blob(ledger.objective)
    return tuple(entry.path for entry in decode_manifest(packed).files) if packed is not None else ()


def entry_points(ledger: Ledger) -> tuple[str, ...]:
    """The functions that a source of the ledger's objective must offer; () where that is a command, or not known."""
    packed = ledger.get_blob(ledger.objective)
    if packed is None:
        return ()
    settings = next((entry.sha256 for entry in decode_manifest(packed).files if entry.path == SETTINGS), b"")
    try:
        kind = tomllib.loads((ledger.get_blob(settings) or b"").decode()).get("kind", Kind.MODEL)
    except (ValueError, RecursionError):
        return ()
    return ENTRY_POINTS.get(kind, ()) if isinstance(kind, str) else ()


def description_of(objective: Objective, folder: str = "", joined: float = 0.0) -> Description:
    """What a home notes of an objective; folder and joined as in `Description`."""
    return Description(
        name=objective.name,
        metric=objective.metric,
        unit=objective.unit,
        measure=objective.measure,
        trust=objective.trust,
        baseline=objective.source_id,
        editable=objective.editable,
        folder=folder,
        embedded=EMBEDDED in objective.root.parents,
        joined=joined,
    )


def successor(objective_id: bytes, about: Description) -> Objective | None:
    """What this version of the program has in the place of an objective that came with an earlier one, if it differs.

    An objective that a person chose by its id, when the program no longer had it, has none.
    """
    if not about.embedded or about.name not in embedded_names() or embedded_with(objective_id) is not None:
        return None
    return named_objective(about.name)


def embedded_with(objective_id: bytes) -> Objective | None:
    """The objective with this id among those that come with the program; None when there is none."""
    for folder in sorted(EMBEDDED.iterdir()):
        if (folder / SETTINGS).exists():
            objective = load_objective(folder, folder)
            if objective.id == objective_id:
                return objective
    return None


def named_objective(name: str) -> Objective:
    """An embedded objective, or a folder's. Raises CatalogError when there is none."""
    root = _named(name)
    return load_objective(root, root)


def embedded_names() -> list[str]:
    """The names of the objectives that come with the program."""
    return sorted(path.name for path in EMBEDDED.iterdir() if (path / SETTINGS).exists())


def _named(name: str) -> Path:
    root = EMBEDDED / name if name in embedded_names() else Path(name).expanduser()
    if (root / SETTINGS).exists():
        return root.resolve()
    known = ", ".join(embedded_names())
    raise CatalogError(f"no objective {name!r}: give one of {known}, or the path of a folder with an objective.toml")
