"""The fate of every suggestion: where it waits, what came of it, or what keeps it from being tried; as plain data.

It reads the ledger, the files that wait in the home, what the person has decided, and what the running node says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.ledger.outcome import HOST_FAILURES
from node.ledger.projections.conclusions import Conclusion, conclusion, conclusion_text
from node.ledger.projections.effects import gain_text
from node.ledger.store import Ledger
from node.platform.file_trouble import read_at_most
from node.platform.home import Home
from node.platform.log import Json, short_id
from node.proposers.suggested import EACH_AUTHOR, failure_of, is_settled, queue, read_notes, tries
from node.proposers.suggestion_choices import Choices
from node.proposers.suggestion_inbox import (
    AT_NEXT_START,
    MAX_FILE_BYTES,
    MAX_WAITING,
    NO_MODEL,
    REFUSED,
    WHY,
    ends_first,
)
from protocol.identity import peer_id_of
from protocol.records import Decision, Experiment, Hypothesis, Record, metric_of

MOST_SHOWN = 200
MOST_TRIES = 20  # of one suggestion
MOST_TEXT = 500  # characters
WITH_MODEL = "a language model or an agent is set up here"
ORDER = ("trying", "waiting", "left")  # states that are shown first, in this order


@dataclass(frozen=True)
class _Known:
    """What every suggestion's state follows from."""

    records: Sequence[Record]
    author: bytes
    choices: Choices
    tries: Mapping[str, Sequence[Record]]
    places: Mapping[bytes, int]  # in the queue, from 0
    notes: Mapping[str, str]
    trying: Sequence[str]  # starts of ids
    has_model: bool
    rests: str | None  # why no suggestion is tried now, whatever its place


def suggestions(ledger: Ledger, home: Home, choices: Choices, has_model: bool, running: Json | None) -> Json:
    """Every suggestion with its state, those to be tried first. running: status.json, None where no node runs."""
    records = ledger.all_records()
    known = _known(ledger, choices, has_model, running)
    shown = [_shown(record, known) for record in records if isinstance(record.body, Hypothesis)]
    shown += _files(home.suggestions, ledger, running)
    shown.sort(key=_order)
    return {
        "suggestions": shown[:MOST_SHOWN],
        "more": max(0, len(shown) - MOST_SHOWN),
        "model": {"configured": has_model, "text": WITH_MODEL if has_model else NO_MODEL},
        "of": len(records),
    }


def fate(record: Record, ledger: Ledger, choices: Choices, has_model: bool, running: Json | None) -> Json:
    """One suggestion that is held, as `suggestions` has it."""
    return _shown(record, _known(ledger, choices, has_model, running))


def _known(ledger: Ledger, choices: Choices, has_model: bool, running: Json | None) -> _Known:
    records, author = ledger.all_records(), ledger.settings.author
    waiting = queue(records, author, choices)
    notes = read_notes(ledger.settings.suggestion_notes)
    free = [record for record in waiting if record.id.hex() not in notes]
    return _Known(
        records=records,
        author=author,
        choices=choices,
        tries=tries(records),
        places={record.id: place for place, record in enumerate([*free, *(r for r in waiting if r not in free)])},
        notes=notes,
        trying=_named_in(running),
        has_model=has_model,
        rests=_rests(running),
    )


def _order(one: Json) -> tuple[int, int, int]:
    rank = ORDER.index(one["state"]) if one["state"] in ORDER else len(ORDER)
    return rank, one["place"] or 0, -one["time"]


def _named_in(running: Json | None) -> list[str]:
    """The starts of the ids of the suggestions whose runs are under way."""
    runs = (running or {}).get("runs")
    rows = [run for run in runs if isinstance(run, dict)] if isinstance(runs, list) else []
    return [str(run["suggestion"]) for run in rows if run.get("suggestion")]


def _rests(running: Json | None) -> str | None:
    if running is None:
        return "no node runs here; it is tried when one does"
    if running.get("resting"):
        return f"the node is paused: {str(running['resting'])[:MOST_TEXT]}"
    if running.get("researches") is False:
        return "this node makes no research of its own (join --no-research), but its peers may try it"
    if ends_first(running):
        return f"the node ends after the experiment under way (join --experiments); {AT_NEXT_START}"
    return None


def _shown(record: Record, known: _Known) -> Json:
    body = record.body
    assert isinstance(body, Hypothesis)
    tried = known.tries.get(short_id(record.id), ())
    state = _state(record, body, tried, known)
    own = record.author == known.author
    return {
        "id": record.id.hex(),
        "file": None,
        "title": body.title,
        "text": body.reason or body.title,
        "has_edit": body.edit is not None,
        "edit": body.edit.hex() if body.edit is not None else None,
        "by": peer_id_of(record.author),
        "own": own,
        "time": record.time,
        "place": None,
        "why": None,
        "record": None,
        "gain_text": None,
        "tried": [_try(one) for one in tried[-MOST_TRIES:]],
        "can": _can(state["state"], own),
        **state,
    }


