"""A suite: the rooms of one run, and what the node can do with them before it knows what to run.

It knows when a room is ready, how it ended and what that means for a run; it does not know sources, weights or scores.
"""

from __future__ import annotations

import os
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from node.execution.sandbox.process import Box

MAX_WEIGHTS = 64 << 20
MAX_FRAMES = 100_000
CALL = b"!"  # to an examination room: import what you need
FAILURE_OF_REASON = {
    "time": "timeout",
    "cpu": "timeout",
    "memory": "memory",
    "output": "output",
    "disk": "output",
    "tasks": "exception",
    "killed": "killed",
    "exit": "exception",
}


class RunFailed(Exception):
    """A run ends here with this failure."""

    def __init__(self, failure: str, log_tail: str) -> None:
        super().__init__(failure)
        self.failure, self.log_tail = failure, log_tail


@dataclass
class Worker:
    """A sandboxed process and the event of its end."""

    box: Box
    ended: trio.Event = field(default_factory=trio.Event)

    async def supervise(self) -> None:
        try:
            await self.box.supervise()
        finally:
            self.ended.set()

    async def destroy(self) -> None:
        self.box.kill()
        await self.ended.wait()

    def failure(self) -> str:
        """The failure its end stands for."""
        outcome = self.box.outcome
        return FAILURE_OF_REASON[outcome.reason] if outcome else "killed"


@dataclass
class WorkerSet:
    """The rooms of one run."""

    candidate: Worker
    examinations: tuple[Worker, Worker]
    judge: Worker
    jobs: tuple[trio.lowlevel.FdStream, ...]  # to the candidate and the two examination rooms
    frames: Frames  # from the candidate
    control: trio.lowlevel.FdStream  # to the judge
    verdict: trio.lowlevel.FdStream  # from the judge
    ready: trio.Event = field(default_factory=trio.Event)  # the candidate waits for its job, or will never do so
    trouble: RunFailed | None = None
    called: int = 0  # examination rooms that were told to import what they need
    job_sent: float | None = None  # when training could begin, by the clock of Rest; till then rooms were getting ready

    @property
    def workers(self) -> tuple[Worker, ...]:
        return (self.candidate, *self.examinations, self.judge)

    async def get_ready(self) -> None:
        """Have the rooms import what they need, one after the other."""
        begun = time.monotonic()
        try:
            tag, _ = await self.frames.next()
            if tag != b"R":
                self.trouble = RunFailed("exception", "the candidate's room did not start")
        except RunFailed as trouble:
            self.trouble = trouble
        except trio.ClosedResourceError:
            return  # not needed any more
        took = time.monotonic() - begun
        self.ready.set()
        for _ in self.examinations:
            self.call(1)
            await trio.sleep(took)

    def call(self, count: int) -> None:
        """Tell so many more examination rooms, as far as there are any, to import what they need."""
        for stream in self.jobs[1 + self.called : 1 + self.called + count]:
            self.called += 1
            with suppress(OSError):  # gone already, which shows where its answer is read
                os.write(stream.fileno(), CALL)

    async def destroy(self) -> None:
        """End every room and close every pipe; done even under cancellation."""
        with trio.CancelScope(shield=True):
            for worker in self.workers:
                worker.box.kill()
            for stream in (*self.jobs, self.frames.stream, self.control, self.verdict):
                await stream.aclose()
            for worker in self.workers:
                await worker.ended.wait()


class Frames:
    """Tagged frames from the candidate's room, with limits on their size and number."""

    def __init__(self, stream: trio.lowlevel.FdStream, worker: Worker) -> None:
        self.stream, self._worker = stream, worker
        self._buffer = bytearray()
        self._left = MAX_FRAMES

    async def next(self) -> tuple[bytes, bytes]:
        tag, length = struct.unpack("<cxxxI", await self._exactly(8))
        self._left -= 1
        if length > MAX_WEIGHTS or self._left < 0:
            raise RunFailed("output", "the candidate's room sent more than a run may send")
        return tag, await self._exactly(length)

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            data = await self.stream.receive_some(1 << 18)
            if not data:
                await self._worker.ended.wait()
                raise RunFailed(self._worker.failure(), self._worker.box.log_tail())
            self._buffer += data
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken
