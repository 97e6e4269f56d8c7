"""Proven authors: those whose claims or reports this node's own runs agreed with. Their feeds keep their place here.

A function of records. It says whose records are worth the room they take, and nothing of what is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from protocol.audits import repeats
from protocol.records import Audit, Record, Replication, ReplicationDecision


def proven_by(own: Sequence[Record], record: Callable[[bytes], Record | None]) -> frozenset[bytes]:
    """The authors that this node's records speak for: by a report, an adoption or an audit.

    own: this node's feed, or the latest of it. record: any record held, by its id.
    """
    found = set()
    for each in own:
        match each.body:
            case Replication(discovery=about) as body if (
                body.decision == ReplicationDecision.SUPPORTS or body.adopted is not None
            ):
                claim = record(about)
                if claim is not None:
                    found.add(claim.author)
            case Audit(report=about) as audit:
                report = record(about)
                if report is not None and isinstance(report.body, Replication) and repeats(report.body, audit):
                    found.add(report.author)
    return frozenset(found)
