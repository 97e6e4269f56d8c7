"""Runs: one training of one source with one seed, scored by the judge.

Theory of operation. A `Suite` is the rooms of one run: a candidate, two examination rooms and the judge, each a
sandboxed process with pipes of its own, all importing what they need ahead of time. A run sends the candidate its
job, takes fixed-size progress and opaque weights, and destroys it; then it gives both examination rooms the source
and the weights and the judge the word, destroys each room when the judge says so, and reads one line of JSON from
the judge. Rooms serve once. While a run goes on the next suite warms up, its heavy rooms one after the other, so that
they take no more than one core from whoever is training.

The node parses nothing a candidate made beyond tags, lengths and fixed-size numbers.
"""

from __future__ import annotations

import json
import math
import os
import struct
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import trio

from node.experiment.objective import Objective
from node.experiment.pipes import Lines, Pipes, send_if_open, send_job
from node.experiment.sandbox.box import Box
from node.experiment.sandbox.layers import Layers
from node.experiment.sandbox.policy import Policy
from node.experiment.weights import WeightsStore

ROOMS = Path(__file__).parent / "rooms"
WARM_MEMORY = 3 << 30  # a spare suite is kept only while this much memory is free
READY_SECONDS = 120.0  # for a room that is not warm to import what it needs
EXAMINATION_SECONDS = 300.0
EXAMINATION_MEMORY = 2 << 30
JUDGE_MEMORY = 2 << 30
MAX_WEIGHTS = 64 << 20
MAX_FRAMES = 100_000
END_SECONDS = 2.0  # for a room that closed its pipe to end by itself
LOG_BYTES = 1 << 20
CALL = b"!"  # to an examination room: import what you need
FAILURES_TOLD = {b"syntax": "syntax", b"exception": "exception", b"diverged": "diverged", b"memory": "memory"}
FAILURE_OF_REASON = {
    "time": "timeout",
    "cpu": "timeout",
    "memory": "memory",
    "output": "output",
    "disk": "output",
    "tasks": "exception",
    "killed": "killed",
    "exit": "exception",
}


@dataclass(frozen=True)
class Progress:
    """How far a run is. `loss` is the candidate's own word, in nats, and shown as such."""

    share: float
    loss: float | None
    seconds: float
    phase: str  # "train" or "judge"


@dataclass(frozen=True)
class Outcome:
    """What became of a run: a value and metrics from the judge, or a failure and its last log lines."""

    value: float | None
    metrics: dict[str, float]
    checkpoints: tuple[tuple[int, float], ...]
    tokens: int
    cpu_seconds: float
    wall_seconds: float
    peak_memory: int
    failure: str | None
    log_tail: str
    tier: str


@dataclass(frozen=True)
class Timing:
    """Where the time of this runner's runs went, in seconds of wall time."""

    runs: int = 0
    train_seconds: float = 0.0
    judge_seconds: float = 0.0


class _RunFailed(Exception):
    """A run ends here with this failure."""

    def __init__(self, failure: str, log_tail: str) -> None:
        super().__init__(failure)
        self.failure, self.log_tail = failure, log_tail


@dataclass
class _Room:
    """A sandboxed process and the event of its end."""

    box: Box
    ended: trio.Event = field(default_factory=trio.Event)

    async def supervise(self) -> None:
        try:
            await self.box.supervise()
        finally:
            self.ended.set()

    async def destroy(self) -> None:
        self.box.kill()
        await self.ended.wait()

    def failure(self) -> str:
        """The failure its end stands for."""
        outcome = self.box.outcome
        return FAILURE_OF_REASON[outcome.reason] if outcome else "killed"


