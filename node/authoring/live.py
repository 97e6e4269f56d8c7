"""Begin a live folder: copy the template, and give it a name."""

from __future__ import annotations

import shutil
from pathlib import Path

from node.authoring.template import name_of
from node.live.folder import SETTINGS
from node.objective.catalog import EMBEDDED, CatalogError

TEMPLATE = EMBEDDED / "templates" / "live"


def begin_live(folder: Path, name: str | None) -> str:
    """Write the template into an empty or new folder. Returns the test's name. Raises CatalogError."""
    name = name_of(folder, name)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise CatalogError(f"{folder} is not an empty folder; give one that does not exist yet")
        shutil.copytree(TEMPLATE, folder, dirs_exist_ok=True)
        settings = folder / SETTINGS
        settings.write_text(
            settings.read_text("utf-8").replace('name = "Sign-up page"', f'name = "{name}"', 1), "utf-8"
        )
    except OSError as error:
        raise CatalogError(f"cannot write to {folder} ({error.strerror}); give another folder") from None
    return name
