"""One worker at the node's end: the command that starts it, what goes to it and comes from it, and its end.

A link lives as long as one process of that command. It knows one worker and one job at a time; which worker makes what,
and what happens when one ends, is `remote_runs`'s.
"""

from __future__ import annotations

import hashlib
import math
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Protocol

import trio

from node.execution.pause_gate import PauseGate
from node.execution.remote.worker_protocol import (
    CHUNK_BYTES,
    Beat,
    Broken,
    Content,
    CoolDown,
    Dropped,
    FromWorker,
    Hello,
    Job,
    Lacks,
    Made,
    NodeSide,
    Pause,
    Ready,
    Refused,
    Resume,
    RunMade,
    State,
    Told,
    framed,
)
from node.execution.run_progress import Progress
from node.ledger.outcome import Outcome
from node.objective.schema import Objective
from node.platform.concurrency import in_thread
from node.platform.log import Log, one_line
from protocol.codec import MalformedError

BEAT_SECONDS = 10.0  # between two words to a worker
HUNG_SECONDS = 90.0  # without a word of a worker that speaks every five: it hangs, or the line is dead
SILENT_SECONDS = 30.0  # without any word at first, after which that is said; a scheduler may let it wait for hours
# Without another state, however often it says that it is there: beside what a run may take, for as much again of a GPU
# that another node has, or of a slow line. A pair, trained one after the other and each paused and gone on with, is not
# near it.
STUCK_SECONDS, STUCK_RUNS = 3600.0, 6
CANCEL_SECONDS = 30.0  # for a cancelled job to end
CLOSE_SECONDS = 10.0  # for a worker to end by itself after its standard input
TERMINATE_SECONDS = 5.0  # for a command to end after SIGTERM
LAST_WORDS_SECONDS = 1.0  # for what a command printed at its end to arrive
TICK_SECONDS = 1.0
READ_BYTES = 1 << 16
LINE_BYTES = 2000  # of a line of standard error; the rest of a longer one is dropped
LINES_KEPT = 5  # of standard error, to say why a command ended
LINES_PER_MINUTE = 20  # of one command's standard error that are logged
ENDED = "it ended"
NODE_SIDE_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)

DOING = {
    State.SILENT: "waiting",
    State.GREETING: "starting",
    State.ASKED: "starting",
    State.FILLING: "receiving files",
    State.IDLE: "idle",
    State.BUSY: "running",
    State.OVER: "refused",
}


class WorkerEndedError(Exception):
    """The worker is gone; the text says why."""


class WorkerRefusedError(WorkerEndedError):
    """The worker cannot make this node's runs; the text says what to do."""


class JobBrokenError(Exception):
    """No process could be started for a job where the worker is; the text says why."""


class Crew(Protocol):
    """Those that a worker belongs to."""

    def refusal(self, hello: Hello) -> str | None:
        """Why a worker that has said hello makes no runs here; None where it does."""

    def changed(self) -> None:
        """A worker has come to another state."""


@dataclass(frozen=True)
class Command:
    """What starts a worker, and the environment it gets."""

    words: Sequence[str]
    environment: Mapping[str, str]


