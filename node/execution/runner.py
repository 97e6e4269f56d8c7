"""Runs: one training of one source with one seed, scored by the judge.

Theory of operation. A `WorkerSet` is the rooms of one run: a candidate, two examination rooms and the judge, each a
sandboxed process with pipes of its own, all importing what they need ahead of time. A run sends the candidate its
job, takes fixed-size progress and opaque weights, and destroys it; then it gives both examination rooms the source
and the weights and the judge the word, destroys each room when the judge says so, and reads one line of JSON from
the judge, with its losses per target behind it: opaque bytes, kept beside the weights and given back to the judge when
a child of this source runs at the same seed. Rooms serve once. While a run goes on the next suite warms up, its heavy
rooms one after the other, so that they take no more than one core from whoever is training.

The node parses nothing a candidate made beyond tags, lengths and fixed-size numbers, and of losses only the length.
"""

from __future__ import annotations

import json
import math
import struct
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import trio

from node.execution.pause_gate import PauseGate
from node.execution.pipes import Lines, Pipes, send_if_open, send_job
from node.execution.run_progress import Progress
from node.execution.sandbox.layers import Layers
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.process import Box
from node.execution.weights import WeightsStore
from node.execution.worker_set import Frames, RunFailed, Worker, WorkerSet
from node.ledger.outcome import Outcome
from node.objective.schema import Objective
from node.platform.log import Log

WORKER_PROGRAMS = Path(__file__).parent / "workers"
WARM_MEMORY = 3 << 30  # a spare suite is kept only while this much memory is free
READY_SECONDS = 120.0  # for a room that is not warm to import what it needs
EXAMINATION_SECONDS = 300.0
EXAMINATION_MEMORY = 2 << 30
JUDGE_MEMORY = 2 << 30
MAX_LOSSES = 4 << 20
END_SECONDS = 2.0  # for a room that closed its pipe to end by itself
LOG_BYTES = 1 << 20
FAILURES_TOLD = {b"syntax": "syntax", b"exception": "exception", b"diverged": "diverged", b"memory": "memory"}


@dataclass(frozen=True)
class Timing:
    """Where the time of this runner's runs went, in seconds of wall time without those in which it rested."""

    runs: int = 0
    train_seconds: float = 0.0
    judge_seconds: float = 0.0


@dataclass(frozen=True)
class _Order:
    """What is to be scored, and the source it is to be better than, if there is one."""

    source: str
    seed: int
    split: str
    incumbent: str | None


