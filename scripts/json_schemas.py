"""Writes the JSON Schemas of what commands print with `--json` to docs/schema, from the types that describe it.

    .venv/bin/python scripts/json_schemas.py

A test holds the files against the types, so run this after a change of node/view/model/forms/.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from node.view.model.forms.commands import FORMS, VERSION

FOLDER = Path(__file__).parents[1] / "docs" / "schema"


def schemas() -> dict[str, str]:
    """The text of each schema by the name of its file: "peer-show" for `peer show`."""
    found = {}
    for command, form in FORMS.items():
        about = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$comment": f"version {VERSION}; fields may be added within it",
            "title": f"autoresearch-node {command} --json",
        }
        found[command.replace(" ", "-")] = json.dumps(about | msgspec.json.schema(form), indent=2) + "\n"
    return found


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in schemas().items():
        (FOLDER / f"{name}.json").write_text(text)
        print(f"written: {FOLDER / name}.json")


if __name__ == "__main__":
    main()
