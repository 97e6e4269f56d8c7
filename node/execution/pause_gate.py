"""The pause gate: while it is closed nothing new is begun, and the sandboxed processes under way stand still.

It knows processes that can be frozen, and the clock. The caller decides why and when to pause.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import trio


class Freezable(Protocol):
    """A process that can be stopped where it stands, and let go on."""

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


class PauseGate:
    """Whether this node is paused. Before anything that takes time or money, `wait_open` is called."""

    def __init__(self) -> None:
        self._opened, self._closed = trio.Event(), trio.Event()
        self._opened.set()
        self._processes: set[Freezable] = set()
        self._paused_since: float | None = None
        self._paused_seconds = 0.0

    def pause(self) -> None:
        """Close the gate, and freeze the processes under way."""
        if self._paused_since is not None:
            return
        self._paused_since = time.monotonic()
        self._opened = trio.Event()
        self._closed.set()
        for process in self._processes:
            process.freeze()

    def resume(self) -> None:
        """Open the gate: what was frozen goes on, and so does what waited."""
        if self._paused_since is None:
            return
        self._paused_seconds += time.monotonic() - self._paused_since
        self._paused_since = None
        self._closed = trio.Event()
        self._opened.set()
        for process in self._processes:
            process.thaw()

    async def wait_open(self) -> None:
        """Return at once while the node is not paused, else when it resumes."""
        await self._opened.wait()

    async def wait_closed_for(self, seconds: float) -> None:
        """Return once a pause has lasted so long, which it may have already."""
        while True:
            await self._closed.wait()
            since = self._paused_since
            with trio.move_on_after(seconds - (time.monotonic() - since) if since is not None else seconds):
                await self._opened.wait()
                continue
            return

    def clock(self) -> float:
        """Seconds on a clock that stands still while this node is paused.

        After 100 s, of which the node was paused from 20 s to 30 s, this clock has advanced by 90 s.
        """
        now = time.monotonic()
        paused_now = now - self._paused_since if self._paused_since is not None else 0.0
        return now - self._paused_seconds - paused_now

    @contextmanager
    def freezing(self, process: Freezable) -> Iterator[None]:
        """Freeze this process too whenever the node is paused before the block ends."""
        self._processes.add(process)
        if self._paused_since is not None:
            process.freeze()
        try:
            yield
        finally:
            self._processes.discard(process)
