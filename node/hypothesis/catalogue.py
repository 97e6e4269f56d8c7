"""The catalogue: an objective's known ideas, one category after the other.

It reads `ideas/*.toml` once, at the door. An idea that was rejected on another parent may return on this one; one
that no longer applies is passed over.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.experiment.edits import Edit, EditError, apply, fingerprint, parse_edit
from node.hypothesis.proposer import Context, Lesson, Proposal

MAX_IDEAS = 2000
TITLE_CHARACTERS, CATEGORY_CHARACTERS, REASON_CHARACTERS = 120, 40, 500


class CatalogueError(Exception):
    """An ideas file is not as it must be; the text names the file and the idea."""


@dataclass(frozen=True)
class Idea:
    """A known edit with the reason somebody might try it."""

    title: str
    category: str
    reason: str
    edits: tuple[Edit, ...]


class Catalogue:
    """Proposes known ideas, category by category, in an order shuffled once; within a category in file order.

    `first` is the category that everything else stands on, so it opens every round: what is found on a badly
    initialised model, say, often vanishes on a well initialised one.
    """

    name = "catalogue"

    def __init__(self, ideas: Sequence[Idea], first: str, rng: random.Random) -> None:
        by_category: dict[str, list[Idea]] = {}
        for idea in ideas:
            by_category.setdefault(idea.category, []).append(idea)
        self._categories = sorted(by_category)
        rng.shuffle(self._categories)
        self._categories.sort(key=lambda category: category != first)
        self._ideas = by_category
        self._turn = 0

    async def propose(self, context: Context) -> Proposal | None:
        for step in range(len(self._categories)):
            category = self._categories[(self._turn + step) % len(self._categories)]
            for idea in self._ideas[category]:
                proposal = self._on(context, idea)
                if proposal is not None:
                    self._turn = (self._turn + step + 1) % len(self._categories)
                    return proposal
        return None

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """A known idea stays as it is."""

    def _on(self, context: Context, idea: Idea) -> Proposal | None:
        """The idea carried out on this source, None when it does not apply or was tried."""
        try:
            source = apply(context.source, idea.edits)
        except EditError:
            return None
        if fingerprint(source) in context.tried:
            return None
        return Proposal(idea.title, idea.category, idea.reason, self.name, source)


def read_ideas(folder: Path) -> list[Idea]:
    """All ideas of a folder in the order of file names. Raises CatalogueError."""
    ideas = []
    for path in sorted(folder.glob("*.toml")):
        try:
            contents = tomllib.loads(path.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise CatalogueError(f"{path}: {error}") from None
        category = _text(contents, "category", CATEGORY_CHARACTERS, str(path))
        ideas += [_idea(row, category, str(path)) for row in _rows(contents, "idea", str(path))]
    if len(ideas) > MAX_IDEAS:
        raise CatalogueError(f"{folder} has more than {MAX_IDEAS} ideas")
    return ideas


def _idea(row: dict[str, Any], category: str, where: str) -> Idea:
    title = _text(row, "title", TITLE_CHARACTERS, where)
    where = f'{where}, idea "{title}"'
    try:
        edits = tuple(parse_edit(edit) for edit in _rows(row, "edit", where))
    except EditError as error:
        raise CatalogueError(f"{where}: {error}") from None
    return Idea(title, category, _text(row, "reason", REASON_CHARACTERS, where), edits)


def _rows(table: dict[str, Any], name: str, where: str) -> list[dict[str, Any]]:
    rows = table.get(name)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise CatalogueError(f"{where}: needs at least one [[{name}]]")
    return rows


def _text(table: dict[str, Any], name: str, most: int, where: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not value.strip():
        raise CatalogueError(f'{where}: needs the text "{name}"')
    value = " ".join(value.split())
    if len(value) > most:
        raise CatalogueError(f'{where}: "{name}" is longer than {most} characters')
    return value
