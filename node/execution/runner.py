"""Runs: one training of one source with one seed, scored by the judge.

Theory of operation (docs/decisions/judge-and-workers.md says why). The workers of a run are a candidate, an examination
worker and the judge, each in a sandbox with pipes of its own. Each is a fork of a server that waits with torch or numpy
imported, is made when it is its turn, and serves once.

1. The candidate gets its job, with the run's training text where the objective draws it. It reports fixed-size
   progress, writes opaque weights into a file of its own, and is destroyed. Meanwhile the text to be scored is drawn.
2. The examination worker gets the source and that file to read, and the judge its request with that text.
3. The judge sends one line of JSON.

Objectives without a secret seed show whole windows, so they have a second examination worker: when the judge says so,
the first is destroyed, and only then the second is forked and gets the same. Their judge hands out the losses per
target too: opaque bytes, kept beside the weights and given back when a child of this source runs at the same seed.

Of what a candidate made the node parses only tags, lengths and fixed-size numbers, and of losses only the length.
Weights it copies at most, from file to file.
"""

from __future__ import annotations

import json
import os
import random
import time
import zlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trio

from node.execution import run_seeds
from node.execution.alternation import Alternation, Side, shares
from node.execution.drawn_texts import MAX_TEXT, DrawnTexts
from node.execution.fork_servers import ForkServerPool, ServerPool, Servers
from node.execution.gpu.pool import GpuPool
from node.execution.hidden_packages import hidden_paths
from node.execution.long_pauses import PutAway, ending_in_long_pauses
from node.execution.pause_gate import PauseGate
from node.execution.pipes import Lines, send_if_open, send_job
from node.execution.run_progress import EndRun, Progress
from node.execution.sandbox.forks import ServerLostError
from node.execution.sandbox.layers import Layers
from node.execution.sandbox.watch import is_full
from node.execution.snapshots import NOTHING, Snapshot, UnfinishedRun, UnfinishedRuns
from node.execution.training_reports import TrainingReports
from node.execution.verdict import ended_early, failed, metrics_of
from node.execution.weights import RunWeights, WeightsStore
from node.execution.worker import RunFailed
from node.execution.worker_set import EXAMINATION_SECONDS, Judge, WorkerSet, longest_file, most_memory
from node.ledger.outcome import Outcome
from node.objective.schema import Objective
from node.objective.trees import TreeError, files_of
from node.platform.concurrency import gather
from node.platform.gpu_types import Gpu
from node.platform.log import Log
from protocol.records import Failure

BYTE_VOCABULARY = 256  # the most tokens of which each is one byte of a text
MOST_TOKENS_PER_SECOND = 100_000_000  # that a source may tell of: hundreds of times what one GPU trains on
MAX_LOSSES = 4 << 20  # bytes: a million targets in float32
END_SECONDS = 2.0  # for a judge that closed its pipe to exit by itself, so that its exit status says why
UNFINISHED = "unfinished"  # folder beside kept weights, with the files of runs under way
Lend = Callable[[], AbstractAsyncContextManager[Servers]]  # where a run's workers are made, for as long as the block


@dataclass(frozen=True)
class Timing:
    """How long this runner's runs took, in seconds of wall time without those in which the node was paused."""

    runs: int = 0
    train_seconds: float = 0.0
    judge_seconds: float = 0.0


@dataclass(frozen=True)
class _Request:
    """What is to be scored, and the source it is to be better than, if there is one."""

    source: str
    seed: int
    split: str
    incumbent: str | None


