"""The simulated clock: what happens when, in order, as fast as it can be worked out."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Clock:
    """`now` is in seconds since the beginning."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Do this then; what is due at the same moment is done in the order it was asked for."""
        self._number += 1
        heapq.heappush(self._due, (max(seconds, self.now), self._number, action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self.at(self.now + seconds, action)

    def run(self, until: float) -> None:
        while self._due and self._due[0][0] <= until:
            self.now, _, action = heapq.heappop(self._due)
            action()
        self.now = until