@dataclass
class _Suite:
    """The rooms of one run."""

    candidate: _Room
    examinations: tuple[_Room, _Room]
    judge: _Room
    jobs: tuple[trio.lowlevel.FdStream, ...]  # to the candidate and the two examination rooms
    frames: _Frames  # from the candidate
    control: trio.lowlevel.FdStream  # to the judge
    verdict: trio.lowlevel.FdStream  # from the judge
    ready: trio.Event = field(default_factory=trio.Event)  # the candidate waits for its job, or will never do so
    trouble: _RunFailed | None = None
    called: int = 0  # examination rooms that were told to import what they need
    job_sent: float | None = None  # when training could begin; before that the rooms were only getting ready

    @property
    def rooms(self) -> tuple[_Room, ...]:
        return (self.candidate, *self.examinations, self.judge)

    async def get_ready(self) -> None:
        """Have the rooms import what they need, one after the other."""
        begun = time.monotonic()
        try:
            tag, _ = await self.frames.next()
            if tag != b"R":
                self.trouble = _RunFailed("exception", "the candidate's room did not start")
        except _RunFailed as trouble:
            self.trouble = trouble
        except trio.ClosedResourceError:
            return  # not needed any more
        took = time.monotonic() - begun
        self.ready.set()
        for _ in self.examinations:
            self.call(1)
            await trio.sleep(took)

    def call(self, count: int) -> None:
        """Tell so many more examination rooms, as far as there are any, to import what they need."""
        for stream in self.jobs[1 + self.called : 1 + self.called + count]:
            self.called += 1
            with suppress(OSError):  # gone already, which shows where its answer is read
                os.write(stream.fileno(), CALL)

    async def destroy(self) -> None:
        """End every room and close every pipe; done even under cancellation."""
        with trio.CancelScope(shield=True):
            for room in self.rooms:
                room.box.kill()
            for stream in (*self.jobs, self.frames.stream, self.control, self.verdict):
                await stream.aclose()
            for room in self.rooms:
                await room.ended.wait()


