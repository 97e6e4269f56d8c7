"""Runs made by workers elsewhere: the command of `[workers]` starts them, and this shares the runs out among them.

Theory of operation. Each of `count` places is kept filled: the command is started, and started again when it ends,
after a while that doubles each time it has come to nothing. A run takes any worker that is free. If the worker ends
while it makes the run (its job was killed, its machine drained, the line cut), the run is made again by another, or by
the next one in its place. That says nothing of the source. Only when MOST_LOST workers ended over one run is it left,
with an error that says what to do.

All workers of a node must be of one platform, since its records say one. The first that says hello decides which.

Weights stay where they were made. An examination goes to the worker whose cache has them; where none of those is left,
to any, which finds them if it shares the cache folder, and says that they are not kept if it does not.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import trio

from node.execution.pause_gate import PauseGate
from node.execution.remote.worker_link import (
    Command,
    JobBrokenError,
    WorkerEndedError,
    WorkerLink,
    WorkerRefusedError,
    outcome_of,
)
from node.execution.remote.worker_protocol import VERSION, Examine, Hello, Job, Made, Run, RunPair
from node.execution.run_progress import EndRun, Progress
from node.execution.runner import Timing
from node.execution.verdict import ended_early
from node.ledger.outcome import Outcome
from node.objective.schema import Kind, Objective, ObjectiveError
from node.platform.environment import variables
from node.platform.gpu_types import Gpu
from node.platform.hardware import Hardware
from node.platform.log import Log

MOST_LOST = 3  # workers that may end over one run
BACKOFF_SECONDS = 2.0  # before a command that ended is started again; twice as long after each that came to nothing
MOST_BACKOFF_SECONDS = 120.0
LASTED_SECONDS = 30.0  # a worker that was there so long has come to something
REFUSED_SECONDS = 300.0  # before a place whose worker was refused gets another
RUNS_REMEMBERED = 10_000  # of which it is known where their weights are: more than a cache keeps weights of
NUMBER = "{number}"  # in the command: which of the workers it is, from 0

# What ssh, srun, docker and kubectl read. Nothing else of the node's environment goes to the command: srun hands its
# own on to the job, and the node's may have keys of services in it.
ENVIRONMENT = frozenset(
    {
        *("HOME", "PATH", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"),
        *("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "SSH_AUTH_SOCK", "SSH_AGENT_PID", "KRB5CCNAME"),
        *("KUBECONFIG", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"),
    }
)
ENVIRONMENT_FORMS = re.compile(r"(LC|SLURM|SBATCH|SRUN|MUNGE)_[A-Z0-9_]+")


class WorkersLostError(OSError):
    """Workers ended over a run, or could start no process for it; the text says what happened and what to do."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EAGAIN, why)

    def __str__(self) -> str:
        return str(self.args[1])


@dataclass(frozen=True)
class Place:
    """What runs are made on where the workers are."""

    hardware: Hardware
    platform: str
    sandbox: str


@dataclass
class _Seat:
    """One of the workers that the node is to have: the one that is there, and what happened to the last."""

    number: int
    link: WorkerLink | None = None
    why: str = ""  # the last one is gone
    refused: bool = False
    again_at: float = 0.0


def command_environment(more: Sequence[str]) -> dict[str, str]:
    """What of this process's environment the command of `[workers]` gets. more: names that a person has added."""
    return variables(lambda name: name in ENVIRONMENT or name in more or bool(ENVIRONMENT_FORMS.fullmatch(name)))


def numbered(words: Sequence[str], number: int) -> list[str]:
    """The command as it starts one of the workers."""
    return [word.replace(NUMBER, str(number)) for word in words]


