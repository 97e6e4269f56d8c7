"""Discoveries: every claimed improvement, with what others found when they re-ran it, and its standing.

Pure functions of records and of the weights of their authors at this node (`protocol/weights.py`); nothing here reads a
clock, a file or the order of arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from protocol.audits import has_report_form
from protocol.evidence import Standing, Verdict, standing_of
from protocol.records import Audit, Decision, Experiment, Record, Replication, ReplicationDecision
from protocol.weights import Weights


@dataclass(frozen=True)
class Discovery:
    """A claim and what others found when they re-ran it."""

    record: Record
    claim: Experiment
    replications: tuple[Record, ...]
    audits: tuple[Record, ...]
    standing: Standing


def is_conclusive(record: Record) -> bool:
    """Whether this replication tests the claim itself: it is a report, or says that the source does not run."""
    return has_report_form(record) or (
        isinstance(record.body, Replication) and record.body.decision == ReplicationDecision.FAILED
    )


def is_trial(record: Record) -> bool:
    """Whether this replication says what came of a local trial. It shows no pairs, so no proof has to be verified."""
    body = record.body
    return isinstance(body, Replication) and not body.pairs and body.decision != ReplicationDecision.FAILED


def discoveries(records: Iterable[Record], weights: Weights, only: Set[bytes] | None = None) -> list[Discovery]:
    """Every claimed improvement (of these record ids, if given) with what others found and its standing, by id.

    weights: of the authors at this node, by all the records it holds.
    """
    held = sorted(records, key=lambda record: record.id)
    claims = [
        record
        for record in held
        if isinstance(record.body, Experiment)
        and record.body.decision == Decision.IMPROVED
        and (only is None or record.id in only)
    ]
    about: dict[bytes, list[Record]] = {claim.id: [] for claim in claims}
    for record in held:
        if isinstance(record.body, Replication | Audit) and record.body.discovery in about:
            about[record.body.discovery].append(record)
    return [_discovery(claim, about[claim.id], weights) for claim in claims]


def _discovery(record: Record, about: Sequence[Record], weights: Weights) -> Discovery:
    assert isinstance(record.body, Experiment)
    others = [r for r in about if r.author != record.author]
    return Discovery(
        record,
        record.body,
        tuple(r for r in others if isinstance(r.body, Replication)),
        tuple(r for r in others if isinstance(r.body, Audit)),
        standing_of(record, others, weights),
    )


def refuted(records: Iterable[Record], weights: Weights) -> frozenset[bytes]:
    """The discoveries (record ids) that are refuted at this node."""
    return frozenset(d.record.id for d in discoveries(records, weights) if d.standing.verdict == Verdict.REFUTED)


def doubted(records: Iterable[Record], weights: Weights, only: Set[bytes]) -> frozenset[bytes]:
    """Those of these discoveries (record ids) of which others' reports say that they do not hold.

    It is a reason to run them again, and no more: they are not refuted while this node's own runs do not agree.
    """
    return frozenset(d.record.id for d in discoveries(records, weights, only) if d.standing.says == Verdict.REFUTED)


def pending_replications(records: Sequence[Record], author: bytes) -> list[Record]:
    """Peers' discoveries this author has not re-run yet, the largest claim first."""
    mine = [record.body for record in records if record.author == author]
    done = {body.discovery for body in mine if isinstance(body, Replication)}
    waiting = [
        record
        for record in records
        if record.author != author
        and record.id not in done
        and isinstance(record.body, Experiment)
        and record.body.decision == Decision.IMPROVED
    ]
    return sorted(waiting, key=lambda record: (_claimed(record), record.id))


def _claimed(record: Record) -> float:
    body = record.body
    return body.effect.mean if isinstance(body, Experiment) and body.effect is not None else 0.0
