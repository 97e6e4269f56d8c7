"""Steps: how an author got from the baseline to the source that its research stands on, and which of them still hold.

Worked out from the author's own feed and from which discoveries are refuted. Pure functions of records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from node.ledger.projections.discoveries import is_conclusive, refuted
from protocol.audits import is_report
from protocol.records import Decision, Effect, Experiment, Record, Replication, ReplicationDecision, Route

AGAINST = (ReplicationDecision.CONTRADICTS, ReplicationDecision.FAILED)


@dataclass(frozen=True)
class Step:
    """One change of an author's best source, and what that author measured for it."""

    record: Record
    source: bytes
    effect: Effect | None
    holdout: Effect | None


def basis_of(record: Record) -> bytes | None:
    """The discovery (record id) on whose standing a step rests; None where the record makes no step, or needs none.

    An own discovery rests on itself. One adopted from a peer rests on that peer's discovery, unless the adopting record
    is itself a report. Separate reports are weighed in `invalidated`.
    """
    match record.body:
        case Experiment(decision=decision) if decision == Decision.IMPROVED:
            return record.id
        case Replication(adopted=adopted, discovery=discovery) if adopted is not None and not is_report(record):
            return discovery
    return None


def bases_of(feed: Iterable[Record]) -> frozenset[bytes]:
    """The discoveries (record ids) that one author's steps rest on, as `basis_of` says."""
    return frozenset(claim for claim in map(basis_of, feed) if claim is not None)


def invalidated(feed: Sequence[Record], refuted: Set[bytes]) -> frozenset[bytes]:
    """The discoveries (record ids) on which this author's steps rest and which do not hold any more.

    An own discovery is invalidated when it is refuted. An adopted one is not by that alone: a node reports on what it
    adopted when that is refuted, and then its own report decides. Where that is unclear, the refutation stands.

    refuted: the record ids of discoveries that are refuted on the records held here.
    """
    decisions = {record.id: ReplicationDecision.UNCLEAR for record in feed}  # nobody reports on an own discovery
    for record in feed:
        if isinstance(record.body, Replication) and is_conclusive(record):
            decisions[record.body.discovery] = record.body.decision
    gone = set()
    for claim in bases_of(feed):
        decision = decisions.get(claim)  # None: adopted, and no own report on it yet
        if decision in AGAINST or (decision == ReplicationDecision.UNCLEAR and claim in refuted):
            gone.add(claim)
    return frozenset(gone)


def steps_of(feed: Sequence[Record], refuted: Set[bytes] = frozenset()) -> list[Step]:
    """The changes of best source in one author's feed, in order.

    Left out are steps that rest on an `invalidated` discovery, and those that were built on such a step.
    """
    steps: list[Step] = []
    unsound = invalidated(feed, refuted)
    gone: set[bytes] = set()  # sources of steps that were left out: what was built on them goes too
    for record in feed:
        match record.body:
            case Experiment(decision=decision) as body if decision == Decision.IMPROVED:
                step, base = Step(record, body.child, body.effect, body.holdout), body.parent
            case Replication(adopted=adopted) as body if adopted is not None:
                step = Step(record, adopted, body.adoption, None)
                base = body.base if body.base is not None and body.route != Route.WHOLE else b""
            case _:
                continue
        if basis_of(record) in unsound or base in gone:
            gone.add(step.source)
        else:
            gone.discard(step.source)
            steps.append(step)
    return steps


def standing_steps(records: Iterable[Record], feed: Sequence[Record]) -> list[Step]:
    """The steps of one author's feed that hold on these records."""
    return steps_of(feed, refuted(records, bases_of(feed)))


def best_source(feed: Sequence[Record], baseline: bytes, refuted: Set[bytes] = frozenset()) -> bytes:
    """The source an author's research stands on now: the last step that is not refuted, with all it stands on."""
    steps = steps_of(feed, refuted)
    return steps[-1].source if steps else baseline
