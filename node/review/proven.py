"""Proven authors: those whose claims or reports this node's own runs agreed with. Their feeds keep their place here.

It says whose records are worth the room they take, and nothing of what is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from node.ledger.store import Ledger
from node.review.trust import NEW_KEY, trusted_by
from protocol.records import Record


def proven_by(
    own: Sequence[Record], held: Callable[[bytes], Record | None]
) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """The authors that this node's records speak for, and those that they say something of but do not speak for.

    They speak for an author who was found right, by reports, adoptions and audits, more than four times as often as it
    was found wrong. own: this node's records. held: any record held, by its id.
    """
    trusted = trusted_by(own, held)
    proven = frozenset(author for author, how_far in trusted.items() if how_far > NEW_KEY)
    return proven, frozenset(trusted) - proven


def proven_in(ledger: Ledger, me: bytes) -> Callable[[bytes], bool]:
    """Whether the records that a ledger holds now speak for an author, or it is this node: for readers of its file."""
    proven, _ = proven_by(ledger.feed(me), ledger.record)
    return lambda author: author == me or author in proven


def settle_proven(ledger: Ledger, me: bytes) -> None:
    """Have the feeds of authors keep their place, or lose it, by what this node's records say of them by now."""
    proven, not_proven = proven_by(ledger.feed(me), ledger.record)
    ledger.keep_authors(proven)
    ledger.let_go_of_authors(not_proven)
