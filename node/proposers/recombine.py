"""Recombination: peers' gains, and near misses of this node's own, merged onto the present source.

Used are changes that this node has reason to believe in: peers' discoveries that are confirmed or that held when they
were re-run here, and own experiments that gained a little but not surely. Two near misses together may be a sure gain,
and what was found on an older source may hold on this one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

from node.ledger.projections.discoveries import discoveries
from node.ledger.projections.effects import gain_text
from node.platform.log import short_id
from node.proposers.proposer import Context, Lesson, Proposal
from node.proposers.rebase import ReadSource, Rebaser
from protocol.evidence import Verdict
from protocol.fields import TEXT_LIMITS
from protocol.identity import short
from protocol.records import Experiment, Record, Replication, metric_of

MOST_DISCOVERIES = 30  # each takes a merge, a process, whenever the source changes
MOST_NEAR_MISSES = 6  # so at most 15 pairs of them


class Recombine:
    """Proposes merges onto the present source: of believed discoveries, pairs of near misses, single near misses."""

    name = "recombine"
    costly = False
    categories = ()

    def __init__(self, records: Callable[[], Sequence[Record]], read: ReadSource, author: bytes) -> None:
        self._records = records
        self._author = author
        self._rebaser = Rebaser(read)

    async def propose(self, context: Context) -> Proposal | None:
        records = self._records()
        misses = near_misses(records, self._author)
        singles = [(record,) for record in believed(records, self._author)]
        pairs = list(combinations(misses, 2))
        for parts in [*singles, *pairs, *((record,) for record in misses)]:
            proposal = await self._merged(context, parts)
            if proposal is not None:
                return proposal
        return None

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Nothing to do: the effect is in the ledger."""

    async def _merged(self, context: Context, parts: tuple[Record, ...]) -> Proposal | None:
        found = [record.body for record in parts if isinstance(record.body, Experiment)]
        source = await self._rebaser.onto(context, *((body.parent, body.child) for body in found))
        if source is None:
            return None
        title = " + ".join(body.title for body in found)
        origin = ", ".join(
            f"{gain_text(body.effect, metric_of(body))} in record {short_id(record.id)} of …{short(record.author)}"
            for record, body in zip(parts, found, strict=True)
        )
        reason = f"Merged onto this source: {origin}."
        return Proposal(
            title[: TEXT_LIMITS["title"]].strip(),
            found[0].category,
            reason[: TEXT_LIMITS["reason"]],
            self.name,
            source,
        )


def believed(records: Sequence[Record], author: bytes) -> list[Record]:
    """Peers' discoveries that others confirmed or that held here, the largest effect others found first."""
    held_here = {
        record.body.discovery
        for record in records
        if record.author == author and isinstance(record.body, Replication) and record.body.decision == "supports"
    }
    found = []
    for discovery in discoveries(records):
        verdict = discovery.standing.verdict
        supported = verdict == Verdict.CONFIRMED or discovery.record.id in held_here
        if discovery.record.author != author and verdict != Verdict.REFUTED and supported:
            found.append(discovery)
    found.sort(key=lambda discovery: discovery.standing.effect.mean if discovery.standing.effect else 0.0)
    return [discovery.record for discovery in found[:MOST_DISCOVERIES]]


def near_misses(records: Sequence[Record], author: bytes) -> list[Record]:
    """Own experiments whose gain was too small or too unsure to keep, the surest first; each idea once.

    Surest: the most standard errors beyond zero, that is, the lowest J / SE.
    """
    found: dict[tuple[str, str], tuple[float, Record]] = {}
    for record in records:
        body = record.body
        if record.author != author or not isinstance(body, Experiment) or body.decision not in ("no_gain", "unclear"):
            continue
        if body.effect is not None and body.effect.mean < 0 and body.effect.se > 0:
            idea = (body.title, body.reason)
            ranked = (body.effect.mean / body.effect.se, record)
            found[idea] = min(ranked, found.get(idea, ranked), key=_surest)
    return [record for _, record in sorted(found.values(), key=_surest)[:MOST_NEAR_MISSES]]


def _surest(ranked: tuple[float, Record]) -> tuple[float, bytes]:
    return ranked[0], ranked[1].id
