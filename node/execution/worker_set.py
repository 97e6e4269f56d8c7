"""A worker set: the workers of one run of a model, each forked when it is its turn, and the pipes among them.

It knows what each worker is given and may use. It does not know what is sent to them, nor scores.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from node.execution.fork_servers import Given, Servers
from node.execution.pipes import Pipes, say_if_room
from node.execution.sandbox.orders import Processes
from node.execution.sandbox.policy import Policy
from node.execution.snapshots import Snapshot, UnfinishedRun, snapshot_file_bytes
from node.execution.weights import RunWeights
from node.execution.worker import Frames, Worker
from node.objective.schema import Budget, Objective

EXAMINATION_SECONDS = 300.0  # of wall time; the judge of the embedded objective takes two
EXAMINATION_CPU_SECONDS = 120.0
EXAMINATION_MEMORY = 2 << 30  # at least; bytes, as all sizes here
JUDGE_MEMORY = 2 << 30
LOG_BYTES = 1 << 20
# What a training in seconds may take beyond them: its last step, handing out weights, the end of its process.
OVERTIME_SHARE, OVERTIME_SECONDS = 0.05, 2.0
LEAST_SECONDS = 5.0  # for the rest of a training that goes on, which loads its snapshot too
TASKS = 64  # torch starts a few threads of its own beside those that compute


def most_memory(objective: Objective) -> int:
    """The most that any worker of the objective's runs may use."""
    return max(objective.budget.memory_bytes, examination_memory(objective), JUDGE_MEMORY)


def examination_memory(objective: Objective) -> int:
    """What an examination worker may use: room for the model, and of a large one for each tensor once more."""
    return max(EXAMINATION_MEMORY, (1 << 30) + 2 * objective.budget.weights_bytes)


def weights_file_bytes(objective: Objective) -> int:
    """The most that a run's file of weights may have: those at every checkpoint, and the final ones."""
    return objective.budget.weights_bytes * (len(objective.checkpoints) + 1)


def longest_file(objective: Objective) -> int:
    """The most that any file may have that a worker writes."""
    return max(weights_file_bytes(objective), snapshot_file_bytes(objective))


@dataclass(frozen=True)
class Candidate:
    """snapshots: the number by which it knows the file of its snapshots."""

    worker: Worker
    jobs: trio.lowlevel.FdStream
    frames: Frames
    snapshots: str

    def say_pauses(self) -> None:
        """From now say on the pipe of its job how long it was held, each time before it goes on (workers/pauses.py).

        In all, so that what finds no room is said the next time. Call it when the job was sent.
        """
        already = self.worker.process.frozen_seconds

        def say(frozen_seconds: float) -> None:
            say_if_room(self.jobs, struct.pack("<d", frozen_seconds - already))

        self.worker.process.before_going_on = say


@dataclass(frozen=True)
class Examination:
    worker: Worker
    jobs: trio.lowlevel.FdStream


@dataclass(frozen=True)
class Judge:
    worker: Worker
    control: trio.lowlevel.FdStream
    verdict: trio.lowlevel.FdStream


