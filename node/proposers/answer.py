"""Decoding what a model or an agent answers: to an edited source that parses, or an error that says what is wrong.

An answer is untrusted. It can change the editable files and nothing else, and the edited source runs only in the
sandbox, like a peer's source.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from node.execution.parsing.parser import SourceParser
from node.objective.edits import NotOnceError, replace_once
from node.objective.trees import MAX_SOURCE_CHARACTERS, TreeError, files_of, source_of
from node.proposers.json_answer import object_in
from node.proposers.nearest import nearest
from protocol.fields import TEXT_LIMITS

MAX_EDITS = 40  # far more than one idea takes; each scans the whole file
OTHER = "other"  # the category of an idea that fits none of the objective's


class AnswerError(Exception):
    """The answer cannot be used; the text tells its author why, in words that are safe to log."""


@dataclass(frozen=True)
class Description:
    """What an idea is called, what it is about and why it may help. offer: the number of the offer it carries over."""

    title: str
    category: str
    reason: str
    offer: int | None = None


@dataclass(frozen=True)
class Answer:
    """A hypothesis with its edit carried out."""

    description: Description
    source: str


@dataclass(frozen=True)
class SearchReplace:
    """An edit as a model gives it. file: None where only one file has the text."""

    file: str | None
    search: str
    replace: str


def decode_answer(text: str, source: str, editable: Sequence[str], categories: Sequence[str]) -> Answer:
    """The edited source that an answer stands for, not yet `checked`. Raises AnswerError.

    text: one JSON object with title, category, reason and edits, perhaps with other words around it.
    source: what is edited. editable: the names of its files.
    """
    fields = _object_in(text, "edits")
    description, edits = _description(fields, categories), _edits(fields, editable)
    try:
        return Answer(description, source_of(edited(files_of(source, editable), edits)))
    except TreeError as error:
        raise AnswerError(f"the edited files cannot be stored: {error}") from None


def decode_description(text: str, categories: Sequence[str]) -> Description:
    """Title, category and reason from a JSON object. Raises AnswerError."""
    return _description(_object_in(text, "title"), categories)


def _description(fields: dict[str, Any], categories: Sequence[str]) -> Description:
    title = plain(_text(fields, "title"), TEXT_LIMITS["title"])
    if not title:
        raise AnswerError('"title" is empty')
    category = fields.get("category")
    return Description(
        title,
        category if isinstance(category, str) and category in categories else OTHER,
        plain(_text(fields, "reason"), TEXT_LIMITS["reason"]),
        _offer(fields),
    )


def _offer(fields: dict[str, Any]) -> int | None:
    number = fields.get("offer")
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def edited(files: Mapping[str, str], edits: Sequence[SearchReplace]) -> dict[str, str]:
    """The files after every edit, in order. Raises AnswerError."""
    changed = dict(files)
    for number, edit in enumerate(edits, 1):
        path, text = _replaced(changed, edit, number)
        changed[path] = text
        if sum(len(text) for text in changed.values()) > MAX_SOURCE_CHARACTERS:
            raise AnswerError(f"the edited source is longer than {MAX_SOURCE_CHARACTERS} characters")
    if changed == dict(files):
        raise AnswerError("the edits change nothing")
    return changed


def _replaced(files: Mapping[str, str], edit: SearchReplace, number: int) -> tuple[str, str]:
    """The file that the edit with this number changes, and its new text. Raises AnswerError."""
    if not edit.search.strip():
        raise AnswerError(f'"search" of edit {number} is empty; to insert, search for the line before, and repeat it')
    found: dict[str, str] = {}
    times: dict[str, int] = {}
    for path in files if edit.file is None else (edit.file,):
        try:
            found[path] = replace_once(files[path], edit.search, edit.replace)
            times[path] = 1
        except NotOnceError as error:
            times[path] = error.times
    if len(found) == 1:
        return next(iter(found.items()))
    if found:
        raise AnswerError(f'"search" of edit {number} occurs in {", ".join(found)}; say which is meant under "file"')
    occurs = ", ".join(f"{count} times in {path}" for path, count in times.items())
    near = [hint for path in times if not times[path] and (hint := nearest(files[path], edit.search)) is not None]
    where = f". In the source, {near[0]}" if near and not any(times.values()) else ""
    raise AnswerError(f'"search" of edit {number} occurs {occurs}; it must occur exactly once{where}')


async def checked(source: str, parser: SourceParser) -> str:
    """The source, if it can be stored and its Python parses. Raises AnswerError."""
    try:
        source.encode()
    except UnicodeEncodeError:
        raise AnswerError("the edited source holds characters that are no text") from None
    error = (await parser.facts(source)).error
    if error is not None:
        raise AnswerError(plain(error, TEXT_LIMITS["reason"]))
    return source


def plain(text: str, most: int) -> str:
    """At most `most` characters of a text, on one line, without control and format characters."""
    # Four times as many are read, so that a text of the full length survives what is dropped, and a long one is cheap.
    spaced = "".join(" " if c.isspace() else c for c in text[: 4 * most])
    kept = "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
    return " ".join(kept.split())[:most].strip()


def _object_in(text: str, wanted: str) -> dict[str, Any]:
    if "{" not in text:
        raise AnswerError("there is no JSON object in the answer")
    found = object_in(text, wanted)
    if found is None:
        raise AnswerError("there is no valid JSON object in the answer; perhaps it was cut off")
    return found


def _edits(fields: dict[str, Any], editable: Sequence[str]) -> list[SearchReplace]:
    edits = fields.get("edits")
    if not isinstance(edits, list) or not 1 <= len(edits) <= MAX_EDITS:
        raise AnswerError(f'"edits" must be a list of 1 to {MAX_EDITS} edits')
    found = []
    for edit in edits:
        if not isinstance(edit, dict):
            raise AnswerError('an edit must be an object with "search" and "replace"')
        file = edit.get("file", edit.get("path"))  # some models say path
        if file is None and edit.keys() - {"search", "replace", "file", "path"}:
            raise AnswerError('an edit has "search", "replace" and perhaps "file", and nothing else')
        if file is not None and file not in editable:
            raise AnswerError(f"an edit is of another file; only {', '.join(editable)} can be edited")
        found.append(SearchReplace(file, _text(edit, "search"), _text(edit, "replace")))
    return found


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise AnswerError(f'"{name}" is missing or not a text')
    return value