class WorkerLink:
    """One process of the command, from its start to its end."""

    def __init__(self, number: int, command: Command, objective: Objective, crew: Crew, log: Log) -> None:
        """number: which of the node's workers it is, for people."""
        self.number = number
        self.hello: Hello | None = None
        self.alternates = False  # can make both runs of a pair at once
        self.last_lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._since = time.monotonic()
        self._command = command
        self._objective = objective
        self._crew = crew
        self._log = log
        self._side = NodeSide()
        self._heard = time.monotonic()
        self._writing = trio.Lock()
        # Without a limit, as little is posted: one job at a time, and a word every few seconds.
        self._post_to, self._posted = trio.open_memory_channel[bytes](math.inf)
        self._progress: Sequence[Callable[[Progress], None]] = ()
        self._answer: Made | Broken | Dropped | None = None
        self._answered = trio.Event()
        self._cancelled_at: float | None = None
        self._hearing = trio.CancelScope()
        self._refused = False
        self._sent = 0  # bytes of files
        self._over: str | None = None  # why the worker is gone or must go

    @property
    def idle(self) -> bool:
        """Whether it can be given a job."""
        return self._side.state is State.IDLE and self._over is None

    @property
    def connected(self) -> bool:
        """Whether it can be given a job now or when it has made the one it has."""
        return self._side.state in (State.IDLE, State.BUSY) and self._over is None

    @property
    def doing(self) -> str:
        """What it does, in a word or two."""
        return "ending" if self._over is not None else DOING[self._side.state]

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return time.monotonic() - self._since

    # ---- its life ----------------------------------------------------------------------------------------------------

    async def serve(self, pause_gate: PauseGate) -> None:
        """Start the worker and keep it until it ends, which raises WorkerEndedError. Raises OSError without a start."""
        process = await trio.lowlevel.open_process(
            list(self._command.words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(self._command.environment),
            start_new_session=True,  # Ctrl-C at the node is for the node, which then ends its workers
        )
        try:
            await self._converse(process, pause_gate)
        finally:
            gone_by_itself = self._over is None
            self._must_go(ENDED)
            self._crew.changed()
            with trio.CancelScope(shield=True):
                await end(process)
            if gone_by_itself:
                self._over = self._end_in_words(process)
            self._answered.set()
        raise WorkerRefusedError(self._over or ENDED) if self._refused else WorkerEndedError(self._over or ENDED)

    async def _converse(self, process: trio.Process, pause_gate: PauseGate) -> None:
        """Speak with the worker until it is gone or must go."""
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        errors_read = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, process.stdin)
            nursery.start_soon(self._read_errors, process.stderr, errors_read)
            nursery.start_soon(self._watch, pause_gate)
            with self._hearing, suppress(*NODE_SIDE_BROKEN), ExitStack() as in_gate:
                async for data in process.stdout:
                    self._heard = time.monotonic()
                    try:
                        for said in self._side.receive(bytes(data)):
                            self._take(said, nursery, process.stdin)
                            if isinstance(said, Ready):
                                in_gate.enter_context(pause_gate.freezing(self))
                    except MalformedError as error:
                        self._must_go(f"what it says is not understood: {error}")
                    self._crew.changed()
            with trio.move_on_after(LAST_WORDS_SECONDS):
                await errors_read.wait()
            nursery.cancel_scope.cancel()

    def _must_go(self, why: str) -> None:
        """End the conversation."""
        self._over = self._over or why
        self._hearing.cancel()

    def _end_in_words(self, process: trio.Process) -> str:
        """How a command ended of which nothing else is known."""
        code = process.returncode
        how = "was lost" if code is None else f"ended by {_signal(-code)}" if code < 0 else f"ended with status {code}"
        printed = [*self._side.before.decode("utf-8", errors="replace").splitlines()[-LINES_KEPT:], *self.last_lines]
        return "; ".join([f"`{self._command.words[0]}` {how}", *filter(None, map(one_line, printed))])

    async def _watch(self, pause_gate: PauseGate) -> None:
        """Say at intervals that the node still is there, and end a worker that says nothing or gets nowhere."""
        spoke = ticked = time.monotonic()
        patience = STUCK_SECONDS + STUCK_RUNS * self._objective.budget.wall_seconds
        step, stepped = self._step, pause_gate.clock()
        waiting_told = False
        while True:
            await trio.sleep(TICK_SECONDS)
            now = time.monotonic()
            if now - ticked > 10 * TICK_SECONDS:  # this process stood still; what workers said meanwhile is unread
                self._heard = now
            ticked = now
            if self._side.state is State.SILENT:
                if self.seconds > SILENT_SECONDS and not waiting_told:
                    waiting_told = True
                    self._log(
                        "worker waits",
                        worker=self.number,
                        why=self.last_lines[-1] if self.last_lines else f"no word of it for {SILENT_SECONDS:.0f} s",
                        hint="a scheduler may hold it in its queue; that is no fault, and the node waits for it",
                    )
                continue
            if now - self._heard > HUNG_SECONDS:
                self._must_go(f"it hangs, or the line to it is dead: no word of it for {HUNG_SECONDS:.0f} s")
            if self._step != step or self._side.state is State.IDLE:
                step, stepped = self._step, pause_gate.clock()
            elif pause_gate.clock() - stepped > patience:
                self._must_go(f"it has been {self.doing} for {patience:.0f} s, and comes to no end")
            if self._cancelled_at is not None and now - self._cancelled_at > CANCEL_SECONDS:
                self._must_go(f"it did not end a job in {CANCEL_SECONDS:.0f} s")
            if now - spoke > BEAT_SECONDS:
                spoke = now
                self._post(framed(Beat()))

    @property
    def _step(self) -> tuple[State, int, int]:
        """What changes whenever the conversation gets on: its state, the job, and how much was sent of files."""
        return self._side.state, self._side.number_of_next, self._sent

    # ---- saying ------------------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Pause what it does."""
        self._post(framed(Pause()))

    def thaw(self) -> None:
        """Let it go on."""
        self._post(framed(Resume()))

    def cool_down(self) -> None:
        """Have it give back memory that it holds for its next run."""
        self._post(framed(CoolDown()))

    def _post(self, data: bytes) -> None:
        self._post_to.send_nowait(data)

    async def _write(self, stdin: trio.abc.SendStream) -> None:
        async for data in self._posted:
            async with self._writing:
                try:
                    await stdin.send_all(data)
                except NODE_SIDE_BROKEN:  # its end shows where it is read
                    return

    async def _send_contents(self, lacks: Sequence[bytes], stdin: trio.abc.SendStream) -> None:
        """Send what the worker lacks of the objective, in pieces, so that a large file never is in memory."""
        files = {hashlib.sha256(content).digest(): content for content in self._objective.files.values()}
        data = {item.entry.sha256: self._objective.data_dir / item.entry.path for item in self._objective.data}
        try:
            for each in lacks:
                with BytesIO(files[each]) if each in files else data[each].open("rb") as content:
                    last = False
                    while not last:
                        piece = await in_thread(partial(content.read, CHUNK_BYTES))
                        last = len(piece) < CHUNK_BYTES
                        async with self._writing:
                            await stdin.send_all(framed(Content(each, piece, last)))
                        self._sent += len(piece)
        except NODE_SIDE_BROKEN:  # the worker's end shows where it is read
            return
        except OSError as error:
            self._must_go(f"a file of the objective cannot be read here: {error}")
        if lacks:
            self._log("files sent", worker=self.number, files=len(lacks), megabytes=round(self._sent / 1e6, 1))

    # ---- hearing -----------------------------------------------------------------------------------------------------

    def _take(self, said: FromWorker, nursery: trio.Nursery, stdin: trio.abc.SendStream) -> None:
        """Do what follows from a frame. Raises MalformedError for outcomes that the objective cannot have."""
        match said:
            case Hello():
                why = self._crew.refusal(said)
                if why is not None:
                    self._refuse(why)
                    return
                self.hello = said
                objective = self._objective
                contents = {hashlib.sha256(content).digest() for content in objective.files.values()}
                contents.update(item.entry.sha256 for item in objective.data)
                self._post(self._side.use(objective.manifest_bytes, frozenset(contents), objective.scale))
            case Refused():
                self._refuse(said.why)
            case Lacks():
                nursery.start_soon(self._send_contents, said.contents, stdin)
            case Ready():
                self.alternates = said.alternates
                assert self.hello is not None
                self._log(
                    "worker ready",
                    worker=self.number,
                    host=self.hello.host,
                    device=self.hello.device,
                    sandbox=self.hello.sandbox,
                    seconds=round(self.seconds, 1),
                    **({"gpus": ", ".join(gpu.name for gpu in self.hello.gpus)} if self.hello.gpus else {}),
                )
            case Told() if said.side < len(self._progress):
                self._progress[said.side](Progress(said.share, said.loss, said.seconds, said.phase, said.cost))
            case Made():
                for made in said.outcomes:
                    _confirm(made, self._objective)
                self.alternates = said.alternates
                self._take_answer(said)
            case Broken() | Dropped():
                self._take_answer(said)

    def _refuse(self, why: str) -> None:
        self._refused = True
        self._must_go(why)

    def _take_answer(self, answer: Made | Broken | Dropped) -> None:
        self._answer, self._cancelled_at, self._progress = answer, None, ()
        self._answered.set()

    async def _read_errors(self, stderr: trio.abc.ReceiveStream, done: trio.Event) -> None:
        """Log what the command prints on standard error, as far as it does not flood the log."""
        lines, minute, logged = _Lines(), time.monotonic(), 0
        async for data in stderr:
            for line in lines.in_data(bytes(data)):
                self.last_lines.append(line)
                if time.monotonic() - minute > 60:
                    minute, logged = time.monotonic(), 0
                logged += 1
                if logged <= LINES_PER_MINUTE:
                    self._log("worker says", worker=self.number, why=line)
                elif logged == LINES_PER_MINUTE + 1:
                    self._log("worker says", worker=self.number, why="more lines, which are left out for a minute")
        self.last_lines.extend(lines.rest())
        done.set()

    # ---- a job -------------------------------------------------------------------------------------------------------

    async def make(self, job_of: Callable[[int], Job], progress: Sequence[Callable[[Progress], None]]) -> Made:
        """Have an idle worker make a job. job_of: the job, by its number. progress: who hears of it, by side.

        Raises WorkerEndedError, and JobBrokenError where the worker could start no process. Cancelling ends the job,
        and the worker is idle again when it says that it has.
        """
        assert self.idle
        self._progress, self._answer, self._answered = progress, None, trio.Event()
        self._post(self._side.begin(job_of(self._side.number_of_next)))
        self._crew.changed()
        try:
            await self._answered.wait()
        except trio.Cancelled:
            if self._answer is None and self._over is None:
                self._progress, self._cancelled_at = (), time.monotonic()
                self._post(self._side.cancel())
            raise
        if isinstance(self._answer, Made):
            return self._answer
        if isinstance(self._answer, Broken):
            raise JobBrokenError(self._answer.why)
        raise WorkerEndedError(self._over or "it dropped the job, which nobody had asked for")


