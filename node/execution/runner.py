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
import math
import os
import random
import struct
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
from node.execution.pause_gate import PauseGate
from node.execution.pipes import Lines, send_if_open, send_job
from node.execution.run_progress import Progress
from node.execution.sandbox.forks import ServerLostError
from node.execution.sandbox.layers import Layers
from node.execution.sandbox.watch import is_full
from node.execution.verdict import failed, metrics_of
from node.execution.weights import RunWeights, WeightsSet, WeightsStore
from node.execution.worker import RunFailed
from node.execution.worker_set import EXAMINATION_SECONDS, Candidate, Judge, WorkerSet, most_memory, weights_file_bytes
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
REPORTED_FAILURES = {  # those that a candidate may report of itself
    failure.encode(): failure for failure in (Failure.SYNTAX, Failure.EXCEPTION, Failure.DIVERGED, Failure.MEMORY)
}


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


@dataclass(frozen=True)
class _End:
    """What a candidate says at the end. Only where its weights are matters; the node looks whether they are there."""

    sets: list[WeightsSet]  # in the order of steps, the final ones last
    tokens: int  # that it trained on
    warmup_seconds: float  # of a GPU, in which it compiled and warmed up; 0 on processors


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
        self._log = log
        self.parallel_runs = parallel_runs = min(parallel_runs, gpus.count) if gpus is not None else parallel_runs
        self._gpus = gpus
        self._servers: ServerPool = gpus or ForkServerPool(
            layers, most_memory(objective), parallel_runs, weights_file_bytes(objective)
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
        return first, second

    async def examine(self, source: str, seed: int, split: str, incumbent: str | None = None) -> Outcome:
        """Score the kept weights of an earlier run on a split; an outcome with a failure when none are kept."""
        async with self._slots:
            return await self._serve(_Request(source, seed, split, incumbent), lambda progress: None)

    async def _serve(
        self,
        request: _Request,
        progress: Callable[[Progress], None],
        side: Side | None = None,
        lend: Callable[[], AbstractAsyncContextManager[Servers]] | None = None,
    ) -> Outcome:
        """One run. lend: where its workers are made, if not wherever they can be."""
        try:
            await self.pause_gate.wait_open()
            trained_before = request.split != "val"
            key = WeightsStore.key(request.source, request.seed)
            weights = self._weights.kept(key) if trained_before else self._weights.new()
            if weights is None:
                return failed(Failure.EXCEPTION, "no weights of this run are kept", 0.0, "")
            with closing(weights):
                assert self._nursery is not None
                async with (lend or self._servers.lent)() as servers:
                    worker_set = WorkerSet(self._objective, servers, self._nursery)
                    try:
                        return await self._use(worker_set, servers, request, weights, progress, side)
                    finally:
                        await worker_set.destroy()
        finally:
            if side is not None:
                side.leave()

    async def _use(
        self,
        worker_set: WorkerSet,
        servers: Servers,
        request: _Request,
        weights: RunWeights,
        progress: Callable[[Progress], None],
        side: Side | None,
    ) -> Outcome:
        begun = time.monotonic()
        tier = servers.tier

        def wall_seconds() -> float:
            return time.monotonic() - begun - worker_set.frozen_seconds

        tokens = 0
        try:
            if not weights.sets:
                told = await self._train(worker_set, servers, request, weights, progress, side)
                # Not what the source says: it could claim more to look cheaper per token. Where the budget is time
                # nothing is paid by token, and what it says is only shown.
                budget = self._objective.budget
                most = None if budget.seconds is None else int(MOST_TOKENS_PER_SECOND * budget.seconds)
                tokens = budget.tokens if most is None else min(told, most)
                key = WeightsStore.key(request.source, request.seed)
                await trio.to_thread.run_sync(self._weights.keep, key, weights)
            trained = worker_set.candidate_seconds()
            progress(Progress(1.0, None, time.monotonic() - begun, "judge"))
            if side is not None and not self._objective.secret_seed:
                await side.may_be_scored.wait()
            judging = self.pause_gate.clock()
            metrics = await self._judge(worker_set, servers, request, weights, side)
            cost = await worker_set.cost_of_jobs()
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
            cpu_seconds=cost,
            wall_seconds=wall_seconds(),
            peak_memory=worker_set.peak_memory,
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
        weights: RunWeights,
        progress: Callable[[Progress], None],
        side: Side | None,
    ) -> int:
        """Train into the file of weights; returns the tokens that the candidate tells of. Then that is dead."""
        files = source_files(request.source, self._objective)
        candidate = await worker_set.start_candidate(weights)
        process = candidate.worker.process
        drawn = self._objective.draw is not None
        text = await self._texts.get(request.seed, "train", servers.numpy) if drawn else b""
        await self.pause_gate.wait_open()
        with side.taking_turns(process) if side is not None else self.pause_gate.freezing(process):
            worker_set.begin_training()
            if drawn:
                files.append(text[: text_bytes(self._objective)])
            await send_job(candidate.jobs, self._job(request.seed, servers.gpu), *files)
            self._servers.warm_up()  # for a run beside this one; not before, since starting takes a tenth of a second
            if drawn:
                assert self._nursery is not None
                self._nursery.start_soon(self._texts.prefetch, request.seed, request.split, servers.numpy)
            try:
                end = await self._follow(candidate, progress)
            except RunFailed as problem:
                if is_full(self._weights_dir):  # not the source's fault, so another try is worth it
                    told = f"the disk that holds {self._weights_dir} is full, and weights are written there"
                    raise RunFailed(Failure.KILLED, told) from problem
                raise
        await candidate.worker.destroy()
        weights.sets = end.sets
        if any(one.offset + one.length > weights.size for one in weights.sets):
            raise RunFailed(Failure.INVALID, "the candidate worker wrote less than it said")
        if servers.gpu is not None and math.isfinite(end.warmup_seconds):
            worker_set.warmup_seconds = min(self._objective.budget.warmup_seconds, max(0.0, end.warmup_seconds))
        return end.tokens

    async def _follow(self, candidate: Candidate, progress: Callable[[Progress], None]) -> _End:
        """What the candidate has to say until it is done."""
        begun = time.monotonic()
        sets: dict[int, WeightsSet] = {}
        while True:
            tag, body = await candidate.frames.next()
            if tag == b"P" and len(body) == 20:  # u32 step, f64 share, f64 loss
                _, share, loss = struct.unpack("<Idd", body)
                if math.isfinite(share) and math.isfinite(loss):
                    progress(Progress(min(1.0, max(0.0, share)), loss, time.monotonic() - begun, "train"))
            elif tag == b"W" and len(body) == 20:
                one = self._weights_set(body)
                if one.step == 0 or one.step in self._objective.checkpoints:
                    sets[one.step] = one
            elif tag == b"D" and len(body) == 16 and 0 in sets:  # u64 tokens, f64 seconds
                final = sets.pop(0)
                return _End([*(one for _, one in sorted(sets.items())), final], *struct.unpack("<Qd", body))
            elif tag == b"F" and body in REPORTED_FAILURES:
                await candidate.worker.ended.wait()
                raise RunFailed(REPORTED_FAILURES[body], candidate.worker.process.log_tail())
            else:
                raise RunFailed(Failure.INVALID, "the candidate worker sent an unknown frame")

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
            self._weights.put(WeightsStore.losses_key(request.source, request.seed, request.split), losses)
        return metrics

    def _incumbent_losses(self, request: _Request) -> bytes:
        """The losses the judge handed out for the incumbent at this seed; b"" when there are none, or they are lost."""
        if request.incumbent is None:
            return b""
        return self._weights.get(WeightsStore.losses_key(request.incumbent, request.seed, request.split)) or b""

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

    def _count(self, train: float, judge: float = 0.0) -> None:
        old = self.timing
        self.timing = Timing(old.runs + 1, old.train_seconds + train, old.judge_seconds + judge)


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
