"""Suggestions of the person at this machine, on their way into the ledger.

The ledger has one writer, the running node. The command or the dashboard leaves a suggestion as a file in the home,
written whole or not at all; the node makes it a record of its own feed, at once or when it next starts.
"""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trio

from node.execution.parsing.parser import SourceParser
from node.ledger.projections.steps import steps_of
from node.ledger.store import MAX_SOURCE_BYTES, Ledger, LedgerError
from node.objective.edits import EditError
from node.platform.home import write_private
from node.platform.log import Log, short_id
from node.proposers.answer import AnswerError, checked, plain
from protocol.fields import TEXT_LIMITS
from protocol.identity import Identity
from protocol.records import Hypothesis, Record

CATEGORY = "suggestion"
MAX_WAITING = 100  # files; far more than a person leaves while the node is off
NOTICE_SECONDS = 1.0  # between two checks of the folder: soon enough for a person, one directory listing each
TROUBLE_SECONDS = 60.0  # before the next try on a full disk
MAX_FILE_BYTES = 8 * MAX_SOURCE_BYTES  # JSON writes some characters as six; the rest is for the text


class SuggestionError(Exception):
    """A suggestion that cannot be taken; the text says why and what to do."""


@dataclass(frozen=True)
class Suggestion:
    """An idea in words, with or without an edited source and the source it was made from."""

    text: str
    objective: bytes
    edit: str | None
    base: bytes | None


def suggestion_in_words(text: str, objective: bytes) -> Suggestion:
    """A suggestion without an edit. Raises SuggestionError."""
    most = TEXT_LIMITS["reason"]
    words = plain(text, 4 * most)  # longer than allowed, so that the complaint can say how long it is
    if not words:
        raise SuggestionError("say in a sentence what to try")
    if len(words) > most:
        raise SuggestionError(f"the suggestion has {len(words)} characters, {most} are allowed; shorten it")
    return Suggestion(words, objective, None, None)


async def suggestion_of(
    text: str, edit: str | None, ledger: Ledger, author: bytes, baseline: bytes, parser: SourceParser
) -> Suggestion:
    """A suggestion that can be taken. edit: the edited file, None for an idea in words. Raises SuggestionError.

    The base is the one of this node's best sources so far from which the edit differs in the fewest lines: the person
    may have copied the file before the node found something better.
    """
    suggestion = suggestion_in_words(text, ledger.objective)
    if edit is None:
        return suggestion
    try:
        await checked(edit, parser)
    except AnswerError as error:
        raise SuggestionError(f"the edited file cannot be used: {error}") from None
    bases = [baseline, *(step.source for step in steps_of(ledger.feed(author)))]
    texts = {base: data.decode("utf-8", "replace") for base in bases if (data := ledger.get_blob(base)) is not None}
    if not texts:
        raise SuggestionError("this home has no source yet to compare the edit with; run the node first")
    if await parser.fingerprint(edit) in {await parser.fingerprint(known) for known in texts.values()}:
        raise SuggestionError("the edited file is one this node already has, apart from comments; change something")
    try:
        changed = {base: await parser.lines_changed(known, edit) for base, known in texts.items()}
        base = min(reversed(texts), key=changed.__getitem__)  # of equally near ones the newest: min takes the first
        _, only_chance = await parser.compare(texts[base], edit)
    except EditError as error:
        raise SuggestionError(f"the edited file cannot be compared with this node's sources: {error}") from None
    if only_chance:
        raise SuggestionError("the edited file changes nothing but chance, since all it changes is a seed; change more")
    return replace(suggestion, edit=edit, base=base)


def leave(folder: Path, suggestion: Suggestion) -> None:
    """Put a suggestion where the node finds it. Raises SuggestionError when too many wait there."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if len(list(folder.glob("*.json"))) >= MAX_WAITING:
        raise SuggestionError(f"{MAX_WAITING} suggestions wait already; start the node so that it takes them up")
    fields = {
        "text": suggestion.text,
        "objective": suggestion.objective.hex(),
        "edit": suggestion.edit,
        "base": suggestion.base.hex() if suggestion.base else None,
    }
    write_private(folder / f"{time.time_ns()}.json", json.dumps(fields).encode())


async def keep_taking_up(folder: Path, ledger: Ledger, identity: Identity, parser: SourceParser, log: Log) -> None:
    """Take up the suggestions that wait, and those that come while the node runs, until the ledger takes no more."""
    while True:
        try:
            await take_up(folder, ledger, identity, time.time_ns() // 1_000_000, parser, log)
        except LedgerError as error:
            log("suggestions delayed", level="warning", why=str(error))
            return
        except (OSError, sqlite3.Error) as error:  # a full disk: the suggestion keeps until there is room
            log("suggestions delayed", level="warning", why=f"{type(error).__name__}: is the disk full?")
            await trio.sleep(TROUBLE_SECONDS)
        await trio.sleep(NOTICE_SECONDS)


async def take_up(
    folder: Path, ledger: Ledger, identity: Identity, now_ms: int, parser: SourceParser, log: Log
) -> list[Record]:
    """Make every suggestion that waits for this objective a record. A file that holds none is set aside and logged.

    Raises LedgerError when the ledger takes no more records.
    """
    made = []
    for path in sorted(folder.glob("*.json"))[:MAX_WAITING]:
        try:
            suggestion = await _read(path, parser)
        except SuggestionError as error:
            path.replace(path.with_suffix(".refused"))
            log("suggestion refused", level="warning", why=str(error), file=path.name)
            continue
        if suggestion.objective != ledger.objective:
            continue  # it stays until the node works on that objective again
        body = _hypothesis(suggestion, ledger)
        known = any(record.body == body for record in ledger.feed(identity.author))
        if not known:  # it is known if the node was killed after recording it and before removing the file
            made.append(ledger.append_own(identity, body, now_ms))
            log("suggestion published", title=body.title, record=short_id(made[-1].id), edit=body.edit is not None)
        path.unlink(missing_ok=True)
    return made


def _hypothesis(suggestion: Suggestion, ledger: Ledger) -> Hypothesis:
    most = TEXT_LIMITS["title"]
    short = len(suggestion.text) <= most
    return Hypothesis(
        title=suggestion.text if short else suggestion.text[: most - 1].rstrip() + "…",
        category=CATEGORY,
        reason="" if short else suggestion.text,
        edit=ledger.put_blob(suggestion.edit.encode()) if suggestion.edit is not None else None,
        base=suggestion.base,
    )


async def _read(path: Path, parser: SourceParser) -> Suggestion:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        fields: Any = json.loads(data) if len(data) <= MAX_FILE_BYTES else None
        text, edit, base = fields["text"], fields["edit"], fields["base"]
        objective = bytes.fromhex(fields["objective"])
        known_base = bytes.fromhex(base) if base is not None else None
    except (OSError, ValueError, RecursionError, LookupError, TypeError) as error:
        raise SuggestionError(f"this is no suggestion ({type(error).__name__})") from None
    if not isinstance(text, str) or not plain(text, TEXT_LIMITS["reason"]) or len(objective) != 32:
        raise SuggestionError("this is no suggestion")
    if known_base is not None and len(known_base) != 32:
        raise SuggestionError("its base is no source id")
    try:
        if edit is not None and not isinstance(edit, str):
            raise AnswerError("it is no text")
        source = await checked(edit, parser) if edit is not None else None
    except AnswerError as error:
        raise SuggestionError(f"its edit cannot be used: {error}") from None
    return Suggestion(plain(text, TEXT_LIMITS["reason"]), objective, source, known_base)