def outcome_of(made: RunMade) -> Outcome:
    """An outcome as everything here knows it."""
    return Outcome(
        value=made.value,
        metrics=made.metrics,
        checkpoints=made.checkpoints,
        tokens=made.tokens,
        cpu_seconds=made.cpu_seconds,
        wall_seconds=made.wall_seconds,
        peak_memory=made.peak_memory,
        failure=made.failure,
        log_tail=made.log_tail,
        tier=made.sandbox,
        replay=made.replay or None,
    )


def _confirm(made: RunMade, objective: Objective) -> None:
    """Raise MalformedError for an outcome that no run of the objective can have."""
    if made.value is not None and not objective.measure.fits(made.value):
        raise MalformedError("an outcome whose value the objective's metric cannot have")
    if not set(objective.checkpoints).issuperset(step for step, _ in made.checkpoints):
        raise MalformedError("an outcome with checkpoints that the objective has not")


class _Lines:
    """Cuts what a command prints into lines, of which it keeps the first LINE_BYTES."""

    def __init__(self) -> None:
        self._partial = b""

    def in_data(self, data: bytes) -> Iterator[str]:
        """The lines that end in this data, without those that are empty."""
        *whole, self._partial = (self._partial + data).split(b"\n")
        self._partial = self._partial[:LINE_BYTES]
        for line in whole:
            text = one_line(line[:LINE_BYTES].decode("utf-8", errors="replace")).strip()
            if text:
                yield text

    def rest(self) -> list[str]:
        """What came after the last line end."""
        return list(self.in_data(b"\n"))


async def end(process: trio.Process) -> None:
    """End a command: by the end of its standard input, which ends the worker behind it, else by signals."""
    assert process.stdin is not None
    async with trio.open_nursery() as nursery:
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            nursery.start_soon(_drain, stream)  # what waits to print does not end
        with suppress(*NODE_SIDE_BROKEN):
            await process.stdin.aclose()
        for seconds, number in ((CLOSE_SECONDS, signal.SIGTERM), (TERMINATE_SECONDS, signal.SIGKILL)):
            with trio.move_on_after(seconds):
                await process.wait()
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
        with trio.move_on_after(TERMINATE_SECONDS):  # a command that is stuck in the kernel is left to it
            await process.wait()
        nursery.cancel_scope.cancel()
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        await stream.aclose()


async def _drain(stream: trio.abc.ReceiveStream) -> None:
    with suppress(*NODE_SIDE_BROKEN):
        async for _ in stream:
            pass


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
