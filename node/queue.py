"""The queue: what of peers' work to run again next, and how far each peer is trusted here.

Folds over records, except that trust is this node's own: it grows with what this node itself found right when it ran it
again, falls four times as fast, and only orders the queue. Every node re-runs every claim it might adopt; whose turn it
is by the draw comes first, so that a swarm settles its claims with few runs, and nobody waits for a peer that sleeps. A
claim that is settled and promises this node nothing is not run again: in a large swarm that is most of them. Nor is one
that says the same of the same two sources as a settled one, as when several begin with the same idea.

Among claims of equal need that one comes first which would bring this node furthest: with its child comes everything
that the child was made from. So a latecomer leaps to where the swarm is, rather than walk there step by step, and what
it stands on already, or has replaced by something of the same category, waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from node.views import Discovery, ancestry, discoveries, made_from
from protocol.audits import Turn, case_of, repeats
from protocol.draw import drawn
from protocol.evidence import REPORTS_NEEDED
from protocol.records import Audit, Experiment, Record, Replication

WRONG_WEIGHS = 4  # one wrong claim or report costs as much as so many right ones earn
MOST_CLAIMED = 0.3  # a claim of more (in ln) comes no sooner for it

DRAWN_AUDIT, DRAWN_REPORT, REPORT, SPARE_AUDIT, REFUTED = range(5)


@dataclass(frozen=True)
class Task:
    """A claim to replicate, or a pair of somebody's report on it to run again. Lower orders come first."""

    claim: Record
    audit: Turn | None
    order: tuple[int, float, bytes]


@dataclass(frozen=True)
class Standpoint:
    """Where a node's research stands: its best source, and the gain (−J) that this has from each category."""

    best: bytes = b""
    banked: Mapping[str, float] = field(default_factory=dict)


def trust(records: Sequence[Record], me: bytes) -> dict[bytes, float]:
    """How far each author is trusted here, between 0 and 1; whoever is not named has `trust_of(0, 0)`."""
    by_id = {record.id: record for record in records}
    right: dict[bytes, int] = {}
    wrong: dict[bytes, int] = {}
    for record in records:
        if record.author != me:
            continue
        match record.body:
            case Replication(discovery=about, decision=decision) if decision in ("supports", "contradicts"):
                tally = right if decision == "supports" else wrong
            case Audit(report=about) as audit:
                report = by_id.get(about)
                if report is None or not isinstance(report.body, Replication) or not _covers(report.body, audit):
                    continue
                tally = right if repeats(report.body, audit) else wrong
            case _:
                continue
        if about in by_id and by_id[about].author != me:
            tally[by_id[about].author] = tally.get(by_id[about].author, 0) + 1
    return {author: trust_of(right.get(author, 0), wrong.get(author, 0)) for author in right.keys() | wrong.keys()}


def trust_of(right: int, wrong: int) -> float:
    """A new key has a quarter; one wrong undoes four right."""
    credit = right - WRONG_WEIGHS * wrong
    return (1 + credit) / (4 + credit) if credit >= 0 else 1 / (4 - credit)


def _covers(report: Replication, audit: Audit) -> bool:
    return any(pair.seed == audit.pair.seed for pair in report.pairs)


def classmates(records: Iterable[Record], compute_class: str) -> frozenset[bytes]:
    """The known authors of a compute class: whoever has signed a run of it."""
    return frozenset(
        record.author
        for record in records
        if isinstance(record.body, Experiment | Replication | Audit) and record.body.compute_class == compute_class
    )


def tasks(records: Sequence[Record], me: bytes, compute_class: str, standpoint: Standpoint) -> list[Task]:
    """Everything of peers' that this node could run again, the most needed first."""
    peers = classmates(records, compute_class) | {me}
    trusted = trust(records, me)
    held = discoveries(records)
    promised = _promised(records, held, standpoint)
    settled = {_sources(discovery) for discovery in held if _settled(discovery, compute_class)}
    found: list[Task] = []
    for discovery in held:
        author = discovery.record.author
        promise = trusted.get(author, trust_of(0, 0)) * promised[discovery.record.id]
        is_twin = discovery.standing.verdict == "open" and _sources(discovery) in settled
        if author != me and (promise > 0 or not is_twin):
            found += _tasks_on(discovery, me, compute_class, peers, promise)
    return sorted(found, key=lambda task: task.order)


def _promised(records: Sequence[Record], held: Sequence[Discovery], standpoint: Standpoint) -> dict[bytes, float]:
    """The gain that each discovery would bring this node if all claims hold on which its child stands."""
    origins = made_from(records)
    here = ancestry(origins, standpoint.best)
    claims = {found.claim.child: found.claim for found in held if found.standing.verdict != "refuted"}
    promised = {}
    for discovery in held:
        gains: dict[str, float] = {}
        for source in ancestry(origins, discovery.claim.child) - here:
            claim = claims.get(source)
            if claim is not None and claim.effect is not None:
                gains[claim.category] = gains.get(claim.category, 0.0) - claim.effect.mean
        total = sum(max(0.0, gain - standpoint.banked.get(category, 0.0)) for category, gain in gains.items())
        promised[discovery.record.id] = min(total, MOST_CLAIMED)
    return promised


def _sources(discovery: Discovery) -> tuple[bytes, bytes]:
    return discovery.claim.parent, discovery.claim.child


def _reporters(discovery: Discovery, compute_class: str) -> set[bytes]:
    """Who has re-run a claim in this class."""
    return {
        report.author
        for report in discovery.replications
        if isinstance(report.body, Replication) and report.body.compute_class == compute_class
    }


def _settled(discovery: Discovery, compute_class: str) -> bool:
    """Whether there is a verdict, for which this class has done its share."""
    return discovery.standing.verdict != "open" and len(_reporters(discovery, compute_class)) >= REPORTS_NEEDED


def _tasks_on(
    discovery: Discovery, me: bytes, compute_class: str, peers: AbstractSet[bytes], promise: float
) -> list[Task]:
    record, standing = discovery.record, discovery.standing
    found = []
    reporters = _reporters(discovery, compute_class)
    needless = promise <= 0 and _settled(discovery, compute_class)
    if me not in {report.author for report in discovery.replications} and not needless:
        able = drawn(record.id, peers - reporters - {record.author})
        my_turn = standing.verdict == "open" and able.index(me) < max(1, REPORTS_NEEDED - len(reporters))
        band = REFUTED if standing.verdict == "refuted" else DRAWN_REPORT if my_turn else REPORT
        found.append(Task(record, None, (band, -promise, record.id)))
    turn = case_of(record, (*discovery.replications, *discovery.audits), compute_class).turn_of(me, peers)
    if turn is not None:
        band = DRAWN_AUDIT if turn.rank == 0 else SPARE_AUDIT
        found.append(Task(record, turn, (band, -promise, record.id)))
    return found
