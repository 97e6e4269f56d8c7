"""The queue: what of peers' work to run again next, and how far each peer is trusted here.

Folds over records, except that trust is this node's own: it grows with what this node itself found right when it ran it
again, falls four times as fast, and only orders the queue. Every node re-runs every claim it might adopt; whose turn it
is by the draw comes first, so that a swarm settles its claims with few runs, and nobody waits for a peer that sleeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from node.views import Discovery, discoveries
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


def tasks(records: Sequence[Record], me: bytes, compute_class: str) -> list[Task]:
    """Everything of peers' that this node could run again, the most needed first."""
    peers = classmates(records, compute_class) | {me}
    trusted = trust(records, me)
    found: list[Task] = []
    for discovery in discoveries(records):
        if discovery.record.author != me:
            found += _tasks_on(discovery, me, compute_class, peers, trusted)
    return sorted(found, key=lambda task: task.order)


def _tasks_on(
    discovery: Discovery, me: bytes, compute_class: str, peers: AbstractSet[bytes], trusted: Mapping[bytes, float]
) -> list[Task]:
    record, standing = discovery.record, discovery.standing
    claimed = -discovery.claim.effect.mean if discovery.claim.effect else 0.0
    promise = trusted.get(record.author, trust_of(0, 0)) * min(claimed, MOST_CLAIMED)
    found = []
    reporters = {
        report.author
        for report in discovery.replications
        if isinstance(report.body, Replication) and report.body.compute_class == compute_class
    }
    if me not in {report.author for report in discovery.replications}:
        able = drawn(record.id, peers - reporters - {record.author})
        my_turn = standing.verdict == "open" and able.index(me) < max(1, REPORTS_NEEDED - len(reporters))
        band = REFUTED if standing.verdict == "refuted" else DRAWN_REPORT if my_turn else REPORT
        found.append(Task(record, None, (band, -promise, record.id)))
    turn = case_of(record, (*discovery.replications, *discovery.audits), compute_class).turn_of(me, peers)
    if turn is not None:
        band = DRAWN_AUDIT if turn.rank == 0 else SPARE_AUDIT
        found.append(Task(record, turn, (band, -promise, record.id)))
    return found
