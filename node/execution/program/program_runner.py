"""Runs of programs: a judge asks a source's program with arrays, and scores what it answers or how long it takes.

Theory of operation (docs/decisions/program-objectives.md says why). The workers of a session are a program for each
source and one judge, each in a sandbox with pipes of its own, forked from a clean server, and serving once.

1. Each program gets its job: its source, and numbers that are worked out from the run's seed.
2. The judge gets its request, with the texts of the run where the objective draws them. It asks the programs by pipes
   between it and them, of which the node sees nothing.
3. The judge sends one line of JSON with a result for each program, and after it the numbers of their replays.

A session has one program, or where answers are timed both of a pair: these then run in turns, which the judge asks for,
and stand still between them, so that neither slows down the other. The node parses nothing that a program made.

Where the objective is for a GPU, programs are no forks but rooms on it, both of a session's on the same one. What a
program has asked of the GPU goes on there while it stands still, so a judge has to see whether the GPU was free.
"""

from __future__ import annotations

import json
import math
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

import trio

from node.execution import run_seeds
from node.execution.alternation import Alternation, Side, shares
from node.execution.drawn_texts import MAX_TEXT, DrawnTexts
from node.execution.fork_servers import ForkServerPool, ForkServers, Servers
from node.execution.gpu.pool import GpuPool
from node.execution.gpu.room_process import PROGRAM
from node.execution.hidden_packages import hidden_paths
from node.execution.pause_gate import PauseGate
from node.execution.pipes import Lines, send_if_open, send_job
from node.execution.program.program_workers import ProgramWorker, ProgramWorkers, judge_seconds
from node.execution.run_progress import Progress
from node.execution.runner import Timing, source_files, source_growth
from node.execution.sandbox.forks import ServerLostError
from node.execution.sandbox.layers import Layers
from node.execution.verdict import failed, metrics_of
from node.execution.worker import RunFailed, Worker
from node.execution.worker_set import Judge, most_memory
from node.execution.workers import replays
from node.execution.workers.exchange import STATUS_OF_FAILURE
from node.ledger.outcome import Outcome
from node.objective.schema import Objective
from node.platform.concurrency import gather
from node.platform.gpu_types import Gpu
from node.platform.log import Log
from protocol.records import Failure

END_SECONDS = 2.0  # for a worker that closed its pipes to exit by itself, so that its exit status says why
MOST_LINES = 1_000_000  # of one judge: each turn and each report of progress is one
FAILURE_OF_STATUS = {status: Failure(name) for name, status in STATUS_OF_FAILURE.items()}


@dataclass(frozen=True)
class _Asked:
    """A source that is to be asked, as its files, and who hears how far that is. growth: as `source_growth` has it."""

    files: Sequence[bytes]
    progress: Callable[[Progress], None]
    growth: int


