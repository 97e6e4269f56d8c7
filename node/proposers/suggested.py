"""Suggestions as a proposer: ideas of people, here and elsewhere in the swarm, that came with an edit.

Those in words only are for whoever understands words: they are handed to a model or an agent. Nobody's suggestions
crowd out another's: of each author a few are looked at, the newest first, and this node's own before the others'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from node.proposers.proposer import Context, Lesson, Proposal
from node.proposers.rebase import ReadSource, Rebaser
from protocol.fields import TEXT_LIMITS
from protocol.identity import short
from protocol.records import Hypothesis, Record

EACH_AUTHOR = 5
MOST = 50


class Suggested:
    """Proposes what people suggested, carried over to the present source."""

    name = "suggested"
    costly = False
    categories = ()

    def __init__(self, records: Callable[[], Sequence[Record]], read: ReadSource, author: bytes) -> None:
        self._records = records
        self._author = author
        self._grafts = Rebaser(read)

    async def propose(self, context: Context) -> Proposal | None:
        for record in newest(self._records(), self._author):
            body = record.body
            if not isinstance(body, Hypothesis) or body.edit is None:
                continue
            source = await self._grafts.onto(context, (body.base, body.edit))
            if source is not None:
                reason = f"Suggested by …{short(record.author)}, record {record.id.hex()[:10]}. {body.reason}"
                return Proposal(body.title, body.category, reason[: TEXT_LIMITS["reason"]].strip(), self.name, source)
        return None

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Whoever suggested it reads the record of the experiment."""


def newest(records: Sequence[Record], author: bytes) -> list[Record]:
    """The suggestions worth looking at, this author's own first, then the newest of everybody else by turns."""
    by_author: dict[bytes, list[Record]] = {}
    for record in reversed(records):
        if isinstance(record.body, Hypothesis):
            found = by_author.setdefault(record.author, [])
            if len(found) < EACH_AUTHOR:
                found.append(record)
    own = by_author.pop(author, [])
    turns = [found[turn] for turn in range(EACH_AUTHOR) for found in by_author.values() if turn < len(found)]
    return (own + turns)[:MOST]


def in_words(records: Sequence[Record], author: bytes) -> list[str]:
    """The texts of suggestions that came without an edit."""
    return [
        record.body.reason or record.body.title
        for record in newest(records, author)
        if isinstance(record.body, Hypothesis) and record.body.edit is None
    ]
