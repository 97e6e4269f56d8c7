"""Runs: one training of one source with one seed, scored by the judge.

Theory of operation (docs/decisions/judge-and-workers.md says why). A `WorkerSet` is the workers of one run: a
candidate, an examination worker and the judge, each a sandboxed process with pipes of its own, all importing what they
need ahead of time.

1. The candidate gets its job, with the run's training text where the objective draws it. It reports fixed-size
   progress, hands out opaque weights, and is destroyed. Meanwhile the text to be scored is drawn.
2. The examination worker gets the source and the weights, and the judge its request with that text.
3. The judge sends one line of JSON.

Objectives without a secret seed show whole windows, so they have a second examination worker: when the judge says so,
the first is destroyed, and only then the second gets the same. Their judge hands out the losses per target too: opaque
bytes, kept beside the weights and given back when a child of this source runs at the same seed.

Workers serve once. While a run goes on the next worker set starts, its heavy imports one after the other, so that they
take no more than one core from the training.

Of what a candidate made the node parses only tags, lengths and fixed-size numbers, and of losses only the length.
"""

from __future__ import annotations

import json
import math
import os
import random
import struct
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import trio

from node.execution import run_seeds
from node.execution.alternation import Alternation, Side, shares
from node.execution.drawn_texts import MAX_TEXT, DrawnTexts
from node.execution.pause_gate import PauseGate
from node.execution.pipes import Lines, Pipes, send_if_open, send_job
from node.execution.run_progress import Progress
from node.execution.sandbox.layers import Layers
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.process import SandboxedProcess
from node.execution.weights import WeightsStore
from node.execution.worker_set import Frames, RunFailed, Worker, WorkerSet
from node.ledger.outcome import Outcome
from node.objective.schema import Objective
from node.platform.concurrency import gather
from node.platform.log import Log
from protocol.records import Failure

