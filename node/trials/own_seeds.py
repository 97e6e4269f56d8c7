"""Own seeds: where a node's runs of its own get their seeds, which no one else can know before a record shows them.

They follow from the node's key by `protocol.seeds`. It knows what a seed is for, and neither makes runs nor records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from protocol.identity import Identity
from protocol.seeds import own_seed


class Use(StrEnum):
    """What a seed is for. The same two sources have other seeds for every use."""

    SCREENING = "screening"  # edits of a source; the first record of one of them makes it public
    EXPERIMENT = "experiment"  # further pairs of an own idea
    DESIGN = "design"  # runs of several own ideas together
    CLAIM = "claim"  # pairs of a chain of bets
    LOCAL_SCREENING = "local screening"  # what might be adopted, beside this node's best
    LOCAL_TRIAL = "local trial"  # pairs of the same
    SPEED = "speed"  # of this machine


@dataclass(frozen=True)
class OwnSeeds:
    """The seeds of one node's own runs of one objective (its id)."""

    identity: Identity
    objective: bytes

    def seed(self, use: Use, parent: bytes, child: bytes, number: int = 0) -> int:
        """The seed of run or pair `number` of these two sources."""
        return own_seed(self.identity, self.objective, use, parent, child, number)

    def of_pairs(self, use: Use, parent: bytes, child: bytes) -> Callable[[int], int]:
        """The seed of a comparison's pair by its number, 1 for the first."""
        return lambda number: self.seed(use, parent, child, number)

    def of_screening(self, source: bytes) -> int:
        """The seed at which edits of a source are screened where it was not run before: a new one for every source."""
        return self.seed(Use.SCREENING, source, source)
