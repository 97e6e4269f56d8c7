"""The catalogue: an objective's known ideas, by category.

It reads `ideas/*.toml` once, at the start. An idea that was tried on an earlier source returns when much has changed
since (`node.proposers.reopening`); one that no longer applies is passed over.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.objective.edits import Edit, EditError, parse_edit
from node.proposers.proposer import Context, Lesson, Proposal

MAX_IDEAS = 2000  # each is applied to the source whenever its category is asked for, until one is new
TITLE_CHARACTERS, CATEGORY_CHARACTERS, REASON_CHARACTERS = 120, 40, 500


class CatalogueError(Exception):
    """An ideas file is not as it must be; the text names the file and the idea."""


@dataclass(frozen=True)
class Idea:
    """A known edit with a reason to try it."""

    title: str
    category: str
    reason: str
    edits: tuple[Edit, ...]


class Catalogue:
    """Proposes known ideas of the category asked for: those tried least often by all nodes first, in file order."""

    name = "catalogue"
    costly = False

    def __init__(self, ideas: Sequence[Idea]) -> None:
        self._ideas = tuple(ideas)

    @property
    def categories(self) -> Sequence[str]:
        return list(dict.fromkeys(idea.category for idea in self._ideas))

    async def propose(self, context: Context) -> Proposal | None:
        times = Counter(result.title for result in context.results)
        asked = [
            idea
            for idea in self._ideas
            if context.category in (None, idea.category) and idea.title not in context.closed
        ]
        asked.sort(key=lambda idea: (idea.title not in context.hearsay, times[idea.title]))
        for idea in asked:
            proposal = await self._on(context, idea)
            if proposal is not None:
                return proposal
        return None

    def to_recheck(self, context: Context) -> Set[str]:
        return {idea.category for idea in self._ideas if idea.title in context.hearsay}

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Nothing to do: a known idea stays as it is."""

    async def _on(self, context: Context, idea: Idea) -> Proposal | None:
        """The idea carried out on this source, None when it does not apply, does not matter there or was tried."""
        try:
            source = await context.parser.apply(context.source, idea.edits)
        except EditError:
            return None
        if not await context.is_new(source):
            return None
        return Proposal(idea.title, idea.category, idea.reason, self.name, source)


def read_ideas(folder: Path) -> list[Idea]:
    """All ideas of a folder in the order of file names. Raises CatalogueError."""
    ideas = []
    for path in sorted(folder.glob("*.toml")):
        for found in ideas_in(path):
            if isinstance(found, CatalogueError):
                raise found
            ideas.append(found)
    if len(ideas) > MAX_IDEAS:
        raise CatalogueError(f"{folder} has more than {MAX_IDEAS} ideas")
    return ideas


def ideas_in(path: Path) -> Iterator[Idea | CatalogueError]:
    """The ideas of one file in its order, with an error in the position of each that is not as it must be."""
    try:
        contents = tomllib.loads(path.read_text("utf-8-sig"))
        category = _text(contents, "category", CATEGORY_CHARACTERS, str(path))
        rows = _rows(contents, "idea", str(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        yield CatalogueError(f"{path}: {error}")
        return
    except CatalogueError as error:
        yield error
        return
    for row in rows:
        try:
            yield _idea(row, category, str(path))
        except CatalogueError as error:
            yield error


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
