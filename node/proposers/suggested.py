"""Suggestions as a proposer: ideas of people, on this machine and others in the swarm, that came with an edit.

Those in words only go into the prompt of a model or an agent. No author's suggestions can crowd out another's: of each
author a few are used, the newest first, and this node's own before the others'.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import zip_longest

from node.platform.log import short_id
from node.proposers.proposer import Context, Lesson, Proposal
from node.proposers.rebase import ReadSource, Rebaser
from protocol.fields import TEXT_LIMITS
from protocol.identity import short
from protocol.records import Hypothesis, Record

NAMES_IT = re.compile(r"Suggested by …\S{1,20}, record ([0-9a-f]{8,64})\.")
EACH_AUTHOR = 5  # suggestions, so that many records of one author do not displace those of others
MOST = 50  # suggestions in all: each takes a merge, a process, whenever the source changes


class Suggested:
    """Proposes what people suggested, carried over to the present source."""

    name = "suggested"
    costly = False
    categories = ()

    def __init__(self, records: Callable[[], Sequence[Record]], read: ReadSource, author: bytes) -> None:
        self._records = records
        self._author = author
        self._rebaser = Rebaser(read)

    async def propose(self, context: Context) -> Proposal | None:
        for record in newest(self._records(), self._author):
            body = record.body
            if not isinstance(body, Hypothesis) or body.edit is None:
                continue
            source = await self._rebaser.onto(context, (body.base, body.edit))
            if source is not None:
                reason = f"Suggested by …{short(record.author)}, record {short_id(record.id)}. {body.reason}"
                return Proposal(body.title, body.category, reason[: TEXT_LIMITS["reason"]].strip(), self.name, source)
        return None

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Nothing to do: the experiment is recorded, and its record names the suggestion."""


def suggestion_named(proposer: str, reason: str) -> str | None:
    """The start of the id (hex) of the suggestion that an idea or an experiment carries out; None where it is of none.

    reason: as `Suggested` writes it, on this node or on another, whose word it is.
    """
    found = NAMES_IT.match(reason) if proposer == Suggested.name else None
    return found[1] if found is not None else None


def newest(records: Sequence[Record], author: bytes) -> list[Record]:
    """The suggestions to try, this author's own first, then the others' in rounds.

    The newest of each author comes in the first round, the second newest in the next, and so on: a1 b1 c1 a2 c2 a3.
    """
    by_author: dict[bytes, list[Record]] = {}
    for record in reversed(records):
        if isinstance(record.body, Hypothesis):
            found = by_author.setdefault(record.author, [])
            if len(found) < EACH_AUTHOR:
                found.append(record)
    own = by_author.pop(author, [])
    others = [record for rank in zip_longest(*by_author.values()) for record in rank if record is not None]
    return (own + others)[:MOST]


def in_words(records: Sequence[Record], author: bytes) -> list[str]:
    """The texts of suggestions that came without an edit."""
    return [
        record.body.reason or record.body.title
        for record in newest(records, author)
        if isinstance(record.body, Hypothesis) and record.body.edit is None
    ]
