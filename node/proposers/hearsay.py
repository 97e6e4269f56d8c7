"""Hearsay: what only strangers say of what they tried, and how far this node goes by it.

Keys are free, so it costs nothing to say of every good idea, on every source of every node, that it was tried in vain;
whoever believes that never tries them. Believing nobody, each node of a swarm tries again what all others have tried.
So strangers are believed, like authors whose claims or reports this node has found right, but for one hypothesis in
ten or twenty, which is made as if they had said nothing, and of an idea that they say they tried in vain, if there is
one. Where such rechecks find gains, none of their words count meanwhile.

It counts, and knows no records.
"""

from __future__ import annotations

from dataclasses import dataclass

# Hypotheses of which one is made without strangers' word: at first, and once FEW rechecks were made.
EVERY, EVERY_LATER, FEW = 10, 20, 5
# Share of the rechecks from which the search went on, above which strangers are not believed. Of ideas that were
# tried in vain by honest nodes one in fifty is gone on from by chance (scripts/simulate_strategy.py --liars).
WRONG_SHARE = 0.15


@dataclass
class Hearsay:
    """How many hypotheses were made, how many trials were rechecks of hearsay, and from how many the search went on."""

    hypotheses: int = 0
    rechecks: int = 0
    gains: int = 0

    @property
    def is_wrong(self) -> bool:
        """Whether strangers were found wrong too often to be believed now."""
        return self.gains > WRONG_SHARE * self.rechecks

    def next_believes(self) -> bool:
        """Whether strangers are believed in the next hypothesis, which is counted."""
        self.hypotheses += 1
        return not self.is_wrong and self.hypotheses % (EVERY if self.rechecks < FEW else EVERY_LATER) != 0

    def count(self, gained: bool) -> None:
        """An idea was tried of which only strangers say that they tried it in vain. gained: the search went on from it.

        Strangers need not have been disbelieved for that: a model proposes in its own words what others have tried.
        """
        self.rechecks += 1
        self.gains += gained
