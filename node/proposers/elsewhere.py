"""Ideas that were confirmed in other objectives of this home: proposed where their edit applies, else told in words.

A home keeps the records of every objective that it researched in one file. Those of the others cannot change while a
node runs here, so they are read once, in a thread, by a connection that cannot write. What came of an idea here is
signed with where it is from, and so everybody sees which kinds of idea carry over between which objectives.

Nothing leaves a private swarm, and nothing of a person's own objective that no peer has seen: an experiment here is
shown to the peers of this objective.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from node.ledger.error import LedgerError
from node.ledger.projections.discoveries import refuted
from node.ledger.projections.effects import bare_gain_text
from node.ledger.projections.steps import steps_of
from node.ledger.settings import Description
from node.ledger.store import Ledger
from node.platform.concurrency import in_thread
from node.platform.file_trouble import HomeError
from node.platform.log import Log, short_id
from node.proposers.proposer import Context, Lesson, Offer, Proposal
from node.proposers.rebase import ReadSource, Rebaser
from node.proposers.recombine import believed_discoveries
from node.proposers.repeats import Repeats
from protocol.codec import MalformedError
from protocol.fields import TEXT_LIMITS
from protocol.records import Decision, Experiment, Origin, Record, metric_of
from protocol.weights import weights_of

NAME = "elsewhere"
NO_OBJECTIVE = bytes(32)  # a ledger read for it has no records, whatever is in the file
MOST_OBJECTIVES = 8  # those that were researched last
MOST_RECORDS = 20_000  # of an objective that is read: a few seconds of a thread
MOST_OFFERS = 30  # of each objective, the largest gains: each takes a merge, a process, whenever the source changes
MOST_IN_WORDS = 10


@dataclass(frozen=True)
class OtherObjectives:
    """Which records may be read. may_leave: whether what is known of an objective may be told in this one's swarm."""

    path: Path
    here: bytes
    author: bytes
    may_leave: Callable[[bytes], bool]


class Elsewhere:
    """Proposes what was confirmed in another objective and was not tried in this one, the largest gain first."""

    name = NAME
    costly = False
    categories = ()

    def __init__(
        self,
        others: OtherObjectives,
        read: ReadSource,
        repeats: Repeats,
        log: Log,
    ) -> None:
        self._others = others
        self._rebaser = Rebaser(read)
        self._repeats = repeats
        self._log = log
        self._offers: list[Offer] | None = None

    async def propose(self, context: Context) -> Proposal | None:
        for offer in await self._open(context):
            source = await self._applied(context, offer)
            if source is not None and await self._repeats.of(context, offer.title, source) is None:
                reason = f"It gained {offer.gain_text} in {offer.objective} ({offer.standing}). {offer.reason}"
                return Proposal(
                    offer.title, offer.category, reason[: TEXT_LIMITS["reason"]], NAME, source, origin=offer.origin
                )
        return None

    def has_stock(self, context: Context) -> bool:
        return self._offers is None or bool(self._offers)

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Nothing to do: the experiment says where its idea is from."""

    async def in_words(self, context: Context, categories: Sequence[str]) -> tuple[Offer, ...]:
        """What a model is told of: what was not tried here, is of a category of this objective, and does not apply."""
        found: list[Offer] = []
        for offer in await self._open(context):
            fits = not categories or offer.category in categories
            if fits and len(found) < MOST_IN_WORDS and await self._applied(context, offer) is None:
                found.append(offer)
        return tuple(found)

    async def _open(self, context: Context) -> list[Offer]:
        if self._offers is None:
            self._offers = await in_thread(partial(read_offers, self._others, self._log))
        tried = {result.origin for result in context.results}
        return [offer for offer in self._offers if offer.origin not in tried and offer.title not in context.closed]

    async def _applied(self, context: Context, offer: Offer) -> str | None:
        """The present source with the idea: by a merge of lines, or by the names of what it changes; else None."""
        merged = await self._rebaser.onto(context, (offer.parent, offer.child))
        return merged if merged is not None else await self._rebaser.by_names(context, offer.parent, offer.child)


# ---- what other objectives have shown --------------------------------------------------------------------------------


def read_offers(others: OtherObjectives, log: Log) -> list[Offer]:
    """What may be offered, the largest gain first. Blocks while it reads; what cannot be read offers nothing."""
    found: list[Offer] = []
    try:
        memory = Ledger.read(others.path, NO_OBJECTIVE)
        try:
            known, counts = memory.settings.descriptions, memory.record_counts()
        finally:
            memory.close()
        for objective, about in _to_read(others, known, counts):
            ledger = Ledger.read(others.path, objective)
            try:
                records = ledger.all_records()
                shared = about.embedded or any(record.author != others.author for record in records)
                if shared and others.may_leave(objective):
                    found += offers_of(records, others.author, objective, about.name)
            finally:
                ledger.close()
    except (LedgerError, HomeError, MalformedError, sqlite3.Error) as error:
        log("other objectives unread", level="warning", why=str(error))
        return []
    if found:
        names = ", ".join(sorted({offer.objective for offer in found}))
        log("ideas from elsewhere", count=len(found), objectives=names)
    return sorted(found, key=lambda offer: (-offer.gain, offer.origin.record))


def _to_read(
    others: OtherObjectives, known: Mapping[bytes, Description], counts: Mapping[bytes, int]
) -> Iterator[tuple[bytes, Description]]:
    """The other objectives with records, those researched last first."""
    held = [(objective, about) for objective, about in known.items() if objective != others.here]
    fit = [one for one in held if 0 < counts.get(one[0], 0) <= MOST_RECORDS]
    yield from sorted(fit, key=lambda one: (-one[1].joined, one[0]))[:MOST_OBJECTIVES]


def offers_of(records: Sequence[Record], author: bytes, objective: bytes, name: str) -> list[Offer]:
    """The ideas in an objective's records that this author has reason to believe in, the largest gain first.

    They are own claims that still hold, and peers' discoveries that are confirmed or held here. A chain is taken apart:
    its ideas carry over one by one, each with the gain that was attributed to it.
    """
    held = {record.id: record for record in records}
    feed = [record for record in records if record.author == author]
    own = [step.record for step in steps_of(feed, refuted(records, weights_of(records, author)))]
    claims = [(claim, "proven here") for claim in own]
    claims += [(claim, "confirmed here") for claim in believed_discoveries(records, author)]
    best: dict[str, Offer] = {}
    for claim, standing in claims:
        for record, mean in _ideas_of(claim, held):
            body = record.body
            assert isinstance(body, Experiment)
            offer = Offer(
                Origin(objective, record.id),
                name or short_id(objective),
                body.title,
                body.category,
                body.reason,
                body.parent,
                body.child,
                -mean,
                bare_gain_text(mean, metric_of(body)),
                standing,
            )
            if body.title not in best or best[body.title].gain < offer.gain:
                best[body.title] = offer
    return sorted(best.values(), key=lambda offer: (-offer.gain, offer.origin.record))[:MOST_OFFERS]


def _ideas_of(claim: Record, held: Mapping[bytes, Record]) -> Iterator[tuple[Record, float]]:
    """The ideas that gained in a claim, each with its part of J."""
    body = claim.body
    if not isinstance(body, Experiment) or body.decision != Decision.IMPROVED or body.effect is None:
        return
    if not body.chain:
        yield claim, body.effect.mean
    for step in body.chain:
        record = held.get(step.record)
        if step.mean < 0 and record is not None and isinstance(record.body, Experiment) and not record.body.chain:
            yield record, step.mean