def _state(record: Record, body: Hypothesis, tried: Sequence[Record], known: _Known) -> Json:
    record_id = record.id.hex()
    mine = [one for one in tried if one.author == known.author]
    note = known.notes.get(record_id)
    if (mine and (note is not None or is_settled(mine))) or (tried and note is not None):
        last = (mine or list(tried))[-1]
        assert isinstance(last.body, Experiment)
        gain = gain_text(last.body.effect, metric_of(last.body)) if last.body.effect is not None else None
        why = f"{_outcome(last, last.body, known)}{'' if mine else ' by a peer'}"
        return {"state": "tried", "why": why, "record": last.id.hex(), "gain_text": gain}
    if record_id in known.choices.taken_back:
        return {"state": "taken_back", "why": "you took it back; nodes that have it may still try it"}
    if record_id in known.choices.vetoed:
        return {"state": "vetoed", "why": "you said that this node is not to try it"}
    if any(record_id.startswith(start) for start in known.trying):
        return {"state": "trying", "why": "its runs are under way"}
    if body.edit is None:
        return _in_words(known)
    return _waiting(record, note, known)


def _in_words(known: _Known) -> Json:
    if known.has_model:
        return {"state": "with_model", "why": "the model is shown it with every question, as a person's idea"}
    return {"state": "needs_model", "why": f"it is in words, and {NO_MODEL}; peers that have a model are shown it"}


def _waiting(record: Record, note: str | None, known: _Known) -> Json:
    if record.id not in known.places:
        return {"state": "dropped", "why": f"of each peer only the {EACH_AUTHOR} newest are tried here"}
    if note is not None:
        return {"state": "dropped", "why": note}
    place = known.places[record.id]
    urgent = record.author == known.author or record.id.hex() in known.choices.asked_for
    why = "tried in this node's next turn" if place == 0 else f"tried after {place} other{'s' if place > 1 else ''}"
    if not urgent:
        why = "a peer's; the strategy chooses among it and other ideas, and `up` has it tried first"
    return {"state": "waiting", "place": place + 1, "why": known.rests or why}


def _outcome(record: Record, body: Experiment, known: _Known) -> str:
    if body.decision == Decision.FAILED:
        failure = failure_of(body)
        why = f"its run failed ({failure})" if failure is not None else "its run failed"
        return f"{why}, perhaps by what else this machine did then" if failure in HOST_FAILURES else why
    told = conclusion_text(record, known.records)
    return f"{told}: no gain here" if told == Conclusion.DROPPED else told


def _can(state: str, own: bool) -> list[str]:
    refuse = ["take-back"] if own else ["veto"]
    match state:
        case "waiting" | "dropped":
            return ["up", "down", *refuse]
        case "needs_model" | "with_model" | "trying":
            return refuse
        case "vetoed" | "taken_back":
            return ["allow"]
    return []


def _try(record: Record) -> Json:
    body = record.body
    assert isinstance(body, Experiment)
    return {
        "id": record.id.hex(),
        "by": peer_id_of(record.author),
        "decision": conclusion(body),
        "gain_text": gain_text(body.effect, metric_of(body)) if body.effect is not None else None,
        "time": record.time,
    }


# ---- what waits in the home ----------------------------------------------------------------------------------------


def _files(folder: Path, ledger: Ledger, running: Json | None) -> list[Json]:
    """Suggestions that no node has taken up yet, and those that it refused."""
    if not folder.is_dir():
        return []
    left = sorted(folder.glob("*.json"))[:MAX_WAITING]
    refused = sorted(folder.glob(f"*{REFUSED}"))[-MAX_WAITING:]
    return [_left(path, ledger, running) for path in left] + [_refused(path, ledger) for path in refused]


def _left(path: Path, ledger: Ledger, running: Json | None) -> Json:
    fields = _fields(path)
    why = "the node takes it up within seconds" if running else "no node runs here; the next one takes it up"
    if fields.get("objective") != ledger.objective.hex():
        why = "it is about another objective; it waits until this home researches that again"
    return _file(path, fields, ledger, "left", why) | {"can": ["take-back"]}


def _refused(path: Path, ledger: Ledger) -> Json:
    try:
        why = path.with_suffix(WHY).read_text()[:MOST_TEXT]
    except (OSError, ValueError):
        why = "the log says why (`suggestion refused`)"
    return _file(path, _fields(path), ledger, "refused", why) | {"can": ["take-back"]}


def _file(path: Path, fields: Mapping[str, Any], ledger: Ledger, state: str, why: str) -> Json:
    text = fields.get("text")
    shown = text[:MOST_TEXT] if isinstance(text, str) else path.name
    author = ledger.settings.author
    name = path.stem
    return {
        "id": None,
        "file": path.name,
        "title": shown,
        "text": shown,
        "has_edit": isinstance(fields.get("edit"), str),
        "edit": hashlib.sha256(fields["edit"].encode()).hexdigest() if isinstance(fields.get("edit"), str) else None,
        "by": peer_id_of(author) if author else None,
        "own": True,
        "time": int(name) // 1_000_000 if name.isascii() and name.isdigit() and len(name) < 22 else 0,
        "state": state,
        "place": None,
        "why": why,
        "record": None,
        "gain_text": None,
        "tried": [],
        "can": [],
    }


def _fields(path: Path) -> Mapping[str, Any]:
    try:
        data = read_at_most(path, MAX_FILE_BYTES + 1)
        fields = json.loads(data) if len(data) <= MAX_FILE_BYTES else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
