"""Suggestions as a proposer: ideas of people, on this machine and others in the swarm, that came with an edit.

Those in words only go into the prompt of a model or an agent. No author's suggestions can crowd out another's: of each
peer a few are used, the newest first, after this node's own, which its person gave in that order. One is tried here
once, unless this machine was to blame that its run failed; whether and in which order is what this node's person has
chosen (`suggestion_choices`).

This node's own, and those that its person moved up, are urgent: they are asked for before any other idea, and where
they change lines that the present source has changed too, theirs are taken. What keeps one from being tried is noted,
for people to see (`SuggestionNotes`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Protocol

from node.ledger.outcome import HOST_FAILURES
from node.platform.log import SHORT_ID_CHARACTERS, short_id
from node.proposers.proposer import Context, Lesson, Proposal
from node.proposers.rebase import ReadSource, Rebaser
from node.proposers.suggestion_choices import Choices
from protocol.fields import TEXT_LIMITS
from protocol.identity import short
from protocol.records import Decision, Experiment, Failure, Hypothesis, Record

NAMES_IT = re.compile(r"Suggested by …\S{1,20}, record ([0-9a-f]{8,64})\.")
EACH_AUTHOR = 5  # peers' suggestions, so that many records of one author do not displace those of others
MOST_OWN = 100  # as many as may wait in the home
MOST = 150  # suggestions in all: each takes a merge, a process, whenever the source changes
MOST_NOTES = 300
MOST_ATTEMPTS = 3  # of one suggestion, each on another source, where the machine was to blame
NOT_HERE = "its edited source has not arrived here yet"
CONFLICT = (
    "it changes the same lines as an edit that your best source already has; `up` has it tried all the same, else it "
    "is looked at again when that changes"
)


class NotesStore(Protocol):
    """Where the notes are kept: the ledger's settings."""

    suggestion_notes: bytes | None


@dataclass
class SuggestionNotes:
    """Why suggestions are not tried at the moment, by record id (hex), as the node noted it last. Bounded."""

    store: NotesStore
    known: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.known = read_notes(self.store.suggestion_notes)

    def note(self, record_id: str, why: str | None) -> None:
        """Keep why a suggestion cannot be tried; None where nothing is against it any more."""
        if self.known.get(record_id) == why:
            return
        self.known.pop(record_id, None)
        if why is not None:
            self.known[record_id] = why
        while len(self.known) > MOST_NOTES:
            del self.known[next(iter(self.known))]
        self.store.suggestion_notes = json.dumps(self.known).encode()


def read_notes(packed: bytes | None) -> dict[str, str]:
    """What `SuggestionNotes` has kept."""
    try:
        fields: Any = json.loads(packed) if packed is not None else {}
    except ValueError:
        return {}
    if not isinstance(fields, dict):
        return {}
    return {str(key): str(why) for key, why in fields.items()}


class Suggested:
    """Proposes what people suggested, carried over to the present source."""

    name = "suggested"
    costly = False
    categories = ()

    def __init__(
        self,
        records: Callable[[], Sequence[Record]],
        read: ReadSource,
        author: bytes,
        choices: Callable[[], Choices] = Choices,
        notes: SuggestionNotes | None = None,
    ) -> None:
        self._records = records
        self._read = read
        self._author = author
        self._choices = choices
        self._notes = notes
        self._rebaser = Rebaser(read)
        self._looked_at: dict[bytes, bytes] = {}  # urgent suggestions, by record id: for which source they were

    async def propose(self, context: Context) -> Proposal | None:
        for record in self._queue():
            proposal = await self._idea_of(record, context)
            if proposal is not None:
                return proposal
        return None

    def has_stock(self, context: Context) -> bool:
        return bool(self._queue())

    def urgent_waits(self, source: bytes) -> bool:
        """Whether an urgent suggestion was not looked at yet for the source (its id) that is edited now."""
        return any(self._looked_at.get(record.id) != source for record in self._urgent())

    async def urgent(self, context: Context, most: int) -> list[Proposal]:
        """The urgent suggestions that can be tried on this source, in their order, and not looked at before.

        most: how many are wanted; the others wait, so that a person may still put them into another order.
        """
        found: list[Proposal] = []
        for record in self._urgent():
            if len(found) == most:
                break
            if self._looked_at.get(record.id) == context.source_id:
                continue
            proposal = await self._idea_of(record, context)
            if self._is_here(record):
                self._looked_at[record.id] = context.source_id
            if proposal is not None:
                found.append(proposal)
        return found

    def is_withdrawn(self, proposal: Proposal) -> bool:
        """Whether an idea is a suggestion that the person has vetoed or taken back since it was proposed."""
        named, choices = suggestion_named(proposal.proposer, proposal.reason), self._choices()
        return named is not None and any(one.startswith(named) for one in choices.vetoed | choices.taken_back)

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Nothing to do: the experiment is recorded, and its record names the suggestion."""

    def _queue(self) -> list[Record]:
        return queue(self._records(), self._author, self._choices())

    def _urgent(self) -> list[Record]:
        return [record for record in self._queue() if self._is_urgent(record)]

    def _is_urgent(self, record: Record) -> bool:
        return record.author == self._author or record.id.hex() in self._choices().asked_for

    def _is_here(self, record: Record) -> bool:
        body = record.body
        return isinstance(body, Hypothesis) and body.edit is not None and self._read(body.edit) is not None

    async def _idea_of(self, record: Record, context: Context) -> Proposal | None:
        """The suggestion as an edit of the present source; None, with a note of why, where it is none."""
        body = record.body
        assert isinstance(body, Hypothesis)
        assert body.edit is not None
        source, why, change = None, NOT_HERE, (body.base, body.edit)
        if self._is_here(record):
            source, why = await self._rebaser.merged(context, change), CONFLICT
            if source is None and self._is_urgent(record):
                source = await self._rebaser.merged(context, change, on_conflict="theirs")
        refusal = await context.refusal(source) if source is not None else why
        if self._notes is not None:
            self._notes.note(record.id.hex(), refusal)
        if source is None or refusal is not None:
            return None
        reason = f"Suggested by {short(record.author)}, record {short_id(record.id)}. {body.reason}"
        return Proposal(body.title, body.category, reason[: TEXT_LIMITS["reason"]].strip(), self.name, source)


def suggestion_named(proposer: str, reason: str) -> str | None:
    """The start of the id (hex) of the suggestion that an idea or an experiment carries out; None where it is of none.

    reason: as `Suggested` writes it, on this node or on another, whose word it is.
    """
    found = NAMES_IT.match(reason) if proposer == Suggested.name else None
    return found[1] if found is not None else None


def tries(records: Iterable[Record]) -> Mapping[str, Sequence[Record]]:
    """The experiments on suggestions, by the start of the suggestion's id (hex), as `short_id` has it."""
    found: dict[str, list[Record]] = {}
    for record in records:
        body = record.body
        if isinstance(body, Experiment) and not body.chain:
            named = suggestion_named(body.proposer, body.reason)
            if named is not None:
                found.setdefault(named[:SHORT_ID_CHARACTERS], []).append(record)
    return found