class Runner:
    """Makes runs, `parallel_runs` of them at a time. An async context manager; leaving it ends every worker."""

    def __init__(
        self,
        objective: Objective,
        layers: Layers,
        weights_dir: Path,
        log: Log,
        parallel_runs: int = 1,
        data_bytes: int = MAX_TEXT,
        gpus: GpuPool | None = None,
    ) -> None:
        """data_bytes: what the host lets an objective have of data, and so the longest text that it may draw.

        gpus: where sources run, one on each, for an objective whose device is "gpu".
        """
        self._objective = objective
        self._texts = DrawnTexts(objective, data_bytes)
        self._weights = WeightsStore(weights_dir)
        self._weights_dir = weights_dir
        self._unfinished = UnfinishedRuns(weights_dir / UNFINISHED, objective)
        self._log = log
        self.parallel_runs = parallel_runs = min(parallel_runs, gpus.count) if gpus is not None else parallel_runs
        self._gpus = gpus
        self._servers: ServerPool = gpus or ForkServerPool(
            layers, most_memory(objective), parallel_runs, longest_file(objective), hidden_paths(objective)
        )
        self._stack = AsyncExitStack()
        self._nursery: trio.Nursery | None = None
        self._slots = trio.Semaphore(parallel_runs)
        # For each pair that is made side by side with others.
        self._free_processors = shares(os.sched_getaffinity(0), parallel_runs, objective.budget.threads)
        self.pause_gate = PauseGate()  # freezes training; scoring under way is let to end, as it takes seconds
        self.timing = Timing()

    async def __aenter__(self) -> Self:
        self._nursery = await self._stack.enter_async_context(trio.open_nursery())
        self._servers.open(self._nursery)
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
        """Train a source and score it on validation data. Cancelling ends its workers at once.

        incumbent: the source it is to be better than. If that was run here before at this seed, the judge probes most
        where this one gains over it. The score is the same either way.
        A run that fails is an outcome with a failure, not an exception. Raises OSError when workers cannot be started.
        """
        async with self._slots:
            return await self._serve(_Request(source, seed, "val", incumbent), progress)

    def can_alternate(self) -> bool:
        """Whether there is memory for both runs of a pair at once. On a GPU one follows the other, which needs none."""
        return self._servers.can_serve(2)

    async def run_pair(
        self,
        parent: str,
        child: str,
        seed: int,
        of_parent: Callable[[Progress], None],
        of_child: Callable[[Progress], None],
    ) -> tuple[Outcome, Outcome]:
        """Train and score both sources, in turns wherever they run, so that their CPU times compare.

        The two are one of the runs made side by side: they use the time of one. Otherwise as `run`. A GPU is nobody
        else's while it has a run, so there they run one after the other, on the same one.
        """
        async with self._slots:
            if self._gpus is not None:
                lend = partial(self._gpus.lent, self._gpus.next())
                first = await self._serve(_Request(parent, seed, "val", None), of_parent, lend=lend)
                second = await self._serve(_Request(child, seed, "val", parent), of_child, lend=lend)
                self._pair_is_over(parent, child, seed)
                return first, second
            processors = self._free_processors.pop()
            threads = self._objective.budget.threads
            turns = Alternation(processors, threads, self.pause_gate, random.Random())
            assert self._nursery is not None
            self._nursery.start_soon(turns.keep)
            try:
                first, second = await gather(
                    [
                        partial(self._serve, _Request(parent, seed, "val", None), of_parent, turns.parent),
                        partial(self._serve, _Request(child, seed, "val", parent), of_child, turns.child),
                    ]
                )
            finally:
                self._free_processors.append(processors)
        self._pair_is_over(parent, child, seed)
        return first, second

    def _pair_is_over(self, parent: str, child: str, seed: int) -> None:
        """Remove what its runs could go on from, kept until here: a pair that is interrupted is made as a whole."""
        for source in (parent, child):
            self._unfinished.over(source, seed)

    async def examine(self, source: str, seed: int, split: str, incumbent: str | None = None) -> Outcome:
        """Score the kept weights of an earlier run on a split; an outcome with a failure when none are kept."""
        async with self._slots:
            return await self._serve(_Request(source, seed, split, incumbent), lambda progress: None)

    async def _serve(
        self,
        request: _Request,
        progress: Callable[[Progress], None],
        side: Side | None = None,
        lend: Lend | None = None,
    ) -> Outcome:
        """One run. lend: where its workers are made, if not wherever they can be."""
        try:
            await self.pause_gate.wait_open()
            if request.split != "val":
                weights = self._weights.kept(WeightsStore.key(self._objective, request.source, request.seed))
                if weights is None:
                    return failed(Failure.EXCEPTION, "no weights of this run are kept", 0.0, "")
                with closing(weights):
                    return await self._in_rooms(request, weights, None, progress, side, lend)
            with self._unfinished.run(request.source, request.seed) as run:
                outcome = await self._until_over(request, run, progress, side, lend)
                if side is None and lend is None:
                    run.remove()
                return outcome
        finally:
            if side is not None:
                side.leave()

    async def _until_over(
        self,
        request: _Request,
        run: UnfinishedRun,
        progress: Callable[[Progress], None],
        side: Side | None,
        lend: Lend | None,
    ) -> Outcome:
        """The outcome of a run that may be put away in a long pause, and may go on from a snapshot.

        A failure is to be the source's own: one that goes on and fails is made anew, from the beginning. Not so if it
        takes too long, all parts together, for which no snapshot is to blame.
        """
        while True:
            await self.pause_gate.wait_open()
            interrupted = run.latest is not None
            await trio.to_thread.run_sync(run.begin_part)
            goes_on = run.latest is not None
            if interrupted and not goes_on:
                told = "its snapshot is not as it was when the candidate told of it"
                self._log("run begun anew", level="warning", failure=None, log_tail=told)
            try:
                outcome = await self._in_rooms(request, run.weights, run, progress, side, lend)
            except PutAway:
                continue
            if not goes_on or outcome.failure in (None, Failure.TIMEOUT):
                return outcome
            self._log("run begun anew", level="warning", failure=outcome.failure, log_tail=outcome.log_tail)
            run.begin_anew()

    async def _in_rooms(
        self,
        request: _Request,
        weights: RunWeights,
        run: UnfinishedRun | None,
        progress: Callable[[Progress], None],
        side: Side | None,
        lend: Lend | None,
    ) -> Outcome:
        """run: what is to be trained; None where the weights are there. Raises PutAway."""
        assert self._nursery is not None
        async with (lend or self._servers.lent)() as servers:
            worker_set = WorkerSet(self._objective, servers, self._nursery)
            try:
                return await self._use(worker_set, servers, request, weights, run, progress, side)
            finally:
                await worker_set.destroy()

    async def _use(
        self,
        worker_set: WorkerSet,
        servers: Servers,
        request: _Request,
        weights: RunWeights,
        run: UnfinishedRun | None,
        progress: Callable[[Progress], None],
        side: Side | None,
    ) -> Outcome:
        start = NOTHING if run is None else run.start
        begun, tier = time.monotonic() - start.wall_seconds, servers.tier
        shown_since = self.pause_gate.clock() - start.wall_seconds

        def wall_seconds() -> float:
            return time.monotonic() - begun - worker_set.frozen_seconds

        tokens = 0
        try:
            if run is not None:
                told = await self._train(worker_set, servers, request, run, start, progress, side)
                # Not what the source says: it could claim more to look cheaper per token. Where the budget is time
                # nothing is paid by token, and what it says is only shown.
                budget = self._objective.budget
                most = None if budget.seconds is None else int(MOST_TOKENS_PER_SECOND * budget.seconds)
                tokens = budget.tokens if most is None else min(told, most)
                key = WeightsStore.key(self._objective, request.source, request.seed)
                await trio.to_thread.run_sync(self._weights.keep, key, weights)
            trained = worker_set.candidate_seconds()
            progress(Progress(1.0, None, self.pause_gate.clock() - shown_since, "judge"))
            if side is not None and not self._objective.secret_seed:
                await side.may_be_scored.wait()
            judging = self.pause_gate.clock()
            metrics = await self._judge(worker_set, servers, request, weights, side)
            cost = await worker_set.cost_of_jobs()
        except PutAway:
            self._count(runs=0, train=worker_set.candidate_seconds())
            raise
        except EndRun as end:
            self._count(train=worker_set.candidate_seconds())
            so_far = worker_set.cost(start, warmup_seconds=0.0)
            return ended_early(end.share, so_far.cpu_seconds, wall_seconds(), so_far.peak_memory, tier)
        except (RunFailed, ServerLostError) as problem:
            self._count(train=worker_set.candidate_seconds())
            if isinstance(problem, RunFailed):
                return failed(problem.failure, problem.log_tail, wall_seconds(), tier)
            # Of servers that end nobody knows why: the machine was short of something, so another try is worth it.
            return failed(Failure.KILLED, f"a fork server was lost: {problem}", wall_seconds(), tier)
        self._count(train=trained, judge=self.pause_gate.clock() - judging)
        value = metrics.pop("value")
        steps = [one.step for one in weights.sets if f"checkpoint_{one.step}" in metrics]
        return Outcome(
            value=value,
            metrics=metrics,
            checkpoints=tuple((step, metrics.pop(f"checkpoint_{step}")) for step in steps),
            tokens=tokens,
            cpu_seconds=start.cpu_seconds + cost,
            wall_seconds=wall_seconds(),
            peak_memory=max(start.peak_memory, worker_set.peak_memory),
            failure=None,
            log_tail="",
            tier=tier,
        )

    # ---- training --------------------------------------------------------------------------------------------------

    async def _train(
        self,
        worker_set: WorkerSet,
        servers: Servers,
        request: _Request,
        run: UnfinishedRun,
        start: Snapshot,
        progress: Callable[[Progress], None],
        side: Side | None,
    ) -> int:
        """Train into the file of weights; returns the tokens that the candidate tells of. Then that is dead.

        Raises PutAway when it was ended in a long pause.
        """
        files = source_files(request.source, self._objective)
        candidate = await worker_set.start_candidate(run, start)
        process = candidate.worker.process
        drawn = self._objective.draw is not None
        text = await self._texts.get(request.seed, "train", servers.numpy) if drawn else b""
        await self.pause_gate.wait_open()
        with side.taking_turns(process) if side is not None else self.pause_gate.freezing(process):
            worker_set.begin_training(start)
            if drawn:
                files.append(text[: text_bytes(self._objective)])
            job = self._job(request.seed, servers.gpu, snapshots=run.told(candidate.snapshots))
            await send_job(candidate.jobs, job, *files)
            candidate.say_pauses()
            self._servers.warm_up()  # for a run beside this one; not before, since starting takes a tenth of a second
            assert self._nursery is not None
            if drawn:
                self._nursery.start_soon(self._texts.prefetch, request.seed, request.split, servers.numpy)
            if start.parts:
                self._log("run goes on", share=round(start.share, 2), cpu_seconds=round(start.cpu_seconds, 1))
            reports = TrainingReports(self._objective, worker_set, run, start, self.pause_gate.clock, progress)
            try:
                with ending_in_long_pauses(process, self.pause_gate, servers.gpu, reports.at_stake, self._nursery):
                    tokens = await reports.follow()
            except RunFailed as problem:
                if run.is_short_of_disk or is_full(self._weights_dir):  # not the source's fault: worth another try
                    told = f"the disk that holds {self._weights_dir} is full, and weights are written there"
                    raise RunFailed(Failure.KILLED, told) from problem
                raise
        await candidate.worker.destroy()
        if any(one.offset + one.length > run.weights.size for one in run.weights.sets):
            raise RunFailed(Failure.INVALID, "the candidate worker wrote less than it said")
        return tokens

    def _job(self, seed: int, gpu: Gpu | None, **more: Any) -> dict[str, Any]:
        """What a worker that runs the source is told of the run: of a secret seed, only what cannot be traced to it."""
        objective = self._objective
        if objective.secret_seed:
            told = {
                "seed": run_seeds.task_seed(seed),
                "batch_seed": run_seeds.batch_seed(seed),
                "chance": run_seeds.chance(seed).hex(),
            }
        else:
            told = {"seed": seed}
        budget = objective.budget
        timed: dict[str, Any] = {} if budget.seconds is None else {"seconds": budget.seconds}
        if budget.seconds is not None or gpu is not None:
            timed |= {"warmup_seconds": budget.warmup_seconds, "threads": budget.threads}
        return {
            **told,
            **timed,
            **objective.told_of_scale,
            **({} if gpu is None else {"gpu": gpu.torch_device}),
            "tokens": budget.tokens,
            "context": objective.context,
            "vocabulary": objective.vocabulary,
            "checkpoints": list(objective.checkpoints),
            "editable": list(objective.editable),
            **more,
        }

    # ---- judging ---------------------------------------------------------------------------------------------------

    async def _judge(
        self,
        worker_set: WorkerSet,
        servers: Servers,
        request: _Request,
        weights: RunWeights,
        side: Side | None,
    ) -> dict[str, float]:
        drawn = self._objective.draw is not None
        text = await self._texts.get(request.seed, request.split, servers.numpy) if drawn else b""
        judge = await worker_set.start_judge()
        judge.worker.begin_job(EXAMINATION_SECONDS)
        header = self._job(request.seed, servers.gpu, weights=[(one.offset, one.length) for one in weights.sets])
        parts = source_files(request.source, self._objective)

        turns = ExitStack()  # of the examination under way

        async def examine() -> None:
            assert self._nursery is not None
            turns.close()
            examination = await worker_set.start_examination(weights)
            examination.worker.begin_job(EXAMINATION_SECONDS)
            if side is not None:
                turns.enter_context(side.taking_turns(examination.worker.process))
            self._nursery.start_soon(send_job, examination.jobs, header, *parts)

        steps = [one.step for one in weights.sets if one.step]
        line: dict[str, Any] = {
            "seed": run_seeds.judge_seed(request.seed) if self._objective.secret_seed else request.seed,
            "split": request.split,
            "steps": steps,
            "weights": len(weights.sets),
            "secret_seed": self._objective.secret_seed,
            **self._objective.told_of_scale,
        }
        if self._objective.secret_seed:
            content = text
            line |= {"text": len(text), "source_growth": source_growth(request.source, self._objective.source)}
        else:
            content = self._incumbent_losses(request)
            line |= {"incumbent": len(content)}
        if self._objective.token_bytes is not None:
            table = self._objective.files[self._objective.token_bytes]
            content, line = content + table, line | {"token_bytes": len(table)}
        asked = json.dumps(line).encode() + b"\n"
        with turns, ExitStack() as pausing:
            if side is not None:  # else an examination that has begun is let to end, as it takes seconds
                pausing.enter_context(self.pause_gate.freezing(judge.worker.process))
            await examine()
            await send_if_open(judge.control, asked + content)
            result = await self._verdict(worker_set, judge, examine)
        if result is None:
            with trio.move_on_after(END_SECONDS):
                await judge.worker.ended.wait()
            await judge.worker.destroy()
            told = judge.worker.process.log_tail() or "the judge ended without a result"
            raise RunFailed(judge.worker.failure(), told)
        verdict, losses = result
        tails = [examination.worker.process.log_tail() for examination in worker_set.examinations]
        metrics = metrics_of(verdict, self._objective.measure, tails)
        if losses:
            self._weights.put(self._losses_key(request, request.source), losses)
        return metrics

    def _incumbent_losses(self, request: _Request) -> bytes:
        """The losses the judge handed out for the incumbent at this seed; b"" when there are none, or they are lost."""
        if request.incumbent is None:
            return b""
        return self._weights.get(self._losses_key(request, request.incumbent)) or b""

    def _losses_key(self, request: _Request, source: str) -> str:
        return WeightsStore.losses_key(self._objective, source, request.seed, request.split)

    async def _verdict(
        self, worker_set: WorkerSet, judge: Judge, examine: Callable[[], Awaitable[None]]
    ) -> tuple[dict[str, Any], bytes] | None:
        """Destroy examination workers as the judge asks, until it gives its result and losses; None if it never does.

        A second worker is forked only when the first is dead, so two copies of a source never run at the same time and
        cannot pass anything to each other.
        """
        lines = Lines(judge.verdict)
        to_close = {f"close {number}".encode(): number for number in range(worker_set.most_examinations)}
        while True:
            line = await lines.next()
            number = to_close.pop(line, None) if line else None
            if number is not None and number < len(worker_set.examinations):
                await worker_set.examinations[number].worker.destroy()
                if to_close:
                    await examine()
                await send_if_open(judge.control, b"dead\n")
                continue
            try:
                found = json.loads(line or b"")
            except (ValueError, RecursionError):
                return None
            length = found.get("losses", 0) if isinstance(found, dict) else None
            if not isinstance(length, int):
                return None
            if not 0 <= length <= MAX_LOSSES:
                return {"error": f"it hands out {length} bytes of losses, {MAX_LOSSES} at most are kept"}, b""
            losses = await lines.content(length)
            return None if losses is None else (found, losses)

    async def cool_down(self) -> None:
        """End the fork servers that wait for a run, so that a paused node does not hold their memory."""
        await self._servers.cool_down()

    def _count(self, train: float, judge: float = 0.0, runs: int = 1) -> None:
        old = self.timing
        self.timing = Timing(old.runs + runs, old.train_seconds + train, old.judge_seconds + judge)


def text_bytes(objective: Objective) -> int | None:
    """As much of a drawn training text as a run can read: its tokens, in windows that begin anywhere in the first.

    In bytes, of which a token is two where there are more than 256 different ones. None, all of it, where the budget is
    time.

    A scale may have a smaller budget than the objective. A source that saw the whole text could read it unpaid.
    """
    if objective.budget.seconds is not None:
        return None
    return (objective.budget.tokens + 2 * objective.context + 1) * (1 if objective.vocabulary <= BYTE_VOCABULARY else 2)


def source_growth(source: str, baseline: str) -> int:
    """Compressed bytes that a source has more than the baseline, at least 0: what it could hold of a public text."""
    grown = len(zlib.compress(source.encode(), 9)) - len(zlib.compress(baseline.encode(), 9))
    return max(0, grown)


def source_files(source: str, objective: Objective) -> list[bytes]:
    """The source's files in the objective's order, for the workers that run it. Raises RunFailed."""
    try:
        return [text.encode() for text in files_of(source, objective.editable).values()]
    except TreeError as error:
        raise RunFailed(Failure.SYNTAX, str(error)) from None
