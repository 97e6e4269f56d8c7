"""Begin an objective: copy a complete one of some kind, which works as it is, into a folder, and give it a name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from node.objective.catalog import EMBEDDED, CatalogError
from node.objective.schema import SETTINGS

TEMPLATE = EMBEDDED / "template"  # of a model, the first there was
TEMPLATES = {"model": TEMPLATE} | {
    path.parent.name: path.parent for path in sorted((EMBEDDED / "templates").glob(f"*/{SETTINGS}"))
}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,59}")


def begin(folder: Path, name: str | None, template: str = "model") -> str:
    """Write a template into an empty or new folder. Returns the objective's name. Raises CatalogError.

    name: None names the objective after the folder. template: one of TEMPLATES.
    """
    name = folder.resolve().name if name is None else name
    if not NAME.fullmatch(name):
        raise CatalogError(
            f"{name!r:.80} does not do as a name; give --name with up to 60 letters, digits, spaces, . _ -"
        )
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise CatalogError(f"{folder} is not an empty folder; give one that does not exist yet")
        root = TEMPLATES[template]
        shutil.copytree(root, folder, ignore=shutil.ignore_patterns("__pycache__", "*.bin"), dirs_exist_ok=True)
        settings = folder / SETTINGS
        without_head = settings.read_text("utf-8").split("\n\n", 1)[1]  # the head explains the template itself
        settings.write_text(without_head.replace(f'name = "{root.name}"', f'name = "{name}"', 1), "utf-8")
    except OSError as error:
        raise CatalogError(f"cannot write to {folder} ({error.strerror}); give another folder") from None
    return name
