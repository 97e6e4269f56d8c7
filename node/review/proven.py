"""Proven authors: those whose claims or reports this node's own runs agreed with. Their feeds keep their place here.

A function of records. It says whose records are worth the room they take, and nothing of what is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from node.review.trust import findings
from protocol.records import Record


def proven_by(own: Sequence[Record], record: Callable[[bytes], Record | None]) -> frozenset[bytes]:
    """The authors that this node's records speak for: by a report, an adoption or an audit.

    own: this node's feed, or the latest of it. record: any record held, by its id.
    """
    return frozenset(found.author for found, was_right in findings(own, record) if was_right)
