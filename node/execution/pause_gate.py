"""The pause gate: while it is closed nothing new is begun, and the sandboxed processes under way stand still.

It knows sandboxed processes and the clock; why and when to pause is for others to say.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from node.execution.sandbox.process import Box


class PauseGate:
    """Whether this node is paused. What is about to take time or money first calls `wait_open`."""

    def __init__(self) -> None:
        self._opened = trio.Event()
        self._opened.set()
        self._boxes: set[Box] = set()
        self._paused_since: float | None = None
        self._paused_seconds = 0.0

    def pause(self) -> None:
        """Close the gate, and freeze the processes under way."""
        if self._paused_since is not None:
            return
        self._paused_since = time.monotonic()
        self._opened = trio.Event()
        for box in self._boxes:
            box.freeze()

    def resume(self) -> None:
        """Open the gate: what was frozen goes on, and so does what waited."""
        if self._paused_since is None:
            return
        self._paused_seconds += time.monotonic() - self._paused_since
        self._paused_since = None
        self._opened.set()
        for box in self._boxes:
            box.thaw()

    async def wait_open(self) -> None:
        """Return once the node is not paused: at once, or when it resumes."""
        await self._opened.wait()

    def clock(self) -> float:
        """Seconds on a clock that stands still while this node is paused."""
        now = time.monotonic()
        paused_now = now - self._paused_since if self._paused_since is not None else 0.0
        return now - self._paused_seconds - paused_now

    @contextmanager
    def freezing(self, box: Box) -> Iterator[None]:
        """Have this process stand still too when the node is paused before the block ends."""
        self._boxes.add(box)
        if self._paused_since is not None:
            box.freeze()
        try:
            yield
        finally:
            self._boxes.discard(box)
