"""Alternation: the two runs of a pair take turns on the same processors, so that both meet the same load.

The CPU time of the same work changes by half with what else the machine does: a neighbour takes the other half of a
core, the caches and the memory's bandwidth. So CPU times of runs that were made at different times do not compare. Of
two runs that take turns of TURN_SECONDS, both meet whatever goes on, and the ratio of their CPU times is left alone by
it (docs/decisions/cost-measure.md has the measurements).

A turn is counted in CPU time, so that both have used as much at any moment, however few processors are free. In a round
each has one turn, and both have it on the same processors, since one core may be slower than another all the time.
Which processors, and who begins, is drawn for every round: a busy core holds nobody up for long, and a load with the
rhythm of the rounds meets both alike. A run that is longer goes on alone when the other has ended.

It knows processes that can be frozen and thawed, and their CPU time. It does not know what they run. Nothing that a
process says has an influence on its turns.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import trio

from node.execution.pause_gate import Freezable, PauseGate

# Of CPU time. Filling the caches again takes a hundredth of it, and the node's own work for a turn 0.7 ms; turns twice
# or eight times as long leave more of the load in the ratio.
TURN_SECONDS = 0.025
LONGEST_TURN_SECONDS = 0.25  # on the clock, for a process that gets no processor, or sleeps
ENOUGH_SECONDS = 0.002  # a turn is over when less than this is left of it: sleeping is not more exact


class Measured(Freezable, Protocol):
    """What alternation needs of a process."""

    def pin(self, processors: Collection[int]) -> None: ...

    def cpu_seconds(self) -> float: ...


class Side:
    """One run of the two. Its processes, one at a time, run in its turns only.

    over: the run has ended. may_be_scored: the runs have ended that are to be scored before this one.
    """

    def __init__(self, may_be_scored: trio.Event) -> None:
        self.process: Measured | None = None
        self.over = trio.Event()
        self.may_be_scored = may_be_scored
        self.changed = trio.Event()  # a process came or went, or the side left
        self._before = 0.0  # CPU seconds of the processes that went
        self._from = 0.0  # CPU seconds the present one had used when it came
        self._allowed = 0.0  # CPU seconds the side may have used by the end of its turn

    @contextmanager
    def taking_turns(self, process: Measured) -> Iterator[None]:
        """Inside the block the process runs in this side's turns only."""
        process.freeze()
        self._from = process.cpu_seconds()
        self._set(process)
        try:
            yield
        finally:
            self._before += process.cpu_seconds() - self._from
            self._set(None)
            process.thaw()

    def leave(self) -> None:
        """This run is over: no more turns, and the other waits for it no longer."""
        self.over.set()
        self._set(None)

    def cpu_seconds(self) -> float:
        """What the side's processes have used in the blocks of `taking_turns`."""
        return self._before + (self.process.cpu_seconds() - self._from if self.process is not None else 0.0)

    def _set(self, process: Measured | None) -> None:
        self.process = process
        self.changed.set()
        self.changed = trio.Event()

    def begin_turn(self) -> None:
        # What was used beyond the last turn is taken off this one, and what was left of it added, up to a whole turn.
        self._allowed = min(self._allowed, self.cpu_seconds() + TURN_SECONDS) + TURN_SECONDS

    def seconds_left(self) -> float:
        return self._allowed - self.cpu_seconds()


class Alternation:
    """The two sides of a pair, and the turns they take: from when both have a process, or one is over.

    processors: those that the turns may take; empty to leave it to the kernel. threads: how many of them a turn takes.
    """

    def __init__(self, processors: Sequence[int], threads: int, pause_gate: PauseGate, dice: random.Random) -> None:
        at_once = trio.Event()
        at_once.set()
        self.parent = Side(at_once)
        self.child = Side(self.parent.over)  # where the judge gets the parent's losses
        self.sides = (self.parent, self.child)
        self._processors = processors
        self._threads = threads
        self._pause_gate = pause_gate
        self._dice = dice

    async def keep(self) -> None:
        """Give turns until both sides have left."""
        for side in self.sides:
            while side.process is None and not side.over.is_set():
                await side.changed.wait()
        while not all(side.over.is_set() for side in self.sides):
            if all(side.process is None for side in self.sides):
                await self._something_changes()
            processors = self._dice.sample(self._processors, self._threads) if self._processors else ()
            for side in self._dice.sample(self.sides, 2):
                await self._turn(side, processors)

    async def _turn(self, side: Side, processors: Collection[int]) -> None:
        await self._pause_gate.wait_open()
        process = side.process
        if process is None:
            return
        side.begin_turn()
        if processors:
            process.pin(processors)
        process.thaw()
        with self._pause_gate.freezing(process), trio.move_on_after(LONGEST_TURN_SECONDS):
            while side.process is process and (left := side.seconds_left()) > ENOUGH_SECONDS:
                with trio.move_on_after(left):
                    await side.changed.wait()
        if side.process is process:
            process.freeze()

    async def _something_changes(self) -> None:
        async with trio.open_nursery() as nursery:

            async def wait(changed: trio.Event) -> None:
                await changed.wait()
                nursery.cancel_scope.cancel()

            for side in self.sides:
                nursery.start_soon(wait, side.changed)


def shares(processors: Collection[int], parts: int, threads: int) -> list[tuple[int, ...]]:
    """A machine's processors in equal shares, for as many pairs side by side. Empty ones where `threads` are too many.

    Which ones form a share is drawn, for several nodes may share a machine. Eight processors for three pairs are shares
    of two each, two processors for one pair a share of both.
    """
    left = random.sample(sorted(processors), len(processors))
    size = len(left) // parts
    if size < threads or len(left) == threads:
        return [()] * parts
    return [tuple(left[part * size : (part + 1) * size]) for part in range(parts)]
