"""Writes the JSON Schemas of what commands print with `--json` to docs/schema, from the types that describe it.

    .venv/bin/python scripts/json_schemas.py

A test holds the files against the types, so run this after a change of node/view/model/forms.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from node.view.model.forms import FORMS, VERSION
from node.view.model.overview_forms import OVERVIEW_FORMS

FOLDER = Path(__file__).parents[1] / "docs" / "schema"


def schemas() -> dict[str, str]:
    """The text of each schema by the command it is of."""
    found = {}
    for command, form in (FORMS | OVERVIEW_FORMS).items():
        about = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$comment": f"version {VERSION}; fields may be added within it",
            "title": f"autoresearch-node {command} --json",
        }
        found[command] = json.dumps(about | msgspec.json.schema(form), indent=2) + "\n"
    return found


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for command, text in schemas().items():
        (FOLDER / f"{command}.json").write_text(text)
        print(f"written: {FOLDER / command}.json")


if __name__ == "__main__":
    main()