def failure_of(body: Experiment) -> Failure | None:
    """How the edited source failed, where it did."""
    pairs = (*((body.screening,) if body.screening is not None else ()), *body.pairs)
    return next((pair.child.failure for pair in pairs if pair.child.failure is not None), None)


def is_settled(tried: Iterable[Record]) -> bool:
    """Whether tries of one suggestion say what it is worth.

    One that failed in a way that says more of the machine at that moment, such as a timeout, does not, up to a limit.
    """
    bodies = [record.body for record in tried if isinstance(record.body, Experiment)]
    of_the_machine = sum(body.decision == Decision.FAILED and failure_of(body) in HOST_FAILURES for body in bodies)
    return of_the_machine < len(bodies) or of_the_machine >= MOST_ATTEMPTS


def queue(records: Sequence[Record], author: bytes, choices: Choices) -> list[Record]:
    """The suggestions with an edit that wait to be tried here, in their order.

    This node's own come first, the earliest first, then peers' in rounds: a1 b1 c1 a2 c2 a3, where a1 is the newest of
    a. Where the person has ordered them, that holds; what came since stands behind the last own one, or at the end.
    """
    tried = tries(record for record in records if record.author == author)
    waiting = [
        record
        for record in newest(records, author, choices)
        if isinstance(record.body, Hypothesis)
        and record.body.edit is not None
        and not is_settled(tried.get(short_id(record.id), ()))
    ]
    by_id = {record.id.hex(): record for record in waiting}
    ordered = [by_id[one] for one in choices.order if one in by_id]
    new = [record for record in waiting if record not in ordered] if ordered else waiting
    own = [record for record in new if record.author == author]
    behind = max((place + 1 for place, one in enumerate(ordered) if one.author == author), default=0)
    return [*ordered[:behind], *own, *ordered[behind:], *(record for record in new if record.author != author)]


def newest(records: Sequence[Record], author: bytes, choices: Choices | None = None) -> list[Record]:
    """The suggestions that count here: this author's own, the earliest first, then the others' in rounds.

    The newest of each peer comes in the first round, the second newest in the next, and so on. choices: what this
    node's person vetoed or took back is left out.
    """
    allows = (choices or Choices()).allows
    by_author: dict[bytes, list[Record]] = {}
    for record in reversed(records):
        if isinstance(record.body, Hypothesis) and allows(record.id.hex()):
            found = by_author.setdefault(record.author, [])
            if len(found) < (MOST_OWN if record.author == author else EACH_AUTHOR):
                found.append(record)
    own = by_author.pop(author, [])[::-1]
    others = [record for rank in zip_longest(*by_author.values()) for record in rank if record is not None]
    return (own + others)[:MOST]


def in_words(records: Sequence[Record], author: bytes, choices: Choices | None = None) -> list[str]:
    """The texts of suggestions that came without an edit."""
    return [
        record.body.reason or record.body.title
        for record in newest(records, author, choices)
        if isinstance(record.body, Hypothesis) and record.body.edit is None
    ]
