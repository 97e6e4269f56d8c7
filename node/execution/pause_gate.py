"""Rest: while it lasts nothing new is begun, and the boxes that are under way stand still.

It knows boxes and the clock; why and when to rest is for others to say.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from node.execution.sandbox.process import Box


class Rest:
    """Whether this node rests now. Whoever begins something that takes time or money waits until that is `over`."""

    def __init__(self) -> None:
        self._over = trio.Event()
        self._over.set()
        self._boxes: set[Box] = set()
        self._since: float | None = None
        self._rested = 0.0

    def begin(self) -> None:
        """Freeze the boxes under way."""
        if self._since is not None:
            return
        self._since, self._over = time.monotonic(), trio.Event()
        for box in self._boxes:
            box.freeze()

    def end(self) -> None:
        """Go on with what was frozen, and with what waited."""
        if self._since is None:
            return
        self._rested += time.monotonic() - self._since
        self._since = None
        self._over.set()
        for box in self._boxes:
            box.thaw()

    async def over(self) -> None:
        """Return when there is no rest: at once, or when it ends."""
        await self._over.wait()

    def clock(self) -> float:
        """Seconds, on a clock that stands still while this node rests."""
        now = time.monotonic()
        return now - self._rested - (now - self._since if self._since is not None else 0.0)

    @contextmanager
    def freezing(self, box: Box) -> Iterator[None]:
        """Have this box stand still too, when the node rests before the block ends."""
        self._boxes.add(box)
        if self._since is not None:
            box.freeze()
        try:
            yield
        finally:
            self._boxes.discard(box)
