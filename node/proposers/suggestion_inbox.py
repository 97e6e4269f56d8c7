"""Suggestions of the person at this machine, on their way into the ledger.

The ledger has one writer, the running node. The command or the dashboard leaves a suggestion as a file in the home,
written whole or not at all; the node makes it a record of its own feed, at once or when it next starts.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import trio

from node.execution.parsing.parser import SourceParser
from node.ledger.error import LedgerError
from node.ledger.projections.steps import best_source, steps_of
from node.ledger.signing import NotSigningError
from node.ledger.store import MAX_SOURCE_BYTES, Ledger
from node.objective.catalog import entry_points
from node.objective.edits import EditError
from node.objective.trees import TreeError, files_of, source_of
from node.platform.file_trouble import read_at_most
from node.platform.log import Log, short_id
from node.platform.private_files import write_private
from node.proposers.answer import AnswerError, checked, plain
from protocol.fields import TEXT_LIMITS
from protocol.identity import Identity
from protocol.records import Hypothesis, Record

CATEGORY = "suggestion"
MAX_WAITING = 100  # files; far more than a person leaves while the node is off
NOTICE_SECONDS = 1.0  # between two checks of the folder: soon enough for a person, one directory listing each
TROUBLE_SECONDS = 5.0  # before the next try on a full disk, or while another process holds the ledger
REFUSED, WHY = ".refused", ".why"  # what a suggestion's file is called that cannot be used, and the one that says why
MAX_FILE_BYTES = 8 * MAX_SOURCE_BYTES  # JSON writes some characters as six; the rest is for the text


AT_NEXT_START = "it is tried first when the node next starts"
NO_MODEL = (
    "no language model or agent is set up here; set one up by [llm] or [agent] in swarm.toml (docs/proposers.md; "
    "`autoresearch-node doctor` finds those on this machine), or give the idea as an edit, with --edit"
)


class SuggestionError(Exception):
    """A suggestion that cannot be taken; the text says why and what to do."""


@dataclass(frozen=True)
class Suggestion:
    """An idea in words, with or without an edited source and the source it was made from.

    replaces: it changes lines that this node's best source has changed since, which it then replaces.
    """

    text: str
    objective: bytes
    edit: str | None
    base: bytes | None
    replaces: bool = False


def suggestion_in_words(text: str, objective: bytes) -> Suggestion:
    """A suggestion without an edit. Raises SuggestionError."""
    most = TEXT_LIMITS["reason"]
    words = plain(text, 4 * most)  # longer than allowed, so that the complaint can say how long it is
    if not words:
        raise SuggestionError("say in a sentence what to try")
    if len(words) > most:
        count = f"over {4 * most}" if len(text) > 4 * most else str(len(words))
        raise SuggestionError(f"the suggestion has {count} characters, {most} are allowed; shorten it")
    return Suggestion(words, objective, None, None)


def read_edit(path: Path, editable: Sequence[str], files: Sequence[str] = ()) -> dict[str, str]:
    """A person's edited files, by the names of the objective's editable files. Raises SuggestionError.

    path: an edited copy of one of them, or a folder with edited copies of some at the places they have in the
    objective's. Of several editable files the copy is the one whose path ends most like the copy's. files: of the
    objective; what is called like one that may not be edited is no copy.
    """
    if path.is_dir():
        found = {name: _edited_text(path / name) for name in editable if (path / name).is_file()}
        if not found:
            raise SuggestionError(f"{path} has none of the files that may be edited: {', '.join(editable)}")
        return found
    if len(editable) == 1:
        return {editable[0]: _copy_of(path, editable[0], files)}
    alike = {name: _parts_alike(path.absolute(), Path(name)) for name in editable}
    most = max(alike.values())
    names = [name for name, parts in alike.items() if parts == most]
    if most == 0:
        raise SuggestionError(
            f"no file that may be edited is called {path.name}: they are {', '.join(editable)}; give the copy the name "
            "of its original, or a folder with the edited files"
        )
    if len(names) > 1:
        raise SuggestionError(f"{path} may be a copy of {' or '.join(names)}; give a folder with the edited files")
    return {names[0]: _edited_text(path)}


def _copy_of(path: Path, original: str, files: Sequence[str]) -> str:
    """The text of an edited copy of a file of the same kind, whatever it is called, but not as another one is."""
    others = {Path(name).name for name in files if name != original} - {Path(original).name}
    if path.suffix != Path(original).suffix or path.name in others:
        raise SuggestionError(
            f"{path.name} is no copy of {original}, which alone may be edited here; give an edited copy of that"
        )
    return _edited_text(path)


def _parts_alike(one: Path, other: Path) -> int:
    """In how many names two paths agree, from the end: 2 for /tmp/model/layers.py and model/layers.py."""
    agree = (a == b for a, b in zip(reversed(one.parts), reversed(other.parts), strict=False))
    return sum(1 for _ in takewhile(bool, agree))


def _edited_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SOURCE_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise SuggestionError(f"cannot read {path} ({error.strerror}); check --edit") from None
    except UnicodeDecodeError:
        raise SuggestionError(f"{path} is not UTF-8 text; give an edited copy of the source") from None
    if len(content) > MAX_SOURCE_BYTES:
        raise SuggestionError(f"{path} is larger than {MAX_SOURCE_BYTES >> 10} KiB; give an edited copy of the source")
    if not text.strip() and not path.name.startswith("__init__."):
        raise SuggestionError(f"{path} is empty; give an edited copy of the source")
    return text


async def suggestion_of(
    text: str, edit: Mapping[str, str] | None, ledger: Ledger, author: bytes, baseline: bytes, parser: SourceParser
) -> Suggestion:
    """A suggestion that can be taken. Raises SuggestionError.

    edit: the edited files as `read_edit` gives them, None for an idea in words. The base is the one of this node's best
    sources so far from which the edit differs in the fewest lines: the person may have copied the files before the node
    found something better. Files that were not edited are the base's.
    """
    suggestion = suggestion_in_words(text, ledger.objective)
    if edit is None:
        return suggestion
    bases = [baseline, *(step.source for step in steps_of(ledger.feed(author)))]
    texts = {base: data.decode("utf-8", "replace") for base in bases if (data := ledger.get_blob(base)) is not None}
    if not texts:
        raise SuggestionError("this home has no source yet to compare the edit with; run the node first")
    try:
        edited = {
            base: source_of(files_of(known, ledger.settings.editable) | dict(edit)) for base, known in texts.items()
        }
        changed = {base: await parser.lines_changed(known, edited[base]) for base, known in texts.items()}
        base = min(reversed(texts), key=changed.__getitem__)  # of equally near ones the newest: min takes the first
        source = await checked(edited[base], parser)
        await _refuse_incomplete(source, texts[base], ledger, parser)
        if await parser.fingerprint(source) in {await parser.fingerprint(known) for known in texts.values()}:
            raise SuggestionError("the edit gives a source that this node has, apart from comments; change something")
        _, only_chance = await parser.compare(texts[base], source)
    except (AnswerError, TreeError) as error:
        raise SuggestionError(f"the edit of {', '.join(edit)} cannot be used: {error}") from None
    except EditError as error:
        raise SuggestionError(f"the edit cannot be compared with this node's sources: {error}") from None
    if only_chance:
        raise SuggestionError("the edit changes nothing but chance, since all it changes is a seed; change more")
    best = texts.get(best_source(ledger.feed(author), baseline))
    replaces = best is not None and await parser.merge(texts[base], best, source) is None
    if replaces and best is not None and await parser.merge(texts[base], best, source, "theirs") is None:
        raise SuggestionError(
            "the edit cannot be carried over to this node's best source: what is left of both does not fit together; "
            "edit a fresh copy of it, from workspace/ in the home"
        )
    return replace(suggestion, edit=source, base=base, replaces=replaces)


async def _refuse_incomplete(source: str, base: str, ledger: Ledger, parser: SourceParser) -> None:
    """Raise SuggestionError where an edit leaves nothing to run."""
    names = entry_points(ledger)
    files, before = (files_of(each, ledger.settings.editable) for each in (source, base))
    emptied = [name for name, text in files.items() if not text.strip() and before[name].strip()]
    if len(emptied) == len(files):
        raise SuggestionError("the edit is empty; give an edited copy of the source")
    missing = [name for name in await parser.lacks(source, names) if name not in await parser.lacks(base, names)]
    if missing:
        raise SuggestionError(
            f"the edit has no `{missing[0]}`, which every run of this objective calls; keep it, with its parameters"
        )


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


def ends_first(running: Mapping[str, Any] | None) -> bool:
    """Whether the running node, by what it says of itself (status.json), stops before it begins another experiment."""
    return running is not None and running.get("more_experiments") == 0


def outlook(suggestion: Suggestion, node_runs: bool, has_model: bool, ends_first: bool = False) -> str:
    """What will come of a suggestion that was left, in a sentence without a full stop."""
    when = "the running node takes it up now" if node_runs else "the node takes it up when it next starts"
    if suggestion.edit is not None and node_runs and ends_first:
        return f"{when} and sends it to the swarm, but ends after the experiment under way: {AT_NEXT_START}"
    if suggestion.edit is not None:
        lines = ", with your lines where its best source has changed the same ones since"
        return f"{when}, tries it next{lines if suggestion.replaces else ''}, and sends it to the swarm"
    if has_model:
        return f"{when}, shows it to its model with every question, and sends it to the swarm"
    return f"an idea in words needs a model, and {NO_MODEL}. {when.capitalize()} and sends it to peers that have one"


async def keep_taking_up(folder: Path, ledger: Ledger, identity: Identity, parser: SourceParser, log: Log) -> None:
    """Take up the suggestions that wait, and those that come while the node runs.

    What the ledger cannot take now it is given again later: a suggestion is never dropped for that.
    """
    told = ""
    while True:
        try:
            await take_up(folder, ledger, identity, time.time_ns() // 1_000_000, parser, log)
        except NotSigningError:
            pass  # the log says why; they keep until the node signs again
        except (LedgerError, OSError, sqlite3.Error) as error:  # a full disk or quota, a ledger held by another process
            why = str(error) if isinstance(error, LedgerError) else ledger.trouble(error)
            if why != told:
                log("suggestions delayed", level="warning", why=why, hint=f"again every {TROUBLE_SECONDS:.0f} s")
            told = why
            await trio.sleep(TROUBLE_SECONDS)
            continue
        told = ""
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
            with suppress(OSError):  # only what a person is shown later; the log has it, too
                write_private(path.with_suffix(WHY), str(error).encode(), durable=False)
            path.replace(path.with_suffix(REFUSED))
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
        data = read_at_most(path, MAX_FILE_BYTES + 1)
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
