"""A worker: one sandboxed process of a run, its pipes, and what its end means for the run.

It does not know sources, weights or scores.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass, field

import trio

from node.execution.sandbox.watch import Watched
from protocol.records import Failure

MAX_FRAMES = 100_000  # of one run, which reports its progress at most ten times a second
STUCK_SECONDS = 20.0  # after which a process that was killed counts as one that never ends; it takes milliseconds
MAX_BODY = 64  # bytes: every frame says a few numbers, or the name of a failure
FAILURE_OF_REASON = {
    "time": Failure.TIMEOUT,
    "cpu": Failure.TIMEOUT,
    "memory": Failure.MEMORY,
    "output": Failure.OUTPUT,
    "disk": Failure.OUTPUT,
    "tasks": Failure.EXCEPTION,
    "killed": Failure.KILLED,
    "exit": Failure.EXCEPTION,
}


class RunFailed(Exception):
    """A run ends here with this failure."""

    def __init__(self, failure: Failure, log_tail: str) -> None:
        super().__init__(failure)
        self.failure, self.log_tail = failure, log_tail


@dataclass
class Worker:
    """A sandboxed process and the event of its end."""

    process: Watched
    ended: trio.Event = field(default_factory=trio.Event)
    cpu_before_job: float = 0.0
    job_begun: float | None = None  # on a clock that stands still while it is frozen
    seconds_of_job: float | None = None  # once it has ended

    async def supervise(self) -> None:
        try:
            await self.process.supervise()
        finally:
            self.seconds_of_job = self.wall_of_job()
            self.ended.set()

    async def destroy(self) -> None:
        """End it. Raises RunFailed where it is stuck inside the kernel, which a driver's fault can do to a process."""
        self.process.kill()
        if not await self.ends():
            raise RunFailed(Failure.KILLED, "a process of the run was killed and does not end")

    async def ends(self) -> bool:
        """Whether it has ended; waits for that, but not for ever."""
        with trio.move_on_after(STUCK_SECONDS):
            await self.ended.wait()
        return self.ended.is_set()

    def begin_job(self, seconds: float) -> None:
        """From now its CPU time is that of its job, for which it has so many seconds."""
        self.process.start_clock(seconds)
        self.cpu_before_job = self.process.cpu_seconds()
        self.job_begun = self._clock()

    def cpu_of_job(self) -> float:
        """CPU seconds since the job began."""
        return max(0.0, self.process.cpu_seconds() - self.cpu_before_job)

    def wall_of_job(self) -> float:
        """Seconds of wall time since the job began, until the worker ended, without those in which it was frozen."""
        if self.seconds_of_job is not None:
            return self.seconds_of_job
        return 0.0 if self.job_begun is None else self._clock() - self.job_begun

    def _clock(self) -> float:
        return time.monotonic() - self.process.frozen_seconds

    def failure(self) -> Failure:
        """The failure of a run that its end stands for."""
        outcome = self.process.outcome
        return FAILURE_OF_REASON[outcome.reason] if outcome else Failure.KILLED


class Frames:
    """Tagged frames from the candidate worker (see workers/train.py), with limits on their size and number."""

    def __init__(self, stream: trio.lowlevel.FdStream, worker: Worker) -> None:
        self.stream, self._worker = stream, worker
        self._buffer = bytearray()
        self._remaining = MAX_FRAMES

    async def next(self) -> tuple[bytes, bytes]:
        """(tag, body) of the next frame. Raises RunFailed when the worker ends first, or sends more than it may."""
        tag, length = struct.unpack("<cxxxI", await self._exactly(8))
        self._remaining -= 1
        if self._remaining < 0 or length > MAX_BODY:
            raise RunFailed(Failure.OUTPUT, "the candidate worker sent more than a run may send")
        return tag, await self._exactly(length)

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            data = await self.stream.receive_some(1 << 18)
            if not data:
                await self._worker.ended.wait()
                raise RunFailed(self._worker.failure(), self._worker.process.log_tail())
            self._buffer += data
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken
