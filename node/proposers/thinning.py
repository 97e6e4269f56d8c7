"""Thinning: the present source without one of the edits that led to it.

A search that goes on from bets carries edits along that do nothing. A simpler source that is as good is the better one,
so each edit whose gain is not sure is taken out once, the least sure first, by merging it backwards onto the source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.ledger.projections.effects import gain_text
from node.ledger.projections.steps import steps_of
from node.platform.log import short_id
from node.proposers.proposer import Context, Lesson, Proposal
from node.proposers.rebase import ReadSource, Rebaser
from node.proposers.reopening import edits_of
from protocol.fields import TEXT_LIMITS
from protocol.records import Experiment, Record, metric_of

CATEGORY = "simplification"
PREFIX = "Without: "
SURE = 3.0  # standard errors: an edit that gained more than this is not taken out


@dataclass(frozen=True)
class _Removable:
    """An edit of the lineage. sureness: its gain in standard errors."""

    record: Record
    body: Experiment
    sureness: float


class Thinning:
    """Proposes the present source without one of its edits."""

    name = "thinning"
    costly = False
    categories = ()

    def __init__(self, records: Callable[[], Sequence[Record]], read: ReadSource, author: bytes) -> None:
        self._records = records
        self._author = author
        self._rebaser = Rebaser(read)

    async def propose(self, context: Context) -> Proposal | None:
        for edit in removable(self._records(), self._author):
            title = (PREFIX + edit.body.title)[: TEXT_LIMITS["title"]].strip()
            if title in context.closed:
                continue
            source = await self._rebaser.onto(context, (edit.body.child, edit.body.parent))
            if source is not None:
                gained = gain_text(edit.body.effect, metric_of(edit.body))
                reason = f"Record {short_id(edit.record.id)} gained {gained}, which is not sure; simpler is better."
                return Proposal(title, CATEGORY, reason[: TEXT_LIMITS["reason"]], self.name, source, simpler=True)
        return None

    def has_stock(self, context: Context) -> bool:
        return bool(removable(self._records(), self._author))

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Nothing to do: the effect is in the ledger."""


def removable(records: Sequence[Record], author: bytes) -> list[_Removable]:
    """The own edits that may be taken out of an author's source, the least sure first.

    Not the last one, which was compared with the source before it just now; no removal, and none that surely gained.
    The gain of an edit in a proven chain is the part that was attributed to it.
    """
    feed = [record for record in records if record.author == author]
    edits = edits_of(steps_of(feed), feed)
    found = []
    for edit in edits[:-1]:
        body = edit.record.body
        if not isinstance(body, Experiment) or body.chain or body.effect is None or body.title.startswith(PREFIX):
            continue
        sureness = edit.gain / max(body.effect.se, 1e-9)
        if sureness < SURE:
            found.append(_Removable(edit.record, body, sureness))
    return sorted(found, key=lambda one: (one.sureness, one.record.id))