class Runner:
    """Makes runs, one at a time. An async context manager; leaving it ends every room."""

    def __init__(self, objective: Objective, layers: Layers, weights_dir: Path, log: Callable[..., None]) -> None:
        self._objective = objective
        self.tokens = objective.budget.tokens  # of every run from the next one on
        self._layers = layers
        self._weights = WeightsStore(weights_dir)
        self._log = log
        self._spare: _Suite | None = None
        self._stack = AsyncExitStack()
        self._nursery: trio.Nursery | None = None
        self._one = trio.Lock()
        self.timing = Timing()

    async def __aenter__(self) -> Runner:
        self._nursery = await self._stack.enter_async_context(trio.open_nursery())
        self._warm_up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._nursery is not None
        if self._spare is not None:
            await self._spare.destroy()
        self._nursery.cancel_scope.cancel()
        await self._stack.aclose()

    async def run(self, source: str, seed: int, progress: Callable[[Progress], None]) -> Outcome:
        """Train a source and score it on validation data. Cancelling ends its rooms at once."""
        return await self._serve(source, seed, "val", progress)

    async def examine(self, source: str, seed: int, split: str) -> Outcome:
        """Score the kept weights of an earlier run on a split; failure "missing" when there are none."""
        return await self._serve(source, seed, split, lambda progress: None)

    async def _serve(self, source: str, seed: int, split: str, progress: Callable[[Progress], None]) -> Outcome:
        key = WeightsStore.key(source, seed)
        async with self._one:
            kept = self._weights.get(key) if split != "val" else None
            if split != "val" and kept is None:
                return _failed("missing", "no weights of this run are kept", 0.0, "")
            suite, self._spare = self._spare or self._start_suite(), None
            try:
                return await self._use(suite, source, seed, split, kept, progress)
            finally:
                await suite.destroy()

    async def _use(
        self,
        suite: _Suite,
        source: str,
        seed: int,
        split: str,
        kept: bytes | None,
        progress: Callable[[Progress], None],
    ) -> Outcome:
        begun = time.monotonic()
        tier = suite.candidate.box.tier
        cpu, tokens = 0.0, 0
        sets: list[tuple[int, bytes]]
        try:
            if kept is None:
                sets, cpu = await self._train(suite, source, seed, progress)
                tokens = self.tokens  # not the source's word: cost is judged per token
                self._weights.put(WeightsStore.key(source, seed), sets[-1][1])
            else:
                sets = [(0, kept)]
                self._warm_up()
            await suite.candidate.destroy()
            trained = time.monotonic()
            progress(Progress(1.0, None, trained - begun, "judge"))
            metrics = await self._judge(suite, source, seed, split, sets)
        except _RunFailed as failed:
            self._count(train=time.monotonic() - (suite.job_sent or time.monotonic()))
            return _failed(failed.failure, failed.log_tail, time.monotonic() - begun, tier)
        self._count(train=trained - (suite.job_sent or trained), judge=time.monotonic() - trained)
        value = metrics.pop("value")
        steps = [step for step, _ in sets if f"checkpoint_{step}" in metrics]
        return Outcome(
            value=value,
            metrics=metrics,
            checkpoints=tuple((step, metrics.pop(f"checkpoint_{step}")) for step in steps),
            tokens=tokens,
            cpu_seconds=cpu,
            wall_seconds=time.monotonic() - begun,
            peak_memory=suite.candidate.box.peak_memory,
            failure=None,
            log_tail="",
            tier=tier,
        )

    # ---- training --------------------------------------------------------------------------------------------------

    async def _train(
        self, suite: _Suite, source: str, seed: int, progress: Callable[[Progress], None]
    ) -> tuple[list[tuple[int, bytes]], float]:
        """Weight sets (checkpoints in order, the final one last), and CPU seconds from job to weights."""
        frames = suite.frames
        suite.candidate.box.start_clock(READY_SECONDS)
        await suite.ready.wait()
        if suite.trouble is not None:
            raise suite.trouble
        suite.candidate.box.start_clock(self._objective.budget.wall_seconds)
        begun, cpu = time.monotonic(), suite.candidate.box.cpu_seconds()
        suite.job_sent = begun
        await send_job(suite.jobs[0], self._job(seed), source.encode())
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
                spent = suite.candidate.box.cpu_seconds() - cpu
                final = checkpoints.pop(0)
                return [*sorted(checkpoints.items()), (0, final)], max(0.0, spent)
            elif tag == b"F" and body in FAILURES_TOLD:
                await suite.candidate.ended.wait()
                raise _RunFailed(FAILURES_TOLD[body], suite.candidate.box.log_tail())
            else:
                raise _RunFailed("invalid", "the candidate's room sent what no room sends")

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

    async def _judge(
        self, suite: _Suite, source: str, seed: int, split: str, sets: list[tuple[int, bytes]]
    ) -> dict[str, float]:
        suite.judge.box.start_clock(EXAMINATION_SECONDS)
        suite.call(len(suite.examinations))
        header = self._job(seed, weights=len(sets))
        steps = [step for step, _ in sets if step]
        word = json.dumps({"seed": seed, "split": split, "steps": steps, "weights": len(sets)})
        async with trio.open_nursery() as nursery:

            def serve(number: int) -> None:
                suite.examinations[number].box.start_clock(EXAMINATION_SECONDS)
                nursery.start_soon(send_job, suite.jobs[1 + number], header, source.encode(), *(raw for _, raw in sets))

            serve(0)
            await send_if_open(suite.control, word.encode() + b"\n")
            result = await self._verdict(suite, serve)
            nursery.cancel_scope.cancel()
        if result is None:
            with trio.move_on_after(END_SECONDS):
                await suite.judge.ended.wait()
            await suite.judge.destroy()
            raise _RunFailed(suite.judge.failure(), suite.judge.box.log_tail() or "the judge ended without a result")
        return _metrics(result, suite)

    async def _verdict(self, suite: _Suite, serve: Callable[[int], None]) -> dict[str, Any] | None:
        """Destroy rooms as the judge asks, until it gives its result; None when it never does.

        The second room gets the source only when the first is dead, so the two copies of it never run together.
        """
        lines = Lines(suite.verdict)
        to_close = {b"close 0": 0, b"close 1": 1}
        while True:
            line = await lines.next()
            number = to_close.pop(line, None) if line else None
            if number is not None:
                await suite.examinations[number].destroy()
                if number == 0:
                    serve(1)
                await send_if_open(suite.control, b"dead\n")
                continue
            try:
                found = json.loads(line or b"")
            except (ValueError, RecursionError):
                return None
            return found if isinstance(found, dict) else None

    # ---- rooms -----------------------------------------------------------------------------------------------------

    def _warm_up(self) -> None:
        """Start the next suite, unless the machine is short of memory."""
        if self._spare is None and psutil.virtual_memory().available > WARM_MEMORY:
            self._spare = self._start_suite()

    def _start_suite(self) -> _Suite:
        objective = self._objective
        ((_, train_file),) = objective.data_for("candidate")
        pipes = Pipes()
        job, out = pipes.to_room(), pipes.from_room()
        candidate = self._start(
            "candidate.py", [job, out, train_file], pipes, (train_file,), objective.budget.memory_bytes
        )
        examinations, jobs, questions = [], [job], []
        for _ in range(2):
            ask, answer, exam_job = pipes.between(), pipes.between(), pipes.to_room()
            examinations.append(
                self._start("examination.py", [exam_job, ask[0], answer[1]], pipes, (), EXAMINATION_MEMORY)
            )
            jobs.append(exam_job)
            questions += [ask[1], answer[0]]
        control, verdict = pipes.to_room(), pipes.from_room()
        hidden = objective.data_for("judge")
        judge_file = objective.root / objective.judge
        judge = self._start(
            "judging.py",
            [control, verdict, *questions, judge_file, train_file, *(f"{name}={path}" for name, path in hidden)],
            pipes,
            (judge_file, train_file, *(path for _, path in hidden)),
            JUDGE_MEMORY,
        )
        pipes.close_room_ends()
        suite = _Suite(
            candidate,
            (examinations[0], examinations[1]),
            judge,
            jobs=tuple(pipes.stream(end) for end in jobs),
            frames=_Frames(pipes.stream(out), candidate),
            control=pipes.stream(control),
            verdict=pipes.stream(verdict),
        )
        assert self._nursery is not None
        self._nursery.start_soon(suite.get_ready)
        return suite

    def _start(self, script: str, arguments: list[Any], pipes: Pipes, places: tuple[Path, ...], memory: int) -> _Room:
        budget = self._objective.budget
        policy = Policy(
            wall_seconds=EXAMINATION_SECONDS,
            cpu_seconds=2 * budget.wall_seconds + EXAMINATION_SECONDS,
            memory_bytes=memory,
            tasks=64,
            output_bytes=LOG_BYTES,
            read_only=(ROOMS / script, *places),
            threads=budget.threads,
        )
        keep = [argument for argument in arguments if isinstance(argument, int)]
        command = [sys.executable, "-I", "-B", str(ROOMS / script), *map(str, arguments)]
        room = _Room(Box.start(command, policy, self._layers, keep))
        assert self._nursery is not None
        self._nursery.start_soon(room.supervise)
        return room

    def _count(self, train: float, judge: float = 0.0) -> None:
        old = self.timing
        self.timing = Timing(old.runs + 1, old.train_seconds + train, old.judge_seconds + judge)


