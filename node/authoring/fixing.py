"""What `objective check --fix` writes into objective.toml: sums of files, and the noise that was measured.

A table of the tokens' bytes, which is made with the data, is put beside it. Only what can be worked out is written,
each value in its place; comments and layout stay as they are. A setting that is right, or as near as the measurement
can tell, is left alone.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import ParseError

from node.authoring.baseline import Baseline, advised_s0
from node.execution.prepare import run_prepare
from node.execution.sandbox.layers import Layers
from node.network.downloads.store import DownloadStore
from node.objective.downloads import read_downloads
from node.objective.limits import HostLimits
from node.objective.load import settings_bytes
from node.objective.schema import SETTINGS, Objective, ObjectiveError
from node.objective.table import Table
from protocol.objective import FileEntry, safe_path

MOST_MADE = 64 << 20  # bytes of data that prepare.py may make where objective.toml does not say how many


@dataclass(frozen=True)
class Change:
    """A setting that was written. before: "" where there was none."""

    setting: str
    before: str
    after: str


def fix_sums(root: Path) -> list[Change]:
    """Write the sums of the lock file, and of data that lie in the folder. Returns what was changed."""

    def edit(document: tomlkit.TOMLDocument) -> list[Change]:
        found = _lock(root, document)
        for row in _data_rows(document):
            path = root / row["path"]
            if path.is_file():
                found += _set_sums(row, path)
        return found

    return _edited(root, edit)


async def fix_made_data(root: Path, layers: Layers, limits: HostLimits, store: DownloadStore) -> list[Change]:
    """Make the data that are not in the folder, by the objective's prepare.py in the sandbox, and write their sums.

    Where the tokens are learnt from the text, that makes `task.token_bytes` too, which is taken over.

    store: where the files lie from which they are made. Raises ObjectiveError when they cannot be made.
    """
    document = _read(root)
    prepare = document.get("prepare") if document is not None else None
    if document is None or not isinstance(prepare, str) or not safe_path(prepare) or not (root / prepare).is_file():
        return []
    absent = [row["path"] for row in _data_rows(document) if not (root / row["path"]).is_file()]
    if not absent:
        return []
    downloads = read_downloads(Table(document.unwrap(), ""))
    if len(store.paths(downloads)) < len(downloads):
        raise ObjectiveError(
            f"what {prepare} reads is not here yet: `autoresearch-node objective prepare {root}` fetches it"
        )
    with tempfile.TemporaryDirectory(prefix="check-") as folder:
        draft = Path(folder) / "making"
        draft.mkdir()
        size = limits.data_bytes if downloads else min(MOST_MADE, limits.data_bytes)
        outcome = await run_prepare(root, prepare, layers, limits, draft, size, store.paths(downloads))
        made = {path: draft / path for path in absent if (draft / path).is_file() and not (draft / path).is_symlink()}
        if outcome.reason != "exit" or outcome.code != 0 or len(made) < len(absent):
            why = f"it ended by {outcome.reason}" if outcome.code != 0 else f"{absent[0]} was not made"
            raise ObjectiveError(f"{prepare} did not make the data: {why}\n{outcome.log_tail}")

        def edit(document: tomlkit.TOMLDocument) -> list[Change]:
            return [
                change
                for row in _data_rows(document)
                if row["path"] in made
                for change in _set_sums(row, made[row["path"]])
            ]

        return _edited(root, edit) + _take_token_bytes(root, draft, document)


def _take_token_bytes(root: Path, draft: Path, document: tomlkit.TOMLDocument) -> list[Change]:
    """Take over the table of the tokens' bytes that prepare.py made with its text: the maker's folder has to have it.

    Nothing is overwritten but such a table of the same vocabulary.
    """
    task = Table(document.unwrap(), "").table("task") if "task" in document else Table({}, "task")
    if "token_bytes" not in task:
        return []
    name, vocabulary = task.path("token_bytes"), task.whole("vocabulary")
    made, place = draft / name, root / name
    if made.is_symlink() or not made.is_file() or made.stat().st_size != vocabulary:
        return []
    if place.is_symlink() or (place.exists() and (not place.is_file() or place.stat().st_size != vocabulary)):
        raise ObjectiveError(
            f"{place} is no table of {vocabulary} tokens' bytes; remove it, and the one made replaces it"
        )
    after, before = _sha256(made), _sha256(place) if place.exists() else ""
    if after == before:
        return []
    try:
        shutil.copyfile(made, place)
    except OSError as error:
        raise ObjectiveError(f"{place} cannot be written: {error.strerror}") from None
    return [Change(f"the file {name}", before, after)]


def fix_download(root: Path, entry: FileEntry) -> list[Change]:
    """Write size and sum of a file that was fetched, where its maker had left them open."""

    def edit(document: tomlkit.TOMLDocument) -> list[Change]:
        rows: Any = document.get("downloads", [])
        changes = []
        for row in rows:
            if row["name"] == entry.path:
                row["size"], row["sha256"] = entry.size, entry.sha256.hex()
                changes.append(Change(f"downloads.sha256 of {entry.path}", "", entry.sha256.hex()))
        return changes

    return _edited(root, edit)


def fix_noise(objective: Objective, baseline: Baseline) -> list[Change]:
    """Write an upper bound of the measured noise where the declared s0 is clearly below, or many runs say far above."""
    measured = advised_s0(objective, baseline)
    if measured is None:
        return []
    return _edited(objective.root, lambda document: _set(document, "statistics", "s0", measured))


def difference(before: str, after: str) -> str:
    """What changed in objective.toml, as a unified diff."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{SETTINGS} as it was", SETTINGS, lineterm="", n=1
    )
    return "\n".join(lines)