class Runner:
    """Makes runs, `parallel_runs` of them at a time. An async context manager; leaving it ends every room."""

    def __init__(
        self, objective: Objective, layers: Layers, weights_dir: Path, log: Log, parallel_runs: int = 1
    ) -> None:
        self._objective = objective
        self.tokens = objective.budget.tokens  # of every run from the next one on
        self._layers = layers
        self._weights = WeightsStore(weights_dir)
        self._log = log
        self.parallel_runs = parallel_runs
        self._spares: list[WorkerSet] = []
        self._stack = AsyncExitStack()
        self._nursery: trio.Nursery | None = None
        self._places = trio.Semaphore(parallel_runs)
        self.pause_gate = PauseGate()  # whoever trains stands still, a judging under way ends first: it takes seconds
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
        """Train a source and score it on validation data. Cancelling ends its rooms at once.

        `incumbent` is the source it is to be better than. If that was run here before at this seed, the judge looks
        hardest where this one gains over it; the score is the same either way.
        """
        return await self._serve(_Order(source, seed, "val", incumbent), progress)

    async def examine(self, source: str, seed: int, split: str, incumbent: str | None = None) -> Outcome:
        """Score the kept weights of an earlier run on a split; failure "missing" when there are none."""
        return await self._serve(_Order(source, seed, split, incumbent), lambda progress: None)

    async def _serve(self, order: _Order, progress: Callable[[Progress], None]) -> Outcome:
        async with self._places:
            await self.pause_gate.wait_open()
            trained_before = order.split != "val"
            kept = self._weights.get(WeightsStore.key(order.source, order.seed)) if trained_before else None
            if trained_before and kept is None:
                return _failed("missing", "no weights of this run are kept", 0.0, "")
            worker_set = self._spares.pop(0) if self._spares else self._start_worker_set()
            try:
                return await self._use(worker_set, order, kept, progress)
            finally:
                await worker_set.destroy()

    async def _use(
        self, worker_set: WorkerSet, order: _Order, kept: bytes | None, progress: Callable[[Progress], None]
    ) -> Outcome:
        begun = time.monotonic()
        tier = worker_set.candidate.box.tier
        cpu, tokens = 0.0, 0
        sets: list[tuple[int, bytes]]
        try:
            if kept is None:
                with self.pause_gate.freezing(worker_set.candidate.box):
                    sets, cpu = await self._train(worker_set, order, progress)
                tokens = self.tokens  # not the source's word: cost is judged per token
                self._weights.put(WeightsStore.key(order.source, order.seed), sets[-1][1])
            else:
                sets = [(0, kept)]
                self._warm_up()
            await worker_set.candidate.destroy()
            trained = self.pause_gate.clock()
            progress(Progress(1.0, None, time.monotonic() - begun, "judge"))
            metrics = await self._judge(worker_set, order, sets)
        except RunFailed as failed:
            self._count(train=self.pause_gate.clock() - (worker_set.job_sent or self.pause_gate.clock()))
            return _failed(failed.failure, failed.log_tail, time.monotonic() - begun, tier)
        self._count(train=trained - (worker_set.job_sent or trained), judge=self.pause_gate.clock() - trained)
        value = metrics.pop("value")
        steps = [step for step, _ in sets if f"checkpoint_{step}" in metrics]
        return Outcome(
            value=value,
            metrics=metrics,
            checkpoints=tuple((step, metrics.pop(f"checkpoint_{step}")) for step in steps),
            tokens=tokens,
            cpu_seconds=cpu,
            wall_seconds=time.monotonic() - begun - worker_set.candidate.box.frozen_seconds,
            peak_memory=worker_set.candidate.box.peak_memory,
            failure=None,
            log_tail="",
            tier=tier,
        )

    # ---- training --------------------------------------------------------------------------------------------------

    async def _train(
        self, worker_set: WorkerSet, order: _Order, progress: Callable[[Progress], None]
    ) -> tuple[list[tuple[int, bytes]], float]:
        """Weight sets (checkpoints in order, the final one last), and CPU seconds from job to weights."""
        frames = worker_set.frames
        worker_set.candidate.box.start_clock(READY_SECONDS)
        await worker_set.ready.wait()
        if worker_set.trouble is not None:
            raise worker_set.trouble
        await self.pause_gate.wait_open()
        worker_set.candidate.box.start_clock(self._objective.budget.wall_seconds)
        begun, cpu = time.monotonic(), worker_set.candidate.box.cpu_seconds()
        worker_set.job_sent = self.pause_gate.clock()
        await send_job(worker_set.jobs[0], self._job(order.seed), order.source.encode())
        self._warm_up()  # not before: starting processes takes the node a tenth of a second
        checkpoints: dict[int, bytes] = {}
        while True:
            tag, body = await frames.next()
            if tag == b"P" and len(body) == 20:
                _, share, loss = struct.unpack("<Idd", body)
                if math.isfinite(share) and math.isfinite(loss):
                    progress(Progress(min(1.0, max(0.0, share)), loss, time.monotonic() - begun, "train"))
            elif tag == b"W" and len(body) >= 4:
                step = int.from_bytes(body[:4], "little")
                if step == 0 or step in self._objective.checkpoints:
                    checkpoints[step] = body[4:]
            elif tag == b"D" and not body and 0 in checkpoints:
                spent = worker_set.candidate.box.cpu_seconds() - cpu
                final = checkpoints.pop(0)
                return [*sorted(checkpoints.items()), (0, final)], max(0.0, spent)
            elif tag == b"F" and body in FAILURES_TOLD:
                await worker_set.candidate.ended.wait()
                raise RunFailed(FAILURES_TOLD[body], worker_set.candidate.box.log_tail())
            else:
                raise RunFailed("invalid", "the candidate's room sent what no room sends")

    def _job(self, seed: int, **more: int) -> dict[str, Any]:
        objective = self._objective
        return {
            "seed": seed,
            "tokens": self.tokens,
            "context": objective.context,
            "vocabulary": objective.vocabulary,
            "checkpoints": list(objective.checkpoints),
            "editable": objective.editable,
            **more,
        }

    # ---- judging ---------------------------------------------------------------------------------------------------

    async def _judge(self, worker_set: WorkerSet, order: _Order, sets: list[tuple[int, bytes]]) -> dict[str, float]:
        worker_set.judge.box.start_clock(EXAMINATION_SECONDS)
        worker_set.call(len(worker_set.examinations))
        header = self._job(order.seed, weights=len(sets))
        parts = (order.source.encode(), *(raw for _, raw in sets))
        steps = [step for step, _ in sets if step]
        incumbent = self._incumbent_losses(order)
        word = {"seed": order.seed, "split": order.split, "steps": steps, "weights": len(sets)}
        line = json.dumps({**word, "incumbent": len(incumbent)}).encode() + b"\n"
        async with trio.open_nursery() as nursery:

            def serve(number: int) -> None:
                worker_set.examinations[number].box.start_clock(EXAMINATION_SECONDS)
                nursery.start_soon(send_job, worker_set.jobs[1 + number], header, *parts)

            serve(0)
            await send_if_open(worker_set.control, line + incumbent)
            result = await self._verdict(worker_set, serve)
            nursery.cancel_scope.cancel()
        if result is None:
            with trio.move_on_after(END_SECONDS):
                await worker_set.judge.ended.wait()
            await worker_set.judge.destroy()
            raise RunFailed(
                worker_set.judge.failure(), worker_set.judge.box.log_tail() or "the judge ended without a result"
            )
        verdict, losses = result
        metrics = _metrics(verdict, worker_set)
        if losses:
            self._weights.put(WeightsStore.losses_key(order.source, order.seed, order.split), losses)
        return metrics

    def _incumbent_losses(self, order: _Order) -> bytes:
        """What the judge handed out for the incumbent at this seed, b"" when it never did or that is lost."""
        if order.incumbent is None:
            return b""
        return self._weights.get(WeightsStore.losses_key(order.incumbent, order.seed, order.split)) or b""

    async def _verdict(
        self, worker_set: WorkerSet, serve: Callable[[int], None]
    ) -> tuple[dict[str, Any], bytes] | None:
        """Destroy rooms as the judge asks, until it gives its result and the losses; None when it never does.

        The second room gets the source only when the first is dead, so the two copies of it never run together.
        """
        lines = Lines(worker_set.verdict)
        to_close = {b"close 0": 0, b"close 1": 1}
        while True:
            line = await lines.next()
            number = to_close.pop(line, None) if line else None
            if number is not None:
                await worker_set.examinations[number].destroy()
                if number == 0:
                    serve(1)
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

    # ---- rooms -----------------------------------------------------------------------------------------------------

    def _warm_up(self) -> None:
        """Start the next suite, unless enough wait already or the machine is short of memory or else."""
        spares = len(self._spares)
        if spares < self.parallel_runs and psutil.virtual_memory().available > WARM_MEMORY * (1 + spares):
            with suppress(OSError):  # the run that needs it will say so
                self._spares.append(self._start_worker_set())

    async def cool_down(self) -> None:
        """End the rooms that wait for a run; their memory is others' while this node rests."""
        spares, self._spares = self._spares, []
        for worker_set in spares:
            await worker_set.destroy()

    def _start_worker_set(self) -> WorkerSet:
        """The rooms of a run, starting. When one cannot be started, none is left."""
        pipes = Pipes()
        workers: list[Worker] = []
        try:
            worker_set = self._put_together(pipes, workers)
        except BaseException:
            for worker in workers:
                worker.box.kill()
            pipes.close()
            raise
        assert self._nursery is not None
        self._nursery.start_soon(worker_set.get_ready)
        return worker_set

    def _put_together(self, pipes: Pipes, workers: list[Worker]) -> WorkerSet:
        """Start the rooms of a suite; each is in `workers` from its start."""
        objective = self._objective
        ((_, train_file),) = objective.data_for("candidate")

        def start(script: str, arguments: list[Any], places: tuple[Path, ...], memory: int) -> Worker:
            workers.append(self._start(script, arguments, places, memory))
            return workers[-1]

        job, out = pipes.to_room(), pipes.from_room()
        candidate = start("train.py", [job, out, train_file], (train_file,), objective.budget.memory_bytes)
        examinations, jobs, questions = [], [job], []
        for _ in range(2):
            ask, answer, exam_job = pipes.between(), pipes.between(), pipes.to_room()
            examinations.append(start("answer.py", [exam_job, ask[0], answer[1]], (), EXAMINATION_MEMORY))
            jobs.append(exam_job)
            questions += [ask[1], answer[0]]
        control, verdict = pipes.to_room(), pipes.from_room()
        hidden = objective.data_for("judge")
        judge_file = objective.root / objective.judge
        judge = start(
            "judge.py",
            [control, verdict, *questions, judge_file, train_file, *(f"{name}={path}" for name, path in hidden)],
            (judge_file, train_file, *(path for _, path in hidden)),
            JUDGE_MEMORY,
        )
        pipes.close_room_ends()
        return WorkerSet(
            candidate,
            (examinations[0], examinations[1]),
            judge,
            jobs=tuple(pipes.stream(end) for end in jobs),
            frames=Frames(pipes.stream(out), candidate),
            control=pipes.stream(control),
            verdict=pipes.stream(verdict),
        )

    def _start(self, script: str, arguments: list[Any], places: tuple[Path, ...], memory: int) -> Worker:
        budget = self._objective.budget
        policy = Policy(
            wall_seconds=EXAMINATION_SECONDS,
            cpu_seconds=2 * budget.wall_seconds + EXAMINATION_SECONDS,
            memory_bytes=memory,
            tasks=64,
            output_bytes=LOG_BYTES,
            read_only=(WORKER_PROGRAMS / script, *places),
            threads=budget.threads,
        )
        keep = [argument for argument in arguments if isinstance(argument, int)]
        command = [sys.executable, "-I", "-B", str(WORKER_PROGRAMS / script), *map(str, arguments)]
        worker = Worker(Box.start(command, policy, self._layers, keep))
        assert self._nursery is not None
        self._nursery.start_soon(worker.supervise)
        return worker

    def _count(self, train: float, judge: float = 0.0) -> None:
        old = self.timing
        self.timing = Timing(old.runs + 1, old.train_seconds + train, old.judge_seconds + judge)


def _failed(failure: str, log_tail: str, seconds: float, tier: str) -> Outcome:
    return Outcome(None, {}, (), 0, 0.0, seconds, 0, failure, log_tail[-2000:], tier)


def _metrics(result: dict[str, Any], worker_set: WorkerSet) -> dict[str, float]:
    """The judge's numbers, checked; or the run's failure."""
    if "rejected" in result:
        tails = [worker.box.log_tail() for worker in worker_set.examinations]
        raise RunFailed("invalid", "\n".join(filter(None, [*tails, str(result["rejected"])])))
    metrics = result.get("metrics")
    if not isinstance(metrics, dict) or not isinstance(metrics.get("value"), float):
        raise RunFailed("exception", f"the judge failed: {result.get('error', 'no value')}")
    if not all(isinstance(v, float) and math.isfinite(v) for v in metrics.values()) or metrics["value"] <= 0:
        raise RunFailed("invalid", "the judge's numbers are not finite and positive")
    return {str(name): value for name, value in metrics.items()}