def _failed(failure: str, log_tail: str, seconds: float, tier: str) -> Outcome:
    return Outcome(None, {}, (), 0, 0.0, seconds, 0, failure, log_tail[-2000:], tier)


def _metrics(result: dict[str, Any], suite: _Suite) -> dict[str, float]:
    """The judge's numbers, checked; or the run's failure."""
    if "rejected" in result:
        tails = [room.box.log_tail() for room in suite.examinations]
        raise _RunFailed("invalid", "\n".join(filter(None, [*tails, str(result["rejected"])])))
    metrics = result.get("metrics")
    if not isinstance(metrics, dict) or not isinstance(metrics.get("value"), float):
        raise _RunFailed("exception", f"the judge failed: {result.get('error', 'no value')}")
    if not all(isinstance(v, float) and math.isfinite(v) for v in metrics.values()) or metrics["value"] <= 0:
        raise _RunFailed("invalid", "the judge's numbers are not finite and positive")
    return {str(name): value for name, value in metrics.items()}


class _Frames:
    """Tagged frames from the candidate's room, with limits on their size and number."""

    def __init__(self, stream: trio.lowlevel.FdStream, room: _Room) -> None:
        self.stream, self._room = stream, room
        self._buffer = bytearray()
        self._left = MAX_FRAMES

    async def next(self) -> tuple[bytes, bytes]:
        tag, length = struct.unpack("<cxxxI", await self._exactly(8))
        self._left -= 1
        if length > MAX_WEIGHTS or self._left < 0:
            raise _RunFailed("output", "the candidate's room sent more than a run may send")
        return tag, await self._exactly(length)

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            data = await self.stream.receive_some(1 << 18)
            if not data:
                await self._room.ended.wait()
                raise _RunFailed(self._room.failure(), self._room.box.log_tail())
            self._buffer += data
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken
