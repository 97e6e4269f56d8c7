"""What became of one idea that came with an edit: from the file that waits in the home to the experiments on it.

Whoever proposed it knows the id of its edited source. It is a fold of the records, and of what waits in the home.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from node.ledger.store import Ledger
from node.platform.log import Json, short_id
from node.proposers.suggestion_inbox import MAX_FILE_BYTES, MAX_WAITING
from node.view.model.rows import row
from protocol.records import Experiment, Hypothesis, Record

MOST_TRIES = 10
SHORTEST_ID = 8  # characters of an id that is looked for


def proposal(ledger: Ledger, inbox: Path, wanted: str) -> Json | None:
    """An idea's state and the experiments on it; None where there is none. wanted: the start of the id of its edited
    source, of its record, or of an experiment on it."""
    if len(wanted) < SHORTEST_ID:
        return None
    records = ledger.all_records()
    for record in reversed(records):
        body = record.body
        if isinstance(body, Hypothesis) and body.edit is not None:
            tries = [row(one) for one in _tries(records, record)]
            ids = (body.edit.hex(), record.id.hex(), *(one["id"] for one in tries))
            if any(one.startswith(wanted) for one in ids):
                state = "tried" if tries else "waiting to be tried"
                return {
                    "id": body.edit.hex(), "record": record.id.hex(), "title": body.title, "state": state,
                    "tries": tries[-MOST_TRIES:],
                }  # fmt: skip
    for text, edit in _waiting(inbox):
        if edit.startswith(wanted):
            return {"id": edit, "record": None, "title": text, "state": "waiting for the node", "tries": []}
    return None


def _tries(records: Sequence[Record], idea: Record) -> Iterator[Record]:
    """The experiments that name an idea as theirs."""
    named = f"record {short_id(idea.id)}"
    for record in records:
        body = record.body
        if isinstance(body, Experiment) and body.proposer == "suggested" and not body.chain:
            begins, _, _ = body.reason.partition(". ")
            yield from (record,) if named in begins else ()


def _waiting(inbox: Path) -> Iterator[tuple[str, str]]:
    """(text, id of the edited source) of each idea that the node has not taken up."""
    for path in sorted(inbox.glob("*.json"))[:MAX_WAITING]:
        try:
            with path.open("rb") as file:
                fields = json.loads(file.read(MAX_FILE_BYTES))
            yield str(fields["text"]), hashlib.sha256(fields["edit"].encode()).hexdigest()
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue  # in words, or taken up just now
