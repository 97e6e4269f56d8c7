"""Settings that a person has changed on the dashboard or with the command `settings`: a layer over swarm.toml.

swarm.toml is a person's own, with its comments, and is never written. What is changed lies in a file of its own in the
home, each value with the one that it took the place of. The last word counts: where swarm.toml says something else by
now than it did then, that holds, and the change is void (`config.load_config`).

It knows names and values as TOML and JSON have them, and not what they may be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.platform.file_trouble import read_at_most
from node.platform.private_files import write_private

FILE_NAME = "changed-settings.json"
MAX_FILE_BYTES = 1 << 20
MOST_UNDONE = 50  # changes that can be taken back, one after the other


@dataclass(frozen=True)
class Change:
    """A value, and the one below it when it was given."""

    value: Any
    instead_of: Any

    def as_json(self) -> dict[str, Any]:
        return {"value": self.value, "instead_of": self.instead_of}


@dataclass(frozen=True)
class Undone:
    """What taking the last change back leads to: of which setting, and its change before; None where it had none."""

    name: str
    change: Change | None


class ChangedSettings:
    """The changes in one home."""

    def __init__(self, home: Path) -> None:
        self.path = home / FILE_NAME

    def read(self) -> Mapping[str, Change]:
        """The changes by setting; none where the file is damaged."""
        return self._read()[0]

    def undo(self) -> Undone | None:
        """What the last change would go back to; None where there is none."""
        before = self._read()[1]
        return before[-1] if before else None

    def change(self, name: str, change: Change | None) -> None:
        """Change one setting, or with None leave it to swarm.toml again. Raises OSError."""
        changes, before = self._read()
        self._write(_with(changes, name, change), [*before, Undone(name, changes.get(name))])

    def reset(self) -> int:
        """Leave all settings to swarm.toml again; how many were changed. Raises OSError."""
        changes, before = self._read()
        self._write({}, [*before, *(Undone(name, change) for name, change in changes.items())])
        return len(changes)

    def take_back(self) -> Undone | None:
        """Take the last change back; which it was, None where there was none. Raises OSError."""
        changes, before = self._read()
        if not before:
            return None
        self._write(_with(changes, before[-1].name, before[-1].change), before[:-1])
        return before[-1]

    def _read(self) -> tuple[dict[str, Change], list[Undone]]:
        try:
            data = read_at_most(self.path, MAX_FILE_BYTES + 1)
            fields: Any = json.loads(data) if len(data) <= MAX_FILE_BYTES else None
            changes = {str(name): _change(each) for name, each in fields["settings"].items()}
            before = [Undone(str(each["name"]), _change(each["change"])) for each in fields["before"]]
        except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
            return {}, []
        return {name: change for name, change in changes.items() if change is not None}, before

    def _write(self, changes: Mapping[str, Change], before: list[Undone]) -> None:
        fields = {
            "settings": {name: change.as_json() for name, change in changes.items()},
            "before": [
                {"name": each.name, "change": each.change.as_json() if each.change is not None else None}
                for each in before[-MOST_UNDONE:]
            ],
        }
        write_private(self.path, json.dumps(fields, indent=1).encode() + b"\n")


def _with(changes: Mapping[str, Change], name: str, change: Change | None) -> dict[str, Change]:
    kept = {other: each for other, each in changes.items() if other != name}
    return kept | ({name: change} if change is not None else {})


def _change(fields: Any) -> Change | None:
    return Change(fields["value"], fields["instead_of"]) if fields is not None else None
