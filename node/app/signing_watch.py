"""Says when this node may not sign records, why, and when it may again.

It knows the ledger's answer and the log; what follows for work is `running`'s.
"""

from __future__ import annotations

from node.ledger.signing import Signing
from node.ledger.store import Ledger
from node.platform.log import Log
from protocol.identity import Identity, short

DOING = {
    Signing.BEHIND: "waiting for its own records from peers",
    Signing.FOREIGN: "signing nothing: another node has its key",
    Signing.FORKED: "signing nothing: its key signed two records with one number",
}


class SigningWatch:
    """Asked as often as one likes; logs what has changed since it was last asked."""

    def __init__(self, ledger: Ledger, identity: Identity, log: Log) -> None:
        self._ledger = ledger
        self._identity = identity
        self._log = log
        self._last = Signing.READY

    def why_not(self) -> str | None:
        """What the node is doing instead, in words, while it may sign nothing; None while it may."""
        now = self._ledger.signing
        if now is not self._last:
            self._last = now
            held, marked = len(self._ledger.feed(self._identity.author)), self._ledger.marked_head()
            match now:
                case Signing.READY:
                    self._log("own records back", records=held)
                case Signing.BEHIND:
                    signed = marked.length if marked is not None else 0
                    self._log("own records missing", level="warning", records=held, signed=signed, why=now.value)
                case Signing.FOREIGN | Signing.FORKED:
                    self._log("key used elsewhere", level="error", records=held, why=now.value)
        return DOING.get(now)


def tell_of_another_key(ledger: Ledger, identity: Identity, log: Log) -> None:
    """Say that this home's ledger was used with another key before, whose feed this node does not go on with."""
    before = ledger.settings.author
    if before and before != identity.author:
        log(
            "another key",
            level="warning",
            author=short(identity.author),
            before=short(before),
            records=len(ledger.feed(before)),
            why="this home's records were signed with another key, so this node begins a feed of its own",
            hint="to go on with the former one, stop the node and put that identity.key back",
        )
