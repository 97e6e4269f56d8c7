"""What a person has decided of suggestions: which come first, which are never tried here, which are taken back.

It is this node's own business and stays in its home: the records of suggestions are signed and with the peers, who go
by their own choices. The commands and the dashboard write the file, the running node reads it before each idea.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from node.platform.file_trouble import read_at_most
from node.platform.private_files import write_private

MOST_IDS = 1000  # of each kind; a person decides on tens
MAX_FILE_BYTES = 1 << 20
ID_CHARACTERS = 64


@dataclass(frozen=True)
class Choices:
    """Ids (hex) of suggestions. order: as they are to be tried, so far as a person said so. asked_for: moved up."""

    order: tuple[str, ...] = ()
    asked_for: frozenset[str] = frozenset()
    vetoed: frozenset[str] = frozenset()
    taken_back: frozenset[str] = frozenset()

    def allows(self, record_id: str) -> bool:
        """Whether a suggestion may be tried here."""
        return record_id not in self.vetoed and record_id not in self.taken_back

    def moved(self, record_id: str, queue: Sequence[str], up: bool) -> Choices:
        """The same with a suggestion one place further up or down in the queue, which is kept as it then is."""
        order = list(queue)
        place = order.index(record_id)
        other = max(0, place - 1) if up else min(len(order) - 1, place + 1)
        order[place], order[other] = order[other], order[place]
        asked_for = self.asked_for | {record_id} if up else self.asked_for - {record_id}
        return replace(self, order=tuple(order), asked_for=asked_for)

    def with_veto(self, record_id: str) -> Choices:
        return replace(self, vetoed=self.vetoed | {record_id})

    def without_veto(self, record_id: str) -> Choices:
        """A suggestion may be tried again, whether it was vetoed or taken back."""
        return replace(self, vetoed=self.vetoed - {record_id}, taken_back=self.taken_back - {record_id})

    def with_taken_back(self, record_id: str) -> Choices:
        return replace(self, taken_back=self.taken_back | {record_id})


class KeptChoices:
    """The choices in one file, read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._choices = Choices()

    def __call__(self) -> Choices:
        """What is chosen now. A file that is damaged counts as no choices."""
        try:
            found = self._path.stat()
        except OSError:
            self._stamp, self._choices = None, Choices()
            return self._choices
        stamp = found.st_mtime_ns, found.st_ino
        if stamp != self._stamp:
            self._stamp, self._choices = stamp, _read(self._path)
        return self._choices

    def keep(self, choices: Choices) -> None:
        """Replace the file. Raises OSError."""
        fields = {
            "order": list(choices.order[:MOST_IDS]),
            "asked_for": sorted(choices.asked_for)[:MOST_IDS],
            "vetoed": sorted(choices.vetoed)[:MOST_IDS],
            "taken_back": sorted(choices.taken_back)[:MOST_IDS],
        }
        write_private(self._path, json.dumps(fields, indent=1).encode() + b"\n")


def _read(path: Path) -> Choices:
    try:
        data = read_at_most(path, MAX_FILE_BYTES + 1)
        fields: Any = json.loads(data) if len(data) <= MAX_FILE_BYTES else None
    except (OSError, ValueError, RecursionError):
        return Choices()
    if not isinstance(fields, dict):
        return Choices()
    ids = {name: _ids(fields.get(name)) for name in ("order", "asked_for", "vetoed", "taken_back")}
    return Choices(ids["order"], frozenset(ids["asked_for"]), frozenset(ids["vetoed"]), frozenset(ids["taken_back"]))


def _ids(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    found = [one for one in value[:MOST_IDS] if isinstance(one, str) and len(one) == ID_CHARACTERS]
    return tuple(dict.fromkeys(found))
