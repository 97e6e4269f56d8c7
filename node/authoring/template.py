"""Begin an objective: copy one of some kind into a folder, and give it a name.

A template that differs little from an embedded objective takes that one's files: `takes.toml` in its folder names them.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

from node.objective.catalog import EMBEDDED, CatalogError
from node.objective.schema import SETTINGS

TEMPLATE = EMBEDDED / "template"  # of a model, the first there was
TEMPLATES = {"model": TEMPLATE} | {
    path.parent.name: path.parent for path in sorted((EMBEDDED / "templates").glob(f"*/{SETTINGS}"))
}
TAKES = "takes.toml"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,59}")
_LEFT = ("__pycache__", "*.bin")


def begin(folder: Path, name: str | None, template: str = "model") -> str:
    """Write a template into an empty or new folder. Returns the objective's name. Raises CatalogError.

    name: None names the objective after the folder. template: one of TEMPLATES.
    """
    name = name_of(folder, name)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise CatalogError(f"{folder} is not an empty folder; give one that does not exist yet")
        root = TEMPLATES[template]
        shutil.copytree(root, folder, ignore=shutil.ignore_patterns(TAKES, *_LEFT), dirs_exist_ok=True)
        if (root / TAKES).is_file():
            _take(tomllib.loads((root / TAKES).read_text("utf-8")), folder)
        settings = folder / SETTINGS
        without_head = settings.read_text("utf-8").split("\n\n", 1)[1]  # the head explains the template itself
        settings.write_text(without_head.replace(f'name = "{root.name}"', f'name = "{name}"', 1), "utf-8")
    except OSError as error:
        raise CatalogError(f"cannot write to {folder} ({error.strerror}); give another folder") from None
    return name


def name_of(folder: Path, name: str | None) -> str:
    """The name of an objective in a folder, which may have been given one. Raises CatalogError."""
    name = folder.resolve().name if name is None else name
    if not NAME.fullmatch(name):
        raise CatalogError(
            f"{name!r:.80} does not do as a name; give --name with up to 60 letters, digits, spaces, . _ -"
        )
    return name


def _take(takes: dict[str, Any], folder: Path) -> None:
    """Copy the files and folders of an embedded objective that a template names, under the names it gives them."""
    root = EMBEDDED / takes["objective"]
    for name, there in takes["files"].items():
        if (root / there).is_dir():
            shutil.copytree(root / there, folder / name, ignore=shutil.ignore_patterns(*_LEFT))
        else:
            shutil.copyfile(root / there, folder / name)