class Workers:
    """The workers of one run and the pipes among them. `destroy` ends all of them; nothing is left in the parents."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._pipes = Pipes()
        self._streams: list[trio.lowlevel.FdStream] = []
        self._workers: list[Worker] = []

    async def destroy(self) -> None:
        """End every worker and close every pipe, also when cancelled meanwhile."""
        with trio.CancelScope(shield=True):
            for worker in self._workers:
                worker.process.kill()
            for stream in self._streams:
                await stream.aclose()
            for worker in self._workers:
                await worker.ends()
            self._pipes.close()

    def _stream(self, worker_end: int) -> trio.lowlevel.FdStream:
        self._streams.append(self._pipes.stream(worker_end))
        return self._streams[-1]

    async def _worker_under(
        self, policy: Policy, servers: Servers, program: str, arguments: Sequence[str], given: Given
    ) -> Worker:
        """A worker. Raises ServerLostError, OSError when none can be started."""
        worker = await servers.worker(program, arguments, given.descriptors, policy, self._nursery)
        self._workers.append(worker)
        self._pipes.hand_over(given.descriptors)
        return worker


class WorkerSet(Workers):
    """The workers of one run of a model."""

    def __init__(self, objective: Objective, servers: Servers, nursery: trio.Nursery) -> None:
        super().__init__(nursery)
        self._objective = objective
        self._servers = servers
        self.candidate: Candidate | None = None
        self.examinations: list[Examination] = []
        # What each examination worker that there may be reads requests from, and writes its answers to.
        self._rooms: list[tuple[int, int]] = []
        self.warmup_seconds = 0.0  # as the candidate tells, no more than the objective allows; of a GPU only
        self._training_since: float | None = None  # by a clock that stands still while the candidate is frozen

    async def start_candidate(self, run: UnfinishedRun, start: Snapshot) -> Candidate:
        """The candidate, which waits for its job. Raises ServerLostError, OSError, as all that start a worker do.

        start: what the run goes on from.
        """
        job, out = self._pipes.to_worker(), self._pipes.from_worker()
        written = self._pipes.opened(run.weights.for_candidate())
        files = [self._pipes.file(path) for _, path in self._objective.data_for("candidate")]
        given = Given()
        arguments = [given(end) for end in (job, out, written, *files)]
        snapshots = given(self._pipes.opened(run.for_candidate()))
        budget = self._objective.budget
        worker = await self._worker(
            "train",
            arguments,
            given,
            budget.memory_bytes,
            max(LEAST_SECONDS, training_cpu_seconds(budget, start.parts) - start.cpu_seconds),
            processes="threads",
            file_bytes=run.longest_file((longest_file if run.has_room else weights_file_bytes)(self._objective)),
        )
        frames = Frames(self._stream(out), worker)
        self.candidate = Candidate(worker, self._stream(job), frames, snapshots)
        return self.candidate

    def begin_training(self, start: Snapshot) -> None:
        """From now the candidate's time counts. start: what the run goes on from."""
        assert self.candidate is not None
        budget = self._objective.budget
        most = math.inf if self._servers.gpu is None else training_gpu_seconds(budget, start.parts)
        self.candidate.worker.begin_job(max(LEAST_SECONDS, min(budget.wall_seconds, most) - start.wall_seconds))
        self._training_since = time.monotonic() - self.frozen_seconds

    def candidate_seconds(self) -> float:
        """Seconds since the candidate got its job, without those in which it was frozen; 0 before it got one."""
        now = time.monotonic() - self.frozen_seconds
        return now - self._training_since if self._training_since is not None else 0.0

    def cost(self, start: Snapshot, warmup_seconds: float) -> Snapshot:
        """What a run that went on from `start` has cost by now, its earlier parts included, as `cost_of_jobs` has it.

        warmup_seconds: of a GPU, in which the candidate says that it compiled and warmed up until now.
        """
        assert self.candidate is not None
        worker = self.candidate.worker
        cost = worker.cpu_of_job()
        if self._servers.gpu is not None:
            cost = max(0.0, worker.wall_of_job() - self._forgiven(warmup_seconds))
        return Snapshot(
            offset=start.offset,
            length=start.length,
            cpu_seconds=start.cpu_seconds + cost,
            wall_seconds=start.wall_seconds + self.candidate_seconds(),
            peak_memory=max(start.peak_memory, self.peak_memory),
            parts=start.parts + 1,
        )

    def warmed_up(self, seconds: float) -> None:
        """Note what the candidate says of warming up, when it is done."""
        if self._servers.gpu is not None:
            self.warmup_seconds = self._forgiven(seconds)

    def _forgiven(self, warmup_seconds: float) -> float:
        return min(self._objective.budget.warmup_seconds, max(0.0, warmup_seconds)) if warmup_seconds > 0 else 0.0

    async def start_judge(self) -> Judge:
        """The judge, with its ends of the pipes to as many examination workers as it may ask, and the hidden data."""
        objective, given = self._objective, Given()
        assert objective.judge is not None
        control, verdict = self._pipes.to_worker(), self._pipes.from_worker()
        arguments = [given(control), given(verdict), given(self._pipes.file(objective.root / objective.judge))]
        # None where the text is drawn for each run.
        train = [given(self._pipes.file(path)) for _, path in objective.data_for("candidate")]
        arguments += train or ["-"]
        for _ in range(self.most_examinations):
            requests, asked = self._pipes.between()
            answered, replies = self._pipes.between()
            self._rooms.append((requests, replies))
            arguments += [given(asked), given(answered)]
        arguments += [f"{name}={given(self._pipes.file(path))}" for name, path in objective.data_for("judge")]
        cpu_seconds = 2 * objective.budget.wall_seconds + EXAMINATION_SECONDS
        worker = await self._worker("judge", arguments, given, JUDGE_MEMORY, cpu_seconds)
        return Judge(worker, self._stream(control), self._stream(verdict))

    async def start_examination(self, weights: RunWeights) -> Examination:
        """The next examination worker, after the judge was started. The one before must have been destroyed."""
        requests, replies = self._rooms[len(self.examinations)]
        job, given = self._pipes.to_worker(), Given()
        read = self._pipes.opened(weights.for_examination())
        arguments = [given(end) for end in (job, requests, replies, read)]
        memory = examination_memory(self._objective)
        worker = await self._worker("answer", arguments, given, memory, EXAMINATION_CPU_SECONDS)
        self.examinations.append(Examination(worker, self._stream(job)))
        return self.examinations[-1]

    @property
    def most_examinations(self) -> int:
        """Where the seed is no secret, the first is shown whole windows, so another one has to confirm its answers."""
        return 1 if self._objective.secret_seed else 2

    async def cost_of_jobs(self) -> float:
        """What the source took in training and in examinations, which end with this: CPU seconds, or a GPU's seconds.

        A GPU is the run's alone, so its seconds are those on the clock. Up to the objective's `warmup_seconds` those in
        which the candidate says that it compiled and warmed up are left out.
        """
        for examination in self.examinations:
            await examination.worker.destroy()
        running = [examination.worker for examination in self.examinations]
        if self.candidate is not None:
            running.append(self.candidate.worker)
        if self._servers.gpu is None:
            return sum(worker.cpu_of_job() for worker in running)
        return max(0.0, sum(worker.wall_of_job() for worker in running) - self.warmup_seconds)

    @property
    def peak_memory(self) -> int:
        """Of the training; of the examination where nothing was trained."""
        if self.candidate is not None:
            return self.candidate.worker.process.peak_memory
        return max((examination.worker.process.peak_memory for examination in self.examinations), default=0)

    @property
    def frozen_seconds(self) -> float:
        workers = [examination.worker for examination in self.examinations]
        if self.candidate is not None:
            workers.append(self.candidate.worker)
        return sum(worker.process.frozen_seconds for worker in workers)

    async def _worker(
        self,
        program: str,
        arguments: Sequence[str],
        given: Given,
        memory: int,
        cpu_seconds: float,
        processes: Processes = "none",
        file_bytes: int = 0,
    ) -> Worker:
        """A worker. Only the candidate may make threads, and write to files: of its weights and of snapshots.

        The numbers that the kernel gives to new threads come from one count, so a later fork could learn from them how
        many threads an earlier one had made, which can be a message about the text that is scored.
        """
        policy = Policy(
            wall_seconds=EXAMINATION_SECONDS,
            cpu_seconds=cpu_seconds,
            memory_bytes=memory,
            tasks=TASKS,
            output_bytes=LOG_BYTES,
            writable_bytes=file_bytes,
            processes=processes,
        )
        return await self._worker_under(policy, self._servers, program, arguments, given)


def training_cpu_seconds(budget: Budget, parts_before: int = 0) -> float:
    """The CPU time after which a training is ended, whatever it says of itself, all its parts together.

    parts_before: how often it was begun before, and interrupted. Each part has to compile and warm up.

    Where the budget is tokens, it is ended by wall time, which a busy machine stretches; this limit is for one that
    uses many threads. Where it is time, the worker counts that itself, in a process that it shares with the source; so
    this is what a source can take at most. For 300 s and 60 s of warming up on one thread it is 377 s.
    """
    if budget.seconds is None:
        return 2 * budget.wall_seconds + EXAMINATION_SECONDS
    return budget.threads * _with_overtime(budget.seconds, budget, parts_before)


def training_gpu_seconds(budget: Budget, parts_before: int = 0) -> float:
    """The wall time after which a training on a GPU is ended, as `training_cpu_seconds` has it for processors."""
    return math.inf if budget.seconds is None else _with_overtime(budget.seconds, budget, parts_before)


def _with_overtime(seconds: float, budget: Budget, parts_before: int) -> float:
    return seconds * (1 + OVERTIME_SHARE) + OVERTIME_SECONDS + (parts_before + 1) * budget.warmup_seconds
