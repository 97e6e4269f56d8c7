"""Whether this node may sign one more record of its feed, which must never fork.

Its key's mark (node/platform/key_mark.py) says how far the key has signed; the ledger says what is held of that. Where
they differ, or where somebody else signs with the same key, nothing is signed. It does not know how records come.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from enum import Enum

from node.ledger.error import LedgerError
from node.platform.file_trouble import HomeError
from node.platform.key_mark import KeyMark
from protocol.feed import FeedHead
from protocol.identity import short
from protocol.records import Record

NEW_KEY = "`autoresearch-node key new` begins another key"


class Signing(Enum):
    """Whether an own record may be signed; in words, why not and what to do."""

    READY = ""
    BEHIND = (
        "this node's key has signed records that its ledger lacks: the node signs nothing until peers have brought "
        f"them back. Put ledger.sqlite back from a backup, or, if no peer has them, {NEW_KEY}"
    )
    FOREIGN = (
        "a record came that was signed with this node's key, and not here: was its home copied, or put back from an "
        "older copy? The node signs nothing more. End the other node that has this key and start this one again, or "
        f"give one of them another key: {NEW_KEY}"
    )
    FORKED = (
        "this node's key has signed two different records with one number, so peers take nothing more of it: was its "
        f"home copied, or put back from an older copy? {NEW_KEY} and keeps all else of this home"
    )


class NotSigningError(LedgerError):
    """Nothing may be signed now; `state` says why."""

    def __init__(self, state: Signing) -> None:
        super().__init__(state.value)
        self.state = state


def standing(marked: FeedHead | None, feed: Sequence[Record], forked: bool, foreign: bool) -> Signing:
    """What follows from the key's mark, what is held of its feed, and what was heard of it."""
    if forked or (marked is not None and len(feed) >= marked.length and feed[marked.length - 1].id != marked.head):
        return Signing.FORKED
    if foreign:
        return Signing.FOREIGN
    return Signing.BEHIND if marked is not None and len(feed) < marked.length else Signing.READY


def own_heads(connection: sqlite3.Connection, author: bytes) -> dict[bytes, FeedHead]:
    """How far a ledger's file holds an author's feeds, by objective."""
    # of a query with one max(), SQLite takes the other columns from that row
    rows = connection.execute("SELECT objective, max(seq), id FROM records WHERE author = ? GROUP BY 1", (author,))
    return {bytes(objective): FeedHead(author, seq + 1, bytes(last)) for objective, seq, last in rows}


def refuse_unknown_key(mark: KeyMark, in_ledger: bool, other: bytes) -> None:
    """Raise HomeError where nobody knows how far a key has signed: it has no mark, and the ledger has not heard of it.

    other: the key that the ledger was used with before; empty for none.
    """
    if mark.known or in_ledger:
        return
    whose = f" (the ledger there is that of the key {short(other)})" if other else ""
    raise HomeError(
        f"nobody knows how far the key in {mark.path.with_name('identity.key')} has signed: neither {mark.path.name} "
        f"nor ledger.sqlite beside it tells{whose}. Put these back as they were, or {NEW_KEY}"
    )