class ProgramRunner:
    """Makes runs of programs, `parallel_runs` of them at a time; one where they are timed.

    An async context manager; leaving it ends every worker.
    """

    def __init__(
        self,
        objective: Objective,
        layers: Layers,
        log: Log,
        parallel_runs: int = 1,
        data_bytes: int = MAX_TEXT,
        gpus: GpuPool | None = None,
    ) -> None:
        """data_bytes: what the host lets an objective have of data, and so the longest text that it may draw.

        gpus: where programs run, those of a session on one, for an objective whose device is "gpu".
        """
        self._objective = objective
        self._texts = DrawnTexts(objective, data_bytes)
        self._log = log
        self._gpus = gpus
        parallel_runs = min(parallel_runs, gpus.count) if gpus is not None else parallel_runs
        self.parallel_runs = 1 if objective.timed else parallel_runs
        servers = 2 if objective.timed else self.parallel_runs
        self._servers = ForkServerPool(layers, most_memory(objective), servers, hidden=hidden_paths(objective))
        self._stack = AsyncExitStack()
        self._nursery: trio.Nursery | None = None
        self._slots = trio.Semaphore(self.parallel_runs)
        # For each pair that is made side by side with others.
        self._free_processors = shares(os.sched_getaffinity(0), self.parallel_runs, objective.budget.threads)
        self.pause_gate = PauseGate()
        self.timing = Timing()

    async def __aenter__(self) -> Self:
        self._nursery = await self._stack.enter_async_context(trio.open_nursery())
        (self._gpus or self._servers).open(self._nursery)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._nursery is not None
        try:
            await self.cool_down()
        finally:  # a nursery that is not closed breaks all that are around it
            self._nursery.cancel_scope.cancel()
            await self._stack.aclose()

    async def run(
        self, source: str, seed: int, progress: Callable[[Progress], None], incumbent: str | None = None
    ) -> Outcome:
        """Have the judge ask a source by itself. Otherwise as `Runs.run`; the incumbent makes no difference."""
        async with self._slots:
            return (await self._serve([(source, progress)], seed, "val"))[0]

    def can_alternate(self) -> bool:
        """Whether both runs of a pair are to be made at once: always where they are timed, since values of different
        sessions do not compare; where their costs count, as long as there is memory. Of a GPU costs are seconds in
        which a run has it to itself, so runs follow each other.
        """
        if self._objective.timed or self._gpus is not None:
            return self._objective.timed
        return self._objective.statistics.slope > 0 and self._servers.can_serve(2)

    async def run_pair(
        self,
        parent: str,
        child: str,
        seed: int,
        of_parent: Callable[[Progress], None],
        of_child: Callable[[Progress], None],
    ) -> tuple[Outcome, Outcome]:
        """Ask both sources: in one session where answers are timed, else in two whose programs take turns."""
        async with self._slots:
            both = [(parent, of_parent), (child, of_child)]
            if self._objective.timed:
                first, second = await self._serve(both, seed, "val")
                return first, second
            processors = self._free_processors.pop()
            turns = Alternation(processors, self._objective.budget.threads, self.pause_gate, random.Random())
            assert self._nursery is not None
            self._nursery.start_soon(turns.keep)
            try:
                found = await gather(
                    [
                        partial(self._serve, [source], seed, "val", side)
                        for source, side in zip(both, (turns.parent, turns.child), strict=True)
                    ]
                )
            finally:
                self._free_processors.append(processors)
        return found[0][0], found[1][0]

    async def examine(self, source: str, seed: int, split: str, incumbent: str | None = None) -> Outcome:
        """Run a source again at a seed, and have the judge ask it about another split."""
        async with self._slots:
            return (await self._serve([(source, lambda progress: None)], seed, split))[0]

    async def cool_down(self) -> None:
        """End what waits for a run, so that a paused node does not hold its memory."""
        await (self._gpus or self._servers).cool_down()

    # ---- a session -------------------------------------------------------------------------------------------------

    async def _serve(
        self,
        sources: Sequence[tuple[str, Callable[[Progress], None]]],
        seed: int,
        split: str,
        side: Side | None = None,
    ) -> list[Outcome]:
        """One outcome for each source, in their order. Raises OSError when workers cannot be started."""
        outcomes: dict[int, Outcome] = {}
        sound: dict[int, _Asked] = {}
        for number, (source, progress) in enumerate(sources):
            try:
                files = source_files(source, self._objective)
                sound[number] = _Asked(files, progress, source_growth(source, self._objective.source))
            except RunFailed as problem:  # no tree of the objective's files
                outcomes[number] = failed(problem.failure, problem.log_tail, 0.0, "")
        try:
            await self.pause_gate.wait_open()
            assert self._nursery is not None
            if sound:
                async with self._lent(len(sound)) as servers:
                    workers = ProgramWorkers(self._objective, self._nursery)
                    try:
                        found = await self._use(workers, servers, list(sound.values()), seed, split, side)
                        outcomes |= dict(zip(sound, found, strict=True))
                    finally:
                        await workers.destroy()
        finally:
            if side is not None:
                side.leave()
        return [outcomes[number] for number in range(len(sources))]

    @asynccontextmanager
    async def _lent(self, programs: int) -> AsyncIterator[Sequence[Servers]]:
        """What makes the worker of each program of a session, for as long as the block."""
        if self._gpus is not None:
            async with self._gpus.lent() as rooms:
                yield [rooms] * programs
                rooms.get_ready(PROGRAM)  # of the next session
            return
        taken: list[ForkServers] = []
        try:
            taken.extend(self._servers.take() for _ in range(programs))  # a server makes one fork at a time
            # Forks of one server share where things lie in its memory, by which times differ by some per cent. So it is
            # drawn which server is whose, or a child would gain or lose by it in every pair.
            random.shuffle(taken)
            yield taken
        finally:
            for servers in taken:
                await self._servers.give_back(servers)

    async def _use(
        self,
        workers: ProgramWorkers,
        servers: Sequence[Servers],
        asked: Sequence[_Asked],
        seed: int,
        split: str,
        side: Side | None,
    ) -> list[Outcome]:
        begun, tier = self.pause_gate.clock(), servers[0].tier
        try:
            results = await self._results(workers, servers, asked, seed, split, side)
        except (RunFailed, ServerLostError) as problem:
            seconds = self.pause_gate.clock() - begun
            if isinstance(problem, RunFailed):
                return [failed(problem.failure, problem.log_tail, seconds, tier) for _ in asked]
            # Of servers that end nobody knows why: the machine was short of something, so another try is worth it.
            return [failed(Failure.KILLED, f"a fork server was lost: {problem}", seconds, tier) for _ in asked]
        alone = len(asked) == 1 and side is None
        seconds = (self.pause_gate.clock() - begun) / (1 if alone else 2)  # runs of a pair share the time
        old = self.timing
        self.timing = Timing(old.runs + len(asked), old.train_seconds, old.judge_seconds + seconds * len(asked))
        return [
            await self._outcome(result, program.worker, seconds, tier)
            for result, program in zip(results, workers.programs, strict=True)
        ]

    async def _outcome(self, result: dict[str, Any], worker: Worker, seconds: float, tier: str) -> Outcome:
        """A run, from the judge's result of a program, and how that program's worker ended."""
        try:
            if "ended" in result:
                raise await _end_of(worker)
            metrics = metrics_of(result, self._objective.measure, [worker.process.log_tail()])
        except RunFailed as problem:
            return failed(problem.failure, problem.log_tail, seconds, tier)
        await worker.destroy()
        return Outcome(
            value=metrics.pop("value"),
            metrics=metrics,
            checkpoints=(),
            tokens=0,
            cpu_seconds=worker.cpu_of_job() if self._gpus is None else worker.wall_of_job(),
            wall_seconds=seconds,
            peak_memory=worker.process.peak_memory,
            failure=None,
            log_tail="",
            tier=tier,
            replay=result.get("replay") or None,
        )

    async def _results(
        self,
        workers: ProgramWorkers,
        servers: Sequence[Servers],
        asked: Sequence[_Asked],
        seed: int,
        split: str,
        side: Side | None,
    ) -> list[dict[str, Any]]:
        """What the judge says of each program. Raises RunFailed when it says nothing of them."""
        texts = await self._drawn(seed, split, servers[0])
        programs = [await workers.start_program(each) for each in servers]
        judge = await workers.start_judge(servers[0])
        await self.pause_gate.wait_open()
        with ExitStack() as pausing:
            if not self._objective.timed:
                for program in programs:
                    process = program.worker.process
                    pausing.enter_context(
                        side.taking_turns(process) if side is not None else self.pause_gate.freezing(process)
                    )
                pausing.enter_context(self.pause_gate.freezing(judge.worker.process))
            judge.worker.begin_job(judge_seconds(self._objective, len(programs)))
            for program, each, given in zip(programs, asked, servers, strict=True):
                self._begin(program, each.files, seed, given.gpu)
            # Nothing runs beside what is timed, nor does a server that starts.
            if not self._objective.timed and self._gpus is None:
                self._servers.warm_up()  # for a run beside this one
            await self._ask(judge, seed, split, texts, [each.growth for each in asked])
            results = await self._verdict(judge, programs, asked)
        if results is None:
            with trio.move_on_after(END_SECONDS):
                await judge.worker.ended.wait()
            await judge.worker.destroy()
            told = judge.worker.process.log_tail() or "the judge ended without a result"
            raise RunFailed(judge.worker.failure(), told)
        return results

    async def _drawn(self, seed: int, split: str, servers: Servers) -> dict[str, bytes]:
        """The texts of a run whose objective draws them, by name."""
        if self._objective.draw is None:
            return {}
        return {name: await self._texts.get(seed, name, servers.numpy) for name in ("train", split)}

    def _begin(self, program: ProgramWorker, files: Sequence[bytes], seed: int, gpu: Gpu | None) -> None:
        """Give a program its job. It takes what it takes: the program may be standing still."""
        objective = self._objective
        assert self._nursery is not None
        assert objective.program is not None
        program.worker.begin_job(self._objective.budget.wall_seconds)
        if self._objective.timed:
            program.worker.process.freeze()  # until its first turn
        job = {
            "seed": run_seeds.task_seed(seed),
            "chance": run_seeds.chance(seed).hex(),
            "files": [*objective.editable, *objective.program.modules],
            "threads": objective.budget.threads,
            "repeats": gpu is None or not objective.timed,
            **({} if gpu is None else {"gpu": gpu.torch_device}),
            **objective.told_of_scale,
        }
        modules = [objective.files[path] for path in objective.program.modules]
        self._nursery.start_soon(send_job, program.jobs, job, *files, *modules)

    async def _ask(self, judge: Judge, seed: int, split: str, texts: dict[str, bytes], growths: Sequence[int]) -> None:
        assert self._objective.program is not None
        request = {
            "seed": run_seeds.judge_seed(seed),
            "split": split,
            "texts": {name: len(text) for name, text in texts.items()},
            "causal": self._objective.program.causal,
            "timed": self._objective.timed,
            "source_growths": growths,
            **self._objective.told_of_scale,
        }
        await send_if_open(judge.control, json.dumps(request).encode() + b"\n" + b"".join(texts.values()))

    async def _verdict(
        self, judge: Judge, programs: Sequence[ProgramWorker], asked: Sequence[_Asked]
    ) -> list[dict[str, Any]] | None:
        """Give turns and show progress as the judge says, until it gives its results; None if it never does."""
        lines, begun, turn = Lines(judge.verdict), self.pause_gate.clock(), 0
        processors = self._free_processors[0] if self._objective.timed else ()
        drawn: Sequence[int] = ()
        had: set[int] = set()  # whose turn of this round is over: both have it on the same processors
        for _ in range(MOST_LINES):
            try:
                said = json.loads(await lines.next() or b"")
            except (ValueError, RecursionError):
                return None
            match said:
                case {"turn": int(number)} if self._objective.timed and 0 <= number < len(programs):
                    if number in had or not had:
                        had = set()
                        drawn = random.sample(processors, self._objective.budget.threads) if processors else ()
                    had.add(number)
                    turn = number
                    await self._give_turn(judge, programs, number, drawn)
                case {"progress": int() | float() as share} if math.isfinite(share):
                    seconds = self.pause_gate.clock() - begun
                    asked[turn].progress(Progress(min(1.0, max(0.0, share)), None, seconds, "judge"))
                case {"results": [*results]} if len(results) == len(programs):
                    return await _with_replays(lines, results)
                case _:
                    return None
        return None

    async def _give_turn(
        self, judge: Judge, programs: Sequence[ProgramWorker], number: int, processors: Sequence[int]
    ) -> None:
        """Let one program run, on these processors, and no other.

        While the node is paused neither it nor the judge runs.
        """
        for other, program in enumerate(programs):
            if other != number:
                program.worker.process.freeze()
        with self.pause_gate.freezing(judge.worker.process):
            await self.pause_gate.wait_open()
        chosen = programs[number].worker.process
        if processors:
            chosen.pin(processors)
        chosen.thaw()
        await send_if_open(judge.control, b"go\n")


async def _with_replays(lines: Lines, results: Sequence[Any]) -> list[dict[str, Any]] | None:
    """The judge's results with the replays that follow their line; None where they are not as agreed."""
    if not all(isinstance(result, dict) for result in results):
        return None
    for result in results:
        if "replay" in result:
            try:
                content = await lines.content(replays.length_of(result["replay"]))
                if content is None:
                    return None
                result["replay"] = replays.opened(result["replay"], content)
            except ValueError:
                return None
    return list(results)


async def _end_of(worker: Worker) -> RunFailed:
    """How a program ended that gave no answer: by a limit, by what its source did, or by itself."""
    worker.process.thaw()
    with trio.move_on_after(END_SECONDS):
        await worker.ended.wait()
    await worker.destroy()
    end = worker.process.outcome
    tail = worker.process.log_tail()
    if end is None or end.reason != "exit":
        return RunFailed(worker.failure(), tail)
    if end.signal is not None:
        return RunFailed(Failure.EXCEPTION, tail or f"the program was ended by {signal.Signals(end.signal).name}")
    failure = FAILURE_OF_STATUS.get(end.code or 0, Failure.EXCEPTION)
    return RunFailed(failure, tail or "the program ended before it had answered")
