"""What a candidate reports of its training, frame by frame: progress, weights, snapshots, and how it ended.

It knows what may be said, and takes nothing for true but lengths and places within limits. What the frames look like is
in workers/train.py.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

import msgspec
import trio

from node.execution.run_progress import Progress
from node.execution.snapshots import Snapshot, UnfinishedRun
from node.execution.weights import WeightsSet
from node.execution.worker import RunFailed
from node.execution.worker_set import WorkerSet, weights_file_bytes
from node.objective.schema import Objective
from protocol.records import Failure

REPORTED_FAILURES = {  # those that a candidate may report of itself
    failure.encode(): failure for failure in (Failure.SYNTAX, Failure.EXCEPTION, Failure.DIVERGED, Failure.MEMORY)
}


class TrainingReports:
    """Follows one candidate to the end of its training."""

    def __init__(
        self,
        objective: Objective,
        worker_set: WorkerSet,
        run: UnfinishedRun,
        start: Snapshot,
        clock: Callable[[], float],
        progress: Callable[[Progress], None],
    ) -> None:
        """start: what the training goes on from. clock: seconds, without those of pauses."""
        assert worker_set.candidate is not None
        self._objective = objective
        self._candidate = worker_set.candidate
        self._run = run
        self._start, self._worker_set = start, worker_set
        self._clock = clock
        self._kept_at = clock()
        self._progress = progress
        self._begun = clock() - start.wall_seconds
        self._share = start.share
        self._sets = {step: WeightsSet(step, offset, length) for step, offset, length in start.sets}

    async def follow(self) -> int:
        """Note where the candidate wrote its weights, and its snapshots. Returns the tokens that it tells of.

        The sets are in order of steps, the final ones last. Raises RunFailed.
        """
        while True:
            tag, body = await self._candidate.frames.next()
            if tag == b"P" and len(body) == 20:  # u32 step, f64 share, f64 loss
                _, share, loss = struct.unpack("<Idd", body)
                if math.isfinite(share) and math.isfinite(loss):
                    self._share = min(1.0, max(0.0, share))
                    cost = self._worker_set.cost(self._start, warmup_seconds=0.0).cpu_seconds
                    self._progress(Progress(self._share, loss, self._clock() - self._begun, "train", cost))
            elif tag == b"W" and len(body) == 20:
                one = self._weights_set(body)
                if one.step == 0 or one.step in self._objective.checkpoints:
                    self._sets[one.step] = one
            elif tag == b"S" and len(body) == 24:  # u64 offset, u64 length, f64 seconds
                await self._keep(*struct.unpack("<QQd", body))
            elif tag == b"D" and len(body) == 16 and 0 in self._sets:  # u64 tokens, f64 seconds
                final = self._sets.pop(0)
                self._run.weights.sets = [*(one for _, one in sorted(self._sets.items())), final]
                tokens, warmup_seconds = struct.unpack("<Qd", body)
                self._worker_set.warmed_up(warmup_seconds)
                return int(tokens)
            elif tag == b"F" and body in REPORTED_FAILURES:
                await self._candidate.worker.ended.wait()
                raise RunFailed(REPORTED_FAILURES[body], self._candidate.worker.process.log_tail())
            else:
                raise RunFailed(Failure.INVALID, "the candidate worker sent an unknown frame")

    def at_stake(self) -> float:
        """Seconds of training that would have to be made again if the candidate ended now."""
        return self._clock() - self._kept_at

    def _weights_set(self, body: bytes) -> WeightsSet:
        """What a candidate says of weights that it is about to write. Raises RunFailed where they are too large."""
        one = WeightsSet(*struct.unpack("<IQQ", body))
        most = self._objective.budget.weights_bytes
        if one.length > most:
            told = f"the model has {one.length / 1e6:.1f} MB of weights; {most / 1e6:.1f} MB at most"
            raise RunFailed(Failure.OUTPUT, f"{told} ([budget] weights_mb)")
        if one.offset > weights_file_bytes(self._objective):
            raise RunFailed(Failure.INVALID, "the candidate worker said that weights lie outside of their file")
        return one

    async def _keep(self, offset: int, length: int, warmup_seconds: float) -> None:
        """A snapshot is complete. Raises RunFailed where it cannot be. One that comes too soon is not kept."""
        if not self._run.is_possible(offset, length):
            raise RunFailed(Failure.INVALID, "the candidate worker said that a snapshot lies outside of its file")
        if not self._run.is_due(self.at_stake()):
            return
        sets = tuple((one.step, one.offset, one.length) for one in self._sets.values())
        self._kept_at = self._clock()
        cost = self._worker_set.cost(self._start, warmup_seconds)
        snapshot = msgspec.structs.replace(cost, offset=offset, length=length, share=self._share, sets=sets)
        await trio.to_thread.run_sync(self._run.keep, snapshot)
