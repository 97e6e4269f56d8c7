"""A worker set: the sandboxed processes of one run, and what the node does with them before it knows what to run.

It knows when a worker is ready, how it ended and what that means for a run. It does not know sources, weights or
scores.
"""

from __future__ import annotations

import os
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from node.execution.sandbox.process import SandboxedProcess
from protocol.records import Failure

MAX_WEIGHTS = 64 << 20  # bytes of one set of weights; the embedded objective's has 0.5 MB
MAX_FRAMES = 100_000  # of one run, which reports its progress at most ten times a second
IMPORT_NOW = b"!"  # to an examination worker, which then imports torch
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

    process: SandboxedProcess
    ended: trio.Event = field(default_factory=trio.Event)

    async def supervise(self) -> None:
        try:
            await self.process.supervise()
        finally:
            self.ended.set()

    async def destroy(self) -> None:
        self.process.kill()
        await self.ended.wait()

    def failure(self) -> Failure:
        """The failure of a run that its end stands for."""
        outcome = self.process.outcome
        return FAILURE_OF_REASON[outcome.reason] if outcome else Failure.KILLED


@dataclass
class WorkerSet:
    """The workers of one run: the candidate, one or two examination workers, and the judge."""

    candidate: Worker
    examinations: tuple[Worker, ...]
    judge: Worker
    jobs: tuple[trio.lowlevel.FdStream, ...]  # to the candidate and each examination worker
    frames: Frames  # from the candidate
    control: trio.lowlevel.FdStream  # to the judge
    verdict: trio.lowlevel.FdStream  # from the judge
    ready: trio.Event = field(default_factory=trio.Event)  # the candidate waits for its job, or has failed
    start_failure: RunFailed | None = None
    imports_started: int = 0  # examination workers that were told to import torch
    job_sent: float | None = None  # when training began, by a clock that stands still while the candidate is frozen

    @property
    def workers(self) -> tuple[Worker, ...]:
        return (self.candidate, *self.examinations, self.judge)

    def candidate_seconds(self) -> float:
        """Seconds since the candidate got its job, without those in which it was frozen; 0 before it got one."""
        now = time.monotonic() - self.candidate.process.frozen_seconds
        return now - self.job_sent if self.job_sent is not None else 0.0

    async def get_ready(self) -> None:
        """Have the workers import torch one after the other, so that they take one core from a run under way.

        The candidate's import is timed, and each examination worker is given as long before the next one is told.
        """
        begun = time.monotonic()
        try:
            tag, _ = await self.frames.next()
            if tag != b"R":
                self.start_failure = RunFailed(Failure.EXCEPTION, "the candidate worker did not start")
        except RunFailed as failed:
            self.start_failure = failed
        except trio.ClosedResourceError:
            return  # the worker set was destroyed meanwhile
        took = time.monotonic() - begun
        self.ready.set()
        for _ in self.examinations:
            self.start_imports(1)
            await trio.sleep(took)

    def start_imports(self, count: int) -> None:
        """Tell the next `count` examination workers to import torch; fewer when fewer are left."""
        first = 1 + self.imports_started  # jobs[0] is the candidate's
        for stream in self.jobs[first : first + count]:
            self.imports_started += 1
            with suppress(OSError):  # it has ended, which shows where its answer is read
                os.write(stream.fileno(), IMPORT_NOW)

    async def destroy(self) -> None:
        """End every worker and close every pipe, also when cancelled meanwhile."""
        with trio.CancelScope(shield=True):
            for worker in self.workers:
                worker.process.kill()
            for stream in (*self.jobs, self.frames.stream, self.control, self.verdict):
                await stream.aclose()
            for worker in self.workers:
                await worker.ended.wait()


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
        if length > MAX_WEIGHTS or self._remaining < 0:
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