class RemoteRuns:
    """Makes runs with workers elsewhere, `count` at a time. An async context manager; leaving it ends all workers."""

    def __init__(self, objective: Objective, command: Command, count: int, log: Log) -> None:
        """Raises ObjectiveError for an objective that only a machine with its folder can run."""
        environment = objective.environment
        beside = [path for path in environment.paths if not path.startswith("~")] if environment is not None else []
        if beside:
            raise ObjectiveError(
                f"{objective.name} needs {beside[0]} in its own folder, which workers elsewhere do not have: run it "
                "without [workers], or have it declare a folder in ~/.cache, and prepare that where the workers run"
            )
        self._objective = objective
        self._command = command
        self._log = log
        self.parallel_runs = 1 if objective.timed else count  # times of two runs beside each other do not compare
        self.pause_gate = PauseGate()
        self.timing = Timing()
        self._seats = [_Seat(number) for number in range(self.parallel_runs)]
        self._place: Place | None = None
        self._alternates = False
        self._changed = trio.Event()
        self._stores: OrderedDict[tuple[bytes, int], bytes] = OrderedDict()  # where weights are, by source and seed
        self._stack = AsyncExitStack()
        self._nursery: trio.Nursery | None = None

    async def __aenter__(self) -> Self:
        self._nursery = await self._stack.enter_async_context(trio.open_nursery())
        self._log("workers elsewhere", workers=len(self._seats), program=self._command.words[0])
        for seat in self._seats:
            self._nursery.start_soon(self._keep, seat)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()
        await self._stack.aclose()

    # ---- runs --------------------------------------------------------------------------------------------------------

    async def run(
        self, source: str, seed: int, progress: Callable[[Progress], None], incumbent: str | None = None
    ) -> Outcome:
        """Have a worker train and score a source. Cancelling ends its job. Otherwise as `Runs.run`.

        What a run that is ended early has cost is what its worker said of it last.
        """
        ended: list[Outcome] = []

        def told(said: Progress) -> None:
            try:
                progress(said)
            except EndRun as end:  # in the task that reads what the worker says, which is not to end
                ended.append(ended_early(end.share, said.cost, said.seconds, 0, ""))
                job_under_way.cancel()

        with trio.CancelScope() as job_under_way:
            made = await self._make(lambda job: Run(job, source, seed, incumbent), [told])
            return outcome_of(made.outcomes[0])
        return ended[0]

    def can_alternate(self) -> bool:
        """Whether the workers can make both runs of a pair at once."""
        connected = [link for link in self._links() if link.connected]
        if connected:
            self._alternates = all(link.alternates for link in connected)
        return self._alternates

    async def run_pair(
        self,
        parent: str,
        child: str,
        seed: int,
        of_parent: Callable[[Progress], None],
        of_child: Callable[[Progress], None],
    ) -> tuple[Outcome, Outcome]:
        """Have one worker make both runs of a pair in turns."""
        made = await self._make(lambda job: RunPair(job, parent, child, seed), [of_parent, of_child])
        return outcome_of(made.outcomes[0]), outcome_of(made.outcomes[1])

    async def examine(self, source: str, seed: int, split: str, incumbent: str | None = None) -> Outcome:
        """Have a worker that has the weights of an earlier run score them; an outcome with a failure where none has."""
        store = self._stores.get(_run_key(source, seed))
        made = await self._make(lambda job: Examine(job, source, seed, split, incumbent), [], store)
        return outcome_of(made.outcomes[0])

    async def cool_down(self) -> None:
        """Have the workers give back memory that is held for the next run."""
        for link in self._links():
            if link.connected:
                link.cool_down()

    async def _make(
        self,
        job_of: Callable[[int], Job],
        progress: Sequence[Callable[[Progress], None]],
        store: bytes | None = None,
    ) -> Made:
        """Have a job made, by another worker where one ends over it. Raises WorkersLostError."""
        lost: list[str] = []
        while len(lost) < MOST_LOST:
            link = await self._free_worker(store)
            assert link.hello is not None
            host = link.hello.host
            try:
                job = job_of(0)
                made = await link.make(job_of, progress)
            except JobBrokenError as broken:
                raise WorkersLostError(f"worker {link.number} on {host} could start no process: {broken}") from None
            except WorkerEndedError as ended:
                lost.append(f"{host}: {ended}")
                self._log("run lost", level="warning", worker=link.number, host=host, why=str(ended), tries=len(lost))
                continue
            self._count(made)
            self._remember(job, link.hello.store)
            return made
        reasons = "; ".join(dict.fromkeys(lost))
        raise WorkersLostError(
            f"{MOST_LOST} workers ended over one run ({reasons}). Is the time or memory that the scheduler gives a job "
            "of [workers] command enough for a run?"
        )

    async def _free_worker(self, store: bytes | None) -> WorkerLink:
        """A worker that has nothing to do, once the node is not paused: one with this store where there is one."""
        while True:
            await self.pause_gate.wait_open()
            links = [link for link in self._links() if link.connected]
            having = [link for link in links if link.hello is not None and link.hello.store == store]
            for link in having or links:
                if link.idle:
                    return link
            await self._changed.wait()

    def _count(self, made: Made) -> None:
        old = self.timing
        self.timing = Timing(
            old.runs + len(made.outcomes),
            old.train_seconds + made.train_seconds,
            old.judge_seconds + made.judge_seconds,
        )

    def _remember(self, job: Job, store: bytes) -> None:
        """Note where the weights of what was trained are."""
        if self._objective.kind != Kind.MODEL or isinstance(job, Examine):
            return
        for source in (job.source,) if isinstance(job, Run) else (job.parent, job.child):
            self._stores[_run_key(source, job.seed)] = store
        while len(self._stores) > RUNS_REMEMBERED:
            self._stores.popitem(last=False)

    # ---- workers -----------------------------------------------------------------------------------------------------

    async def place(self) -> Place:
        """What runs are made on, once the first worker has said so. A scheduler may let that wait for hours."""
        while self._place is None:
            await self._changed.wait()
        return self._place

    def workers(self) -> list[dict[str, Any]]:
        """Each worker as a person is shown it."""
        shown = []
        for seat in self._seats:
            link = seat.link
            about: dict[str, Any] = {"number": seat.number}
            if link is not None:
                host = link.hello.host if link.hello is not None else None
                about |= {"state": link.doing, "host": host, "seconds": round(link.seconds)}
                about["why"] = link.last_lines[-1] if link.doing == "waiting" and link.last_lines else None
            else:
                about |= {"state": "refused" if seat.refused else "lost", "host": None, "why": seat.why or None}
                about["seconds"] = round(max(0.0, seat.again_at - time.monotonic()))
            shown.append(about)
        return shown

    def in_words(self) -> str:
        """How many workers are in which state: "2 running, 1 waiting"."""
        counts = Counter(str(worker["state"]) for worker in self.workers())
        return ", ".join(f"{number} {state}" for state, number in counts.most_common())

    def _links(self) -> list[WorkerLink]:
        return [seat.link for seat in self._seats if seat.link is not None]

    def changed(self) -> None:
        """A worker has come to another state: what waits for one looks again."""
        self._changed.set()
        self._changed = trio.Event()

    def refusal(self, hello: Hello) -> str | None:
        """Why a worker that has said hello makes no runs here; None where it does. The first decides the platform."""
        if hello.protocol != VERSION:
            return (
                f"{hello.host} speaks version {hello.protocol} of the workers' protocol, this node version {VERSION}: "
                f"install the same version of autoresearch-node there (it has {hello.program})"
            )
        gpus = tuple(
            Gpu(number, gpu.name, gpu.memory_bytes, gpu.vendor, "", gpu.driver, ())
            for number, gpu in enumerate(hello.gpus if self._objective.device == "gpu" else ())
        )
        found = Place(Hardware(hello.device, hello.cores, hello.memory_bytes, gpus), hello.platform, hello.sandbox)
        if self._place is None:
            self._place = found
        for name, here, there in (
            ("platform", self._place.platform, found.platform),
            ("GPU", _gpu_names(self._place.hardware), _gpu_names(found.hardware)),
        ):
            if here != there:
                return (
                    f"{hello.host} has the {name} {there}, and the first worker had {here}; the workers of one node "
                    "must be alike, since its records say what they were made on: keep the others out by the command "
                    "(a partition, a constraint), or give them a node of their own"
                )
        return None

    async def _keep(self, seat: _Seat) -> None:
        """Have a worker in this place, for as long as the node runs."""
        backoff = BACKOFF_SECONDS
        while True:
            words = numbered(self._command.words, seat.number)
            seat.link = WorkerLink(seat.number, replace(self._command, words=words), self._objective, self, self._log)
            seat.refused = False
            try:
                await seat.link.serve(self.pause_gate)
            except WorkerRefusedError as refused:
                seat.why, seat.refused, pause = str(refused), True, REFUSED_SECONDS
                self._log(
                    "worker refused", level="error", worker=seat.number, why=seat.why, again_in_seconds=round(pause)
                )
            except (WorkerEndedError, OSError) as ended:
                lasted = seat.link.hello is not None and seat.link.seconds > LASTED_SECONDS
                backoff = BACKOFF_SECONDS if lasted else min(2 * backoff, MOST_BACKOFF_SECONDS)
                seat.why, pause = _start_in_words(ended, words), backoff
                self._log(
                    "worker lost", level="warning", worker=seat.number, why=seat.why, again_in_seconds=round(pause)
                )
            seat.link, seat.again_at = None, time.monotonic() + pause
            self.changed()
            await trio.sleep(pause)


def _start_in_words(ended: Exception, words: Sequence[str]) -> str:
    if isinstance(ended, OSError):
        return f"`{words[0]}` cannot be started ({os.strerror(ended.errno or 0)}): correct [workers] command"
    return str(ended)


def _gpu_names(hardware: Hardware) -> str:
    return ", ".join(sorted({gpu.name for gpu in hardware.gpus})) or "none"


def _run_key(source: str, seed: int) -> tuple[bytes, int]:
    return hashlib.sha256(source.encode()).digest(), seed