WORKER_PROGRAMS = Path(__file__).parent / "workers"
# Sizes are in bytes. A spare worker set is kept only while this much memory is free for each: it and its run need less.
WARM_MEMORY = 3 << 30
READY_SECONDS = 120.0  # for a worker started without a spare to import torch: seconds, or many on a busy machine
EXAMINATION_SECONDS = 300.0  # the judge of the embedded objective takes two
EXAMINATION_MEMORY = 2 << 30
JUDGE_MEMORY = 2 << 30
MAX_LOSSES = 4 << 20  # a million targets in float32
END_SECONDS = 2.0  # for a judge that closed its pipe to exit by itself, so that its exit status says why
LOG_BYTES = 1 << 20
LOG_TAIL_CHARACTERS = 2000  # kept of a failed run's output
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
    ) -> None:
        """data_bytes: what the host lets an objective have of data, and so the longest text that it may draw."""
        self._objective = objective
        self._texts = DrawnTexts(objective, layers, data_bytes)
        self.tokens = objective.budget.tokens  # the budget of every run from the next one on; may be assigned
        self._layers = layers
        self._weights = WeightsStore(weights_dir)
        self._log = log
        self.parallel_runs = parallel_runs
        self._spares: list[WorkerSet] = []
        self._stack = AsyncExitStack()
        self._nursery: trio.Nursery | None = None
        self._slots = trio.Semaphore(parallel_runs)
        # For each pair that is made side by side with others.
        self._free_processors = shares(os.sched_getaffinity(0), parallel_runs, objective.budget.threads)
        self.pause_gate = PauseGate()  # freezes training; scoring under way is let to end, as it takes seconds
        self.timing = Timing()

    async def __aenter__(self) -> Runner:
        self._nursery = await self._stack.enter_async_context(trio.open_nursery())
        self._warm_up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._nursery is not None
        await self.cool_down()
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
        """Whether there is memory for both runs of a pair at once: as much as for a run and a spare worker set."""
        missing = max(0, 2 - len(self._spares))
        return psutil.virtual_memory().available > WARM_MEMORY * missing

    async def run_pair(
        self,
        parent: str,
        child: str,
        seed: int,
        of_parent: Callable[[Progress], None],
        of_child: Callable[[Progress], None],
    ) -> tuple[Outcome, Outcome]:
        """Train and score both sources, their trainings taking turns, so that their CPU times compare.

        The two are one of the runs made side by side: they use the time of one. Otherwise as `run`.
        """
        async with self._slots:
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
        self, request: _Request, progress: Callable[[Progress], None], side: Side | None = None
    ) -> Outcome:
        try:
            await self.pause_gate.wait_open()
            trained_before = request.split != "val"
            kept = self._weights.get(WeightsStore.key(request.source, request.seed)) if trained_before else None
            if trained_before and kept is None:
                return _failed(Failure.EXCEPTION, "no weights of this run are kept", 0.0, "")
            worker_set = self._spares.pop(0) if self._spares else self._start_worker_set()
            try:
                return await self._use(worker_set, request, kept, progress, side)
            finally:
                await worker_set.destroy()
        finally:
            if side is not None:
                side.leave()

    async def _use(
        self,
        worker_set: WorkerSet,
        request: _Request,
        kept: bytes | None,
        progress: Callable[[Progress], None],
        side: Side | None,
    ) -> Outcome:
        begun = time.monotonic()
        tier = worker_set.candidate.process.tier

        def wall_seconds() -> float:
            return time.monotonic() - begun - worker_set.candidate.process.frozen_seconds

        cpu = 0.0
        tokens = 0
        weights_by_step: list[tuple[int, bytes]]
        try:
            if kept is None:
                weights_by_step, cpu = await self._train(worker_set, request, progress, side)
                tokens = self.tokens  # not what the source says: it could claim more to look cheaper per token
                self._weights.put(WeightsStore.key(request.source, request.seed), weights_by_step[-1][1])
            else:
                weights_by_step = [(0, kept)]
                self._warm_up()
            trained = worker_set.candidate_seconds()
            await worker_set.candidate.destroy()
            progress(Progress(1.0, None, time.monotonic() - begun, "judge"))
            if side is not None:
                await side.may_be_scored.wait()
            judging = self.pause_gate.clock()
            metrics = await self._judge(worker_set, request, weights_by_step)
        except RunFailed as failed:
            self._count(train=worker_set.candidate_seconds())
            return _failed(failed.failure, failed.log_tail, wall_seconds(), tier)
        self._count(train=trained, judge=self.pause_gate.clock() - judging)
        value = metrics.pop("value")
        steps = [step for step, _ in weights_by_step if f"checkpoint_{step}" in metrics]
        return Outcome(
            value=value,
            metrics=metrics,
            checkpoints=tuple((step, metrics.pop(f"checkpoint_{step}")) for step in steps),
            tokens=tokens,
            cpu_seconds=cpu,
            wall_seconds=wall_seconds(),
            peak_memory=worker_set.candidate.process.peak_memory,
            failure=None,
            log_tail="",
            tier=tier,
        )

    # ---- training --------------------------------------------------------------------------------------------------

    async def _train(
        self,
        worker_set: WorkerSet,
        request: _Request,
        progress: Callable[[Progress], None],
        side: Side | None,
    ) -> tuple[list[tuple[int, bytes]], float]:
        """Weights as (step, bytes), in order of steps, the final ones last as step 0; and CPU seconds taken."""
        process = worker_set.candidate.process
        with self.pause_gate.freezing(process):
            process.start_clock(READY_SECONDS)
            await worker_set.ready.wait()
            if worker_set.start_failure is not None:
                raise worker_set.start_failure
            text = [await self._texts.get(request.seed, "train")] if self._objective.draw is not None else []
            await self.pause_gate.wait_open()
            process.start_clock(self._objective.budget.wall_seconds)
        with side.taking_turns(process) if side is not None else self.pause_gate.freezing(process):
            return await self._trained(worker_set, request, text, progress)

    async def _trained(
        self, worker_set: WorkerSet, request: _Request, text: list[bytes], progress: Callable[[Progress], None]
    ) -> tuple[list[tuple[int, bytes]], float]:
        frames = worker_set.frames
        begun = time.monotonic()
        cpu = worker_set.candidate.process.cpu_seconds()
        worker_set.job_sent = time.monotonic() - worker_set.candidate.process.frozen_seconds
        await send_job(worker_set.jobs[0], self._job(request.seed), request.source.encode(), *text)
        self._warm_up()  # after the job is sent: starting processes takes the node a tenth of a second
        if text:
            assert self._nursery is not None
            self._nursery.start_soon(self._texts.prefetch, request.seed, request.split)
        checkpoints: dict[int, bytes] = {}
        while True:
            tag, body = await frames.next()
            if tag == b"P" and len(body) == 20:  # u32 step, f64 share, f64 loss
                _, share, loss = struct.unpack("<Idd", body)
                if math.isfinite(share) and math.isfinite(loss):
                    progress(Progress(min(1.0, max(0.0, share)), loss, time.monotonic() - begun, "train"))
            elif tag == b"W" and len(body) >= 4:
                step = int.from_bytes(body[:4], "little")
                if step == 0 or step in self._objective.checkpoints:
                    checkpoints[step] = body[4:]
            elif tag == b"D" and not body and 0 in checkpoints:
                spent = worker_set.candidate.process.cpu_seconds() - cpu
                final = checkpoints.pop(0)
                return [*sorted(checkpoints.items()), (0, final)], max(0.0, spent)
            elif tag == b"F" and body in REPORTED_FAILURES:
                await worker_set.candidate.ended.wait()
                raise RunFailed(REPORTED_FAILURES[body], worker_set.candidate.process.log_tail())
            else:
                raise RunFailed(Failure.INVALID, "the candidate worker sent an unknown frame")

    def _job(self, seed: int, **more: int) -> dict[str, Any]:
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
        return {
            **told,
            "tokens": self.tokens,
            "context": objective.context,
            "vocabulary": objective.vocabulary,
            "checkpoints": list(objective.checkpoints),
            "editable": objective.editable,
            **more,
        }

    # ---- judging ---------------------------------------------------------------------------------------------------

    async def _judge(
        self, worker_set: WorkerSet, request: _Request, weights_by_step: list[tuple[int, bytes]]
    ) -> dict[str, float]:
        text = await self._texts.get(request.seed, request.split) if self._objective.draw is not None else b""
        worker_set.judge.process.start_clock(EXAMINATION_SECONDS)
        worker_set.start_imports(len(worker_set.examinations))  # of those that were not told yet
        header = self._job(request.seed, weights=len(weights_by_step))
        parts = (request.source.encode(), *(raw for _, raw in weights_by_step))
        steps = [step for step, _ in weights_by_step if step]
        line: dict[str, Any] = {
            "seed": run_seeds.judge_seed(request.seed) if self._objective.secret_seed else request.seed,
            "split": request.split,
            "steps": steps,
            "weights": len(weights_by_step),
            "secret_seed": self._objective.secret_seed,
        }
        if self._objective.secret_seed:
            content = text
            line |= {"text": len(text), "source_growth": source_growth(request.source, self._objective.source)}
        else:
            content = self._incumbent_losses(request)
            line |= {"incumbent": len(content)}
        asked = json.dumps(line).encode() + b"\n"
        async with trio.open_nursery() as nursery:

            def send_to(number: int) -> None:
                worker_set.examinations[number].process.start_clock(EXAMINATION_SECONDS)
                nursery.start_soon(send_job, worker_set.jobs[1 + number], header, *parts)

            send_to(0)
            await send_if_open(worker_set.control, asked + content)
            result = await self._verdict(worker_set, send_to)
            nursery.cancel_scope.cancel()
        if result is None:
            with trio.move_on_after(END_SECONDS):
                await worker_set.judge.ended.wait()
            await worker_set.judge.destroy()
            raise RunFailed(
                worker_set.judge.failure(), worker_set.judge.process.log_tail() or "the judge ended without a result"
            )
        verdict, losses = result
        metrics = _metrics(verdict, worker_set)
        if losses:
            self._weights.put(WeightsStore.losses_key(request.source, request.seed, request.split), losses)
        return metrics

    def _incumbent_losses(self, request: _Request) -> bytes:
        """The losses the judge handed out for the incumbent at this seed; b"" when there are none, or they are lost."""
        if request.incumbent is None:
            return b""
        return self._weights.get(WeightsStore.losses_key(request.incumbent, request.seed, request.split)) or b""

    async def _verdict(
        self, worker_set: WorkerSet, send_to: Callable[[int], None]
    ) -> tuple[dict[str, Any], bytes] | None:
        """Destroy examination workers as the judge asks, until it gives its result and losses; None if it never does.

        A second worker gets the source only when the first is dead, so two copies of it never run at the same time and
        cannot pass anything to each other.
        """
        lines = Lines(worker_set.verdict)
        to_close = {f"close {number}".encode(): number for number in range(len(worker_set.examinations))}
        while True:
            line = await lines.next()
            number = to_close.pop(line, None) if line else None
            if number is not None:
                await worker_set.examinations[number].destroy()
                if number + 1 < len(worker_set.examinations):
                    send_to(number + 1)
                await send_if_open(worker_set.control, b"dead\n")
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

    # ---- workers ---------------------------------------------------------------------------------------------------

    def _warm_up(self) -> None:
        """Start the next worker set, unless enough of them wait already or the machine is short of memory.

        The first spare needs more than 3 GiB of available memory, a second one (for parallel runs) more than 6 GiB.
        """
        spares = len(self._spares)
        if spares < self.parallel_runs and psutil.virtual_memory().available > WARM_MEMORY * (1 + spares):
            with suppress(OSError):  # no processes or descriptors are free: the run that needs it will say so
                self._spares.append(self._start_worker_set())

    async def cool_down(self) -> None:
        """End the workers that wait for a run, so that a paused node does not hold their memory."""
        spares, self._spares = self._spares, []
        for worker_set in spares:
            await worker_set.destroy()

    def _start_worker_set(self) -> WorkerSet:
        """The workers of a run, starting. When one cannot be started, the others are ended. Raises OSError."""
        pipes = Pipes()
        workers: list[Worker] = []
        try:
            worker_set = self._assemble(pipes, workers)
        except BaseException:
            for worker in workers:
                worker.process.kill()
            pipes.close()
            raise
        assert self._nursery is not None
        self._nursery.start_soon(worker_set.get_ready)
        return worker_set

    def _assemble(self, pipes: Pipes, workers: list[Worker]) -> WorkerSet:
        """Start the workers of a set; each is added to `workers` as soon as it is started."""
        objective = self._objective
        train_files = [path for _, path in objective.data_for("candidate")]  # none where the text is drawn for each run

        def start(script: str, arguments: list[Any], readable: tuple[Path, ...], memory: int) -> Worker:
            workers.append(self._start(script, arguments, readable, memory))
            return workers[-1]

        job, out = pipes.to_worker(), pipes.from_worker()
        candidate = start("train.py", [job, out, *train_files], tuple(train_files), objective.budget.memory_bytes)
        examinations: list[Worker] = []
        jobs = [job]
        judge_ends: list[int] = []  # (requests, replies) for each examination worker, as judge.py takes them
        for _ in range(1 if objective.secret_seed else 2):
            exam_job = pipes.to_worker()
            requests_in, requests_out = pipes.between()
            replies_in, replies_out = pipes.between()
            examinations.append(start("answer.py", [exam_job, requests_in, replies_out], (), EXAMINATION_MEMORY))
            jobs.append(exam_job)
            judge_ends += [requests_out, replies_in]
        control, verdict = pipes.to_worker(), pipes.from_worker()
        hidden = objective.data_for("judge")
        judge_file = objective.root / objective.judge
        judge = start(
            "judge.py",
            [control, verdict, *judge_ends, judge_file, *train_files, *(f"{name}={path}" for name, path in hidden)],
            (judge_file, *train_files, *(path for _, path in hidden)),
            JUDGE_MEMORY,
        )
        pipes.close_worker_ends()
        return WorkerSet(
            candidate,
            tuple(examinations),
            judge,
            jobs=tuple(pipes.stream(end) for end in jobs),
            frames=Frames(pipes.stream(out), candidate),
            control=pipes.stream(control),
            verdict=pipes.stream(verdict),
        )

    def _start(self, script: str, arguments: list[Any], readable: tuple[Path, ...], memory: int) -> Worker:
        """Start one worker. Whole numbers among the arguments are descriptors, which it inherits."""
        budget = self._objective.budget
        policy = Policy(
            wall_seconds=EXAMINATION_SECONDS,  # the candidate's clock is started with the budget's limit instead
            # A run is ended by wall time, which a busy machine stretches; this limit of CPU time is for one that uses
            # many threads. It includes the imports.
            cpu_seconds=2 * budget.wall_seconds + EXAMINATION_SECONDS,
            memory_bytes=memory,
            tasks=64,  # torch starts a few threads of its own beside those that compute
            output_bytes=LOG_BYTES,
            read_only=(WORKER_PROGRAMS / script, WORKER_PROGRAMS / "chance.py", *readable),
            threads=budget.threads,
        )
        keep = [argument for argument in arguments if isinstance(argument, int)]
        command = [sys.executable, "-I", "-B", str(WORKER_PROGRAMS / script), *map(str, arguments)]
        worker = Worker(SandboxedProcess.start(command, policy, self._layers, keep))
        assert self._nursery is not None
        self._nursery.start_soon(worker.supervise)
        return worker

    def _count(self, train: float, judge: float = 0.0) -> None:
        old = self.timing
        self.timing = Timing(old.runs + 1, old.train_seconds + train, old.judge_seconds + judge)


