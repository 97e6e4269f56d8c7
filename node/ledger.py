"""The ledger: one SQLite file that holds everything the parts of a node share.

It knows records, feeds, forks, blobs, cached runs and addresses, and how to keep them through a kill -9. It does not
know the network, research or how anything is shown; `views` folds over what is here. One process writes; any number
may read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from protocol.records import Record


class Added(Enum):
    """What became of a record that was offered to the ledger."""

    NEW = "new"
    KNOWN = "known"
    GAP = "gap"
    FORK = "fork"
    REFUSED = "refused"


@dataclass(frozen=True)
class Arrived:
    """A record that has just been stored. `origin` is "own" or the peer id of whoever sent it."""

    record: Record
    origin: str