def _lock(root: Path, document: tomlkit.TOMLDocument) -> list[Change]:
    environment = document.get("environment")
    lock = environment.get("lock") if isinstance(environment, Mapping) else None
    if not isinstance(lock, str) or not safe_path(lock) or not (root / lock).is_file():
        return []
    return _set(document, "environment", "lock_sha256", _sha256(root / lock))


def _data_rows(document: tomlkit.TOMLDocument) -> list[Any]:
    rows = document.get("data")
    tables = rows if isinstance(rows, list) else []
    return [row for row in tables if isinstance(row, Mapping) and safe_path(str(row.get("path", "")))]


def _set_sums(row: Any, path: Path) -> list[Change]:
    changes = []
    for name, value in (("sha256", _sha256(path)), ("size", path.stat().st_size)):
        if row.get(name) != value:
            changes.append(Change(f"data.{name} of {row['path']}", str(row.get(name, "")), str(value)))
            row[name] = value
    return changes


def _set(document: tomlkit.TOMLDocument, table: str, name: str, value: object) -> list[Change]:
    place: Any = document[table]
    before = place.get(name)
    if before == value:
        return []
    place[name] = value
    return [Change(f"{table}.{name}", "" if before is None else str(before), str(value))]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(root: Path) -> tomlkit.TOMLDocument | None:
    """The settings with their layout; None where they are not TOML, which the check reports."""
    try:
        return tomlkit.parse(settings_bytes(root).decode("utf-8"))
    except (OSError, ValueError, ParseError, RecursionError):
        return None


def _edited(root: Path, edit: Callable[[tomlkit.TOMLDocument], list[Change]]) -> list[Change]:
    """Carry an edit out on objective.toml, whole or not at all. Raises ObjectiveError when it cannot be written."""
    document = _read(root)
    changes = edit(document) if document is not None else []
    if document is None or not changes:
        return []
    target, draft = root / SETTINGS, root / f".{SETTINGS}.new"
    try:
        draft.write_bytes(tomlkit.dumps(document).encode("utf-8"))
        draft.chmod(target.stat().st_mode & 0o777)
        os.replace(draft, target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ObjectiveError(f"{target} cannot be written: {error.strerror}") from None
    return changes