def source_growth(source: str, baseline: str) -> int:
    """Compressed bytes that a source has more than the baseline, at least 0: what it could hold of a public text."""
    grown = len(zlib.compress(source.encode(), 9)) - len(zlib.compress(baseline.encode(), 9))
    return max(0, grown)


def _failed(failure: Failure, log_tail: str, seconds: float, tier: str) -> Outcome:
    return Outcome(None, {}, (), 0, 0.0, seconds, 0, failure, log_tail[-LOG_TAIL_CHARACTERS:], tier)


def _metrics(result: dict[str, Any], worker_set: WorkerSet) -> dict[str, float]:
    """The judge's metrics, checked. Raises RunFailed when it rejected the model, failed, or gave no usable numbers."""
    if "rejected" in result:
        tails = [worker.process.log_tail() for worker in worker_set.examinations]
        raise RunFailed(Failure.INVALID, "\n".join(filter(None, [*tails, str(result["rejected"])])))
    metrics = result.get("metrics")
    if not isinstance(metrics, dict) or not isinstance(metrics.get("value"), float):
        raise RunFailed(Failure.EXCEPTION, f"the judge failed: {result.get('error', 'no value')}")
    if not all(isinstance(v, float) and math.isfinite(v) for v in metrics.values()) or metrics["value"] <= 0:
        raise RunFailed(Failure.INVALID, "the judge's numbers are not finite and positive")
    return {str(name): value for name, value in metrics.items()}
