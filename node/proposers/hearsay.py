"""Hearsay: what others say they tried in vain, and how far this node goes by it.

Keys are free, so it costs nothing to say of every good idea, on every source of every node, that it was tried in vain;
whoever believes that never tries them. Believing nobody, each node of a swarm tries again what all others have tried.
So others are believed, but for one hypothesis in ten or twenty, which is made as if they had said nothing, and first of
known ideas that they say they tried in vain. Where such rechecks find gains, the word of those who said so
counts for nothing meanwhile: of an author whom this node has found right before by itself, of all others together.

It counts, and knows no records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

# Hypotheses of which one is made without others' word: at first, and once FEW rechecks were made.
EVERY, EVERY_LATER, FEW = 10, 20, 5
# Share of the rechecks from which the search went on, above which an author is not believed. Of ideas that were tried
# in vain by honest nodes one in fifty is gone on from by chance (scripts/simulate_strategy.py --liars).
WRONG_SHARE = 0.15
STRANGERS = b""  # in the place of an author: all whom this node has not found right


@dataclass
class Hearsay:
    """How many hypotheses were made; and, by author, how many ideas it tried in vain were tried here, and gained."""

    hypotheses: int = 0
    rechecks: Counter[bytes] = field(default_factory=Counter)
    gains: Counter[bytes] = field(default_factory=Counter)

    def is_wrong(self, author: bytes) -> bool:
        """Whether an author, or strangers, were found wrong too often to be believed now."""
        return self.gains[author] > WRONG_SHARE * self.rechecks[author]

    def next_is_recheck(self) -> bool:
        """Whether the next hypothesis, which is counted, is to be made without anybody's word."""
        self.hypotheses += 1
        return self.hypotheses % (EVERY if self.rechecks.total() < FEW else EVERY_LATER) == 0

    def count(self, authors: Iterable[bytes], gained: bool) -> None:
        """An idea was tried of which these had said that they tried it in vain. gained: the search went on from it.

        It need not have been a recheck: a model proposes in its own words what others have tried.
        """
        for author in authors:
            self.rechecks[author] += 1
            self.gains[author] += gained
