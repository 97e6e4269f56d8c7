"""Copies of the example repositories, and what of a folder would show that it was touched."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from node.authoring.importing.recognised import NO_CHOICE, Choice
from node.authoring.importing.writing import Imported, import_folder
from node.objective.schema import SETTINGS

EXAMPLES = Path(__file__).parents[1] / "examples"
PLAIN = Choice(command="python3 search.py", metric="mean_error", direction=None, editable=("search.py",), seconds=1)


def example(name: str, tmp_path: Path) -> Path:
    """A copy of an example repository."""
    return Path(shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__")))


def imported(name: str, tmp_path: Path, choice: Choice = NO_CHOICE) -> Imported:
    """A copy of an example, imported."""
    return import_folder(example(name, tmp_path), choice)


def state(root: Path) -> dict[str, tuple[str, int, int]]:
    """Each file's hash, time of change and mode, without the settings."""
    return {
        path.relative_to(root).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
            path.stat().st_mode,
        )
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).as_posix() != SETTINGS
    }
