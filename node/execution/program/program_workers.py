"""The workers of a session: one for each program, the judge, and the pipes between it and them.

It knows what each is given and may use. It does not know what is asked, nor scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

from node.execution.fork_servers import Given, Servers
from node.execution.sandbox.policy import Policy
from node.execution.worker import Worker
from node.execution.worker_set import EXAMINATION_SECONDS, JUDGE_MEMORY, LOG_BYTES, TASKS, Judge, Workers
from node.objective.schema import Objective


@dataclass(frozen=True)
class ProgramWorker:
    """A worker that runs a source, and where it gets its job."""

    worker: Worker
    jobs: trio.lowlevel.FdStream


class ProgramWorkers(Workers):
    """The workers of one session. The programs are started first, then the judge."""

    def __init__(self, objective: Objective, nursery: trio.Nursery) -> None:
        super().__init__(nursery)
        self._objective = objective
        self.programs: list[ProgramWorker] = []
        self._judges_ends: list[int] = []

    async def start_program(self, servers: Servers) -> ProgramWorker:
        """A worker for one source. Raises ServerLostError, OSError, as `start_judge` does.

        On a GPU it is a room, under the policy that it was started with (gpu/room_process.py).
        """
        objective, given = self._objective, Given()
        job = self._pipes.to_worker()
        questions, asked = self._pipes.between()
        answered, answers = self._pipes.between()
        self._judges_ends += [asked, answered]
        arguments = [given(end) for end in (job, questions, answers)]
        arguments += [f"{name}={given(self._pipes.file(path))}" for name, path in objective.data_for("candidate")]
        budget = objective.budget
        policy = Policy(
            wall_seconds=budget.wall_seconds,
            cpu_seconds=(budget.wall_seconds if budget.seconds is None else budget.seconds) * budget.threads,
            memory_bytes=budget.memory_bytes,
            tasks=TASKS,
            output_bytes=LOG_BYTES,
            processes="threads",
        )
        worker = await self._worker_under(policy, servers, "program", arguments, given)
        self.programs.append(ProgramWorker(worker, self._stream(job)))
        return self.programs[-1]

    async def start_judge(self, servers: Servers) -> Judge:
        """The judge, with its ends of the pipes to every program that was started, and the hidden data."""
        objective, given = self._objective, Given()
        assert objective.judge is not None
        control, verdict = self._pipes.to_worker(), self._pipes.from_worker()
        arguments = [given(control), given(verdict), given(self._pipes.file(objective.root / objective.judge))]
        arguments += [given(end) for end in self._judges_ends]
        arguments += [f"{name}={given(self._pipes.file(path))}" for name, path in objective.data_for("judge")]
        seconds = judge_seconds(objective, len(self.programs))
        policy = Policy(
            wall_seconds=seconds,
            cpu_seconds=seconds,
            memory_bytes=JUDGE_MEMORY,
            tasks=TASKS,
            output_bytes=LOG_BYTES,
            processes="threads" if objective.timed else "none",
        )
        worker = await self._worker_under(policy, servers, "program_judge", arguments, given)
        return Judge(worker, self._stream(control), self._stream(verdict))


def judge_seconds(objective: Objective, programs: int) -> float:
    """The wall time a judge has: as much as the programs it asks, and some for its own work."""
    return programs * objective.budget.wall_seconds + EXAMINATION_SECONDS
