"""Watching an untrusted program from outside: its limits, its output, its pauses, and how it ended.

It knows a process by its pid, a policy, and the pipe the program prints to. How the program is started, stopped and
ended is for the two kinds of program to say: `process` (a program with a sandbox of its own) and `forks` (a fork of a
process inside a sandbox). All waiting is done with trio.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import time
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import trio

from node.execution.sandbox.policy import Policy
from node.execution.sandbox.tree import Meter, bytes_in, descendants, threads

Reason = Literal["exit", "time", "cpu", "memory", "tasks", "output", "disk", "killed"]

# How often the limits are checked: see `poll_seconds`.
_POLL_SECONDS = 0.05
_POLL_SHARE = 0.01  # of the node's time that checks may take, so that many nodes on one machine leave it to their runs
_SLOWEST_POLL_SECONDS = 0.1  # however long a check takes: a limit is enforced no later than this
_WAITING_POLL_SECONDS = 1.0  # before the clock starts: the process is idle, and several wait ahead of need
_LOG_BYTES = 4096  # kept of the output: its end, which says why a program failed
_READ_BYTES = 65536  # in one read: the capacity of a pipe (pipe(7))
_MOST_READS = 64  # of the log pipe in one go (4 MiB), so that a flood does not keep the node from its other work
# What is left of a disk when a program that writes there is ended, whoever filled it: half of what the node keeps free
# for its ledger. Of a small disk a share.
LEAST_FREE, LEAST_SHARE = 128 << 20, 20
# Signals that say more than "it crashed": SIGKILL comes from the kernel when memory ran out (or from a person), SIGXCPU
# when the limit of CPU time was reached.
_REASONS_OF_SIGNALS: dict[int | None, Reason] = {signal.SIGKILL: "killed", signal.SIGXCPU: "cpu"}


@dataclass(frozen=True)
class ProcessEnd:
    """How a program ended. `code` when it exited, `signal` when it was killed.

    reason: "exit", by itself; the limit it went over: "time", "cpu", "memory", "tasks", "output", "disk"; or "killed",
    by the node or by something else on this machine (the kernel, when memory runs out). Sizes are in bytes.
    """

    reason: Reason
    code: int | None
    signal: int | None
    wall_seconds: float
    cpu_seconds: float
    peak_memory: int
    log_tail: str
    tier: str


class Watched(ABC):
    """A running program. Run `supervise` in a nursery from the beginning."""

    def __init__(
        self,
        pid: int,
        tier: str,
        policy: Policy,
        log_pipe: int,
        meter: Meter,
        on_output: Callable[[bytes], None] | None = None,
    ) -> None:
        """on_output: gets all that the program prints, as it is read. It must return soon."""
        self.pid = pid
        self.tier = tier
        self.outcome: ProcessEnd | None = None
        self.peak_memory = 0
        self.frozen_seconds = 0.0  # so far
        # Called with them when the program is about to go on.
        self.before_going_on: Callable[[float], None] | None = None
        self._policy = policy
        self._meter = meter
        self._log_pipe = log_pipe
        os.set_blocking(log_pipe, False)
        self._started = time.monotonic()
        self._deadline = math.inf
        self._clock_started = trio.Event()
        self._reason: Reason | None = None
        self._log = bytearray()
        self._on_output = on_output
        self._output = 0
        self._next_disk_check = 0.0
        self._frozen_at: float | None = None
        self._thawed = trio.Event()

    # ---- what a kind of program must say ---------------------------------------------------------------------------

    @property
    @abstractmethod
    def _running(self) -> bool:
        """Whether it is not known yet to have ended."""

    @abstractmethod
    def _stop(self) -> None:
        """Stop everything that belongs to the program (SIGSTOP)."""

    @abstractmethod
    def _go_on(self) -> None:
        """Undo `_stop`."""

    @abstractmethod
    def _end(self) -> None:
        """Begin to end everything that belongs to the program (SIGKILL)."""

    @abstractmethod
    async def dead(self) -> None:
        """Return when the program and everything it started no longer run. After `kill` this takes milliseconds."""

    @abstractmethod
    async def _gone(self) -> None:
        """As `dead`, with no limit on the wait."""

    @abstractmethod
    def _close(self) -> int:
        """Give back what belonged to the program, and say how it ended: its exit status, or minus a signal."""

    # ---- what they share -------------------------------------------------------------------------------------------

    @property
    def dying(self) -> bool:
        """Whether it is to end, for a limit or because the node wants it to."""
        return self._reason is not None

    def start_clock(self, seconds: float | None = None) -> None:
        """From now the program has `seconds` of wall time (None: the policy's). Before, it may wait for ever."""
        self._deadline = time.monotonic() + (self._policy.wall_seconds if seconds is None else seconds)
        self._clock_started.set()

    def log_tail(self) -> str:
        """The last lines of what the program printed (about 4 KB), safe to show on a terminal."""
        text = bytes(self._log).decode("utf-8", "replace").replace("\r", "\n").replace("\t", "    ")
        return "".join(c for c in text if c == "\n" or not unicodedata.category(c).startswith("C")).strip("\n")

    def cpu_seconds(self) -> float:
        """User and system CPU seconds of the whole tree so far, including what has ended; as seen from outside."""
        return self._meter.read().cpu_seconds

    def freeze(self) -> None:
        """Stop the program; its wall clock stands still too, until `thaw` or `kill`."""
        if not self._running or self._frozen_at is not None:
            return
        self._frozen_at = time.monotonic()
        self._thawed = trio.Event()
        self._stop()

    def thaw(self) -> None:
        """Let a frozen program go on."""
        if self._frozen_at is None:
            return
        frozen = time.monotonic() - self._frozen_at
        self._deadline += frozen
        self.frozen_seconds += frozen
        self._frozen_at = None
        self._thawed.set()
        if self.before_going_on is not None:
            self.before_going_on(self.frozen_seconds)
        if self._running:
            self._go_on()

    def pin(self, processors: Collection[int]) -> None:
        """Let every thread of the tree, and all it starts, run on these processors only. The tree cannot undo it."""
        for pid in descendants(self.pid) if self._running else ():
            for thread in threads(pid):
                with contextlib.suppress(OSError):  # it has ended
                    os.sched_setaffinity(thread, processors)

    def kill(self, reason: Reason = "killed") -> None:
        """End the program; it is dead or dying when this returns. The first reason given is the outcome's."""
        if not self._running:
            return
        self._reason = self._reason or reason
        self._meter.read()
        self._end()

    async def supervise(self) -> None:
        """Watch until the program and all it started are gone; end it when it goes over a limit.

        Its output is read continuously, so printing never blocks it. Cancelling kills the program and returns when it
        is dead. Afterwards `outcome` is set.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._drain_output)
                nursery.start_soon(self._watch)
                await self._gone()
                nursery.cancel_scope.cancel()
        finally:
            self.kill()
            with trio.CancelScope(shield=True):
                await self.dead()
            self._read_output()
            self.outcome = self._ending(self._close())

    async def _drain_output(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._log_pipe)
            if not self._read_output():
                return
            await trio.lowlevel.checkpoint()

    def _read_output(self) -> bool:
        """Read what is in the log pipe; False when every writing end is closed."""
        for _ in range(_MOST_READS):
            try:
                data = os.read(self._log_pipe, _READ_BYTES)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._output += len(data)
            self._log += data
            if self._on_output is not None:
                self._on_output(data)
            del self._log[:-_LOG_BYTES]
            if self._output > self._policy.output_bytes:
                self.kill("output")
        return True

    async def _watch(self) -> None:
        while True:
            begun = time.monotonic()
            breach = self._breach()
            if breach is not None:
                self.kill(breach)
                return
            if self._frozen_at is not None:
                with trio.move_on_after(_WAITING_POLL_SECONDS):
                    await self._thawed.wait()
            elif self._clock_started.is_set():
                await trio.sleep(poll_seconds(time.monotonic() - begun))
            else:
                with trio.move_on_after(_WAITING_POLL_SECONDS):
                    await self._clock_started.wait()

    def _breach(self) -> Reason | None:
        policy, usage = self._policy, self._meter.read()
        self.peak_memory = max(self.peak_memory, usage.memory)
        if time.monotonic() > self._deadline and self._frozen_at is None:
            return "time"
        if usage.memory > policy.memory_bytes:
            return "memory"
        if usage.tasks > policy.tasks:
            return "tasks"
        if usage.cpu_seconds > policy.cpu_seconds:
            return "cpu"
        if policy.writable is not None and self._too_much_on_disk(str(policy.writable)):
            return "disk"
        return None

    def _too_much_on_disk(self, directory: str) -> bool:
        now = time.monotonic()
        if now < self._next_disk_check:
            return False
        # Files that are open but have no name any more cannot be found. So what they take is seen by what is left.
        if is_full(directory):
            return True
        found = bytes_in(directory, self._policy.writable_bytes)
        # Many files take long to count. Counting starts at most once in five times as long as it took, so it takes
        # no more than a fifth of the node's time: if it took 0.2 s, the next count starts 1 s after this one did.
        self._next_disk_check = now + 5 * (time.monotonic() - now)
        return found > self._policy.writable_bytes

    def _ending(self, status: int) -> ProcessEnd:
        number = -status if status < 0 else None
        reason = self._reason
        if reason is not None:
            number = signal.SIGKILL  # we sent it, whatever exit status bwrap or unshare made of it
        elif number in _REASONS_OF_SIGNALS:
            reason = _REASONS_OF_SIGNALS[number]
        else:
            reason = "exit"
        return ProcessEnd(
            reason=reason,
            code=None if number is not None else status,
            signal=number,
            wall_seconds=time.monotonic() - self._started,
            cpu_seconds=self._meter.read().cpu_seconds,
            peak_memory=self.peak_memory,
            log_tail=self.log_tail(),
            tier=self.tier,
        )


def is_full(directory: str | Path) -> bool:
    """Whether a disk has so little left that nothing is to write to it any more, as far as can be told."""
    try:
        disk = os.statvfs(directory)
    except OSError:  # somebody has removed the folder, a cleaner of temporary files perhaps
        return False
    return disk.f_bavail < min(LEAST_FREE // disk.f_frsize, disk.f_blocks // LEAST_SHARE)


async def readable(descriptor: int) -> None:
    """Wait until a descriptor is readable, and close it. It is the caller's own: trio lets one task wait on each."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    try:
        # Asked again, because epoll goes on reporting for the number of a closed descriptor while a copy of it is open
        # (epoll(7), questions), and this number may have been that one's.
        while not poller.poll(0):
            await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)


def poll_seconds(took: float) -> float:
    """Seconds to wait after a check of a tree that took `took` seconds, so that checks take a share of _POLL_SHARE.

    A check of 0.2 ms is followed by 50 ms (the least), one of 0.8 ms by 80 ms, one of 5 ms by 100 ms (the most).
    """
    return min(max(_POLL_SECONDS, took / _POLL_SHARE), _SLOWEST_POLL_SECONDS)
